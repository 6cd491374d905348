/**
 * X.509 certificates and revocation lists (RFC 5280), parsed strictly, and what makers of processors sign with.
 *
 * What a certificate may do is decided by who knows its place in a chain: `intel_chain`, `amd_chain`, `nitro`. Here it
 * is only read, so that nothing in it is skipped: unknown critical extensions, doubled ones, and two algorithms that
 * differ are never passed over. Signatures are verified by WebCrypto.
 */

import type { Bytes } from "../protocol/bytes.js";
import { DerReader, type DerValue, NotDer, Tag, demand, readBoolean, readSmall, shortestInteger } from "./der.js";
import { refuse } from "./refusal.js";

export const Oid = {
  KEY_USAGE: "2.5.29.15",
  BASIC_CONSTRAINTS: "2.5.29.19",
  EXTENDED_KEY_USAGE: "2.5.29.37",
  ECDSA_SHA256: "1.2.840.10045.4.3.2",
  ECDSA_SHA384: "1.2.840.10045.4.3.3",
  EC_KEY: "1.2.840.10045.2.1",
  RSA_KEY: "1.2.840.113549.1.1.1",
} as const;

/** Bits of keyUsage. */
export const Usage = { DIGITAL_SIGNATURE: 0, KEY_CERT_SIGN: 5, CRL_SIGN: 6 } as const;

export interface Extension {
  readonly isCritical: boolean;
  readonly value: Bytes;
}

interface Signed {
  /** What the signature covers. */
  readonly body: Bytes;
  readonly algorithm: string;
  readonly signature: Bytes;
  readonly extensions: ReadonlyMap<string, Extension>;
  /** DER of the issuer's name: names are equal if their bytes are. */
  readonly issuer: Bytes;
}

export interface Certificate extends Signed {
  readonly der: Bytes;
  /** Content of the INTEGER. */
  readonly serial: Bytes;
  readonly subject: Bytes;
  /** Unix seconds: the first and the last at which it is valid. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly key: PublicKey;
}

export interface PublicKey {
  readonly algorithm: string;
  /** Object identifier of an elliptic curve; empty for other keys. */
  readonly curve: string;
  /** The point of an elliptic curve, or what the algorithm says. */
  readonly bits: Bytes;
  /** DER of the whole. */
  readonly info: Bytes;
}

export interface RevocationList extends Signed {
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly nextAt: number;
  /** Contents of INTEGERs. */
  readonly revoked: readonly Bytes[];
}

export interface Constraints {
  readonly isAuthority: boolean;
  /** Authorities that may stand between it and a leaf; undefined: any number. */
  readonly pathLength: number | undefined;
}

/** Throws `Untrusted` EVIDENCE; `what` names the certificate in the reason. */
export function parseCertificate(der: Bytes, what: string): Certificate {
  return read(what, () => {
    const { body, reader, algorithm, signature } = readSigned(der);
    const version = reader.nested(Tag.CONTEXT_0);
    demand(version.smallInteger() === 2); // v3
    version.end();
    const serial = reader.integer();
    demand(readAlgorithm(reader) === algorithm.whole);
    const issuer = reader.value(Tag.SEQUENCE).whole;
    const validity = reader.nested(Tag.SEQUENCE);
    const [notBefore, notAfter] = [readTime(validity.any()), readTime(validity.any())];
    validity.end();
    const subject = reader.value(Tag.SEQUENCE).whole;
    const key = readKey(reader.value(Tag.SEQUENCE));
    const extensions = readExtensions(reader.optional(Tag.CONTEXT_3));
    reader.end();
    return { der, body, algorithm: algorithm.oid, signature, extensions, issuer, serial, subject, notBefore, notAfter, key };
  });
}

/** Throws `Untrusted` EVIDENCE, also for a list that does not say until when it holds. */
export function parseRevocationList(der: Bytes, what: string): RevocationList {
  return read(what, () => {
    const { body, reader, algorithm, signature } = readSigned(der);
    demand(reader.smallInteger() === 1); // v2
    demand(readAlgorithm(reader) === algorithm.whole);
    const issuer = reader.value(Tag.SEQUENCE).whole;
    const [issuedAt, nextAt] = [readTime(reader.any()), readTime(reader.any())];
    const entries = reader.optional(Tag.SEQUENCE);
    const extensions = readExtensions(reader.optional(Tag.CONTEXT_0));
    reader.end();
    const revoked = entries === undefined ? [] : readRevoked(entries);
    return { body, algorithm: algorithm.oid, signature, extensions, issuer, issuedAt, nextAt, revoked };
  });
}

