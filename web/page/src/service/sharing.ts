/** Sending and receiving, as the views see it. */

import { Control, HostFailed, parseCard, pickFile, pickTarget, saveAll as saveEveryFile, saveFile, shares, sourceOf, StrongroomError, unhex, type Card, type FileEntry } from "@strongroom/sdk";

import { t } from "../language.js";
import { verifyScripts } from "../scripts.js";
import { linked } from "./link.js";
import { showPeople, signInFor, signInSecond } from "./people.js";
import { prepareDownloads } from "./worker.js";
import type { Opened, Parcel, Progress, Sent, SharedFile, Transfer } from "./types.js";

/** What encrypts and uploads. */
export const WORKERS = /^\/assets\/worker-/;

type Watch = (done: number, total: number) => void;

/** Cards in a text, one behind the other as people paste them. Throws `BadInput` for what is none. */
export function cardsIn(text: string): readonly Card[] {
  return text
    .split(/(?<=\})\s*(?=\{)/)
    .map((each) => each.trim())
    .filter((each) => each !== "")
    .map(parseCard);
}

/** What is wrong with the cards that were pasted for these recipients, or null. */
export function checkCards(text: string, recipients: readonly string[]): string | null {
  try {
    const names = cardsIn(text).map((card) => card.name.toLowerCase());
    const without = recipients.filter((each) => !names.includes(each.toLowerCase()));
    if (names.length === 0) return t("send.fault.card");
    return without.length === 0 ? null : t("send.fault.card-missing", { names: without.join(", ") });
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
    return t("send.fault.card");
  }
}

/** The sender may have asked for two people: another one signs in beside whoever has. */
export const joinSecond = (id: string): Promise<void> => signInSecond({ by: "id", id: unhex(id) });

/** Tells the operator of a share. They see nothing of it but its id. */
export async function reportAbuse(id: string, text: string): Promise<void> {
  const answer = await fetch("/abuse", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ share: id, text }) });
  if (!answer.ok) throw new HostFailed("did not take the report", { status: answer.status, passing: true });
}

/** Encrypts, uploads, and stores the key with the Vault, after a sign-in if need be. */
export function send(parcel: Parcel, progress: (progress: Progress) => void): Transfer<Sent> {
  return transfer(async (control) => {
    const { vault, site } = linked();
    await verifyScripts(WORKERS);
    await signInFor({ by: "namespace", namespace: site.namespace }, "never");
    const { files, title, message, recipients, groups, expiresAt, maxOpens, second } = parcel;
    const passkeys = parcel.passkeys.flatMap(cardsIn);
    const draft = { files: files.map(sourceOf), title, message, recipients, groups, expiresAt, maxOpens: maxOpens ?? 0, passkeys, second };
    return shares.send(vault, site, draft, { control, progress: shown(progress) });
  });
}

/** A transfer with its controls, that begins at once. */
export function transfer<T>(run: (control: Control) => Promise<T>): Transfer<T> {
  const control = new Control();
  return {
    result: run(control).finally(showPeople),
    pause: () => control.pause(),
    resume: () => control.resume(),
    cancel: () => control.cancel(),
  };
}

/** The SDK's progress as the views show it. */
export const shown =
  (progress: (progress: Progress) => void) =>
  ({ stage, arrived, total }: shares.SendProgress): void =>
    progress({ stage, done: arrived, total });

/** Collects a share, which counts as opening it, after whatever sign-ins it asks for. */
export async function open(id: string): Promise<Opened> {
  const { vault, site } = linked();
  await signInFor({ by: "id", id: unhex(id) }, "allowed");
  prepareDownloads();
  const share = await shares.open(vault, site, id).finally(showPeople);
  return {
    from: share.author.email || share.author.principal,
    title: share.title,
    message: share.message,
    sentAt: share.sentAt,
    expiresAt: share.terms.expires_at === 0 ? null : share.terms.expires_at,
    maxOpens: share.terms.max_opens === 0 ? null : share.terms.max_opens,
    opens: share.opens,
    files: share.files,
    save: (file, progress, signal) => save(share, entryOf(share, file), progress, signal),
    saveAll: (progress, signal) => saveAll(share, progress, signal),
    read: (file) => share.readWhole(entryOf(share, file)),
  };
}

function entryOf(share: shares.OpenShare, file: SharedFile): FileEntry {
  const entry = share.files.find(({ path }) => path === file.path);
  if (entry === undefined) throw new Error("not a file of this share");
  return entry;
}

async function save(share: shares.OpenShare, file: FileEntry, progress: Watch, signal: AbortSignal): Promise<void> {
  const sink = await pickFile(file);
  await saveFile(share, file, sink, { progress, signal });
}

async function saveAll(share: shares.OpenShare, progress: Watch, signal: AbortSignal): Promise<void> {
  const target = await pickTarget(share.files, share.title);
  await saveEveryFile(share, target, { progress, signal });
}
