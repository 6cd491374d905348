/**
 * age, version 1 (https://c2sp.org/age): hybrid identities, and the payload as a stream of blocks.
 *
 * Keys and headers are typage's. The payload is sealed here, since typage has only ChaCha20-Poly1305 in JavaScript, at a
 * sixth of the speed at which WebCrypto does it where a browser has it; elsewhere it is the same @noble/ciphers.
 *
 * age does not say who encrypted: whoever knows a recipient can make a valid file for it. Callers check digests first.
 */

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } from "age-encryption";

import { type Bytes, concat, utf8 } from "../protocol/bytes.js";
import { randomBytes } from "../protocol/primitives.js";
import { Damaged, Truncated, Unreadable } from "./errors.js";

export const CHUNK = 64 * 1024;
export const TAG = 16;
/** Bytes of a header whose only stanza is a hybrid one. */
export const HEADER = 1627;
export const NONCE = 16;
const SEALED_CHUNK = CHUNK + TAG;
const HYBRID_IDENTITY = /^AGE-SECRET-KEY-PQ-1[02-9AC-HJ-NP-Z]{58}$/;

/** Bytes of the age file that holds `size` bytes, encrypted to one hybrid recipient. */
export function ageLength(size: number): number {
  return HEADER + NONCE + size + TAG * Math.max(1, Math.ceil(size / CHUNK));
}

/** A new hybrid identity as text, `AGE-SECRET-KEY-PQ-1…`. */
export const generateIdentity = generateHybridIdentity;

/** Whom to encrypt to, for this identity to open it: `age1pq1…`. */
export const recipientOf = (identity: string): Promise<string> => identityToRecipient(identity);

/** Throws `Unreadable` unless it is a hybrid identity: the promise is that no later computer opens the pack. */
export function verifyIdentity(text: string): void {
  if (!HYBRID_IDENTITY.test(text)) throw new Unreadable("its key is not an age identity that a quantum computer leaves alone");
  try {
    new Decrypter().addIdentity(text);
  } catch {
    throw new Unreadable("its key is not an age identity"); // typage's own words may quote the key
  }
}

/** Encrypts one stream: `head`, then what `seal` answers, is the age file. */
export class Sealer {
  /** Header and nonce. */
  readonly head: Bytes;
  readonly #payload: Payload;

  private constructor(head: Bytes, payload: Payload) {
    this.head = head;
    this.#payload = payload;
  }

  static async start(recipient: string): Promise<Sealer> {
    let fileKey: Bytes | undefined;
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    // A recipient that wraps nothing, and learns the key that the others wrap.
    const listener = (key: Uint8Array): [] => {
      fileKey = new Uint8Array(key);
      return [];
    };
    encrypter.addRecipient({ wrapFileKey: listener });
    const empty = await encrypter.encrypt(new Uint8Array());
    if (fileKey === undefined || empty.length !== HEADER + NONCE + TAG) throw new Error("typage made another header than expected");
    // Of that file only the header is used: under a nonce of our own, no chunk shares its key and nonce with another.
    const nonce = randomBytes(NONCE);
    return new Sealer(concat(empty.subarray(0, HEADER), nonce), await Payload.of(fileKey, nonce));
  }

  /**
   * Ciphertext of `block`, in pieces: joining them is a copy that most callers can do without. Every block but the last is
   * a multiple of `CHUNK`.
   */
  seal(block: Uint8Array, place: "more" | "last"): Promise<readonly Uint8Array[]> {
    const count = place === "last" ? Math.max(1, Math.ceil(block.length / CHUNK)) : block.length / CHUNK;
    if (!Number.isInteger(count)) throw new Error("only the last block may end within a chunk");
    const chunks = Array.from({ length: count }, (_, at) => block.subarray(at * CHUNK, (at + 1) * CHUNK) as Bytes);
    return this.#payload.seal(chunks, place);
  }
}

/** Decrypts one stream. `open` any number of times, then `finish` once. Both throw `Damaged`. */
export class Opener {
  readonly #decrypter = new Decrypter();
  #held: Bytes = new Uint8Array();
  #payload: Payload | undefined;

  /** Throws `Unreadable` for what is not a hybrid identity. */
  constructor(identity: string) {
    verifyIdentity(identity);
    this.#decrypter.addIdentity(identity);
  }

