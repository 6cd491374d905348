/**
 * CBOR (RFC 8949) as attestation documents use it, in its one encoding: definite lengths, heads in their shortest form,
 * no tags, no floating-point numbers, no simple value but null, no key twice, nothing behind the end.
 *
 * Own code: general decoders take longer forms and bytes that follow, and act on tags, so that many evidences would
 * stand for one document.
 */

import type { Bytes } from "../protocol/bytes.js";
import { refuse } from "./refusal.js";

export type CborMap = ReadonlyMap<string | number, Cbor>;
export type Cbor = number | string | null | Bytes | readonly Cbor[] | CborMap;

/** Containers within containers: no document has more. */
const DEPTH = 2;
const NULL = 0xf6;

const Major = { UNSIGNED: 0, NEGATIVE: 1, BYTES: 2, TEXT: 3, ARRAY: 4, MAP: 5 } as const;

/** One data item and nothing after it. Throws `Untrusted` EVIDENCE. */
export function decodeCbor(data: Bytes): Cbor {
  const reader = new Reader(data);
  const item = reader.item(0);
  if (!reader.isAtEnd) throw refuse("the document is not in its one encoding, or bytes follow its end");
  return item;
}

class Reader {
  readonly #data: Bytes;
  #at = 0;

  constructor(data: Bytes) {
    this.#data = data;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#data.length;
  }

  item(depth: number): Cbor {
    const first = this.#byte();
    if (first === NULL) return null;
    const size = this.#size(first & 0x1f);
    switch (first >> 5) {
      case Major.UNSIGNED:
        return size;
      case Major.NEGATIVE:
        return -1 - size;
      case Major.BYTES:
        return this.#take(size);
      case Major.TEXT:
        return text(this.#take(size));
      case Major.ARRAY:
        return this.#list(size, inner(depth));
      case Major.MAP:
        return this.#map(size, inner(depth));
      default:
        throw refuse("the document contains CBOR that no attestation document has");
    }
  }

  // A size is only announced: nothing is set aside for it, and each item takes at least a byte.
  #list(size: number, depth: number): readonly Cbor[] {
    const items: Cbor[] = [];
    while (items.length < size) items.push(this.item(depth));
    return items;
  }

  #map(size: number, depth: number): CborMap {
    const items = new Map<string | number, Cbor>();
    while (items.size < size) {
      const key = this.item(depth);
      if ((typeof key !== "string" && typeof key !== "number") || items.has(key)) {
        throw refuse("the document has a key twice, or one that is neither a text nor a number");
      }
      items.set(key, this.item(depth));
    }
    return items;
  }

  #size(short: number): number {
    if (short < 24) return short;
    if (short > 27) throw refuse("the document contains CBOR that no attestation document has");
    const width = 1 << (short - 24);
    let value = 0;
    for (let left = width; left > 0; left--) value = value * 256 + this.#byte();
    if (value < (width === 1 ? 24 : 256 ** (width / 2))) {
      throw refuse("the document is not in its one encoding, or bytes follow its end");
    }
    if (!Number.isSafeInteger(value)) throw refuse("the document has a number larger than any");
    return value;
  }

  #byte(): number {
    const byte = this.#data[this.#at++];
    if (byte === undefined) throw refuse("the document is cut short");
    return byte;
  }

  #take(size: number): Bytes {
    if (this.#data.length - this.#at < size) throw refuse("the document is cut short");
    this.#at += size;
    return this.#data.subarray(this.#at - size, this.#at);
  }
}

function inner(depth: number): number {
  if (depth >= DEPTH) throw refuse("the document is nested deeper than any");
  return depth + 1;
}

function text(bytes: Bytes): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refuse("the document has a text that is not UTF-8");
  }
}
