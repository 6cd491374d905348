/** My shares: what is out, who opened it, and how to take it back. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { day, files as countFiles, moment, nowSeconds, size, until } from "../amounts.js";
import { useCell } from "../cell.js";
import { Arrow, Back, Clock, Eye, Inbox, List, Person, Send, Stop } from "../icons.js";
import { counted, t } from "../language.js";
import { Button, Chips, CopyLine, Dialog, Heading, Notice, ProblemNotice, Skeleton } from "../parts/basics.js";
import { CardsField, ExpiryChoice, OpensChoice } from "../parts/addressing.js";
import { Names } from "../parts/names.js";
import { Standing } from "../parts/standing.js";
import { checkAddress } from "../service/checks.js";
import { connection } from "../service/connection.js";
import { addRecipients, entries, extend, historyOf, revoke } from "../service/dashboard.js";
import { people } from "../service/people.js";
import { problemOf } from "../service/problem.js";
import { checkCards } from "../service/sharing.js";
import type { Entry, History, Problem, Visit } from "../service/types.js";

type Loaded<T> = { readonly state: "loading" } | { readonly state: "ready"; readonly value: T } | { readonly state: "failed"; readonly problem: Problem };

function useEntries(wanted: boolean): readonly [Loaded<readonly Entry[]>, () => void] {
  const [loaded, setLoaded] = useState<Loaded<readonly Entry[]>>({ state: "loading" });
  const load = (): void => {
    setLoaded((now) => (now.state === "ready" ? now : { state: "loading" }));
    entries().then(
      (value) => setLoaded({ state: "ready", value }),
      (error: unknown) => setLoaded({ state: "failed", problem: problemOf(error) }),
    );
  };
  useEffect(() => {
    if (wanted) load();
  }, [wanted]);
  return [loaded, load];
}

export function ManageView({ id }: { readonly id: string | null }): JSX.Element {
  const linked = useCell(connection);
  const who = useCell(people);
  const [asked, setAsked] = useState(who.length > 0);
  const verified = linked.state === "verified";
  const [loaded, load] = useEntries(verified && asked);
  const entry = loaded.state === "ready" && id !== null ? loaded.value.find((each) => each.id === id) : undefined;

  return (
    <div class={entry === undefined ? "view" : "view view-medium"}>
      {entry === undefined && <Heading lead={t("manage.lead")}>{t("manage.title")}</Heading>}
      {!verified ? (
        <Standing />
      ) : !asked ? (
        <section class="sheet empty">
          <span class="empty-icon">
            <Person />
          </span>
          <p>{t("manage.sign-in.text")}</p>
          <Button look="primary" onClick={() => setAsked(true)}>
            {t("sign-in")}
          </Button>
        </section>
      ) : loaded.state === "loading" ? (
        <div class="sheet">
          <Skeleton lines={6} />
        </div>
      ) : loaded.state === "failed" ? (
        <ProblemNotice problem={loaded.problem} actions={<Button onClick={load}>{t("retry")}</Button>} />
      ) : entry !== undefined ? (
        <EntryView entry={entry} onChanged={load} />
      ) : id !== null ? (
        <Notice tone="caution" title={t("manage.missing.title")}>
          <p>{t("manage.missing.text")}</p>
        </Notice>
      ) : loaded.value.length === 0 ? (
        <section class="sheet empty">
          <span class="empty-icon">
            <Send />
          </span>
          <p>{t("manage.empty")}</p>
          <a class="button button-primary" href="#/">
            {t("manage.empty.send")}
          </a>
        </section>
      ) : (
        <EntryTable entries={loaded.value} />
      )}
    </div>
  );
}

function EntryTable({ entries: rows }: { readonly entries: readonly Entry[] }): JSX.Element {
  return (
    <div class="sheet table-sheet">
      <table class="entries">
        <caption class="visually-hidden">{t("manage.title")}</caption>
        <thead>
          <tr>
            <th scope="col">{t("manage.column.what")}</th>
            <th scope="col">{t("manage.column.whom")}</th>
            <th scope="col">{t("manage.column.state")}</th>
            <th scope="col">{t("manage.column.until")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((entry) => (
            <tr key={entry.id}>
              <th scope="row">
                <a class="entry-link" href={`#/shares/${entry.id}`}>
                  <span class="entry-kind">{entry.kind === "share" ? <Send /> : <Inbox />}</span>
                  <span class="entry-name">
                    {entry.title}
                    <span class="hint">{entry.kind === "request" ? t("manage.request") : t("manage.files", { files: countFiles(entry.files), size: size(entry.size) })}</span>
                  </span>
                </a>
              </th>
              <td class="entry-whom">{[...entry.recipients, ...entry.groups].join(", ")}</td>
              <td>
                <StateMark state={entry.state} />
              </td>
              <td class="entry-until">{entry.expiresAt === null ? t("manage.no-end") : entry.state === "revoked" ? "–" : until(entry.expiresAt, nowSeconds())}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function StateMark({ state }: { readonly state: Entry["state"] }): JSX.Element {
  return <span class={`state state-${state}`}>{t(`state.${state}`)}</span>;
}

type Doing = "none" | "revoke" | "extend" | "add";

function EntryView({ entry, onChanged }: { readonly entry: Entry; readonly onChanged: () => void }): JSX.Element {
  const [history, setHistory] = useState<Loaded<History>>({ state: "loading" });
  const [doing, setDoing] = useState<Doing>("none");
  useEffect(() => {
    document.querySelector<HTMLElement>(".view h1")?.focus();
    historyOf(entry).then(
      (value) => setHistory({ state: "ready", value }),
      (error: unknown) => setHistory({ state: "failed", problem: problemOf(error) }),
    );
  }, [entry]);

  const over = entry.state === "revoked";
  const done = (): void => {
    setDoing("none");
    onChanged();
  };
  return (
    <>
      <a class="back-link" href="#/shares">
        <Back />
        {t("manage.title")}
      </a>
      <header class="heading entry-heading">
        <h1 tabIndex={-1}>{entry.title}</h1>
        <StateMark state={entry.state} />
      </header>
      {entry.state === "uploading" && (
        <Notice tone="caution" title={t("manage.unfinished.title")}>
          <p>{t("manage.unfinished.text")}</p>
        </Notice>
      )}
      {entry.state === "answered" && (
        <Notice
          tone="success"
          title={t("manage.answered.title")}
          actions={
            <a class="button button-primary" href={entry.link.slice(entry.link.indexOf("#"))}>
              {t("manage.answered.open")}
            </a>
          }
        >
          <p>{t("manage.answered.text")}</p>
        </Notice>
      )}
      <section class="sheet" aria-label={entry.title}>
        {!over && entry.state !== "answered" && <CopyLine value={entry.link} label={t("sent.link")} title={entry.title} />}
        <dl class="facts">
          <div>
            <dt>{t("fact.for")}</dt>
            <dd>
              <Names of={[...entry.recipients, ...entry.groups]} />
            </dd>
          </div>
          {entry.second !== null && (
            <div>
              <dt>{t("fact.second")}</dt>
              <dd>{entry.second}</dd>
            </div>
          )}
          {entry.passkeys > 0 && (
            <div>
              <dt>{t("fact.passkey")}</dt>
              <dd>{t("fact.passkey.yes")}</dd>
            </div>
          )}
          <div>
            <dt>{t("fact.sent")}</dt>
            <dd>{moment(entry.sentAt)}</dd>
          </div>
          {!over && (
            <>
              <div>
                <dt>{t("fact.until")}</dt>
                <dd>{entry.expiresAt === null ? t("manage.no-end") : day(entry.expiresAt)}</dd>
              </div>
              <div>
                <dt>{t("fact.opens")}</dt>
                <dd>
                  {history.state !== "ready"
                    ? entry.maxOpens === null
                      ? t("opens.any")
                      : counted("opens.limit", entry.maxOpens)
                    : entry.maxOpens === null
                      ? t("manage.opens-any", { opens: history.value.opens })
                      : t("manage.opens-of", { opens: history.value.opens, max: entry.maxOpens })}
                </dd>
              </div>
            </>
          )}
        </dl>
        {!over && (
          <div class="actions">
            {entry.kind === "share" && <Button onClick={() => setDoing("add")}>{t("manage.add")}</Button>}
            <Button onClick={() => setDoing("extend")}>{t("manage.extend")}</Button>
            <Button look="danger" onClick={() => setDoing("revoke")}>
              {t("manage.revoke")}
            </Button>
          </div>
        )}
      </section>
      <section class="sheet" aria-labelledby="history-title">
        <h2 id="history-title">{t("history.title")}</h2>
        <p class="hint">{t("history.hint")}</p>
        {history.state === "loading" && <Skeleton lines={3} />}
        {history.state === "failed" && <ProblemNotice problem={history.problem} />}
        {history.state === "ready" && <Visits entry={entry} history={history.value} />}
      </section>
      {doing === "revoke" && <RevokeDialog entry={entry} onClose={() => setDoing("none")} onDone={done} />}
      {doing === "extend" && <ExtendDialog entry={entry} onClose={() => setDoing("none")} onDone={done} />}
      {doing === "add" && <AddDialog entry={entry} onClose={() => setDoing("none")} onDone={done} />}
    </>
  );
}

const VISIT_ICONS: Readonly<Record<Visit["did"], () => JSX.Element>> = { opened: Eye, looked: List, refused: Stop, late: Clock, created: Send, changed: Arrow, filled: Inbox, other: Clock };

/** The visit that named the uploaded files: the sender's first change. Undefined if it is not certain that one did. */
function finishing(entry: Entry, { visits }: History): Visit | undefined {
  const first = visits.at(-1);
  if (entry.kind !== "share" || entry.state === "uploading" || first?.did !== "created") return undefined;
  const changes = visits.filter(({ did, who }) => did === "changed" && who === first.who);
  // to revoke is a change, too, and what never finished can be revoked
  return entry.state === "revoked" && changes.length === 1 ? undefined : changes.at(-1);
}

