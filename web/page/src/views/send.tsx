/** Sending: what, to whom, until when; then progress; then the link. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { day, files as countFiles, nowSeconds, size } from "../amounts.js";
import { useCell } from "../cell.js";
import { Cross, Pause, Play, Send as SendIcon } from "../icons.js";
import { counted, language, t } from "../language.js";
import { Button, CopyLine, Dialog, Field, Heading, Notice, ProblemNotice, Switch } from "../parts/basics.js";
import { Addressees, CardsField, ExpiryChoice, NOBODY, OpensChoice, type Whom } from "../parts/addressing.js";
import { Name, Names } from "../parts/names.js";
import { Picker, totalOf } from "../parts/picker.js";
import { PaceLine, ProgressBar } from "../parts/progress.js";
import { stayHere, wanted } from "../routes.js";
import { checkFiles, checkSecond, checkWhom, MAX_LETTER, MAX_TITLE, plainName, wordsIn } from "../service/checks.js";
import { connection } from "../service/connection.js";
import { question } from "../service/people.js";
import { problemOf } from "../service/problem.js";
import { checkCards, send } from "../service/sharing.js";
import type { Offer, Picked, Problem, Progress, Sent, Transfer } from "../service/types.js";

type Stage =
  | { readonly name: "writing"; readonly problem: Problem | null }
  | { readonly name: "sending"; readonly transfer: Transfer<Sent>; readonly progress: Progress }
  | { readonly name: "sent"; readonly sent: Sent };

const DAY = 86_400;

export function SendView(): JSX.Element {
  const linked = useCell(connection);
  const spoken = useCell(language);
  const offer: Offer | null = linked.state === "verified" ? linked.offer : null;
  const [stage, setStage] = useState<Stage>({ name: "writing", problem: null });
  const [picked, setPicked] = useState<readonly Picked[]>([]);
  const [whom, setWhom] = useState<Whom>(NOBODY);
  const [title, setTitle] = useState("");
  const [message, setMessage] = useState("");
  const [days, setDays] = useState<number | null>(null);
  const [maxOpens, setMaxOpens] = useState<number | null>(null);
  const [withPasskey, setWithPasskey] = useState(false);
  const [cards, setCards] = useState("");
  const [withSecond, setWithSecond] = useState(false);
  const [second, setSecond] = useState("");
  const [tried, setTried] = useState(false);

  const named = title.trim() === "" ? defaultTitle(picked) : title.trim();
  const secondPerson = wordsIn(second).join(" ").toLowerCase();
  const validDays = days ?? offer?.expiryDays.default ?? 14;
  const expiresAt = nowSeconds() + validDays * DAY;
  const faults = {
    files: useMemo(() => checkFiles(picked.map(({ path }) => path)), [picked, spoken]),
    whom: checkWhom(whom),
    cards: withPasskey ? checkCards(cards, whom.people) : null,
    second: withSecond ? checkSecond(secondPerson, whom.people) : null,
    size: offer !== null && totalOf(picked) > offer.maxBytes ? t("send.fault.size") : null,
  };
  const faulty = Object.values(faults).some((fault) => fault !== null);

  const start = (): void => {
    setTried(true);
    if (faulty) {
      requestAnimationFrame(() => document.querySelector<HTMLElement>(".view [aria-invalid=true], .view .picker:has(.error-text) button")?.focus());
      return;
    }
    const transfer = send(
      {
        files: picked,
        title: named,
        message: message.trim(),
        recipients: whom.people,
        groups: whom.groups,
        expiresAt,
        maxOpens,
        passkeys: withPasskey ? [cards] : [],
        second: withSecond ? secondPerson : null,
      },
      (progress) => setStage((now) => (now.name === "sending" ? { ...now, progress } : now)),
    );
    setStage({ name: "sending", transfer, progress: { stage: "preparing", done: 0, total: totalOf(picked) } });
    transfer.result.then(
      (sent) => setStage({ name: "sent", sent }),
      (error: unknown) => setStage({ name: "writing", problem: problemOf(error) }),
    );
  };

  if (stage.name === "sending") return <Sending title={named} count={picked.length} progress={stage.progress} transfer={stage.transfer} />;
  if (stage.name === "sent")
    return (
      <SentView
        sent={stage.sent}
        title={named}
        whom={[...whom.people, ...whom.groups]}
        second={withSecond ? secondPerson : null}
        expiresAt={expiresAt}
        maxOpens={maxOpens}
        onAgain={() => {
          setPicked([]);
          setWhom(NOBODY);
          setTitle("");
          setMessage("");
          setTried(false);
          setStage({ name: "writing", problem: null });
        }}
      />
    );

  return (
    <div class="view">
      <Heading lead={t("send.lead")}>{t("send.title")}</Heading>
      {stage.problem !== null && <ProblemNotice problem={stage.problem} />}
      <div class="letter">
        <section class="letter-side" aria-label={t("send.what")}>
          <Picker picked={picked} onChange={setPicked} maxBytes={offer?.maxBytes ?? null} error={tried || picked.length > 0 ? faults.files : null} />
        </section>
        <section class="letter-side letter-address" aria-label={t("send.whom")}>
          <Addressees whom={whom} onChange={setWhom} error={tried ? faults.whom : null} hint={t("send.whom.hint")} />
          <Field label={t("send.subject")} value={title} onInput={setTitle} optional placeholder={picked.length > 0 ? defaultTitle(picked) : ""} maxLength={MAX_TITLE} />
          <Field label={t("send.message")} value={message} onInput={setMessage} optional rows={3} maxLength={MAX_LETTER} hint={t("send.message.hint")} />
          <ExpiryChoice days={validDays} max={offer?.expiryDays.max ?? 90} onChange={setDays} />
          <details class="options">
            <summary>{t("send.options")}</summary>
            <OpensChoice value={maxOpens} onChange={setMaxOpens} />
            <Switch label={t("send.passkey")} hint={t("send.passkey.hint")} on={withPasskey} onChange={setWithPasskey}>
              <CardsField cards={cards} onChange={setCards} error={tried || cards !== "" ? faults.cards : null} />
            </Switch>
            <Switch label={t("send.second")} hint={t("send.second.hint")} on={withSecond} onChange={setWithSecond}>
              <Field label={t("send.second.address")} type="email" value={second} onInput={setSecond} error={tried || whom.people.includes(secondPerson) ? faults.second : null} />
            </Switch>
          </details>
          <div class="letter-send">
            <Button look="primary" icon={<SendIcon />} onClick={start} disabled={linked.state === "refused" || linked.state === "changed"}>
              {t("send.button")}
            </Button>
            <p class="hint">{t("send.promise")}</p>
          </div>
        </section>
      </div>
    </div>
  );
}

const defaultTitle = (picked: readonly Picked[]): string => {
  const first = picked[0];
  if (first === undefined) return "";
  const name = first.path.split("/")[0] ?? first.path;
  const whole = picked.length === 1 ? (first.path.split("/").at(-1) ?? name) : counted("send.default-title", picked.length - 1, { name });
  return [...plainName(whole)].slice(0, MAX_TITLE).join("");
};

interface SendingProps {
  readonly title: string;
  readonly count: number;
  readonly progress: Progress;
  readonly transfer: Pick<Transfer<unknown>, "pause" | "resume" | "cancel">;
}

export function Sending({ title, count, progress, transfer }: SendingProps): JSX.Element {
  const [paused, setPaused] = useState(false);
  const percent = progress.total === 0 ? 0 : Math.min(100, Math.floor((100 * progress.done) / progress.total));
  const release = useStay();
  const elsewhere = useCell(wanted);
  const label = paused ? t("sending.paused") : t(`sending.${progress.stage}`);
  return (
    <div class="view view-narrow">
      <Heading lead={`${countFiles(count)}, ${size(progress.total)}`}>{title}</Heading>
      <section class="sheet sending" aria-label={label}>
        <p class="percent" aria-hidden="true">
          {percent}
          <span>%</span>
        </p>
        <p class="sending-stage">{label}</p>
        <ProgressBar done={progress.done} total={progress.total} label={label} />
        <PaceLine done={progress.done} total={progress.total} />
        <div class="actions">
          <Button
            icon={paused ? <Play /> : <Pause />}
            onClick={() => {
              if (paused) transfer.resume();
              else transfer.pause();
              setPaused(!paused);
            }}
          >
            {paused ? t("sending.resume") : t("sending.pause")}
          </Button>
          <Button look="quiet" icon={<Cross />} onClick={() => transfer.cancel()}>
            {t("cancel")}
          </Button>
        </div>
      </section>
      <p class="hint centred">{t("sending.hint")}</p>
      {elsewhere !== null && (
        <LeaveDialog
          onLeave={() => {
            question.value?.cancel();
            transfer.cancel();
            release.current();
            location.hash = elsewhere;
          }}
        />
      )}
    </div>
  );
}

/** While files are on their way: the browser asks before the page is left, `LeaveDialog` before another view is shown. */
function useStay(): { readonly current: () => void } {
  const release = useRef<() => void>(() => undefined);
  useEffect(() => {
    release.current = stayHere();
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => {
      release.current();
      window.removeEventListener("beforeunload", warn);
    };
  }, []);
  return release;
}

