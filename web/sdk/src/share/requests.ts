/** Ask somebody for files, and answer who asks: their upload is sealed to the asker alone (`spec/share.md`). */

import { BadInput } from "../client/errors.js";
import type { Vault } from "../client/vault.js";
import { hex, unhex } from "../protocol/bytes.js";
import type { ById, Person, Terms } from "../protocol/messages.js";
import { randomBytes } from "../protocol/primitives.js";
import { boxInstructions, shareInstructions } from "./access.js";
import { Desk } from "./desk.js";
import { NotReady, Unreadable } from "./errors.js";
import { type DeskEntry, MAX_LETTER, type RequestSecret, encodeRequest, encodeShare, parseRequest, verifyAuthor } from "./format.js";
import { Pack, type Source } from "./pack.js";
import { DAY, KEPT_DAYS, type Letter, type SendOptions, Sending, type Sent, newEntry, newSecret, verifyLetter, verifyMethods } from "./shares.js";
import { type Site, formatLink } from "./site.js";

const ID = 16;
/** Of a record that was just made. */
const FIRST_VERSION = 1;

/** Ask for files, of at most `maxBytes` as a pack: what is sent opens for the asker alone, by `shares.open` of the box. */
export async function requestFiles(vault: Vault, site: Site, letter: Letter, maxBytes: number): Promise<Sent> {
  const people = verifyLetter(site, letter);
  if (!Number.isSafeInteger(maxBytes) || maxBytes <= 0 || maxBytes > site.maxBytes) throw new BadInput(`the site takes at most ${site.maxBytes} bytes`, "ask for less");
  await verifyMethods(vault, site);
  const [id, box, blob] = [randomBytes(ID), randomBytes(ID), randomBytes(ID)];
  const { title, message, expiresAt } = letter;
  const names = { box: hex(box), box_version: FIRST_VERSION, blob: hex(blob) };
  const secret: RequestSecret = { format: "strongroom request 1", title, message, ...names, max_bytes: maxBytes, expires_at: expiresAt };
  const entry: DeskEntry = { ...newEntry("request", letter, people), id: hex(id), box: hex(box), blob: hex(blob), size: maxBytes, files: 0 };
  // An answer of the last hour must still be there to be collected.
  const boxTerms: Terms = { expires_at: expiresAt + KEPT_DAYS * DAY, max_opens: 0, closed: false, fillable: true, blob, blob_bytes: maxBytes };
  const terms: Terms = { expires_at: expiresAt, max_opens: 0, closed: false, fillable: false, blob: null, blob_bytes: 0 };
  const desk = new Desk(vault, site);
  await desk.put(entry);
  await vault.storeMany(
    [
      { address: { by: "id", id: box }, secret: new Uint8Array(), instructions: await boxInstructions(site, people), terms: boxTerms },
      { address: { by: "id", id }, secret: encodeRequest(secret), instructions: await shareInstructions(site, people), terms },
    ],
    { namespace: site.namespace },
  );
  await desk.change(entry.id, { state: "sent" });
  return { id: entry.id, link: formatLink({ origin: site.origin, kind: "request", id }), size: maxBytes };
}

/** A request for files that the Vault released. */
export interface Invitation {
  readonly id: string;
  /** Who asks: the Vault's word. */
  readonly author: Person;
  readonly title: string;
  readonly message: string;
  /** Unix seconds: until when an answer is wanted. */
  readonly expiresAt: number;
  /** Of the whole pack. */
  readonly maxBytes: number;
  readonly request: RequestSecret;
}

/** See who asks for files, and for what. Throws as `shares.open`. `id` as 32 hex digits. */
export async function openInvitation(vault: Vault, id: string): Promise<Invitation> {
  const { secret, author, terms } = await vault.collect({ by: "id", id: unhex(id) });
  if (terms === null) throw new Unreadable("the record is no request");
  verifyAuthor(author);
  if (secret.length === 0) throw new NotReady("this request was withdrawn", "ask whom you got the link from");
  const request = parseRequest(secret);
  const { title, message, expires_at: expiresAt, max_bytes: maxBytes } = request;
  return { id, author, title, message, expiresAt, maxBytes, request };
}

/**
 * Send files to who asks, encrypted under a key made for this answer; bytes that were uploaded. Throws `Misuse` CONFLICT
 * when somebody else has answered.
 */
export async function answer(
  vault: Vault,
  site: Site,
  { request }: Invitation,
  files: readonly Source[],
  options: SendOptions & { readonly message?: string } = {},
): Promise<number> {
  const message = options.message ?? "";
  if ([...message].length > MAX_LETTER) throw new BadInput(`a message has at most ${MAX_LETTER} characters`, "write a shorter one");
  const pack = new Pack(files);
  if (pack.size > request.max_bytes) throw new BadInput(`these files make ${pack.size} bytes, and ${request.max_bytes} are wanted at most`, "send less");
  const sending = new Sending(options);
  sending.show("preparing", pack.size);
  const address: ById = { by: "id", id: unhex(request.box) };
  const secret = await newSecret({ title: request.title, message }, unhex(request.blob), pack.size);
  const manifest = await sending.upload(vault, site, { address, secret, pack });
  await vault.fill(address, { secret: encodeShare({ ...secret, manifest }) }, { replaces: request.box_version });
  return pack.size;
}
