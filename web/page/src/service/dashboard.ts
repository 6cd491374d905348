/** What the person signed in has sent and asked for. */

import { ErrorNumber, shares, StrongroomError, unhex, type DeskEntry, type messages } from "@strongroom/sdk";

import { nowSeconds } from "../amounts.js";
import { linked } from "./link.js";
import { showPeople, signInFor } from "./people.js";
import { cardsIn } from "./sharing.js";
import type { Entry, History, State, Visit } from "./types.js";

/** Newest first, after a sign-in if need be. */
export async function entries(): Promise<readonly Entry[]> {
  const { vault, site } = linked();
  await signIn();
  const listed = await shares.list(vault, site).finally(showPeople);
  return Promise.all(listed.map(async (entry) => entryOf(entry, site.origin, await stateOf(entry))));
}

function signIn(): Promise<void> {
  return signInFor({ by: "namespace", namespace: linked().site.namespace }, "allowed");
}

function entryOf(entry: DeskEntry, origin: string, state: State): Entry {
  const answered = state === "answered" && entry.box !== null;
  const place = entry.kind === "share" ? `s/${entry.id}` : answered ? `s/${entry.box}` : `r/${entry.id}`;
  return {
    id: entry.id,
    kind: entry.kind,
    title: entry.title,
    recipients: entry.recipients,
    groups: entry.groups,
    second: entry.second,
    passkeys: entry.passkeys.length,
    sentAt: entry.sent_at,
    expiresAt: entry.expires_at === 0 ? null : entry.expires_at,
    maxOpens: entry.max_opens === 0 ? null : entry.max_opens,
    size: entry.size,
    files: entry.files,
    state,
    link: `${origin}/#/${place}`,
  };
}

/** Whether a request was answered, only the Vault knows: the list holds what its owner wrote. */
async function stateOf(entry: DeskEntry): Promise<State> {
  if (entry.state !== "sent") return entry.state;
  if (entry.kind === "request" && entry.box !== null) {
    try {
      const { terms } = await linked().vault.history({ by: "id", id: unhex(entry.box) });
      if (!terms.fillable && !terms.closed) return "answered";
    } catch (error) {
      // one request that can't be looked up must not hide the list; its own page says what is wrong
      if (!(error instanceof StrongroomError)) throw error;
    }
  }
  if (entry.expires_at !== 0 && entry.expires_at < nowSeconds()) return "expired";
  return entry.kind === "request" ? "waiting" : "sent";
}

/** Most recent first. */
export async function historyOf(entry: Entry): Promise<History> {
  const { vault, site } = linked();
  const journal = await shares.history(vault, site, entry.id).finally(showPeople);
  const own = new Set(vault.signedIn.map((person) => person.principal));
  // that one looked oneself is no news, and would hide who opened it
  const visits = journal.visits.filter(({ action, person }) => action !== "audit" || !own.has(person.principal)).map(visitOf);
  const [first] = journal.visits;
  return { visits: visits.reverse(), older: first === undefined ? 0 : Math.max(0, first.number - 1), opens: journal.opens };
}

const DONE: Readonly<Partial<Record<messages.Visit["action"], Visit["did"]>>> = { collect: "opened", audit: "looked", update: "changed", fill: "filled", create: "created" };

const visitOf = ({ at, person, action, outcome }: messages.Visit): Visit => ({
  at,
  who: person.email || person.principal,
  did: outcome === 0 ? (DONE[action] ?? "other") : outcome === ErrorNumber.OPENED_OUT || outcome === ErrorNumber.EXPIRED || outcome === ErrorNumber.CLOSED ? "late" : "refused",
});

export async function revoke(entry: Entry): Promise<void> {
  const { vault, site } = linked();
  await signIn();
  await shares.revoke(vault, site, entry.id).finally(showPeople);
}

export async function extend(entry: Entry, expiresAt: number, maxOpens: number | null): Promise<void> {
  const { vault, site } = linked();
  await signIn();
  const to = entry.kind === "share" ? { expiresAt, maxOpens: maxOpens ?? 0 } : { expiresAt };
  await shares.extend(vault, site, entry.id, to).finally(showPeople);
}

/** `cards`: the passkey cards of these people, as pasted; for a share that asks for none, nothing. */
export async function addRecipients(entry: Entry, emails: readonly string[], cards: string): Promise<void> {
  const { vault, site } = linked();
  const passkeys = entry.passkeys > 0 ? cardsIn(cards) : [];
  await signIn();
  await shares.addRecipients(vault, site, entry.id, emails, passkeys).finally(showPeople);
}
