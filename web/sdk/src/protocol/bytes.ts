/** Bytes and the texts that stand for them. `Bytes` are not shared between threads, as WebCrypto demands of its inputs. */

import { ErrorNumber, Misuse } from "./errors.js";

export type Bytes = Uint8Array<ArrayBuffer>;

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** All parts, one behind the other, in bytes of their own. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** 8 bytes, big-endian, of an integer from 0 to 2^64 − 1. */
export function int64(value: bigint | number): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** The integer in 8 bytes from `at`, big-endian. */
export function readInt64(bytes: Uint8Array, at: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(at);
}

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Bytes from hex digits of either case. Throws `Misuse` MALFORMED. */
export function unhex(text: string): Bytes {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(text)) throw new Misuse(ErrorNumber.MALFORMED, "not hex digits");
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

/** Base64 of RFC 4648 §5, without padding. */
export function base64url(bytes: Uint8Array): string {
  return base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The inverse of `base64url`. Throws `Misuse` MALFORMED for padding, other characters, and bits that are left over. */
export function unbase64url(text: string): Bytes {
  const bytes = /^[A-Za-z0-9_-]*$/.test(text) && text.length % 4 !== 1 ? decoded(text) : undefined;
  // Two texts must not stand for the same bytes.
  if (bytes === undefined || base64url(bytes) !== text) throw new Misuse(ErrorNumber.MALFORMED, "not base64url");
  return bytes;
}

/** Base64 of RFC 4648 §4, with padding. */
export function base64(bytes: Uint8Array): string {
  let text = "";
  // In pieces: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** The inverse of `base64`. Throws `Misuse` MALFORMED for other spellings of the same bytes, and for what is none. */
export function unbase64(text: string): Bytes {
  const bytes = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) ? decoded(text) : undefined;
  if (bytes === undefined || base64(bytes) !== text) throw new Misuse(ErrorNumber.MALFORMED, "not base64");
  return bytes;
}

/** Order of bytes; that of texts' UTF-8 is the order of their code points. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function decoded(text: string): Bytes {
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(standard.padEnd(Math.ceil(text.length / 4) * 4, "=")), (character) => character.charCodeAt(0));
}
