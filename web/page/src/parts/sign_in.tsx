/** The sign-in dialog: which way, then "go on in the other window", then done. */

import type { JSX } from "preact";

import { useCell } from "../cell.js";
import { Arrow, Key, Person } from "../icons.js";
import { t, type Key as MessageKey } from "../language.js";
import { question } from "../service/people.js";
import type { SignInQuestion } from "../service/types.js";
import { Button, Dialog, ProblemNotice } from "./basics.js";

type Purpose = SignInQuestion["purpose"];
const TITLES: Readonly<Record<Purpose, MessageKey>> = { first: "sign-in.title", passkey: "sign-in.passkey.title", second: "sign-in.second.title", again: "sign-in.again.title" };
const TEXTS: Readonly<Record<Purpose, MessageKey>> = { first: "sign-in.text", passkey: "sign-in.passkey.text", second: "sign-in.second.text", again: "sign-in.again.text" };

export function SignInDialog(): JSX.Element | null {
  const asked = useCell(question);
  if (asked === null) return null;
  const { redirect } = asked;
  return (
    <Dialog title={t(TITLES[asked.purpose])} onClose={asked.cancel}>
      <p>{t(TEXTS[asked.purpose])}</p>
      {asked.problem !== null && <ProblemNotice problem={asked.problem} />}
      {asked.stage === "elsewhere" ? (
        <div class="elsewhere" role="status">
          <span class="spinner" aria-hidden="true" />
          <p>{t("sign-in.elsewhere")}</p>
        </div>
      ) : (
        <ul class="ways">
          {asked.ways.map((way) => (
            <li key={`${way.kind} ${way.name}`}>
              <button type="button" class="way" onClick={() => asked.choose(way)}>
                <span class="way-icon">{way.kind === "passkey" ? <Key /> : <Person />}</span>
                <span>{way.kind === "passkey" ? t("sign-in.passkey", { name: way.name }) : t("sign-in.with", { name: way.name })}</span>
                <Arrow />
              </button>
            </li>
          ))}
        </ul>
      )}
      {redirect !== null && (
        <p class="hint">
          {t("sign-in.blocked")}{" "}
          <button type="button" class="link-button inline" onClick={redirect}>
            {t("sign-in.here")}
          </button>
        </p>
      )}
      <p class="hint">{t("sign-in.promise")}</p>
      <div class="actions end">
        <Button look="quiet" onClick={asked.cancel}>
          {t("cancel")}
        </Button>
      </div>
    </Dialog>
  );
}
