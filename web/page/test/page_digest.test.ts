import { createHash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";

import { fetchPageList, pageDigest } from "../src/service/page_digest.js";

const A = "a".repeat(64);
const B = "b".repeat(64);

afterEach(() => vi.unstubAllGlobals());

const serve = (body: unknown): void => {
  vi.stubGlobal("fetch", async () => new Response(JSON.stringify(body)));
};

describe("digest of the page", () => {
  test("covers path and content of every file, in sorted order", async () => {
    const expected = createHash("sha256").update(`a/x.js\0${B}\nindex.html\0${A}\n`).digest("hex");
    expect(await pageDigest({ "index.html": A, "a/x.js": B })).toBe(expected);
  });

  test("a list with a path that leaves the page is no list", async () => {
    for (const path of ["../x", "a b", "a\0b", ""]) {
      serve({ files: { [path]: A } });
      expect(await fetchPageList(), path).toBeNull();
    }
  });

  test("a list with anything but digests is no list", async () => {
    for (const files of [{ x: "A".repeat(64) }, { x: 1 }, {}, null, [A]]) {
      serve({ files });
      expect(await fetchPageList()).toBeNull();
    }
  });
});
