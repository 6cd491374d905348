import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "..");

const sources = readdirSync(join(PAGE, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => [name, readFileSync(join(PAGE, "src", name), "utf8")] as const);

const pages = ["index.html", "callback/index.html", "preview/index.html"].map((name) => [name, readFileSync(join(PAGE, name), "utf8")] as const);

describe("what the content security policy would refuse is not even written", () => {
  test("no text becomes markup or code", () => {
    for (const [name, text] of sources) expect(text, name).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|new Function|DOMParser/);
  });

  test("no style attributes", () => {
    for (const [name, text] of [...sources, ...pages]) expect(text, name).not.toMatch(/\sstyle=/);
  });

  test("pages hold no inline script or style, and name nothing elsewhere", () => {
    for (const [name, text] of pages) {
      expect(text, name).not.toMatch(/<style|\son\w+=|https?:\/\/|<form|<base/);
      for (const [script] of text.matchAll(/<script[^>]*>/g)) expect(script, name).toMatch(/ src="\//);
    }
  });

  test("the page asks nobody but its own origin", () => {
    for (const [name, text] of sources) expect(text.replaceAll(/\/\*[\s\S]*?\*\//g, ""), name).not.toMatch(/fetch\([`"']https?:|\/\/cdn|googleapis/);
  });
});
