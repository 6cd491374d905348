/**
 * Strict JSON: what a value must look like, and a reader that refuses all else.
 *
 * Every field is there, none is unknown, nothing is coerced. Errors name the place and the rule and never quote the
 * value, which may be a key.
 */

import { utf8 } from "../protocol/bytes.js";
import { Unreadable } from "./errors.js";

/** Reads a value at a place, or throws `Unreadable`. */
export type Shape<T> = (untrusted: unknown, place: string) => T;

const MAX_NUMBER = Number.MAX_SAFE_INTEGER;
const HALF_A_CHARACTER = /\p{Surrogate}/u;

/** An integer. */
export function integer(min = 0, max = MAX_NUMBER): Shape<number> {
  return (value, place) => {
    demand(typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max, "a number out of range", place);
    return value;
  };
}

/** Text of `min` to `max` code points, all of it like `pattern`. */
export function text(min: number, max: number, pattern?: RegExp): Shape<string> {
  return (value, place) => {
    demand(typeof value === "string", "what is no text", place);
    demand(!HALF_A_CHARACTER.test(value), "text with half a character", place);
    // By UTF-16 first: counting code points of a text of any length is work for nothing.
    demand(value.length <= 2 * max && lengthOf(value) <= max && lengthOf(value) >= min, "text of another length", place);
    demand(pattern === undefined || pattern.test(value), "text of another form", place);
    return value;
  };
}

/** One of these texts. */
export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  return (value, place) => {
    const found = values.find((one) => one === value);
    demand(found !== undefined, "a value that is not one of those allowed", place);
    return found;
  };
}

/** That, or null. */
export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, place) => (value === null ? null : shape(value, place));
}

/** A list of `min` to `max`. */
export function listOf<T>(shape: Shape<T>, min: number, max: number): Shape<readonly T[]> {
  return (value, place) => {
    demand(Array.isArray(value) && value.length >= min && value.length <= max, "no list, or one of another length", place);
    return value.map((one: unknown, at) => shape(one, `${place}[${at}]`));
  };
}

/** An object with exactly these fields. */
export function object<T extends object>(fields: { readonly [K in keyof T]: Shape<T[K]> }): Shape<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, place) => {
    demand(isObject(value), "what is no object", place);
    demand(Object.keys(value).every((name) => Object.hasOwn(fields, name)), "a field that this version does not know", place);
    const read = names.map((name) => {
      demand(Object.hasOwn(value, name), `no ${name}`, place);
      return [name, fields[name](value[name], place === "" ? name : `${place}.${name}`)];
    });
    return Object.fromEntries(read) as T;
  };
}

/** Any object, for another reader to read. */
export const anything: Shape<unknown> = (value, place) => {
  demand(isObject(value), "what is no object", place);
  return value;
};

/** A value of this shape from UTF-8. Throws `Unreadable`. */
export function readJson<T>(shape: Shape<T>, untrusted: Uint8Array, of: { readonly limit: number; readonly what: string }): T {
  if (untrusted.length > of.limit) throw new Unreadable(`${of.what} is too long`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(untrusted));
  } catch {
    throw new Unreadable(`${of.what} is not JSON`); // the parser's own words quote the text
  }
  try {
    return shape(value, "");
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new Unreadable(`${of.what}: ${error.reason}`);
  }
}

/** UTF-8 without blanks. */
export function writeJson(value: object): Uint8Array<ArrayBuffer> {
  return utf8(JSON.stringify(value));
}

function demand(holds: boolean, what: string, place: string): asserts holds {
  if (!holds) throw new Unreadable(`${what} at ${place === "" ? "the top level" : place}`);
}

const lengthOf = (value: string): number => [...value].length;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
