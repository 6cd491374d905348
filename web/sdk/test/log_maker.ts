/** Logs for tests: trees with their proofs, and keys that sign checkpoints of them. What a host and a Vault do together. */

import { type Bytes, base64, concat, int64, utf8 } from "../src/protocol/bytes.js";
import { type Checkpoint, type KeyType, COSIGNATURE, ED25519, type Verifier, bodyOf, formatVerifier, verifierOf } from "../src/protocol/notes.js";
import { type Tree, emptyRoot, leafHash, nodeHash } from "../src/protocol/tlog.js";

/** The largest power of two below `size` (RFC 6962 2.1). */
function split(size: number): number {
  let half = 1;
  while (2 * half < size) half *= 2;
  return half;
}

/** A log whose leaves are all there. */
export class Log {
  readonly leaves: Bytes[] = [];

  /** `size` leaves that say `what` and their index. */
  static async of(size: number, what = "leaf"): Promise<Log> {
    const log = new Log();
    for (let at = 0; at < size; at++) await log.append(`${what} ${at}`);
    return log;
  }

  async append(text: string): Promise<void> {
    this.leaves.push(await leafHash(utf8(text)));
  }

  async tree(size = this.leaves.length): Promise<Tree> {
    return { size: BigInt(size), root: await root(this.leaves.slice(0, size)) };
  }

  inclusion(index: number, size = this.leaves.length): Promise<Bytes[]> {
    return path(index, this.leaves.slice(0, size));
  }

  consistency(old: number, size = this.leaves.length): Promise<Bytes[]> {
    return old === 0 || old === size ? Promise.resolve([]) : subproof(old, this.leaves.slice(0, size), true);
  }
}

async function root(leaves: readonly Bytes[]): Promise<Bytes> {
  const [only] = leaves;
  if (only === undefined) return emptyRoot();
  if (leaves.length === 1) return only;
  const half = split(leaves.length);
  return nodeHash(await root(leaves.slice(0, half)), await root(leaves.slice(half)));
}

async function path(index: number, leaves: readonly Bytes[]): Promise<Bytes[]> {
  if (leaves.length === 1) return [];
  const half = split(leaves.length);
  const [left, right] = [leaves.slice(0, half), leaves.slice(half)];
  return index < half ? [...(await path(index, left)), await root(right)] : [...(await path(index - half, right)), await root(left)];
}

async function subproof(old: number, leaves: readonly Bytes[], whole: boolean): Promise<Bytes[]> {
  if (old === leaves.length) return whole ? [] : [await root(leaves)];
  const half = split(leaves.length);
  const [left, right] = [leaves.slice(0, half), leaves.slice(half)];
  if (old <= half) return [...(await subproof(old, left, whole)), await root(right)];
  return [...(await subproof(old - half, right, false)), await root(left)];
}

/** An Ed25519 key under a name. */
export class Signer {
  readonly verifier: Verifier;
  readonly #key: CryptoKey;

  private constructor(verifier: Verifier, key: CryptoKey) {
    this.verifier = verifier;
    this.#key = key;
  }

  static async make(name: string, kind: KeyType): Promise<Signer> {
    const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    const key = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    return new Signer(await verifierOf(name, kind, key), pair.privateKey);
  }

  /** With a key of another name's: one key signs all generations of a log. */
  static of(verifier: Verifier, key: CryptoKey): Signer {
    return new Signer(verifier, key);
  }

  /** As `NAME+HASH+KEY`. */
  get text(): string {
    return formatVerifier(this.verifier);
  }

  /** The log's own signature line, or with a time a witness's. */
  async line(checkpoint: Checkpoint, time?: number): Promise<string> {
    const { name, keyId, kind } = this.verifier;
    if ((kind === COSIGNATURE) !== (time !== undefined)) throw new Error("witnesses alone say when");
    const signed = time === undefined ? bodyOf(checkpoint) : `cosignature/v1\ntime ${time}\n${bodyOf(checkpoint)}`;
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", this.#key, utf8(signed)));
    return `\u2014 ${name} ${base64(concat(keyId, time === undefined ? new Uint8Array() : int64(time), signature))}`;
  }
}

export const logSigner = (origin: string): Promise<Signer> => Signer.make(origin, ED25519);
export const witness = (name: string): Promise<Signer> => Signer.make(name, COSIGNATURE);
export const note = (checkpoint: Checkpoint, lines: readonly string[]): Bytes => utf8(`${bodyOf(checkpoint)}\n${lines.map((line) => `${line}\n`).join("")}`);