/** What a certificate says of its place in a chain; undefined where it says nothing. Throws `Untrusted` EVIDENCE. */
export function constraintsOf(certificate: Certificate, what: string): Constraints | undefined {
  const extension = certificate.extensions.get(Oid.BASIC_CONSTRAINTS);
  if (extension === undefined) return undefined;
  return read(what, () => {
    const reader = new DerReader(DerReader.only(extension.value, Tag.SEQUENCE).content);
    const authority = reader.optional(Tag.BOOLEAN);
    const isAuthority = authority !== undefined && readBoolean(authority.content);
    demand(authority === undefined || isAuthority); // false is the default, which DER leaves out
    const length = reader.optional(Tag.INTEGER);
    reader.end();
    return { isAuthority, pathLength: length && readSmall(shortestInteger(length.content)) };
  });
}

/** The bits that keyUsage sets; undefined where there is none. Throws `Untrusted` EVIDENCE. */
export function usageOf(certificate: Certificate, what: string): ReadonlySet<number> | undefined {
  const extension = certificate.extensions.get(Oid.KEY_USAGE);
  if (extension === undefined) return undefined;
  return read(what, () => {
    const [unused, ...bytes] = DerReader.only(extension.value, Tag.BIT_STRING).content;
    demand(unused !== undefined && unused < 8 && bytes.length >= 1 && bytes.length <= 2);
    const set = (byte: number): number[] => [...Array(8).keys()].filter((bit) => byte & (0x80 >> bit));
    const bits = bytes.flatMap((byte, at) => set(byte).map((bit) => 8 * at + bit));
    return new Set(bits);
  });
}

/** That no critical extension is unread: it may narrow what the rest means. Throws `Untrusted` EVIDENCE. */
export function verifyUnderstood(signed: Signed, understood: readonly string[], what: string): void {
  for (const [oid, { isCritical }] of signed.extensions) {
    if (isCritical && !understood.includes(oid)) throw refuse(`the ${what} has a critical extension that is not known here`);
  }
}

export const isRevoked = (list: RevocationList, certificate: Certificate): boolean =>
  list.revoked.some((serial) => sameBytes(serial, certificate.serial));

/** Of public values only: the time that it takes says how much is equal. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at]);

// --- signatures -------------------------------------------------------------------------------------------------

/** The curves that are in use, each with the one hash that goes with it. */
const CURVES = {
  "P-256": { oid: "1.2.840.10045.3.1.7", hash: "SHA-256", size: 32, algorithm: Oid.ECDSA_SHA256 },
  "P-384": { oid: "1.3.132.0.34", hash: "SHA-384", size: 48, algorithm: Oid.ECDSA_SHA384 },
} as const;
export type Curve = keyof typeof CURVES;

export const isOn = (key: PublicKey, curve: Curve): boolean => key.algorithm === Oid.EC_KEY && key.curve === CURVES[curve].oid;

/** ECDSA over `data` by the point `point` (04 ‖ x ‖ y); `signature` is r ‖ s. Throws the refusal that `otherwise` makes. */
export async function verifyEcdsa(
  curve: Curve,
  point: Bytes,
  signature: Bytes,
  data: Bytes,
  otherwise: () => Error,
): Promise<void> {
  const { hash, size } = CURVES[curve];
  if (signature.length !== 2 * size || point[0] !== 4) throw otherwise();
  const key = await imported(crypto.subtle.importKey("raw", point, { name: "ECDSA", namedCurve: curve }, false, ["verify"]));
  if (key === undefined || !(await crypto.subtle.verify({ name: "ECDSA", hash }, key, signature, data))) throw otherwise();
}

/** That the key on `curve` signed a certificate or list, as both of its algorithm fields say. Throws `Untrusted` EVIDENCE. */
export async function verifyEcdsaSigned(signed: Signed, key: PublicKey, curve: Curve, what: string): Promise<void> {
  const otherwise = (): Error => refuse(`the ${what} is not signed by its issuer`);
  const { algorithm, size } = CURVES[curve];
  if (!isOn(key, curve) || signed.algorithm !== algorithm) throw otherwise();
  const signature = fixedSignature(signed.signature, size);
  if (signature === undefined) throw otherwise();
  await verifyEcdsa(curve, key.bits, signature, signed.body, otherwise);
}

/** RSASSA-PSS with SHA-384 and a salt of 48 bytes, whatever the certificate declares. Throws `Untrusted` EVIDENCE. */
export async function verifyPssSigned(signed: Signed, key: PublicKey, what: string): Promise<void> {
  const found =
    key.algorithm === Oid.RSA_KEY
      ? await imported(crypto.subtle.importKey("spki", key.info, { name: "RSA-PSS", hash: "SHA-384" }, false, ["verify"]))
      : undefined;
  const algorithm = { name: "RSA-PSS", saltLength: 48 };
  if (found === undefined || !(await crypto.subtle.verify(algorithm, found, signed.signature, signed.body))) {
    throw refuse(`the ${what} is not signed by its issuer`);
  }
}

