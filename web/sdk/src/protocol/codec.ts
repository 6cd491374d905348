/**
 * The one codec: MessagePack maps with named fields, exactly one encoding a message (`spec/encoding.md`).
 *
 * A reader that knows the type and takes nothing but the shortest form, in the order of the type, needs no second pass:
 * what it accepts is what `encode` would have made. So two parsers can never read one message in two ways, and a digest
 * over the bytes is a digest over the meaning. Nothing here recurses deeper than the types do, or takes memory for a
 * length that is only announced.
 */

import { type Bytes, utf8 } from "./bytes.js";
import { ErrorNumber, Misuse } from "./errors.js";
import type { Kind, MapShape, Shape } from "./kinds.js";

export type { Kind } from "./kinds.js";

/** The one encoding of `value`. Throws `Misuse` MALFORMED for a value that no receiver would take. */
export function encode<T>(kind: Kind<T>, value: T): Bytes {
  const writer = new Writer();
  write(writer, kind, value);
  return writer.written();
}

/**
 * Decode a message of this kind; bytes in it are copies.
 *
 * Throws `Misuse`: TOO_LARGE above `limit` bytes (checked before parsing), MALFORMED for anything that is not the one
 * encoding of such a message, UNSUPPORTED for a number above 2^53 − 1, which JavaScript would round.
 */
export function decode<T>(untrusted: Uint8Array, kind: Kind<T>, limit: number): T {
  const { value, wide } = decodeExactly(untrusted, kind, limit);
  if (wide) throw new Misuse(ErrorNumber.UNSUPPORTED, "a number above 2^53 − 1");
  return value as T; // `read` makes what the kind describes
}

/** As `decode`, but numbers above 2^53 − 1 come as `bigint`, and `wide` says that there are some. */
export function decodeExactly(untrusted: Uint8Array, kind: Kind<unknown>, limit: number): { value: unknown; wide: boolean } {
  if (untrusted.length > limit) throw new Misuse(ErrorNumber.TOO_LARGE);
  const reader = new Reader(untrusted);
  const value = read(reader, kind);
  demand(reader.rest === 0);
  return { value, wide: reader.wide };
}

/** The integer that the first field of a map holds, before its other fields are known: another version has others. */
export function decodeFirstInt(untrusted: Uint8Array, name: string): number {
  const reader = new Reader(untrusted);
  demand(reader.mapSize() > 0 && reader.text() === name);
  const value = reader.int();
  demand(typeof value === "number");
  return value;
}

function demand(holds: boolean): asserts holds {
  if (!holds) throw new Misuse(ErrorNumber.MALFORMED);
}

const withinRange = (shape: { min: number; max: number }, size: number): boolean => size >= shape.min && size <= shape.max;

/** Code points: what other languages call the length of a text. */
const lengthOf = (value: string): number => [...value].length;

// --- reading ----------------------------------------------------------------------------------------------------

function read(reader: Reader, shape: Shape): unknown {
  switch (shape.is) {
    case "bytes": {
      const value = reader.bytes(shape.max);
      demand(withinRange(shape, value.length));
      return value;
    }
    case "text": {
      const value = reader.text();
      demand(withinRange(shape, lengthOf(value)));
      return value;
    }
    case "int": {
      const value = reader.int();
      demand(value >= shape.min && value <= exactly(shape.max));
      return value;
    }
    case "bool":
      return reader.bool();
    case "nil":
      return reader.nil();
    case "one of": {
      const value = typeof shape.values[0] === "number" ? reader.int() : reader.text();
      demand(typeof value !== "bigint" && shape.values.includes(value));
      return value;
    }
    case "list": {
      const size = reader.listSize();
      demand(withinRange(shape, size));
      const values: unknown[] = [];
      while (values.length < size) values.push(read(reader, shape.each));
      return values;
    }
    case "map":
      return readMap(reader, shape);
    case "either":
      return read(reader, meant(reader, shape.shapes));
  }
}

function readMap(reader: Reader, { tag, fields }: MapShape): unknown {
  demand(reader.mapSize() === fields.length + (tag === null ? 0 : 1));
  const value: Record<string, unknown> = {};
  if (tag !== null) {
    demand(reader.text() === tag[0] && reader.text() === tag[1]);
    value[tag[0]] = tag[1];
  }
  for (const [name, shape] of fields) {
    demand(reader.text() === name);
    value[name] = read(reader, shape);
  }
  return value;
}