  /** Plaintext of all but what may turn out to be the last chunk. */
  async open(data: Uint8Array): Promise<Bytes> {
    this.#held = concat(this.#held, data);
    const payload = await this.#begun();
    const count = Math.floor((this.#held.length - 1) / SEALED_CHUNK); // the last chunk opens as such only
    if (payload === undefined || count < 1) return new Uint8Array();
    const chunks = Array.from({ length: count }, (_, at) => this.#held.subarray(at * SEALED_CHUNK, (at + 1) * SEALED_CHUNK));
    this.#held = this.#held.subarray(count * SEALED_CHUNK);
    return concat(...(await payload.open(chunks, "more")));
  }

  /** The last chunk. Only now is it sure that nothing was cut off. */
  async finish(): Promise<Bytes> {
    const payload = await this.#begun();
    if (payload === undefined) throw new Truncated("it ends within its header");
    const isFirst = payload.isUnused;
    const last = concat(...(await payload.open([this.#held], "last")));
    if (last.length === 0 && !isFirst) throw new Damaged("its last chunk is empty");
    return last;
  }

  /** The payload's cipher as soon as header and nonce are there. */
  async #begun(): Promise<Payload | undefined> {
    if (this.#payload !== undefined || this.#held.length < HEADER + NONCE) return this.#payload;
    const header = this.#held.slice(0, HEADER);
    const nonce = this.#held.slice(HEADER, HEADER + NONCE);
    this.#held = this.#held.slice(HEADER + NONCE);
    this.#payload = await Payload.of(await this.#fileKey(header), nonce);
    return this.#payload;
  }

  async #fileKey(header: Bytes): Promise<Bytes> {
    try {
      return new Uint8Array(await this.#decrypter.decryptHeader(header));
    } catch {
      throw new Damaged("its header was altered, or is for another key"); // typage throws plain errors for every reason
    }
  }
}

/**
 * STREAM: chunk n under nonce = 88-bit counter ‖ 01 for the last chunk, 00 for all others.
 *
 * The key is derived from a fresh file key and nonce, and the counter never repeats, so no nonce does. Chunks can't change
 * places, and a file that was cut off has no chunk that opens as the last.
 */
class Payload {
  readonly #cipher: Cipher;
  #counter = 0;

  private constructor(cipher: Cipher) {
    this.#cipher = cipher;
  }

  static async of(fileKey: Bytes, nonce: Bytes): Promise<Payload> {
    const secret = await crypto.subtle.importKey("raw", fileKey, "HKDF", false, ["deriveBits"]);
    const how = { name: "HKDF", hash: "SHA-256", salt: nonce, info: utf8("payload") };
    return new Payload(await cipherOf(new Uint8Array(await crypto.subtle.deriveBits(how, secret, 256))));
  }

  get isUnused(): boolean {
    return this.#counter === 0;
  }

  seal(chunks: readonly Bytes[], place: "more" | "last"): Promise<Uint8Array[]> {
    const nonces = this.#nonces(chunks.length, place);
    return Promise.all(chunks.map((chunk, at) => this.#cipher.seal(nonces[at] as Bytes, chunk)));
  }

  /** All of them, or none: throws `Damaged`. */
  async open(chunks: readonly Bytes[], place: "more" | "last"): Promise<Uint8Array[]> {
    const first = this.#counter;
    const nonces = this.#nonces(chunks.length, place);
    const opened = await Promise.allSettled(chunks.map(async (chunk, at) => this.#cipher.open(nonces[at] as Bytes, chunk)));
    return opened.map((one, at) => {
      if (one.status === "rejected") throw new Damaged(`chunk ${first + at} does not open`);
      return one.value;
    });
  }

  #nonces(count: number, place: "more" | "last"): Bytes[] {
    return Array.from({ length: count }, (_, at) => {
      const nonce = new Uint8Array(12);
      new DataView(nonce.buffer).setBigUint64(3, BigInt(this.#counter++));
      nonce[11] = place === "last" && at === count - 1 ? 1 : 0;
      return nonce;
    });
  }
}

interface Cipher {
  seal(nonce: Bytes, plain: Bytes): Promise<Uint8Array> | Uint8Array;
  open(nonce: Bytes, sealed: Bytes): Promise<Uint8Array> | Uint8Array;
}

const NATIVE = "ChaCha20-Poly1305";

/** The browser's own cipher where it has one (https://wicg.github.io/webcrypto-modern-algos), else @noble/ciphers. */
async function cipherOf(key: Bytes): Promise<Cipher> {
  const native = await nativeKey(key);
  if (native === undefined) {
    return {
      seal: (nonce, plain) => chacha20poly1305(key, nonce).encrypt(plain),
      open: (nonce, sealed) => chacha20poly1305(key, nonce).decrypt(sealed),
    };
  }
  return {
    seal: async (iv, plain) => new Uint8Array(await crypto.subtle.encrypt({ name: NATIVE, iv }, native, plain)),
    open: async (iv, sealed) => new Uint8Array(await crypto.subtle.decrypt({ name: NATIVE, iv }, native, sealed)),
  };
}

async function nativeKey(key: Bytes): Promise<CryptoKey | undefined> {
  try {
    // "raw-secret" is newer than TypeScript's list of formats.
    return await crypto.subtle.importKey("raw-secret" as "raw", key, NATIVE, false, ["encrypt", "decrypt"]);
  } catch (error) {
    if (error instanceof DOMException || error instanceof TypeError) return undefined; // what browsers without it throw
    throw error;
  }
}
