/**
 * What stands in the records and in the manifest of a share, as JSON (`spec/share.md`). Bytes in, values out.
 *
 * All of it was written by somebody else, who may be a stranger: whatever breaks a rule is `Unreadable`, with the rule.
 *
 * Attacks stopped here:
 *
 * 1. Paths that leave the folder, or of which two become one file on a disk that does not tell A from a.
 * 2. Names that read as another one: marks that turn the direction of text.
 * 3. Sizes that promise little and unpack to much, files that overlap, bytes of a pack that nobody checks.
 * 4. A share whose description points at the blob of another record: see `verifyBlob`.
 */

import { type Bytes, base64, hex, unbase64url, utf8 } from "../protocol/bytes.js";
import { StrongroomError } from "../protocol/errors.js";
import { MAX_SECRET } from "../protocol/limits.js";
import type { Person, Terms } from "../protocol/messages.js";
import { BadInput } from "../client/errors.js";
import { ageLength, verifyIdentity } from "./age.js";
import { NotReady, Unreadable } from "./errors.js";
import { type Shape, integer, listOf, nullable, object, oneOf, readJson, text, writeJson } from "./shapes.js";

export const SEGMENT = 1 << 20;
export const DIGEST = 32;
export const MAX_TITLE = 200;
/** Characters. */
export const MAX_LETTER = 8_000;
export const MAX_FILES = 10_000;
export const MAX_PART = 255;
export const MAX_PATH = 1_024;
export const MAX_MANIFEST = 16 << 20;
/** Recipients and groups of a share. */
export const MAX_PEOPLE = 100;
export const MAX_CARDS = 32;
export const MAX_CARD = 8 * 1024;
export const MAX_ENTRY = 20 * 1024;
/** A page of the desk above this many bytes takes no new entry. */
export const FULL_DESK = 40 * 1024;

const hexId = text(32, 32, /^[0-9a-f]*$/);
const hexDigest = text(64, 64, /^[0-9a-f]*$/);
const base64UrlText = text(1, 1_400, /^[A-Za-z0-9_-]*$/);
/** Plain ASCII around one @, as the Authenticator compares addresses (RULES 13). */
const emailText = text(3, 255, /^[!-?A-~]{1,64}@[!-?A-~]{1,190}$/);
const title = text(1, MAX_TITLE, /^\P{Cc}*$/u);
const letter = text(0, MAX_LETTER);

/** Where the manifest's age file lies in the pack, and SHA-256 of it. */
export interface ManifestPlace {
  readonly offset: number;
  readonly length: number;
  readonly sha256: string;
}

/** The secret of a share's record. */
export interface ShareSecret {
  readonly format: "strongroom share 1";
  readonly title: string;
  readonly message: string;
  readonly identity: string;
  readonly blob: string;
  readonly size: number;
  /** Null while the pack is being uploaded. */
  readonly manifest: ManifestPlace | null;
  readonly sent_at: number;
}

/** One file of a share. */
export interface FileEntry {
  readonly path: string;
  readonly size: number;
  readonly type: string;
  /** Unix seconds; 0: not known. */
  readonly modified: number;
  readonly offset: number;
  readonly length: number;
  /** SHA-256 of each segment of the age file, in base64. */
  readonly segments: string;
}

/** What is in a pack, in its order. */
export interface Manifest {
  readonly format: "strongroom manifest 1";
  readonly files: readonly FileEntry[];
}

/** The secret of an invitation to send files. */
export interface RequestSecret {
  readonly format: "strongroom request 1";
  readonly title: string;
  readonly message: string;
  readonly box: string;
  readonly box_version: number;
  readonly blob: string;
  readonly max_bytes: number;
  readonly expires_at: number;
}

/** A passkey that a recipient made known to a sender. */
export interface Card {
  readonly format: "strongroom passkey 1";
  readonly name: string;
  readonly rp_id: string;
  readonly origin: string;
  readonly credential_id: string;
  readonly public_key: string;
}

/** What a sender keeps of one share or request. */
export interface DeskEntry {
  readonly id: string;
  readonly kind: "share" | "request";
  readonly title: string;
  readonly recipients: readonly string[];
  readonly groups: readonly string[];
  readonly second: string | null;
  readonly passkeys: readonly Card[];
  readonly expires_at: number;
  /** 0: no limit. */
  readonly max_opens: number;
  readonly sent_at: number;
  readonly size: number;
  readonly files: number;
  readonly blob: string;
  readonly box: string | null;
  readonly state: "uploading" | "sent" | "revoked";
}

