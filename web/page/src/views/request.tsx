/** Asking somebody outside for files: their upload is sealed to the one who asks. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { day, nowSeconds } from "../amounts.js";
import { useCell } from "../cell.js";
import { Inbox } from "../icons.js";
import { t } from "../language.js";
import { ExpiryChoice } from "../parts/addressing.js";
import { Button, Chips, CopyLine, Field, Heading, Notice, ProblemNotice, Segments } from "../parts/basics.js";
import { Names } from "../parts/names.js";
import { checkAddress, checkWhom, MAX_LETTER, MAX_TITLE } from "../service/checks.js";
import { connection } from "../service/connection.js";
import { problemOf } from "../service/problem.js";
import { ask } from "../service/requests.js";
import type { Problem, Sent } from "../service/types.js";

const SIZES = [100_000_000, 1_000_000_000, 5_000_000_000] as const;
const SIZE_WORDS: Readonly<Record<number, string>> = { 100_000_000: "100 MB", 1_000_000_000: "1 GB", 5_000_000_000: "5 GB" };

export function RequestView(): JSX.Element {
  const linked = useCell(connection);
  const offer = linked.state === "verified" ? linked.offer : null;
  const [recipients, setRecipients] = useState<readonly string[]>([]);
  const [title, setTitle] = useState("");
  const [message, setMessage] = useState("");
  const [days, setDays] = useState(14);
  const [chosenBytes, setChosenBytes] = useState<number>(1_000_000_000);
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [sent, setSent] = useState<Sent | null>(null);

  const sizes = SIZES.filter((each) => offer === null || each <= offer.maxBytes).map((value) => ({ value: value as number, words: SIZE_WORDS[value] ?? "" }));
  const maxBytes = sizes.some((each) => each.value === chosenBytes) ? chosenBytes : (sizes.at(-1)?.value ?? offer?.maxBytes ?? chosenBytes);
  const whomFault = checkWhom({ people: recipients, groups: [] });
  const titleFault = title.trim() === "" ? t("request.fault.title") : null;

  const start = (): void => {
    setTried(true);
    if (whomFault !== null || titleFault !== null) {
      requestAnimationFrame(() => document.querySelector<HTMLElement>(".view [aria-invalid=true]")?.focus());
      return;
    }
    setBusy(true);
    setProblem(null);
    ask({ title: title.trim(), message: message.trim(), recipients, expiresAt: nowSeconds() + days * 86_400, maxBytes }).then(
      (made) => {
        setBusy(false);
        setSent(made);
      },
      (error: unknown) => {
        setBusy(false);
        setProblem(problemOf(error));
      },
    );
  };

  if (sent !== null)
    return (
      <div class="view view-narrow">
        <Heading lead={t("request.sent.lead")}>{t("request.sent.title")}</Heading>
        <section class="sheet sent" aria-label={title}>
          <CopyLine value={sent.link} label={t("sent.link")} title={title} />
          <dl class="facts">
            <div>
              <dt>{t("fact.from")}</dt>
              <dd>
                <Names of={recipients} />
              </dd>
            </div>
            <div>
              <dt>{t("fact.until")}</dt>
              <dd>{day(nowSeconds() + days * 86_400)}</dd>
            </div>
          </dl>
        </section>
        <Notice tone="info" title={t("sent.holds.title")}>
          <p>{t("request.holds")}</p>
        </Notice>
        <div class="actions centred">
          <a class="button button-plain" href="#/shares">
            {t("request.manage")}
          </a>
        </div>
      </div>
    );

  return (
    <div class="view view-narrow">
      <Heading lead={t("request.lead")}>{t("request.title")}</Heading>
      {problem !== null && <ProblemNotice problem={problem} />}
      <section class="sheet form" aria-label={t("request.title")}>
        <Chips label={t("request.whom")} values={recipients} onChange={setRecipients} placeholder={t("address.people.placeholder")} hint={t("request.whom.hint")} error={tried ? whomFault : null} check={checkAddress} />
        <Field label={t("request.subject")} value={title} onInput={setTitle} placeholder={t("request.subject.placeholder")} error={tried ? titleFault : null} maxLength={MAX_TITLE} />
        <Field label={t("send.message")} value={message} onInput={setMessage} optional rows={3} maxLength={MAX_LETTER} />
        {sizes.length > 1 && <Segments label={t("request.size")} choices={sizes} value={maxBytes} onChange={setChosenBytes} />}
        <ExpiryChoice days={days} max={offer?.expiryDays.max ?? 90} onChange={setDays} hint="request.expiry.hint" />
        <div class="actions">
          <Button look="primary" icon={<Inbox />} busy={busy} onClick={start} disabled={linked.state === "refused" || linked.state === "changed"}>
            {t("request.button")}
          </Button>
        </div>
      </section>
    </div>
  );
}
