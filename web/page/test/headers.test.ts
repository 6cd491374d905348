import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

import { CSP, dressed, headersOf, PREVIEW_CSP } from "../src/worker/headers.js";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "..");
const python = readFileSync(join(PAGE, "../../src/strongroom/client/page.py"), "utf8");

/** A text that stands in Python in several pieces. */
function constant(name: string): string {
  const [, pieces = ""] = new RegExp(`^${name}: Final = \\(\\n([^)]*)\\n\\)`, "m").exec(python) ?? [];
  return [...pieces.matchAll(/"([^"]*)"/g)].map(([, piece]) => piece).join("");
}

describe("a kept page", () => {
  test("has the policies that verify-page looks for", () => {
    expect(CSP).toBe(constant("CSP"));
    expect(PREVIEW_CSP).toBe(constant("PREVIEW_CSP"));
  });

  test("is served with its own policy and types when the server gave none, or others", async () => {
    const lies = { "content-security-policy": "script-src *", "content-type": "image/svg+xml", refresh: "0; url=//evil.example", link: "</x>; rel=preload" };
    const answer = dressed("/", new Response("<p>page</p>", { headers: lies }));
    expect(Object.fromEntries(answer.headers)).toEqual(headersOf("/"));
    expect(answer.headers.get("content-security-policy")).toBe(CSP);
    expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(await answer.text()).toBe("<p>page</p>");
  });

  test("draws what is a stranger's under the preview's policy", () => {
    expect(headersOf("/preview/")["content-security-policy"]).toBe(PREVIEW_CSP);
  });

  test("has a type for every kind of file in it", () => {
    const kinds = readdirSync(join(PAGE, "public")).map((name) => `/${name}`);
    for (const path of [...kinds, "/sw.js", "/assets/a-12345678.js", "/assets/a-12345678.css"]) expect(headersOf(path)["content-type"], path).not.toBe("application/octet-stream");
  });
});