/** One page of a sender's desk. */
export interface DeskPage {
  readonly format: "strongroom desk 1";
  readonly entries: readonly DeskEntry[];
}

const manifestPlace: Shape<ManifestPlace> = object({ offset: integer(), length: integer(), sha256: hexDigest });

const shareSecret: Shape<ShareSecret> = object({
  format: oneOf("strongroom share 1"),
  title,
  message: letter,
  identity: text(0, 256),
  blob: hexId,
  size: integer(),
  manifest: nullable(manifestPlace),
  sent_at: integer(),
});

const fileEntry: Shape<FileEntry> = object({
  path: text(0, MAX_PATH),
  size: integer(),
  type: text(0, 127, /^[ -~]*$/),
  modified: integer(),
  offset: integer(),
  length: integer(),
  segments: text(0, MAX_MANIFEST),
});

const manifest: Shape<Manifest> = object({ format: oneOf("strongroom manifest 1"), files: listOf(fileEntry, 1, MAX_FILES) });

const requestSecret: Shape<RequestSecret> = object({
  format: oneOf("strongroom request 1"),
  title,
  message: letter,
  box: hexId,
  box_version: integer(),
  blob: hexId,
  max_bytes: integer(),
  expires_at: integer(),
});

const card: Shape<Card> = object({
  format: oneOf("strongroom passkey 1"),
  name: emailText,
  rp_id: text(1, 253),
  origin: text(1, 512),
  credential_id: base64UrlText,
  public_key: base64UrlText,
});

const deskEntry: Shape<DeskEntry> = object({
  id: hexId,
  kind: oneOf("share", "request"),
  title: text(1, MAX_TITLE),
  recipients: listOf(emailText, 0, MAX_PEOPLE),
  groups: listOf(text(0, MAX_SECRET), 0, MAX_PEOPLE),
  second: nullable(emailText),
  passkeys: listOf(card, 0, MAX_CARDS),
  expires_at: integer(),
  max_opens: integer(),
  sent_at: integer(),
  size: integer(),
  files: integer(),
  blob: hexId,
  box: nullable(hexId),
  state: oneOf("uploading", "sent", "revoked"),
});

const deskPage: Shape<DeskPage> = object({ format: oneOf("strongroom desk 1"), entries: listOf(deskEntry, 0, MAX_SECRET) });

/** The secret of a share's record. Throws `NotReady` for an empty one, and `Unreadable`. */
export function parseShare(untrusted: Bytes): ShareSecret {
  if (untrusted.length === 0) {
    throw new NotReady("there are no files here: the share was revoked, or nobody has answered yet", "ask whom you got the link from");
  }
  const share = readJson(shareSecret, untrusted, { limit: MAX_SECRET, what: "its description" });
  verifyIdentity(share.identity);
  const place = share.manifest;
  if (place !== null && (place.offset + place.length !== share.size || place.length < ageLength(0))) {
    throw new Unreadable("its manifest does not lie at the end of the pack");
  }
  // All of it is held in memory: a sender's number must not be the end of the receiver's page.
  if (place !== null && place.length > ageLength(MAX_MANIFEST)) throw new Unreadable("its list of files is too long");
  return share;
}

/** Throws `Unreadable` when the Vault does not say who a secret is from: its sender chose who recognises people for it. */
export function verifyAuthor(author: Person): void {
  if (author.principal === "") throw new Unreadable("the Vault does not know who it is from");
}

/** Throws `Unreadable` unless the record's terms, which the Vault holds to, are about this share's blob. */
export function verifyBlob(share: ShareSecret, terms: Terms | null): void {
  // Else whoever may only set the secret points at another record's blob, which outlives this record's revocation.
  if (terms?.blob == null || hex(terms.blob) !== share.blob || terms.blob_bytes < share.size) {
    throw new Unreadable("it describes another blob than the Vault granted it");
  }
}

/** The secret of an invitation. Throws `Unreadable`. */
export function parseRequest(untrusted: Bytes): RequestSecret {
  return readJson(requestSecret, untrusted, { limit: MAX_SECRET, what: "its description" });
}

