/** Types as the encoding knows them (`spec/encoding.md`): values that `codec.ts` reads and writes by. */

import type { Bytes } from "./bytes.js";

/** How values of type `T` are written. Made by the functions below; `messages.ts` has those of all messages. */
export type Kind<T> = Shape & { readonly of?: T };

/** A kind without its type. */
export type Shape =
  | { readonly is: "bytes" | "text" | "int"; readonly min: number; readonly max: number }
  | { readonly is: "bool" | "nil" }
  | { readonly is: "one of"; readonly values: readonly (string | number)[] }
  | { readonly is: "list"; readonly each: Shape; readonly min: number; readonly max: number }
  | { readonly is: "map"; readonly tag: readonly [name: string, value: string] | null; readonly fields: readonly Field[] }
  | { readonly is: "either"; readonly shapes: readonly Shape[] };

export type Field = readonly [name: string, shape: Shape];
export type MapShape = Extract<Shape, { is: "map" }>;

/** Bytes of this length, or from `min` to `max`. */
export const bytes = (min: number, max: number = min): Kind<Bytes> => ({ is: "bytes", min, max });
/** Text of `min` to `max` characters, which are Unicode code points. */
export const text = (min: number, max: number): Kind<string> => ({ is: "text", min, max });
/** An integer. Where a type allows more than 2^53 − 1, `decode` does not: no count of ours ever gets there. */
export const int = (min: number, max: number): Kind<number> => ({ is: "int", min, max });
export const bool: Kind<boolean> = { is: "bool" };
export const nil: Kind<null> = { is: "nil" };
export const oneOf = <T extends string | number>(...values: readonly T[]): Kind<T> => ({ is: "one of", values });
export const list = <T>(each: Kind<T>, min: number, max: number): Kind<readonly T[]> => ({ is: "list", each, min, max });
/** One of several; those that are such themselves are taken apart, since a message is known by its tag. */
export const either = <T>(...shapes: readonly Kind<T>[]): Kind<T> => ({
  is: "either",
  shapes: shapes.flatMap((shape): readonly Shape[] => (shape.is === "either" ? shape.shapes : [shape])),
});
export const optional = <T>(kind: Kind<T>): Kind<T | null> => ({ is: "either", shapes: [nil, kind] });
/** A map: its tag if it has one, then every field in this order. */
export const map = <T>(tag: readonly [string, string] | null, fields: readonly Field[]): Kind<T> => ({ is: "map", tag, fields });
