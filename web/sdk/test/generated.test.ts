import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

import { messagesText } from "../generate.mjs";
import { ErrorNumber, WORDS } from "../src/protocol/errors.js";
import * as limits from "../src/protocol/limits.js";
import { Domain } from "../src/protocol/primitives.js";
import { SPEC } from "./vector_runs.js";

/** Rows of a table of the specification, as texts of their cells without code marks. */
function table(page: string, name: string): string[][] {
  const text = readFileSync(join(SPEC, page), "utf8");
  const [, part] = new RegExp(`<!-- generated: ${name} -->\n(.*?)<!-- end -->`, "s").exec(text) ?? [];
  if (part === undefined) throw new Error(`${page} has no table of ${name}`);
  const rows = part.trim().split("\n").slice(2);
  return rows.map((row) => row.slice(2, -2).split(" | ").map((cell) => cell.replace(/^`(.*)`$/, "$1")));
}

it("messages.ts is what generate.mjs makes of spec/messages.json", () => {
  const file = fileURLToPath(new URL("../src/protocol/messages.ts", import.meta.url));
  expect(readFileSync(file, "utf8")).toBe(messagesText());
});

it("errors have the numbers and words of the specification", () => {
  const ours = Object.entries(ErrorNumber).map(([name, number]) => [String(number), name, ...WORDS[number]]);
  expect(ours).toEqual(table("errors.md", "errors"));
});

it("limits are those of the specification", () => {
  const stated = new Map(table("limits.md", "limits").map(([name, value]) => [name, Number(value?.replaceAll(" ", ""))]));
  for (const [name, value] of Object.entries(limits)) expect([name, stated.get(name)]).toEqual([name, value]);
});

it("every domain label is one of the specification", () => {
  const stated = new Set(table("primitives.md", "domains").map(([domain]) => domain));
  expect(Object.values(Domain).filter((domain) => !stated.has(domain))).toEqual([]);
});
