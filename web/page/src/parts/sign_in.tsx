/** The sign-in dialog: which way, then "go on in the other window" or what to type, then done. */

import type { JSX } from "preact";

import { useCell } from "../cell.js";
import { Arrow, Key, Letter, Person } from "../icons.js";
import { t, type Key as MessageKey } from "../language.js";
import { question } from "../service/people.js";
import type { SignInQuestion, Way } from "../service/types.js";
import { Button, Dialog, ProblemNotice } from "./basics.js";
import { TypedSignIn } from "./typing.js";

type Purpose = SignInQuestion["purpose"];
const TITLES: Readonly<Record<Purpose, MessageKey>> = { first: "sign-in.title", passkey: "sign-in.passkey.title", second: "sign-in.second.title", again: "sign-in.again.title" };
const TEXTS: Readonly<Record<Purpose, MessageKey>> = { first: "sign-in.text", passkey: "sign-in.passkey.text", second: "sign-in.second.text", again: "sign-in.again.text" };
const WAYS: Readonly<Record<Way["kind"], MessageKey>> = { provider: "sign-in.with", passkey: "sign-in.passkey", directory: "sign-in.directory", code: "sign-in.code" };
const ICONS: Readonly<Record<Way["kind"], () => JSX.Element>> = { provider: Person, passkey: Key, directory: Person, code: Letter };

export function SignInDialog(): JSX.Element | null {
  const asked = useCell(question);
  if (asked === null) return null;
  const { redirect, stage, back } = asked;
  const form = typeof stage === "string" ? null : stage;
  const isTyped = form !== null || stage === "working" || (stage === "choose" && asked.ways.some(({ kind }) => kind === "directory"));
  const isMixed = asked.purpose === "first" && asked.ways.some(({ kind }) => kind !== "provider");
  return (
    <Dialog title={t(TITLES[asked.purpose])} onClose={asked.cancel}>
      {(form === null || asked.purpose !== "first") && <p>{t(isMixed ? "sign-in.text.mixed" : TEXTS[asked.purpose])}</p>}
      {asked.problem !== null && <ProblemNotice problem={asked.problem} />}
      {form !== null ? (
        // another form, other fields: nothing that was typed stays
        <TypedSignIn key={form.turn} form={form} />
      ) : stage === "choose" ? (
        <ul class="ways">
          {asked.ways.map((way) => (
            <li key={`${way.kind} ${way.name}`}>
              <WayButton way={way} choose={asked.choose} />
            </li>
          ))}
        </ul>
      ) : (
        <div class="elsewhere" role="status">
          <span class="spinner" aria-hidden="true" />
          <p>{t(stage === "elsewhere" ? "sign-in.elsewhere" : "sign-in.working")}</p>
        </div>
      )}
      {redirect !== null && (
        <p class="hint">
          {t("sign-in.blocked")}{" "}
          <button type="button" class="link-button inline" onClick={redirect}>
            {t("sign-in.here")}
          </button>
        </p>
      )}
      {!isTyped && <p class="hint">{t("sign-in.promise")}</p>}
      <div class="actions end">
        {back !== null && stage !== "choose" && (
          <Button look="quiet" onClick={back}>
            {t("sign-in.back")}
          </Button>
        )}
        <Button look="quiet" onClick={asked.cancel}>
          {t("cancel")}
        </Button>
      </div>
    </Dialog>
  );
}

function WayButton({ way, choose }: { readonly way: Way; readonly choose: (way: Way) => void }): JSX.Element {
  const Icon = ICONS[way.kind];
  return (
    <button type="button" class="way" onClick={() => choose(way)}>
      <span class="way-icon">
        <Icon />
      </span>
      <span>{t(WAYS[way.kind], { name: way.name })}</span>
      <Arrow />
    </button>
  );
}
