import { describe, expect, test } from "vitest";

import en from "../messages/en.json" with { type: "json" };
import sv from "../messages/sv.json" with { type: "json" };

const placeholders = (words: string): readonly string[] => [...words.matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? "").sort();

describe("message files", () => {
  test("both languages have the same keys, in the same order", () => {
    expect(Object.keys(sv)).toEqual(Object.keys(en));
  });

  test("a translation fills in the same values", () => {
    for (const [key, words] of Object.entries(en)) {
      expect(placeholders((sv as Record<string, string>)[key] ?? ""), key).toEqual(placeholders(words));
    }
  });

  test("nothing is left empty, and nothing is markup", () => {
    for (const words of [...Object.values(en), ...Object.values(sv)]) {
      expect(words).toMatch(/\S/);
      expect(words).not.toMatch(/[<>]/);
    }
  });

  test("what can be counted comes in both numbers", () => {
    for (const key of Object.keys(en).filter((each) => each.endsWith(".one"))) expect(en).toHaveProperty([key.replace(/\.one$/, ".other")]);
  });
});