function LeaveDialog({ onLeave }: { readonly onLeave: () => void }): JSX.Element {
  const stay = (): void => {
    wanted.value = null;
  };
  return (
    <Dialog title={t("leave.title")} onClose={stay}>
      <p>{t("leave.text")}</p>
      <div class="actions end">
        <Button look="danger" onClick={onLeave}>
          {t("leave.confirm")}
        </Button>
        <Button look="primary" onClick={stay} autofocus>
          {t("leave.stay")}
        </Button>
      </div>
    </Dialog>
  );
}

interface SentProps {
  readonly sent: Sent;
  readonly title: string;
  readonly whom: readonly string[];
  readonly second: string | null;
  readonly expiresAt: number;
  readonly maxOpens: number | null;
  readonly onAgain: () => void;
}

function SentView({ sent, title, whom, second, expiresAt, maxOpens, onAgain }: SentProps): JSX.Element {
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => top.current?.querySelector<HTMLElement>("h1")?.focus(), []);
  return (
    <div class="view view-narrow" ref={top}>
      <Heading lead={t("sent.lead")}>{t("sent.title")}</Heading>
      <section class="sheet sent" aria-label={title}>
        <CopyLine value={sent.link} label={t("sent.link")} title={title} />
        <dl class="facts">
          <div>
            <dt>{t("fact.title")}</dt>
            <dd>{title}</dd>
          </div>
          <div>
            <dt>{t("fact.for")}</dt>
            <dd>
              <Names of={whom} />
            </dd>
          </div>
          {second !== null && (
            <div>
              <dt>{t("fact.second")}</dt>
              <dd>
                <Name of={second} />
              </dd>
            </div>
          )}
          <div>
            <dt>{t("fact.until")}</dt>
            <dd>{day(expiresAt)}</dd>
          </div>
          <div>
            <dt>{t("fact.opens")}</dt>
            <dd>{maxOpens === null ? t("opens.any") : counted("opens.limit", maxOpens)}</dd>
          </div>
        </dl>
      </section>
      <Notice tone="info" title={t("sent.holds.title")}>
        <p>{t("sent.holds.text")}</p>
      </Notice>
      <div class="actions centred">
        <Button onClick={onAgain}>{t("sent.again")}</Button>
        <a class="button button-quiet" href={`#/shares/${sent.id}`}>
          {t("sent.manage")}
        </a>
      </div>
    </div>
  );
}
