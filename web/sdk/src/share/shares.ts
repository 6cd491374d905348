/**
 * Send files, open what was sent, and keep in hand what one has sent.
 *
 *     const { link } = await send(vault, site, { files, title, message, recipients, expiresAt, maxOpens: 0 }, { control, progress });
 *     const share = await open(vault, site, id);
 *     for (const file of share.files) await saveFile(share, file, await pickFile(file));
 *
 * Encryption and its check happen here; the host gets ciphertext, and the link holds an id, never a key.
 */

import { BadInput } from "../client/errors.js";
import type { Journal } from "../client/results.js";
import type { Vault } from "../client/vault.js";
import { type Bytes, concat, hex, unhex } from "../protocol/bytes.js";
import { StrongroomError } from "../protocol/errors.js";
import type { ById, Person, Terms } from "../protocol/messages.js";
import { randomBytes } from "../protocol/primitives.js";
import { type Recipients, boxInstructions, recipientsOf, shareInstructions } from "./access.js";
import { generateIdentity, recipientOf } from "./age.js";
import { BlobHost, PATIENCE } from "./blobs.js";
import { Control } from "./control.js";
import { Desk } from "./desk.js";
import { Cancelled, NotReady, Unreadable } from "./errors.js";
import {
  type Card,
  type DeskEntry,
  type FileEntry,
  MAX_LETTER,
  MAX_TITLE,
  type ManifestPlace,
  type ShareSecret,
  encodeShare,
  parseShare,
  verifyAuthor,
  verifyBlob,
} from "./format.js";
import { Pack, type Source, openFile, openManifest } from "./pack.js";
import { type Site, formatLink } from "./site.js";
import { type Progress as UploadProgress, sealAndUpload } from "./upload.js";

export const DAY = 86_400;
/** Days for which the answer to a request is kept beyond the time until which it was wanted. */
export const KEPT_DAYS = 14;
const ID = 16;
/** Milliseconds in which the host may fail to give the list of files: until it comes, a page has nothing to show. */
const OPENING = 15_000;

/** What to say with a share or a request, to whom, and for how long. */
export interface Letter {
  readonly title: string;
  readonly message: string;
  /** E-mail addresses. */
  readonly recipients: readonly string[];
  readonly groups?: readonly string[];
  /** Unix seconds. */
  readonly expiresAt: number;
  /** Passkeys that recipients have to use besides: one of each recipient by e-mail. */
  readonly passkeys?: readonly Card[];
  /** Who has to sign in beside each recipient, on the same device. */
  readonly second?: string | null;
}

export interface Draft extends Letter {
  readonly files: readonly Source[];
  /** 0 or left out: any number. */
  readonly maxOpens?: number;
}

/** How a transfer to the host is going. */
export interface SendProgress extends UploadProgress {
  readonly stage: "preparing" | "uploading" | "finishing";
}

export interface SendOptions {
  readonly progress?: (progress: SendProgress) => void;
  /** To pause, resume and cancel. */
  readonly control?: Control;
  readonly signal?: AbortSignal;
}

/** A share or a request that is in place. */
export interface Sent {
  /** 32 hex digits. */
  readonly id: string;
  readonly link: string;
  /** Bytes that the host keeps, or may come to keep. */
  readonly size: number;
}

// --- send -------------------------------------------------------------------------------------------------------

/**
 * Encrypt and upload files; then they are there for the recipients. Throws what `Vault` does, `BadInput`, `HostFailed`,
 * and `Cancelled`, after which nothing is left but an entry on the desk that says so.
 */
