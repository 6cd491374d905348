/** The badge and what stands behind it: what was verified, in words first, in figures on a click. */

import type { JSX } from "preact";

import { grouped } from "../amounts.js";
import { useCell } from "../cell.js";
import { Shield, Stop, Tick, Warning, Offline } from "../icons.js";
import { t } from "../language.js";
import { connection } from "../service/connection.js";
import type { Point, Proof } from "../service/types.js";
import { More } from "./basics.js";

/** The badge in the header. It leads to the page that explains it. */
export function Badge(): JSX.Element {
  const now = useCell(connection);
  const [look, icon, words] =
    now.state === "checking"
      ? (["checking", <span class="spinner" aria-hidden="true" />, t("badge.checking")] as const)
      : now.state === "verified"
        ? now.proof.insecure
          ? (["caution", <Warning />, t("badge.insecure")] as const)
          : (["verified", <Shield />, t("badge.verified")] as const)
        : now.state === "unreachable"
          ? (["offline", <Offline />, t("badge.offline")] as const)
          : (["refused", <Stop />, t("badge.refused")] as const);
  return (
    <a class={`badge badge-${look}`} href="#/verify" data-state={now.state}>
      {icon}
      <span>{words}</span>
    </a>
  );
}

/** What speaks against trusting it with a secret. */
const DOUBTFUL: ReadonlySet<Point["name"]> = new Set(["software", "signer", "development", "unwitnessed"]);

/** The proof as a card of its own, for people who are about to trust it. */
export function ProofCard({ proof, open = false }: { readonly proof: Proof; readonly open?: boolean }): JSX.Element {
  return (
    <section class={proof.insecure ? "proof proof-insecure" : "proof"} aria-labelledby="proof-title">
      <span class="proof-seal">{proof.insecure ? <Warning /> : <Shield />}</span>
      <div class="proof-body">
        <h2 id="proof-title">{proof.insecure ? t("proof.insecure.title") : t("proof.title")}</h2>
        <p>{proof.insecure ? t("proof.insecure.text") : t("proof.text")}</p>
        <More label={t("proof.more")} open={open}>
          <ProofDetails proof={proof} />
        </More>
      </div>
    </section>
  );
}

export function ProofDetails({ proof }: { readonly proof: Proof }): JSX.Element {
  return (
    <>
      <ul class="points">
        {proof.points.map(({ name, values }) => (
          <li key={name} class={DOUBTFUL.has(name) ? "point point-doubtful" : "point"}>
            {DOUBTFUL.has(name) ? <Warning /> : <Tick />}
            <div>
              <strong>{t(`proof.point.${name}.title`)}</strong>
              <p>{t(`proof.point.${name}.text`, values)}</p>
            </div>
          </li>
        ))}
      </ul>
      <dl class="digests">
        <Digest label={t("proof.measurement")} hex={proof.measurement} />
        <Digest label={t("proof.cluster")} hex={proof.cluster} />
        <Digest label={t("proof.policy")} hex={proof.policyDigest} />
        <Digest label={t("proof.site")} hex={proof.siteDigest} />
        {proof.pageDigest === null && (
          <div>
            <dt>{t("proof.page")}</dt>
            <dd>{t("proof.page.none")}</dd>
          </div>
        )}
        {proof.pageDigest && <Digest label={t("proof.page")} hex={proof.pageDigest} />}
      </dl>
      <More label={t("proof.lines")}>
        <dl class="proof-lines" lang="en">
          {proof.lines.map((line) => (
            <div key={line.title}>
              <dt>{line.title}</dt>
              <dd class="mono">{line.value}</dd>
              {line.detail !== "" && <dd class="hint">{line.detail}</dd>}
            </div>
          ))}
        </dl>
      </More>
    </>
  );
}

export function Digest({ label, hex }: { readonly label: string; readonly hex: string }): JSX.Element {
  return (
    <div>
      <dt>{label}</dt>
      <dd class="mono digest">{grouped(hex)}</dd>
    </div>
  );
}