/** By nil and by tag: which of several types stands here. */
function meant(reader: Reader, shapes: readonly Shape[]): Shape {
  const atNil = reader.isAtNil();
  const possible = shapes.filter((shape) => (shape.is === "nil") === atNil);
  const [only, another] = possible;
  if (only !== undefined && another === undefined) return only;
  const ahead = reader.ahead();
  demand(ahead.mapSize() > 0);
  ahead.text();
  const tag = ahead.text();
  const found = possible.find((shape) => shape.is === "map" && shape.tag?.[1] === tag);
  demand(found !== undefined);
  return found;
}

/** A limit as it stands in a type: 2^63 − 1 has no `number` of its own. */
const exactly = (limit: number): number | bigint => (Number.isSafeInteger(limit) ? limit : BigInt(limit) - 1n);

class Reader {
  /** A number was above 2^53 − 1. */
  wide = false;
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(data: Uint8Array, at = 0) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.#at = at;
  }

  get rest(): number {
    return this.#data.length - this.#at;
  }

  /** Another reader from here: what it reads stays unread. */
  ahead(): Reader {
    return new Reader(this.#data, this.#at);
  }

  isAtNil(): boolean {
    return this.#data[this.#at] === 0xc0;
  }

  nil(): null {
    demand(this.#byte() === 0xc0);
    return null;
  }

  bool(): boolean {
    const byte = this.#byte();
    demand(byte === 0xc2 || byte === 0xc3);
    return byte === 0xc3;
  }

  int(): number | bigint {
    const byte = this.#byte();
    if (byte < 0x80) return byte;
    demand(byte >= 0xcc && byte <= 0xcf);
    if (byte < 0xcf) return this.#number(byte - 0xcc, 0x80);
    this.#demandRest(8);
    const value = this.#view.getBigUint64(this.#at);
    this.#at += 8;
    demand(value > 0xffff_ffffn);
    if (value <= Number.MAX_SAFE_INTEGER) return Number(value);
    this.wide = true;
    return value;
  }

  bytes(max: number): Bytes {
    const byte = this.#byte();
    demand(byte >= 0xc4 && byte <= 0xc6);
    const size = this.#number(byte - 0xc4, 0);
    demand(size <= max);
    return this.#take(size);
  }

  text(): string {
    const byte = this.#byte();
    const isFixed = byte >= 0xa0 && byte < 0xc0;
    demand(isFixed || (byte >= 0xd9 && byte <= 0xdb));
    const encoded = this.#take(isFixed ? byte - 0xa0 : this.#number(byte - 0xd9, 32));
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(encoded);
    } catch {
      throw new Misuse(ErrorNumber.MALFORMED);
    }
  }

  listSize(): number {
    return this.#size(0x90, 0xdc);
  }

  mapSize(): number {
    return this.#size(0x80, 0xde);
  }

  #size(fixed: number, long: number): number {
    const byte = this.#byte();
    if (byte >= fixed && byte < fixed + 16) return byte - fixed;
    demand(byte === long || byte === long + 1);
    const value = this.#unsigned(byte - long + 1);
    demand(value >= (byte === long ? 16 : 2 ** 16)); // there is no form of one byte
    return value;
  }

  /** A number of 2^`log` bytes that had no shorter form: `smallest` is the first that does not fit into the header. */
  #number(log: number, smallest: number): number {
    const value = this.#unsigned(log);
    demand(value >= (log === 0 ? smallest : 2 ** (4 << log)));
    return value;
  }

  #unsigned(log: number): number {
    const at = this.#at;
    this.#demandRest(1 << log);
    this.#at += 1 << log;
    return log === 0 ? this.#view.getUint8(at) : log === 1 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #byte(): number {
    this.#demandRest(1);
    return this.#view.getUint8(this.#at++);
  }

  #take(size: number): Bytes {
    this.#demandRest(size);
    this.#at += size;
    return this.#data.slice(this.#at - size, this.#at) as Bytes; // `slice` copies into memory that is not shared
  }

  #demandRest(size: number): void {
    demand(this.rest >= size);
  }
}

// --- writing ----------------------------------------------------------------------------------------------------

