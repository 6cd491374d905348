/**
 * Public keys and signatures as OpenSSH writes them (RFC 4253 §6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f and
 * PROTOCOL.sshsig): Ed25519 and P-256, as plain keys and as security keys (`sk-`).
 */

import { type Bytes, concat, utf8 } from "./bytes.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import { NOTE_PUBLIC_KEY, SIGNING_PUBLIC_KEY, sha256, sha512, verifyNoteSignature, verifyPlainSignature } from "./primitives.js";

/** Flag of a security key: somebody touched it. */
export const PRESENT = 0x01;

const CURVE = "nistp256";
const HALF_SIGNATURE = 32;
const MAX_INTEGER = 33;

const FIELD = 2n ** 255n - 19n;
const D = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n;
const ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
/** y of the eight points whose multiples are but a handful (RFC 7748 §7, RFC 8032 §5.1). */
const LOW_ORDER: ReadonlySet<bigint> = new Set([0n, 1n, FIELD - 1n, ORDER_8, FIELD - ORDER_8]);

type Algorithm = "ed25519" | "p256";
const KINDS: ReadonlyMap<string, { readonly algorithm: Algorithm; readonly isSecurityKey: boolean }> = new Map([
  ["ssh-ed25519", { algorithm: "ed25519", isSecurityKey: false }],
  ["ecdsa-sha2-nistp256", { algorithm: "p256", isSecurityKey: false }],
  ["sk-ssh-ed25519@openssh.com", { algorithm: "ed25519", isSecurityKey: true }],
  ["sk-ecdsa-sha2-nistp256@openssh.com", { algorithm: "p256", isSecurityKey: true }],
]);

/** A public key, and what its signatures look like. */
export interface SshKey {
  readonly kind: string;
  readonly algorithm: Algorithm;
  /** Ed25519: 32 bytes; P-256: an uncompressed point. */
  readonly public: Bytes;
  /** Of a security key: whom it makes signatures for. Undefined for a plain key. */
  readonly application: Bytes | undefined;
}

/** What a security key says beside its signature, under it. */
export interface Touch {
  readonly flags: number;
  readonly counter: number;
}

/** Throws `Misuse` METHOD_INVALID for everything but a key of the four types in its one form. */
export function parseSshKey(publicKey: Bytes): SshKey {
  try {
    return parseKey(new Fields(publicKey));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Misuse(ErrorNumber.METHOD_INVALID, error.message);
  }
}

/**
 * Throws `Untrusted` TOKEN_UNTRUSTED unless this is a signature of `message` for this namespace, and `Misuse` UNSUPPORTED
 * where the browser has no Ed25519. `Touch` of a security key: whether it is enough, the caller says.
 */
export async function verifySshsig(key: SshKey, untrustedSignature: Bytes, message: Bytes, namespace: string): Promise<Touch | undefined> {
  const parts = [utf8(namespace), new Uint8Array(), utf8("sha512"), await sha512(message)];
  let signed = concat(utf8("SSHSIG"), ...parts.map(string));
  try {
    const fields = new Fields(untrustedSignature);
    if (text(fields.string()) !== key.kind) throw new Malformed("the signature is of another type than the key");
    const signature = fields.string();
    let touch: Touch | undefined;
    if (key.application !== undefined) {
      const said = fields.take(5);
      touch = { flags: said[0] ?? 0, counter: new DataView(said.buffer).getUint32(1) };
      signed = concat(await sha256(key.application), said, await sha256(signed));
    }
    fields.end();
    if (key.algorithm === "ed25519") await verifyNoteSignature(key.public, signature, signed);
    else await verifyPlainSignature(key.public, rawSignature(new Fields(signature)), signed);
    return touch;
  } catch (error) {
    if (error instanceof Malformed) throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, error.message);
    if (error instanceof Untrusted) throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, error.reason);
    throw error;
  }
}