export async function send(vault: Vault, site: Site, draft: Draft, options: SendOptions = {}): Promise<Sent> {
  const sending = new Sending(options);
  const people = verifyLetter(site, draft);
  const pack = new Pack(draft.files);
  if (pack.size > site.maxBytes) {
    throw new BadInput(`these files make ${pack.size} bytes, and the site takes ${site.maxBytes}`, "send less at a time, or compress it");
  }
  await verifyMethods(vault, site);
  const desk = new Desk(vault, site);
  const [id, blob] = [randomBytes(ID), randomBytes(ID)];
  const address: ById = { by: "id", id };
  const secret = await newSecret(draft, blob, pack.size);
  const maxOpens = draft.maxOpens ?? 0;
  const entry: DeskEntry = { ...newEntry("share", draft, people), id: hex(id), blob: hex(blob), size: pack.size, files: draft.files.length, max_opens: maxOpens };
  sending.show("preparing", pack.size);
  await desk.put(entry);
  try {
    const terms = { expires_at: draft.expiresAt, max_opens: maxOpens, closed: false, fillable: false, blob, blob_bytes: pack.size };
    const instructions = await shareInstructions(site, people);
    const { version } = await vault.store({ address, secret: encodeShare(secret), instructions, terms }, { namespace: site.namespace });
    const manifest = await sending.upload(vault, site, { address, secret, pack });
    await vault.update(address, { secret: encodeShare({ ...secret, manifest }) }, { replaces: version });
  } catch (error) {
    if (error instanceof Cancelled) await abandon(vault, site, desk, entry);
    throw error;
  }
  await desk.change(entry.id, { state: "sent" });
  return { id: entry.id, link: formatLink({ origin: site.origin, kind: "share", id }), size: pack.size };
}

/** One transfer, with its progress and its controls. */
export class Sending {
  readonly #control: Control;
  readonly #progress: (progress: SendProgress) => void;

  constructor({ control = new Control(), signal, progress = (): void => undefined }: SendOptions) {
    this.#control = control.obey(signal);
    this.#progress = progress;
  }

  show(stage: "preparing" | "finishing", total: number): void {
    const arrived = stage === "finishing" ? total : 0;
    this.#progress({ stage, state: "running", sealed: arrived, arrived, total, speed: 0 });
  }

