import { describe, expect, test, vi } from "vitest";

vi.hoisted(() => {
  vi.stubGlobal("localStorage", { getItem: () => null });
  vi.stubGlobal("navigator", { language: "en" });
});

import { pictured } from "../src/parts/thumbnails.js";

const MB = 1024 * 1024;
const png = (path: string, size: number) => ({ path, size, type: "image/png" });
const paths = (files: readonly { readonly path: string }[]): readonly string[] => files.map(({ path }) => path);

describe("which files get a thumbnail unasked", () => {
  test("raster pictures alone", () => {
    const others = ["image/svg+xml", "text/html", "application/pdf", ""].map((type) => ({ path: `x ${type}`, size: 1, type }));
    expect(paths(pictured([...others, png("a.png", 1)]))).toEqual(["a.png"]);
  });

  test("small ones, few, and not many megabytes together", () => {
    expect(paths(pictured([png("large", 5 * MB + 1), png("small", 5 * MB)]))).toEqual(["small"]);
    expect(pictured(Array.from({ length: 30 }, (_, at) => png(`${at}`, 1)))).toHaveLength(20);
    expect(pictured(Array.from({ length: 20 }, (_, at) => png(`${at}`, 4 * MB)))).toHaveLength(5);
  });
});
