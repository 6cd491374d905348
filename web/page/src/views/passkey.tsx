/** A passkey for strict senders: made once, its card given to the sender. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Key } from "../icons.js";
import { t } from "../language.js";
import { Button, CopyLine, Field, Heading, Notice, ProblemNotice } from "../parts/basics.js";
import { checkAddress } from "../service/checks.js";
import { makePasskey, passkeysPossible } from "../service/passkey.js";
import { problemOf } from "../service/problem.js";
import type { Problem } from "../service/types.js";

export function PasskeyView(): JSX.Element {
  const [name, setName] = useState("");
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [card, setCard] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const fault = checkAddress(name.trim());

  const make = (): void => {
    setTried(true);
    if (fault !== null) return;
    setBusy(true);
    setProblem(null);
    makePasskey(name.trim().toLowerCase()).then(
      (made) => {
        setBusy(false);
        setCard(made);
      },
      (error: unknown) => {
        setBusy(false);
        setProblem(problemOf(error));
      },
    );
  };

  return (
    <div class="view view-narrow">
      <Heading lead={t("passkey.lead")}>{t("passkey.title")}</Heading>
      {problem !== null && <ProblemNotice problem={problem} />}
      {!passkeysPossible() ? (
        <Notice tone="caution" title={t("passkey.impossible.title")}>
          <p>{t("passkey.impossible.text")}</p>
        </Notice>
      ) : card === null ? (
        <section class="sheet form" aria-label={t("passkey.title")}>
          <Field label={t("passkey.name")} type="email" value={name} onInput={setName} hint={t("passkey.name.hint")} error={tried ? fault : null} />
          <div class="actions">
            <Button look="primary" icon={<Key />} busy={busy} onClick={make}>
              {t("passkey.make")}
            </Button>
          </div>
        </section>
      ) : (
        <section class="sheet form" aria-label={t("passkey.card")}>
          <h2>{t("passkey.card")}</h2>
          <p>{t("passkey.card.text")}</p>
          <CopyLine value={card} label={t("passkey.card")} title={t("passkey.card")} />
        </section>
      )}
      <Notice tone="info" title={t("passkey.what.title")}>
        <p>{t("passkey.what.text")}</p>
      </Notice>
    </div>
  );
}
