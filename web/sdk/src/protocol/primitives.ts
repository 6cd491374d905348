/**
 * Every cryptographic call of the SDK and every domain label, in one file.
 *
 * Suite of protocol version 1, without options: SHA-256, HMAC-SHA256, HKDF-SHA256, AES-256-GCM and ECDSA P-256 by
 * WebCrypto, HPKE (RFC 9180) with KEM MLKEM768-X25519 (0x647a), HKDF-SHA256 and AES-256-GCM by @hpke. Why each nonce is
 * safe stands beside the call; `spec/primitives.md` is the prose. (age has its own suite, in `share/age.ts`.) Checkpoints
 * of the log and their cosignatures are Ed25519, because C2SP says so: by WebCrypto too, which browsers have had since
 * Chromium 137, Firefox 129 and Safari 17.
 */

import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

import { type Bytes, concat, int64, utf8 } from "./bytes.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";

/** Bytes of an HPKE public key: ML-KEM-768 encapsulation key (1184) ‖ X25519 public key (32). */
export const KEM_PUBLIC_KEY = 1216;
export const KEM_SEED = 32;
const KEM_ENCAPSULATED = 1120;
export const SIGNATURE = 64;
/** Bytes of a P-256 public key, uncompressed SEC 1 form (first byte 04). */
export const SIGNING_PUBLIC_KEY = 65;
export const TAG = 16;

/** Domain labels that a client needs: no bytes authenticated for one purpose are ever valid for another. */
export const Domain = {
  GENESIS: "genesis",
  REPORT_DATA: "report data",
  CLAIMS_SIGNATURE: "claims signature",
  EVIDENCE: "evidence",
  HELLO: "hello",
  ANSWER: "answer",
  SERVER_SEED: "server seed",
  TRANSCRIPT: "transcript",
  PROOF: "proof",
  TRAFFIC: "traffic",
  FRAME: "frame",
  INSTRUCTIONS: "instructions",
  METHOD: "method",
  RULES: "rules",
  POLICY: "policy",
  NONCE: "nonce",
  CHALLENGE: "challenge",
  WORKLOAD_AUDIENCE: "workload audience",
  BLOB: "blob",
  COUNCIL: "council",
  ACCEPTANCE: "acceptance",
  ENDORSEMENT: "endorsement",
  GAP: "gap",
} as const;
export type Domain = (typeof Domain)[keyof typeof Domain];

/** label ‖ 00 ‖ (length of part, 8 bytes big-endian ‖ part)*: injective, so no two lists of parts collide. */
export function frameParts(domain: Domain, ...parts: readonly Uint8Array[]): Bytes {
  return concat(utf8(`strongroom/v1 ${domain}\0`), ...parts.flatMap((part) => [int64(part.length), part]));
}

/** Plain SHA-256 (32 bytes), without label: of key ids, of hellos, and of what other tools print. */
export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Plain SHA-512 (64 bytes): OpenSSH signs it in place of a file. */
export async function sha512(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-512", bytes));
}

/** SHA-256 (32 bytes) over the framed parts. */
export function digest(domain: Domain, ...parts: readonly Uint8Array[]): Promise<Bytes> {
  return sha256(frameParts(domain, ...parts));
}

/** HKDF-SHA256 (RFC 5869) to 32 bytes, with the framed parts as info. */
export async function deriveKey(secret: Bytes, salt: Bytes, domain: Domain, ...parts: readonly Uint8Array[]): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt, info: frameParts(domain, ...parts) };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

/** Bytes of the system's cryptographic generator. */
export function randomBytes(size: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(size));
}

/** Comparison whose time does not tell where the difference is. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) difference |= (a[at] ?? 0) ^ (b[at] ?? 0);
  return difference === 0;
}

/** What `attempt` gives. A library's refusal of what a network sent is an integrity error, whatever its class. */
async function orUntrusted<T>(attempt: () => Promise<T>, number: ErrorNumber = ErrorNumber.INTEGRITY, reason = ""): Promise<T> {
  try {
    return await attempt();
  } catch {
    throw new Untrusted(number, reason);
  }
}

// --- AES-256-GCM ------------------------------------------------------------------------------------------------

const aesKey = (key: Bytes): Promise<CryptoKey> => crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
const gcm = (iv: Bytes, additionalData: Bytes): AesGcmParams => ({ name: "AES-GCM", iv, additionalData, tagLength: 8 * TAG });

