/**
 * DER (X.690), as far as certificates need it: every length is definite, in its shortest form, and adds up.
 *
 * Own code, because what libraries for browsers read is BER: lengths in longer forms and bytes that no length covers.
 * Two texts would then stand for one certificate, and two readers could see different ones in it.
 */

import type { Bytes } from "../protocol/bytes.js";

/** Bytes that are not DER, or not of the type expected. Whoever reads says whose bytes they are, and refuses those. */
export class NotDer extends Error {}

/** Tags of one byte: class, form and number. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  /** [0] and [3], explicit. */
  CONTEXT_0: 0xa0,
  CONTEXT_3: 0xa3,
} as const;

/** One value: its tag, what is in it, and the whole with tag and length. */
export interface DerValue {
  readonly tag: number;
  readonly content: Bytes;
  readonly whole: Bytes;
}

/** Throws `NotDer` unless `holds`. */
export function demand(holds: boolean): asserts holds {
  if (!holds) throw new NotDer();
}

/** Reads values, one behind the other. Every function throws `NotDer`. */
export class DerReader {
  readonly #data: Bytes;
  #at = 0;

  constructor(data: Bytes) {
    this.#data = data;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#data.length;
  }

  end(): void {
    demand(this.isAtEnd);
  }

  any(): DerValue {
    const start = this.#at;
    const tag = this.#byte();
    demand((tag & 0x1f) !== 0x1f); // longer tags stand in no certificate
    const size = this.#length();
    demand(this.#data.length - this.#at >= size);
    this.#at += size;
    return { tag, content: this.#data.subarray(this.#at - size, this.#at), whole: this.#data.subarray(start, this.#at) };
  }

  value(tag: number): DerValue {
    const found = this.any();
    demand(found.tag === tag);
    return found;
  }

  optional(tag: number): DerValue | undefined {
    return this.#data[this.#at] === tag ? this.any() : undefined;
  }

  nested(tag: number): DerReader {
    return new DerReader(this.value(tag).content);
  }

  oid(): string {
    return readOid(this.value(Tag.OID).content);
  }

  /** Content of an INTEGER, in its shortest form. */
  integer(): Bytes {
    return shortestInteger(this.value(Tag.INTEGER).content);
  }

  /** An INTEGER from 0 to 2^31 − 1. */
  smallInteger(): number {
    return readSmall(this.integer());
  }

  /** A BIT STRING of whole bytes. */
  bits(): Bytes {
    const { content } = this.value(Tag.BIT_STRING);
    demand(content.length > 0 && content[0] === 0);
    return content.subarray(1);
  }

  /** The one value of which `data` consists. */
  static only(data: Bytes, tag: number): DerValue {
    const reader = new DerReader(data);
    const found = reader.value(tag);
    reader.end();
    return found;
  }

  #byte(): number {
    const byte = this.#data[this.#at++];
    demand(byte !== undefined);
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const width = first & 0x7f;
    demand(width >= 1 && width <= 3);
    let size = 0;
    for (let left = width; left > 0; left--) size = size * 256 + this.#byte();
    demand(size >= (width === 1 ? 0x80 : 256 ** (width - 1)));
    return size;
  }
}

export function readBoolean(content: Bytes): boolean {
  demand(content.length === 1 && (content[0] === 0x00 || content[0] === 0xff));
  return content[0] === 0xff;
}

export function readSmall(content: Bytes): number {
  demand(content.length <= 4 && (content[0] ?? 0x80) < 0x80);
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

export function shortestInteger(content: Bytes): Bytes {
  const [first, second] = content;
  demand(first !== undefined);
  demand(second === undefined || !((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)));
  return content;
}

/** An object identifier in dots. */
export function readOid(content: Bytes): string {
  const arcs: number[] = [];
  let arc = 0;
  let isWithin = false;
  for (const byte of content) {
    demand(isWithin || byte !== 0x80);
    arc = arc * 128 + (byte & 0x7f);
    demand(arc <= 0xffff_ffff);
    isWithin = byte >= 0x80;
    if (isWithin) continue;
    if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    else arcs.push(arc);
    arc = 0;
  }
  demand(arcs.length > 0 && !isWithin);
  return arcs.join(".");
}