  /** Upload the pack of a record under the Vault's grant for it; where its manifest lies. */
  async upload(vault: Vault, site: Site, of: { readonly address: ById; readonly secret: ShareSecret; readonly pack: Pack }): Promise<ManifestPlace> {
    await this.#control.passed();
    const out = { blob: unhex(of.secret.blob), size: of.pack.size, grant: await vault.grantBlob(of.address) };
    const job = { sources: of.pack.sources, recipient: await recipientOf(of.secret.identity), origin: site.origin, out };
    const place = await sealAndUpload(job, this.#control, (progress) => this.#progress({ ...progress, stage: "uploading" }));
    await this.#control.passed();
    this.show("finishing", of.pack.size);
    return place;
  }
}

/** A description without manifest, under a key of its own. */
export async function newSecret(of: Pick<Letter, "title" | "message">, blob: Bytes, size: number): Promise<ShareSecret> {
  const identity = await generateIdentity();
  return { format: "strongroom share 1", title: of.title, message: of.message, identity, blob: hex(blob), size, manifest: null, sent_at: seconds() };
}

export function newEntry(kind: "share" | "request", letter: Letter, people: Recipients): Omit<DeskEntry, "id" | "blob" | "size" | "files"> {
  const { emails, groups, second, cards } = people;
  const to = { recipients: emails, groups, second, passkeys: cards };
  return { kind, title: letter.title, ...to, expires_at: letter.expiresAt, max_opens: 0, sent_at: seconds(), box: null, state: "uploading" };
}

/** Throws `BadInput`. */
export function verifyLetter(site: Site, letter: Letter): Recipients {
  const lengthOf = (text: string): number => [...text].length;
  const { title, message } = letter;
  if (title === "" || lengthOf(title) > MAX_TITLE || lengthOf(message) > MAX_LETTER) {
    throw new BadInput(`a title has 1 to ${MAX_TITLE} characters, a message at most ${MAX_LETTER}`, "write a shorter one");
  }
  if (/[\p{Cc}\p{Surrogate}]/u.test(title) || /\p{Surrogate}/u.test(message)) {
    throw new BadInput("the title or the message holds what is no character", "write it again");
  }
  verifyExpiry(site, letter.expiresAt);
  return recipientsOf({ emails: letter.recipients, groups: letter.groups ?? [], second: letter.second ?? null, cards: letter.passkeys ?? [] });
}

/** Who stores by one method is nobody by another: they could never revoke what they sent. */
export async function verifyMethods(vault: Vault, site: Site): Promise<void> {
  const { methods } = await vault.describe({ by: "namespace", namespace: site.namespace });
  const known = new Set(methods.map((method) => hex(method.digest)));
  if (site.methods.every((method) => known.has(hex(method.digest)))) return;
  throw new BadInput("the site's statement has sign-in methods that its namespace does not have", "tell its operator: both come from one instructions file");
}

function verifyExpiry(site: Site, expiresAt: number): void {
  const days = (expiresAt - seconds()) / DAY;
  if (Number.isSafeInteger(expiresAt) && days > 0 && days <= site.expiryDays.max + 0.01) return;
  throw new BadInput(`shares of this site last at most ${site.expiryDays.max} days`, "choose another expiry");
}

const seconds = (): number => Math.floor(Date.now() / 1000);

// --- keep in hand -----------------------------------------------------------------------------------------------

/** What the person signed in has sent and asked for, newest first. */
export function list(vault: Vault, site: Site): Promise<readonly DeskEntry[]> {
  return new Desk(vault, site).entries();
}

/** Who asked for a share of one's own, with what answer; of a request, who asked for its box. */
export async function history(vault: Vault, site: Site, id: string): Promise<Journal> {
  const entry = await new Desk(vault, site).find(id);
  return vault.history(addressOf(entry.box ?? entry.id));
}

/**
 * From now on nobody opens it; the host erases the blob. Who has opened it already keeps what they have.
 *
 * The Vault is told first. When the host can't be reached after that, `HostFailed` is thrown, and to repeat this is all
 * there is to do.
 */
export async function revoke(vault: Vault, site: Site, id: string): Promise<void> {
  const desk = new Desk(vault, site);
  const entry = await desk.find(id);
  for (const record of recordsOf(entry)) {
    const { terms } = await vault.history(addressOf(record));
    if (!terms.closed) await vault.update(addressOf(record), { secret: new Uint8Array(), terms: { ...terms, closed: true } });
  }
  await desk.change(entry.id, { state: "revoked" });
  await showGrant(vault, site, entry);
}

/** Another expiry (unix seconds), another number of opens (0: any). The entry as it is then. */
export async function extend(vault: Vault, site: Site, id: string, to: { readonly expiresAt?: number; readonly maxOpens?: number }): Promise<DeskEntry> {
  const desk = new Desk(vault, site);
  const entry = await findLive(desk, id);
  if (to.expiresAt !== undefined) verifyExpiry(site, to.expiresAt);
  for (const record of recordsOf(entry)) {
    // The present ones come from the journal: who sends may not collect.
    const { terms } = await vault.history(addressOf(record));
    const kept = record === entry.box ? KEPT_DAYS * DAY : 0;
    const changed: Terms = {
      ...terms,
      expires_at: to.expiresAt === undefined ? terms.expires_at : to.expiresAt + kept,
      max_opens: record === entry.box ? terms.max_opens : (to.maxOpens ?? terms.max_opens),
    };
    await vault.update(addressOf(record), { terms: changed });
  }
  const after = { ...entry, expires_at: to.expiresAt ?? entry.expires_at, max_opens: to.maxOpens ?? entry.max_opens };
  await desk.put(after);
  if (to.expiresAt !== undefined) await showGrant(vault, site, after);
  return after;
}

/** Further recipients by e-mail, with their passkeys where the share demands some. The entry as it is then. */
export async function addRecipients(vault: Vault, site: Site, id: string, emails: readonly string[], passkeys: readonly Card[] = []): Promise<DeskEntry> {
  const desk = new Desk(vault, site);
  const entry = await findLive(desk, id);
  // Those who were recipients before stay so: what is built anew is built from the whole entry.
  const people = recipientsOf({
    emails: [...entry.recipients, ...emails],
    groups: entry.groups,
    second: entry.second,
    cards: [...entry.passkeys, ...passkeys],
  });
  for (const record of recordsOf(entry)) {
    const build = record === entry.box ? boxInstructions : shareInstructions;
    await vault.update(addressOf(record), { instructions: await build(site, people) });
  }
  const after = { ...entry, recipients: people.emails, passkeys: people.cards };
  await desk.put(after);
  return after;
}

const addressOf = (id: string): ById => ({ by: "id", id: unhex(id) });
const recordsOf = ({ id, box }: DeskEntry): readonly string[] => (box === null ? [id] : [id, box]);

async function findLive(desk: Desk, id: string): Promise<DeskEntry> {
  const entry = await desk.find(id);
  if (entry.state === "revoked") throw new BadInput("this share was revoked, for good", "send the files again");
  return entry;
}

async function showGrant(vault: Vault, site: Site, entry: DeskEntry): Promise<void> {
  const grant = await vault.grantBlob(addressOf(entry.box ?? entry.id));
  await new BlobHost(site.origin).showGrant(unhex(entry.blob), grant, new Control());
}

/** What was begun and cancelled is revoked, as far as that goes; expiry does the rest. */
async function abandon(vault: Vault, site: Site, desk: Desk, entry: DeskEntry): Promise<void> {
  try {
    await desk.change(entry.id, { state: "revoked" });
    await revoke(vault, site, entry.id);
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
  }
}

// --- open -------------------------------------------------------------------------------------------------------

/** A share that the Vault released and whose list of files has been verified. */
export class OpenShare {
  readonly id: string;
  readonly title: string;
  readonly message: string;
  /** Who sent it: the Vault's word, not the sender's own. */
  readonly author: Person;
  /** Unix seconds, by the sender's clock. */
  readonly sentAt: number;
  readonly terms: Terms;
  readonly opens: number;
  readonly files: readonly FileEntry[];
  readonly #host: BlobHost;
  readonly #secret: ShareSecret;