/** The manifest of this share: it fills the pack without gap or overlap. Throws `Unreadable`. */
export function parseManifest(untrusted: Bytes, share: ShareSecret): Manifest {
  if (share.manifest === null) throw new Unreadable("it has no manifest");
  const read = readJson(manifest, untrusted, { limit: MAX_MANIFEST, what: "its list of files" });
  let at = 0;
  for (const entry of read.files) {
    verifyPath(entry.path);
    if (entry.offset !== at || entry.length !== ageLength(entry.size)) {
      throw new Unreadable("its files do not lie one behind the other");
    }
    digestsOf(entry);
    at += entry.length;
  }
  if (at !== share.manifest.offset) throw new Unreadable("its files do not fill the pack");
  verifyDistinct(read.files.map((entry) => entry.path));
  return read;
}

/** A passkey card, as a recipient handed it over. Throws `BadInput`. */
export function parseCard(untrusted: string): Card {
  try {
    const read = readJson(card, utf8(untrusted), { limit: MAX_CARD, what: "the passkey card" });
    unbase64url(read.credential_id);
    unbase64url(read.public_key);
    return read;
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
    throw new BadInput(`this is not a passkey card: ${error.reason}`, "recipients make one on the site's page #/passkey");
  }
}

/** A page of one's own desk. Throws `Unreadable`. */
export function parseDesk(untrusted: Bytes): DeskPage {
  return readJson(deskPage, untrusted, { limit: MAX_SECRET, what: "your list of shares" });
}

/** The same as bytes, once the reader took it: what is sent is what a receiver accepts. Throws `Unreadable`. */
export function encodeShare(share: ShareSecret): Bytes {
  const written = writeJson(share);
  parseShare(written);
  return written;
}

/** As `encodeShare`. */
export function encodeRequest(request: RequestSecret): Bytes {
  const written = writeJson(request);
  parseRequest(written);
  return written;
}

/** As `encodeShare`. */
export function encodeDesk(page: DeskPage): Bytes {
  const written = writeJson(page);
  parseDesk(written);
  return written;
}

/** As `encodeShare`, but the manifest's rules are checked before its digests are known: see `pack.ts`. */
export function encodeManifest(files: readonly FileEntry[]): Bytes {
  return writeJson({ format: "strongroom manifest 1", files } satisfies Manifest);
}

/** A card as text, for whoever hands it over. */
export function formatCard(of: Card): string {
  return JSON.stringify(of);
}

// --- rules ------------------------------------------------------------------------------------------------------

/**
 * What must not stand in a path: the separators of other systems, control characters, ends of lines, and marks that turn
 * the direction of text (report\u202Efdp.exe reads as a PDF).
 */
const FORBIDDEN = /[\\:\p{Cc}\p{Surrogate}\u2028\u2029\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/u;

/** Throws `Unreadable` for a path that is not plain, relative, and below the folder it is written into. */
export function verifyPath(path: string): void {
  if (FORBIDDEN.test(path)) throw new Unreadable("a file name has a character that must not stand in one");
  if (utf8(path).length > MAX_PATH) throw new Unreadable("a file name is too long");
  for (const part of path.split("/")) {
    if (part === "" || /[. ]$/.test(part)) { // also . and ..
      throw new Unreadable("a file name has a part that is empty, or ends in a dot or a blank");
    }
    if (utf8(part).length > MAX_PART) throw new Unreadable("a file name is too long");
  }
}

/** Throws `Unreadable` where two paths could be one file, or one the folder of another, on some disk. */
export function verifyDistinct(paths: readonly string[]): void {
  const folded = paths.map((path) => path.normalize("NFC").toLowerCase().normalize("NFC"));
  const files = new Set(folded);
  if (files.size !== folded.length) throw new Unreadable("two of its files have the same name");
  for (const path of folded) {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      if (files.has(path.slice(0, end))) throw new Unreadable("one of its files has the name of a folder");
    }
  }
}

/** SHA-256 (32 bytes) of each segment of a file. Throws `Unreadable` unless there is one for each, in canonical base64. */
export function digestsOf(entry: FileEntry): readonly Bytes[] {
  const count = Math.ceil(entry.length / SEGMENT);
  const wrong = new Unreadable("a file has not one digest for each segment");
  // The length first: nothing is decoded that is longer than it may be.
  if (entry.segments.length !== 4 * Math.ceil((count * DIGEST) / 3) || !/^[A-Za-z0-9+/]*={0,2}$/.test(entry.segments)) throw wrong;
  const joined = Uint8Array.from(atob(entry.segments), (character) => character.charCodeAt(0));
  if (joined.length !== count * DIGEST || base64(joined) !== entry.segments) throw wrong;
  return Array.from({ length: count }, (_, at) => joined.slice(at * DIGEST, (at + 1) * DIGEST));
}
