/**
 * Signed checkpoints of the log and their cosignatures, by the letter of C2SP (`spec/log.md`).
 *
 * signed-note, tlog-checkpoint and tlog-cosignature (Ed25519, cosignature/v1). Their bytes are text. Attacks that a lax
 * reader would let through, refused here:
 *
 * 1. One key whose name another signature line bears: a line counts for exactly the verifier key that was configured.
 * 2. Two spellings of one checkpoint (leading zeros, other base64, text after the third line): there is one.
 * 3. A cosignature made for another checkpoint, or whose time was changed: both are signed.
 * 4. One witness that counts twice: cosignatures are counted by key, since they do not sign the witness's name.
 * 5. Terminal codes, or an end of line that only some readers see, in a text that is signed: no control characters.
 */

import { type Bytes, base64, concat, hex, readInt64, unbase64, utf8 } from "./bytes.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import { MAX_CHECKPOINT } from "./limits.js";
import { equal, sha256, verifyNoteSignature } from "./primitives.js";

/** Type of a log's key. */
export const ED25519 = 0x01;
/** Type of a witness's key. */
export const COSIGNATURE = 0x04;
export type KeyType = typeof ED25519 | typeof COSIGNATURE;

const NAME = /^[^\p{White_Space}\p{Surrogate}+\x00-\x1f\x7f]{1,255}$/u;
/** Bytes: with MAX_WITNESSES of them a checkpoint fits into MAX_CHECKPOINT. */
const MAX_WITNESS_NAME = 128;
const SIZE = /^(?:0|[1-9][0-9]{0,18})$/;
const MAX_SIZE = 2n ** 63n - 1n;
const KEY_ID = 4;
const MARK = "\u2014 ";
const CONTROL = /[\x00-\x09\x0b-\x1f]/;

/** A verifier key: who may sign, by name, type and public key (32 bytes). */
export interface Verifier {
  readonly name: string;
  readonly kind: KeyType;
  readonly public: Bytes;
  /** 4 bytes that signature lines begin with: a hint, not a proof. */
  readonly keyId: Bytes;
}

export async function verifierOf(name: string, kind: KeyType, publicKey: Bytes): Promise<Verifier> {
  const whole = await sha256(concat(utf8(`${name}\n`), Uint8Array.of(kind), publicKey));
  return { name, kind, public: publicKey, keyId: whole.slice(0, KEY_ID) };
}

/** As signed-note writes it: `NAME+HASH+KEY`. */
export const formatVerifier = ({ name, kind, public: key, keyId }: Verifier): string =>
  `${name}+${hex(keyId)}+${base64(concat(Uint8Array.of(kind), key))}`;

/** A verifier key of this type. Throws `Misuse` MALFORMED with the reason. */
export async function parseVerifier(text: string, kind: KeyType): Promise<Verifier> {
  const [name = "", keyId = "", ...rest] = text.split("+");
  const raw = decoded(rest.join("+"));
  if (raw === undefined || raw.length === 0 || !NAME.test(name)) throw malformed("a verifier key is NAME+HASH+KEY");
  if (kind === COSIGNATURE && utf8(name).length > MAX_WITNESS_NAME) {
    throw malformed(`the name of a witness has at most ${MAX_WITNESS_NAME} bytes`);
  }
  if (raw[0] !== kind || raw.length !== 33) {
    const what = kind === COSIGNATURE ? "a witness's (Ed25519 cosignatures, type 4)" : "a log's (Ed25519, type 1)";
    throw malformed(`the verifier key ${name} is not ${what}`);
  }
  const verifier = await verifierOf(name, kind, raw.slice(1));
  if (keyId !== hex(verifier.keyId)) throw malformed(`the hash in the verifier key ${name} does not fit its key`);
  return verifier;
}

/** A tree head: which log, how many leaves, root hash (32 bytes). */
export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Bytes;
}