/** The key, or undefined where WebCrypto says that it is none. */
async function imported(importing: Promise<CryptoKey>): Promise<CryptoKey | undefined> {
  try {
    return await importing;
  } catch (error) {
    if (error instanceof DOMException) return undefined;
    throw error;
  }
}

/** r ‖ s of the DER of a signature. */
function fixedSignature(der: Bytes, size: number): Bytes | undefined {
  try {
    const reader = new DerReader(DerReader.only(der, Tag.SEQUENCE).content);
    const fixed = new Uint8Array(2 * size);
    for (const end of [size, 2 * size]) {
      const number = reader.integer();
      demand((number[0] ?? 0x80) < 0x80);
      const digits = number[0] === 0 ? number.subarray(1) : number;
      demand(digits.length <= size);
      fixed.set(digits, end - digits.length);
    }
    reader.end();
    return fixed;
  } catch (error) {
    if (error instanceof NotDer) return undefined;
    throw error;
  }
}

// --- reading ----------------------------------------------------------------------------------------------------

function read<T>(what: string, reading: () => T): T {
  try {
    return reading();
  } catch (error) {
    if (error instanceof NotDer) throw refuse(`the ${what} does not parse`);
    throw error;
  }
}

interface Algorithm {
  readonly oid: string;
  readonly whole: string;
}

function readSigned(der: Bytes): { body: Bytes; reader: DerReader; algorithm: Algorithm; signature: Bytes } {
  const outer = new DerReader(DerReader.only(der, Tag.SEQUENCE).content);
  const body = outer.value(Tag.SEQUENCE);
  const whole = outer.value(Tag.SEQUENCE);
  const signature = outer.bits();
  outer.end();
  const oid = new DerReader(whole.content).oid();
  return { body: body.whole, reader: new DerReader(body.content), algorithm: { oid, whole: String(whole.whole) }, signature };
}

/** The algorithm inside of what is signed, which must be the one outside. */
const readAlgorithm = (reader: DerReader): string => String(reader.value(Tag.SEQUENCE).whole);

function readKey(info: DerValue): PublicKey {
  const reader = new DerReader(info.content);
  const kind = reader.nested(Tag.SEQUENCE);
  const algorithm = kind.oid();
  const curve = algorithm === Oid.EC_KEY ? kind.oid() : "";
  const bits = reader.bits();
  reader.end();
  return { algorithm, curve, bits, info: info.whole };
}

function readExtensions(explicit: DerValue | undefined): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>();
  if (explicit === undefined) return found;
  const list = new DerReader(DerReader.only(explicit.content, Tag.SEQUENCE).content);
  demand(!list.isAtEnd);
  while (!list.isAtEnd) {
    const [oid, extension] = readExtension(list.nested(Tag.SEQUENCE));
    demand(!found.has(oid));
    found.set(oid, extension);
  }
  return found;
}

function readExtension(reader: DerReader): [string, Extension] {
  const oid = reader.oid();
  const critical = reader.optional(Tag.BOOLEAN);
  demand(critical === undefined || readBoolean(critical.content));
  const value = reader.value(Tag.OCTET_STRING).content;
  reader.end();
  return [oid, { isCritical: critical !== undefined, value }];
}

function readRevoked(entries: DerValue): readonly Bytes[] {
  const reader = new DerReader(entries.content);
  const revoked: Bytes[] = [];
  while (!reader.isAtEnd) {
    const entry = reader.nested(Tag.SEQUENCE);
    revoked.push(entry.integer());
    readTime(entry.any());
    const extensions = entry.optional(Tag.SEQUENCE);
    entry.end();
    if (extensions === undefined) continue;
    const list = new DerReader(extensions.content);
    // A critical one says that the entry is about another issuer's certificate, or something not known here.
    while (!list.isAtEnd) demand(!readExtension(list.nested(Tag.SEQUENCE))[1].isCritical);
  }
  return revoked;
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Unix seconds. */
function readTime({ tag, content }: DerValue): number {
  const pattern = tag === Tag.UTC_TIME ? UTC_TIME : GENERALIZED_TIME;
  demand(tag === Tag.UTC_TIME || tag === Tag.GENERALIZED_TIME);
  demand(content.length <= 15);
  const found = pattern.exec(String.fromCharCode(...content));
  demand(found !== null);
  const [, year, month, day, hour, minute, second] = found.map(Number);
  demand(year !== undefined && month !== undefined && day !== undefined && hour !== undefined);
  const century = tag !== Tag.UTC_TIME ? 0 : year < 50 ? 2000 : 1900;
  const date = new Date(0);
  date.setUTCFullYear(century + year, month - 1, day);
  date.setUTCHours(hour, minute, second, 0);
  // The 31st of April would become the 1st of May.
  demand(date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour);
  demand(date.getUTCMinutes() === minute && date.getUTCSeconds() === second);
  return date.getTime() / 1000;
}
