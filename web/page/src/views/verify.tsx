/** What is trusted, in figures, and how to check it from outside the page. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { useCell } from "../cell.js";
import { t } from "../language.js";
import { Button, Heading, Notice, ProblemNotice } from "../parts/basics.js";
import { ProofCard } from "../parts/proof.js";
import { Standing } from "../parts/standing.js";
import { connection } from "../service/connection.js";
import { installable, installed, keepPage, releasePage } from "../service/keeping.js";
import { problemOf } from "../service/problem.js";
import type { Problem } from "../service/types.js";

export function VerifyView(): JSX.Element {
  const linked = useCell(connection);
  const kept = useCell(installed);
  const [problem, setProblem] = useState<Problem | null>(null);
  const keep = (): void => {
    setProblem(null);
    keepPage().catch((error: unknown) => setProblem(problemOf(error)));
  };
  return (
    <div class="view view-medium">
      <Heading lead={t("verify.lead")}>{t("verify.title")}</Heading>
      {linked.state === "verified" ? <ProofCard proof={linked.proof} open /> : <Standing />}
      <section class="sheet prose" aria-labelledby="trust-title">
        <h2 id="trust-title">{t("verify.trust.title")}</h2>
        {linked.state === "verified" && linked.proof.insecure ? (
          <p>{t("verify.trust.insecure")}</p>
        ) : (
          <>
            <p>{t("verify.trust.1")}</p>
            <p>{t("verify.trust.2")}</p>
          </>
        )}
        <p>{t("verify.trust.3")}</p>
      </section>
      <section class="sheet prose" aria-labelledby="outside-title">
        <h2 id="outside-title">{t("verify.outside.title")}</h2>
        <p>{t("verify.outside.text")}</p>
        <pre class="code">
          <code>strongroom verify-page {location.origin}</code>
        </pre>
        <p>{t("verify.cli.where")}</p>
        <pre class="code">
          <code>pip install strongroom</code>
        </pre>
        <p>{t("verify.cli.text")}</p>
        <pre class="code">
          <code>strongroom share receive {location.origin}/#/s/…</code>
        </pre>
      </section>
      <section class="sheet prose" aria-labelledby="keep-title">
        <h2 id="keep-title">{t("keep.title")}</h2>
        <p>{t("keep.text")}</p>
        {problem !== null && <ProblemNotice problem={problem} />}
        {!installable() ? (
          <Notice tone="info" title={t("keep.impossible")} />
        ) : kept === null ? (
          <Button onClick={keep}>{t("keep.button")}</Button>
        ) : (
          <>
            <Notice tone="success" title={t("keep.kept")}>
              <p class="mono small digest">{kept}</p>
            </Notice>
            <Button look="quiet" onClick={() => void releasePage()}>
              {t("keep.release")}
            </Button>
          </>
        )}
      </section>
    </div>
  );
}