/** What is signed. */
export const bodyOf = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${base64(root)}\n`;

/** A checkpoint with its signature lines, none of them believed. */
export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly lines: readonly string[];
  /** Byte for byte as it was read. */
  readonly note: Bytes;
}

/** A witness's verified word: it saw this checkpoint, as the largest of this log, at `time` (unix seconds). */
export interface Cosignature {
  readonly witness: Verifier;
  readonly time: bigint;
  readonly line: string;
}

/** Of a Vault's log. Throws `Untrusted` INTEGRITY for what is no signed checkpoint in its one spelling. */
export function parseCheckpoint(note: Bytes): SignedCheckpoint {
  if (note.length > MAX_CHECKPOINT) throw bad("it is too long");
  const text = textOf(note);
  const gap = text.lastIndexOf("\n\n");
  const fields = gap < 0 ? [] : text.slice(0, gap).split("\n");
  const [origin = "", size = "", root = ""] = fields;
  // Logs of others may have more lines; witnesses read those, clients of a Vault never.
  if (fields.length !== 3 || origin === "") throw bad("it is not three lines, an empty one, and signatures");
  const rootHash = decoded(root);
  if (!SIZE.test(size) || BigInt(size) > MAX_SIZE || rootHash?.length !== 32) throw bad("it does not name a log, a size and a root hash");
  return { checkpoint: { origin, size: BigInt(size), root: rootHash }, lines: signatureLines(text.slice(gap + 2)), note };
}

function signatureLines(text: string): readonly string[] {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length === 0) throw bad("it does not end with signature lines");
  if (!lines.every(isSignature)) throw bad("a line is not a signature");
  return lines;
}

function isSignature(line: string): boolean {
  const [name = "", signature = "", ...rest] = line.startsWith(MARK) ? line.slice(MARK.length).split(" ") : [];
  return NAME.test(name) && rest.length === 0 && (decoded(signature)?.length ?? 0) > KEY_ID;
}

/** Of exactly this log, signed by it. Throws `Untrusted` INTEGRITY. */
export async function verifyCheckpoint(note: Bytes, log: Verifier): Promise<SignedCheckpoint> {
  const signed = parseCheckpoint(note);
  if (signed.checkpoint.origin !== log.name) throw bad("it is of another log");
  for (const line of signed.lines) {
    const signature = signatureOf(line, log, 64);
    if (signature === undefined) continue;
    await verifyNoteSignature(log.public, signature, utf8(bodyOf(signed.checkpoint)));
    return signed;
  }
  throw bad("its log has not signed it");
}

/** Those of these witnesses that hold, one a key. Lines of others, and lines that do not hold, count for nothing. */
export async function cosignatures(signed: SignedCheckpoint, witnesses: readonly Verifier[]): Promise<readonly Cosignature[]> {
  const found = new Map<string, Cosignature>();
  for (const line of signed.lines) {
    for (const witness of witnesses) {
      const cosignature = await cosignatureIn(line, witness, signed.checkpoint);
      if (cosignature === undefined) continue;
      const key = hex(witness.public);
      const earlier = found.get(key);
      if (earlier === undefined || earlier.time < cosignature.time) found.set(key, cosignature);
    }
  }
  return [...found.values()];
}

async function cosignatureIn(line: string, witness: Verifier, checkpoint: Checkpoint): Promise<Cosignature | undefined> {
  const signature = signatureOf(line, witness, 72);
  if (signature === undefined) return undefined;
  const time = readInt64(signature, 0);
  if (time === 0n || time > MAX_SIZE) return undefined; // 0: no word about what the witness saw last
  try {
    await verifyNoteSignature(witness.public, signature.slice(8), utf8(`cosignature/v1\ntime ${time}\n${bodyOf(checkpoint)}`));
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return undefined;
  }
  return { witness, time, line };
}

/** The signature in a line, if it bears this verifier's name and key id and is this long. */
function signatureOf(line: string, verifier: Verifier, length: number): Bytes | undefined {
  const prefix = `${MARK}${verifier.name} `;
  const raw = line.startsWith(prefix) ? decoded(line.slice(prefix.length)) : undefined;
  if (raw?.length !== KEY_ID + length || !equal(raw.slice(0, KEY_ID), verifier.keyId)) return undefined;
  return raw.slice(KEY_ID);
}

function textOf(note: Bytes): string {
  let text: string;
  try {
    // A byte order mark is text here, not something to leave out: there is one spelling.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(note);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw bad("it is not UTF-8");
  }
  if (CONTROL.test(text)) throw bad("it holds a control character");
  return text;
}

/** Base64 in its one spelling. */
function decoded(text: string): Bytes | undefined {
  try {
    return unbase64(text);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    return undefined;
  }
}

const malformed = (reason: string): Misuse => new Misuse(ErrorNumber.MALFORMED, reason);
const bad = (why: string): Untrusted => new Untrusted(ErrorNumber.INTEGRITY, `not a checkpoint: ${why}`);