function parseKey(fields: Fields): SshKey {
  const kind = text(fields.string());
  const known = KINDS.get(kind);
  if (known === undefined) throw new Malformed("a key is not ssh-ed25519, ecdsa-sha2-nistp256 or one of their sk- types");
  const { algorithm, isSecurityKey } = known;
  if (algorithm === "p256" && text(fields.string()) !== CURVE) throw new Malformed("an ecdsa key is not of the curve nistp256");
  const point = fields.string();
  if (algorithm === "ed25519") verifyEdwardsPoint(point);
  // Whether it is on the curve WebCrypto looks at before it verifies anything with it.
  else if (point.length !== SIGNING_PUBLIC_KEY || point[0] !== 4) throw new Malformed("a P-256 key is not an uncompressed point");
  const application = isSecurityKey ? fields.string() : undefined;
  fields.end();
  if (application !== undefined && !/^[\x20-\x7e]+$/.test(text(application))) {
    throw new Malformed("the application of a security key is not printable ASCII");
  }
  return { kind, algorithm, public: point, application };
}

/**
 * For a point of low order anybody can sign; for one off the curve nobody could, and its owner were locked out. Browsers
 * differ in whether they look at either.
 */
function verifyEdwardsPoint(point: Bytes): void {
  if (point.length !== NOTE_PUBLIC_KEY) throw new Malformed("an Ed25519 key is not 32 bytes long");
  const y = [...point].reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n) & (2n ** 255n - 1n);
  if (y >= FIELD || LOW_ORDER.has(y)) throw new Malformed("an Ed25519 key is of low order, or not in its one form");
  // Euler's criterion for x² = (y² - 1) / (dy² + 1), RFC 8032 §5.1.3.
  if (power((y * y - 1n) * (D * y * y + 1n), (FIELD - 1n) / 2n) !== 1n) {
    throw new Malformed("an Ed25519 key is not a point of the curve");
  }
}

/** In the field; of public values alone. */
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = ((base % FIELD) + FIELD) % FIELD;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % FIELD;
    square = (square * square) % FIELD;
  }
  return result;
}

/** r ‖ s, as WebCrypto takes them. */
function rawSignature(fields: Fields): Bytes {
  const [r, s] = [fields.integer(), fields.integer()];
  fields.end();
  const raw = new Uint8Array(2 * HALF_SIGNATURE);
  for (const [at, value] of [r, s].entries()) {
    if (value.length > HALF_SIGNATURE) throw new Malformed("a number of a signature is too large");
    raw.set(value, (at + 1) * HALF_SIGNATURE - value.length);
  }
  return raw;
}

function string(content: Bytes): Bytes {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, content.length);
  return concat(length, content);
}

/** Bytes as the characters of the same number: names of types are ASCII, and what is none equals none of them. */
const text = (bytes: Bytes): string => String.fromCharCode(...bytes);

/** What stands there is not of the form that it should have. */
class Malformed extends Error {}

/** Fields of RFC 4251 §5, one after the other. Methods throw `Malformed`. */
class Fields {
  #rest: Bytes;

  constructor(data: Bytes) {
    this.#rest = data;
  }

  string(): Bytes {
    const length = this.take(4);
    return this.take(new DataView(length.buffer).getUint32(0));
  }

  /** A positive mpint in its one form, without the zero that shows that it is none below 0. */
  integer(): Bytes {
    const content = this.string();
    const [first = 0, second = 0] = content;
    if (content.length === 0 || content.length > MAX_INTEGER || first >= 0x80 || (first === 0 && second < 0x80)) {
      throw new Malformed("a number of a signature is not positive and in its one form");
    }
    return first === 0 ? content.slice(1) : content;
  }

  end(): void {
    if (this.#rest.length > 0) throw new Malformed("something follows a key or a signature");
  }

  /** A copy. */
  take(size: number): Bytes {
    if (this.#rest.length < size) throw new Malformed("a key or a signature is cut short");
    const taken = this.#rest.slice(0, size);
    this.#rest = this.#rest.slice(size);
    return taken;
  }
}
