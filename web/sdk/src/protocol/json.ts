/**
 * Messages as JSON: bytes as hex, every field present, no other one. The form of the trust policy in a site statement,
 * and of the vectors.
 */

import { hex, unhex } from "./bytes.js";
import { decode, encode } from "./codec.js";
import { ErrorNumber, Misuse } from "./errors.js";
import type { Kind, MapShape, Shape } from "./kinds.js";
import { MAX_MESSAGE } from "./limits.js";

/** The message that a parsed JSON value stands for. Throws `Misuse` MALFORMED for one that is none. */
export function fromJson<T>(kind: Kind<T>, untrusted: unknown): T {
  // There and back again checks ranges and types by the one codec that does.
  return decode(encode(kind, revived(kind, untrusted) as T), kind, MAX_MESSAGE);
}

/** As JSON has it: bytes become hex, integers that JavaScript would round decimal text. */
export function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, toJson(one)]));
}

/** Hex as bytes, wherever the kind says bytes. What does not fit stays as it is, for `encode` to refuse. */
function revived(shape: Shape, value: unknown): unknown {
  switch (shape.is) {
    case "bytes":
      return typeof value === "string" ? unhex(value) : value;
    case "list":
      return Array.isArray(value) ? value.map((one) => revived(shape.each, one)) : value;
    case "map":
      return revivedMap(shape, value);
    case "either": {
      const tag = (one: Shape): boolean =>
        one.is !== "map" || one.tag === null || (isObject(value) && value[one.tag[0]] === one.tag[1]);
      const meant = value === null ? undefined : shape.shapes.find((one) => one.is !== "nil" && tag(one));
      return meant === undefined ? value : revived(meant, value);
    }
    case "text":
    case "int":
    case "bool":
    case "nil":
    case "one of":
      return value;
  }
}

function revivedMap({ tag, fields }: MapShape, value: unknown): unknown {
  if (!isObject(value)) return value;
  const known = new Map(fields);
  const entries = Object.entries(value).map(([name, one]) => {
    const shape = known.get(name);
    if (shape === undefined && name !== tag?.[0]) throw new Misuse(ErrorNumber.MALFORMED, `no such field: ${name.slice(0, 80)}`);
    return [name, shape === undefined ? one : revived(shape, one)] as const;
  });
  return Object.fromEntries(entries);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