/**
 * Open what was sealed by AES-256-GCM with the all-zero nonce, under a key that seals exactly one message because it is
 * derived with a fresh random salt. Throws `Untrusted` INTEGRITY.
 */
export async function openOnce(key: Bytes, sealed: Bytes, associated: Bytes): Promise<Bytes> {
  const imported = await aesKey(key);
  return orUntrusted(async () =>
    new Uint8Array(await crypto.subtle.decrypt(gcm(new Uint8Array(12), associated), imported, sealed)),
  );
}

/**
 * AES-256-GCM of one direction of one session: nonce = 32 zero bits ‖ 64-bit counter.
 *
 * The key is fresh per session and direction, and a sender's counter never repeats, so no nonce repeats.
 */
export class FrameCipher {
  readonly #key: CryptoKey;
  readonly #associated: Bytes;

  private constructor(key: CryptoKey, associated: Bytes) {
    this.#key = key;
    this.#associated = associated;
  }

  static async create(key: Bytes, sessionId: Bytes, direction: Bytes): Promise<FrameCipher> {
    return new FrameCipher(await aesKey(key), frameParts(Domain.FRAME, sessionId, direction));
  }

  async seal(counter: bigint, plaintext: Bytes): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.encrypt(this.#how(counter), this.#key, plaintext));
  }