function Visits({ entry, history }: { readonly entry: Entry; readonly history: History }): JSX.Element {
  if (history.visits.length === 0) return <p class="quiet-empty">{t("history.empty")}</p>;
  const finished = finishing(entry, history);
  return (
    <>
      <ol class="visits">
        {history.visits.map((visit, place) => {
          const Icon = VISIT_ICONS[visit.did];
          return (
            <li key={place} class={`visit visit-${visit.did}`}>
              <span class="visit-icon">
                <Icon />
              </span>
              <span class="visit-words">
                <strong>{visit.who === "" ? t("history.nobody") : visit.who}</strong> {t(visit === finished ? "history.finished" : `history.${visit.did}`)}
              </span>
              <time dateTime={new Date(visit.at * 1000).toISOString()}>{moment(visit.at)}</time>
            </li>
          );
        })}
      </ol>
      {history.older > 0 && <p class="hint">{t("history.older", { count: history.older })}</p>}
    </>
  );
}

interface ChangeProps {
  readonly entry: Entry;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** Runs one change and keeps its trouble in the dialog. */
function useChange(onDone: () => void): { readonly busy: boolean; readonly problem: Problem | null; readonly run: (change: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = (change: () => Promise<void>): void => {
    setBusy(true);
    setProblem(null);
    change().then(onDone, (error: unknown) => {
      setBusy(false);
      setProblem(problemOf(error));
    });
  };
  return { busy, problem, run };
}

function RevokeDialog({ entry, onClose, onDone }: ChangeProps): JSX.Element {
  const { busy, problem, run } = useChange(onDone);
  return (
    <Dialog title={t("revoke.title", { title: entry.title })} onClose={onClose}>
      <p>{t("revoke.text")}</p>
      <p class="hint">{t("revoke.limit")}</p>
      {problem !== null && <ProblemNotice problem={problem} />}
      <div class="actions end">
        <Button look="quiet" onClick={onClose} autofocus>
          {t("revoke.keep")}
        </Button>
        <Button look="danger" busy={busy} onClick={() => run(() => revoke(entry))}>
          {t("revoke.confirm")}
        </Button>
      </div>
    </Dialog>
  );
}

function ExtendDialog({ entry, onClose, onDone }: ChangeProps): JSX.Element {
  const linked = useCell(connection);
  const max = linked.state === "verified" ? linked.offer.expiryDays.max : 90;
  const [days, setDays] = useState(14);
  const [opens, setOpens] = useState<number | null>(entry.maxOpens);
  const { busy, problem, run } = useChange(onDone);
  return (
    <Dialog title={t("extend.title")} onClose={onClose}>
      <ExpiryChoice days={days} max={max} onChange={setDays} />
      {entry.kind === "share" && <OpensChoice value={opens} onChange={setOpens} />}
      {problem !== null && <ProblemNotice problem={problem} />}
      <div class="actions end">
        <Button look="quiet" onClick={onClose}>
          {t("cancel")}
        </Button>
        <Button look="primary" busy={busy} onClick={() => run(() => extend(entry, nowSeconds() + days * 86_400, opens))}>
          {t("extend.confirm")}
        </Button>
      </div>
    </Dialog>
  );
}

function AddDialog({ entry, onClose, onDone }: ChangeProps): JSX.Element {
  const [more, setMore] = useState<readonly string[]>([]);
  const [cards, setCards] = useState("");
  // without a card of their own, they could sign in and still not open it
  const fault = entry.passkeys > 0 ? checkCards(cards, more) : null;
  const { busy, problem, run } = useChange(onDone);
  return (
    <Dialog title={t("add.title")} onClose={onClose}>
      <p>{t("add.text")}</p>
      <Chips label={t("address.people")} values={more} onChange={setMore} placeholder={t("address.people.placeholder")} check={(value) => checkAddress(value) ?? (value.toLowerCase() === entry.second ? t("send.fault.second") : null)} />
      {entry.passkeys > 0 && <CardsField cards={cards} onChange={setCards} error={cards === "" ? null : fault} />}
      {problem !== null && <ProblemNotice problem={problem} />}
      <div class="actions end">
        <Button look="quiet" onClick={onClose}>
          {t("cancel")}
        </Button>
        <Button look="primary" busy={busy} disabled={more.length === 0 || fault !== null} onClick={() => run(() => addRecipients(entry, more, cards))}>
          {t("add.confirm")}
        </Button>
      </div>
    </Dialog>
  );
}
