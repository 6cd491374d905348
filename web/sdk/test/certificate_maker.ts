/** Certificates and revocation lists of P-256, made for tests: as wrong as they are wanted, and signed all the same. */

import { type Bytes, concat, unhex, utf8 } from "../src/protocol/bytes.js";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export const makeKeys = async (): Promise<CryptoKeyPair> =>
  (await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])) as CryptoKeyPair;

/** DER of one value. */
export function der(tag: number, ...content: readonly Uint8Array[]): Bytes {
  const body = concat(...content);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.from([tag, ...size]), body);
}

const sequence = (...content: readonly Uint8Array[]): Bytes => der(0x30, ...content);
const oid = (digits: string): Bytes => der(0x06, unhex(digits));
const integer = (value: number): Bytes => der(0x02, Uint8Array.of(value));
const bits = (bytes: Uint8Array): Bytes => der(0x03, Uint8Array.of(0), bytes);
const SHA256_WITH_ECDSA = sequence(oid("2a8648ce3d040302"));

const name = (common: string): Bytes => sequence(der(0x31, sequence(oid("550403"), der(0x0c, utf8(common)))));

function time(at: number): Bytes {
  const digits = new Date(at * 1000).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return der(0x17, utf8(digits.slice(2)));
}

export interface WantedExtension {
  /** Digits of the object identifier's content. */
  readonly oid: string;
  readonly critical?: boolean;
  readonly value: Bytes;
}

const extension = ({ oid: digits, critical = false, value }: WantedExtension): Bytes =>
  sequence(oid(digits), critical ? unhex("0101ff") : new Uint8Array(), der(0x04, value));

async function signed(body: Bytes, signer: CryptoKeyPair): Promise<Bytes> {
  const fixed = new Uint8Array(await crypto.subtle.sign(ALGORITHM, signer.privateKey, body));
  const number = (digits: Uint8Array): Bytes => {
    const first = digits.findIndex((byte) => byte !== 0);
    const shortest = digits.subarray(first);
    return der(0x02, (shortest[0] ?? 0) < 0x80 ? new Uint8Array() : Uint8Array.of(0), shortest);
  };
  return sequence(body, SHA256_WITH_ECDSA, bits(sequence(number(fixed.subarray(0, 32)), number(fixed.subarray(32)))));
}

export interface WantedCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly keys: CryptoKeyPair;
  readonly signer: CryptoKeyPair;
  readonly serial: number;
  /** Unix seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly WantedExtension[];
}

export async function makeCertificate(wanted: WantedCertificate): Promise<Bytes> {
  const key = new Uint8Array(await crypto.subtle.exportKey("spki", wanted.keys.publicKey));
  const body = sequence(
    der(0xa0, integer(2)),
    integer(wanted.serial),
    SHA256_WITH_ECDSA,
    name(wanted.issuer),
    sequence(time(wanted.notBefore), time(wanted.notAfter)),
    name(wanted.subject),
    key,
    der(0xa3, sequence(...wanted.extensions.map(extension))),
  );
  return signed(body, wanted.signer);
}

export interface WantedList {
  readonly issuer: string;
  readonly signer: CryptoKeyPair;
  readonly issuedAt: number;
  readonly nextAt: number;
  readonly revoked: readonly number[];
  readonly entryExtensions?: readonly WantedExtension[];
  readonly extensions: readonly WantedExtension[];
}

export async function makeRevocationList(wanted: WantedList): Promise<Bytes> {
  const { entryExtensions = [], extensions } = wanted;
  const inEntry = entryExtensions.length > 0 ? sequence(...entryExtensions.map(extension)) : new Uint8Array();
  const entries = wanted.revoked.map((serial) => sequence(integer(serial), time(wanted.issuedAt), inEntry));
  const body = sequence(
    integer(1),
    SHA256_WITH_ECDSA,
    name(wanted.issuer),
    time(wanted.issuedAt),
    time(wanted.nextAt),
    entries.length > 0 ? sequence(...entries) : new Uint8Array(),
    extensions.length > 0 ? der(0xa0, sequence(...extensions.map(extension))) : new Uint8Array(),
  );
  return signed(body, wanted.signer);
}

/** basicConstraints of an authority, or of none. */
export const constraints = (authority: boolean, pathLength?: number): WantedExtension => ({
  oid: "551d13",
  critical: true,
  value: authority ? sequence(unhex("0101ff"), pathLength === undefined ? new Uint8Array() : integer(pathLength)) : sequence(),
});

/** keyUsage with these bits, counted from 0. */
export const usage = (...which: readonly number[]): WantedExtension => ({
  oid: "551d0f",
  critical: true,
  value: der(0x03, Uint8Array.of(0, which.reduce((byte, bit) => byte | (0x80 >> bit), 0))),
});