  /** Throws `Untrusted` INTEGRITY. */
  async open(counter: bigint, sealed: Bytes): Promise<Bytes> {
    return orUntrusted(async () => new Uint8Array(await crypto.subtle.decrypt(this.#how(counter), this.#key, sealed)));
  }

  #how(counter: bigint): AesGcmParams {
    const n = int64(counter);
    return gcm(concat(new Uint8Array(4), n), concat(this.#associated, n));
  }
}

// --- HPKE -------------------------------------------------------------------------------------------------------

const KEM = /* @__PURE__ */ new XWing();
const HPKE = /* @__PURE__ */ new CipherSuite({ kem: KEM, kdf: /* @__PURE__ */ new HkdfSha256(), aead: /* @__PURE__ */ new Aes256Gcm() });

/**
 * An HPKE private key, expanded from a 32-byte seed as X-Wing does: SHAKE-256(seed, 96) =
 * ML-KEM seed d ‖ z (64) ‖ X25519 private key (32).
 */
export class KemKey {
  readonly public: Bytes;
  readonly #private: CryptoKey;

  private constructor(publicKey: Bytes, privateKey: CryptoKey) {
    this.public = publicKey;
    this.#private = privateKey;
  }

  static async fromSeed(seed: Bytes): Promise<KemKey> {
    const pair = await KEM.generateKeyPairDerand(seed);
    return new KemKey(new Uint8Array(await KEM.serializePublicKey(pair.publicKey)), pair.privateKey);
  }

  /** Open `enc (1120) ‖ ciphertext`. Throws `Untrusted` INTEGRITY. */
  async open(sealed: Bytes, domain: Domain, ...info: readonly Uint8Array[]): Promise<Bytes> {
    if (sealed.length < KEM_ENCAPSULATED + TAG) throw new Untrusted(ErrorNumber.INTEGRITY);
    const how = { recipientKey: this.#private, enc: sealed.slice(0, KEM_ENCAPSULATED), info: frameParts(domain, ...info) };
    return orUntrusted(async () => new Uint8Array(await HPKE.open(how, sealed.slice(KEM_ENCAPSULATED))));
  }
}

/** HPKE base mode, single shot: `enc (1120) ‖ ciphertext`. Throws `Untrusted` EVIDENCE for a public key that is none. */
export async function kemSeal(publicKey: Bytes, plaintext: Bytes, domain: Domain, ...info: readonly Uint8Array[]): Promise<Bytes> {
  const attempt = async (): Promise<Bytes> => {
    const recipientPublicKey = await KEM.deserializePublicKey(publicKey);
    const { enc, ct } = await HPKE.seal({ recipientPublicKey, info: frameParts(domain, ...info) }, plaintext);
    return concat(new Uint8Array(enc), new Uint8Array(ct));
  };
  return orUntrusted(attempt, ErrorNumber.EVIDENCE, "not an HPKE public key");
}

// --- ECDSA P-256 ------------------------------------------------------------------------------------------------

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const ECDSA = { name: "ECDSA", hash: "SHA-256" } as const;

/** An ECDSA P-256 key pair whose private half no script can read; signatures are raw r ‖ s (64 bytes). */
export class SigningKey {
  readonly public: Bytes;
  readonly #private: CryptoKey;

  constructor(publicKey: Bytes, privateKey: CryptoKey) {
    this.public = publicKey;
    this.#private = privateKey;
  }

  static async generate(): Promise<SigningKey> {
    return SigningKey.fromPair(await SigningKey.generatePair());
  }

  /** The pair as IndexedDB can keep it. */
  static async generatePair(): Promise<CryptoKeyPair> {
    return crypto.subtle.generateKey(P256, false, ["sign", "verify"]);
  }

  static async fromPair(pair: CryptoKeyPair): Promise<SigningKey> {
    return new SigningKey(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)), pair.privateKey);
  }

  async sign(domain: Domain, ...parts: readonly Uint8Array[]): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.sign(ECDSA, this.#private, frameParts(domain, ...parts)));
  }
}

/** Throws `Untrusted` INTEGRITY unless `signature` (64 bytes) is one of the framed parts under `publicKey` (65 bytes). */
export async function verifySignature(
  publicKey: Bytes,
  signature: Bytes,
  domain: Domain,
  ...parts: readonly Uint8Array[]
): Promise<void> {
  return verifyPlainSignature(publicKey, signature, frameParts(domain, ...parts));
}

/** The same, of bytes that others prescribe (OpenSSH): there is no label of `Domain` in them. */
export async function verifyPlainSignature(publicKey: Bytes, signature: Bytes, message: Bytes): Promise<void> {
  const bad = new Untrusted(ErrorNumber.INTEGRITY, "bad signature");
  if (signature.length !== SIGNATURE || publicKey.length !== SIGNING_PUBLIC_KEY || publicKey[0] !== 4) throw bad;
  const key = await orUntrusted(() => crypto.subtle.importKey("raw", publicKey, P256, false, ["verify"]), bad.number, bad.reason);
  if (!(await crypto.subtle.verify(ECDSA, key, signature, message))) throw bad;
}

// --- Ed25519 ----------------------------------------------------------------------------------------------------

export const NOTE_PUBLIC_KEY = 32;

/**
 * Throws `Untrusted` INTEGRITY unless `signature` (64 bytes) is one of `message` under `publicKey` (32 bytes). C2SP and
 * OpenSSH prescribe every byte that is signed, so there is no label of `Domain` in it. Throws `Misuse` UNSUPPORTED where the
 * browser has no Ed25519: that is nobody's lie.
 */
export async function verifyNoteSignature(publicKey: Bytes, signature: Bytes, message: Bytes): Promise<void> {
  const bad = new Untrusted(ErrorNumber.INTEGRITY, "bad signature");
  if (signature.length !== SIGNATURE || publicKey.length !== NOTE_PUBLIC_KEY) throw bad;
  let holds: boolean;
  try {
    const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    holds = await crypto.subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (error.name !== "NotSupportedError") throw bad;
    throw new Misuse(ErrorNumber.UNSUPPORTED, "this browser is too old: it does not know Ed25519 signatures");
  }
  if (!holds) throw bad;
}

// --- padding ----------------------------------------------------------------------------------------------------

const SMALLEST_BUCKET = 256;

function bucket(size: number): number {
  let room = SMALLEST_BUCKET;
  while (room <= size) room *= 2;
  return room;
}

/** ISO/IEC 7816-4 padding (80 00…) up to the next power of two, at least 256: sizes tell buckets only. */
export function pad(message: Uint8Array): Bytes {
  const padded = new Uint8Array(bucket(message.length));
  padded.set(message);
  padded[message.length] = 0x80;
  return padded;
}

/** The inverse of `pad`, given authentic bytes. Throws `Untrusted` INTEGRITY unless they are exactly one padding. */
export function unpad(padded: Bytes): Bytes {
  const end = padded.findLastIndex((byte) => byte !== 0);
  if (end < 0 || padded[end] !== 0x80 || padded.length !== bucket(end)) throw new Untrusted(ErrorNumber.INTEGRITY, "bad padding");
  return padded.slice(0, end);
}