  constructor(id: string, released: { readonly author: Person; readonly terms: Terms; readonly opens: number }, of: { readonly secret: ShareSecret; readonly files: readonly FileEntry[]; readonly host: BlobHost }) {
    this.id = id;
    this.title = of.secret.title;
    this.message = of.secret.message;
    this.author = released.author;
    this.sentAt = of.secret.sent_at;
    this.terms = released.terms;
    this.opens = released.opens;
    this.files = of.files;
    this.#host = of.host;
    this.#secret = of.secret;
  }

  /**
   * The plaintext of one file, verified piece by piece; it is whole only when this ends. Throws `Damaged` (`Truncated`
   * among them), `Missing`, `HostFailed` and `Cancelled`.
   */
  read(file: FileEntry, control: Control = new Control()): AsyncGenerator<Bytes, void, undefined> {
    const part = { blob: unhex(this.#secret.blob), offset: file.offset, length: file.length };
    return openFile(file, this.#secret.identity, this.#host.read(part, control));
  }

  /** The whole file, for a preview: only for small ones. */
  async readWhole(file: FileEntry, control?: Control): Promise<Bytes> {
    const pieces: Bytes[] = [];
    for await (const piece of this.read(file, control)) pieces.push(piece);
    return concat(...pieces);
  }
}

/**
 * Collect a share, which counts as opening it, and get its list of files. `id` as 32 hex digits.
 *
 * Throws what `Vault.collect` does (CLOSED, EXPIRED, OPENED_OUT, REFUSED, …), `NotReady`, `Missing`, `Damaged`, `Unreadable`.
 */
export async function open(vault: Vault, site: Site, id: string, control: Control = new Control()): Promise<OpenShare> {
  const { secret: untrusted, author, terms, opens } = await vault.collect(addressOf(id));
  if (terms === null) throw new Unreadable("the record is no share");
  verifyAuthor(author);
  if (untrusted.length === 0 && terms.fillable) {
    throw new NotReady("nobody has answered this request yet", "remind whom you asked, or try again later");
  }
  const secret = parseShare(untrusted);
  verifyBlob(secret, terms);
  if (secret.manifest === null) throw new NotReady("the files are still being uploaded", "ask the sender, or try again in a while");
  const host = new BlobHost(site.origin);
  const asking = new BlobHost(site.origin, { ...PATIENCE, inVain: OPENING });
  const pieces: Uint8Array[] = [];
  for await (const piece of asking.read({ blob: unhex(secret.blob), ...secret.manifest }, control)) pieces.push(piece);
  const { files } = await openManifest(secret, concat(...pieces));
  return new OpenShare(id, { author, terms, opens }, { secret, files, host });
}