function write(writer: Writer, shape: Shape, value: unknown): void {
  switch (shape.is) {
    case "bytes":
      demand(value instanceof Uint8Array && withinRange(shape, value.length));
      writer.bytes(value);
      return;
    case "text":
      demand(typeof value === "string" && withinRange(shape, lengthOf(value)));
      writer.text(value);
      return;
    case "int":
      demand(typeof value === "number" && Number.isSafeInteger(value) && withinRange(shape, value));
      writer.int(value);
      return;
    case "bool":
      demand(typeof value === "boolean");
      writer.byte(value ? 0xc3 : 0xc2);
      return;
    case "nil":
      demand(value === null);
      writer.byte(0xc0);
      return;
    case "one of":
      demand((typeof value === "string" || typeof value === "number") && shape.values.includes(value));
      if (typeof value === "string") writer.text(value);
      else writer.int(value);
      return;
    case "list":
      demand(Array.isArray(value) && withinRange(shape, value.length));
      writer.size(value.length, 0x90, 0xdc);
      for (const one of value) write(writer, shape.each, one);
      return;
    case "map":
      writeMap(writer, shape, value);
      return;
    case "either": {
      const found = shape.shapes.find((one) => mayBe(one, value));
      demand(found !== undefined);
      write(writer, found, value);
      return;
    }
  }
}

function writeMap(writer: Writer, { tag, fields }: MapShape, value: unknown): void {
  demand(isMap(value));
  writer.size(fields.length + (tag === null ? 0 : 1), 0x80, 0xde);
  if (tag !== null) {
    demand(value[tag[0]] === tag[1]);
    writer.text(tag[0]);
    writer.text(tag[1]);
  }
  for (const [name, shape] of fields) {
    writer.text(name);
    write(writer, shape, value[name]);
  }
}

function mayBe(shape: Shape, value: unknown): boolean {
  if (shape.is === "nil" || value === null) return shape.is === "nil" && value === null;
  return shape.is !== "map" || shape.tag === null || (isMap(value) && value[shape.tag[0]] === shape.tag[1]);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

const HALF_A_CHARACTER = /\p{Surrogate}/u;

class Writer {
  #data = new Uint8Array(256);
  #view = new DataView(this.#data.buffer);
  #size = 0;

  written(): Bytes {
    return this.#data.slice(0, this.#size);
  }

  byte(value: number): void {
    this.#make(1);
    this.#view.setUint8(this.#size++, value);
  }

  int(value: number): void {
    if (value < 0x80) this.byte(value);
    else if (value < 2 ** 32) this.#number(0xcc, value);
    else {
      this.byte(0xcf);
      this.#make(8);
      this.#view.setBigUint64(this.#size, BigInt(value));
      this.#size += 8;
    }
  }

  bytes(value: Uint8Array): void {
    this.#number(0xc4, value.length);
    this.#put(value);
  }

  text(value: string): void {
    demand(!HALF_A_CHARACTER.test(value));
    const encoded = utf8(value);
    if (encoded.length < 32) this.byte(0xa0 + encoded.length);
    else this.#number(0xd9, encoded.length);
    this.#put(encoded);
  }

  size(value: number, fixed: number, long: number): void {
    if (value < 16) this.byte(fixed + value);
    else if (value < 2 ** 16) this.#number(long - 1, value, 1);
    else this.#number(long - 1, value, 2);
  }

  /** First byte and number in the shortest of the widths of 1, 2 and 4 bytes, whose first bytes follow each other. */
  #number(first: number, value: number, least = 0): void {
    const log = Math.max(least, value < 2 ** 8 ? 0 : value < 2 ** 16 ? 1 : 2);
    this.byte(first + log);
    this.#make(4);
    if (log === 0) this.#view.setUint8(this.#size, value);
    else if (log === 1) this.#view.setUint16(this.#size, value);
    else this.#view.setUint32(this.#size, value);
    this.#size += 1 << log;
  }

  #put(value: Uint8Array): void {
    this.#make(value.length);
    this.#data.set(value, this.#size);
    this.#size += value.length;
  }

  #make(room: number): void {
    if (this.#size + room <= this.#data.length) return;
    const larger = new Uint8Array(2 * (this.#size + room));
    larger.set(this.#data);
    this.#data = larger;
    this.#view = new DataView(larger.buffer);
  }
}
