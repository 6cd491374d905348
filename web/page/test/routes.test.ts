import { beforeAll, describe, expect, test, vi } from "vitest";

let routeOf: typeof import("../src/routes.js").routeOf;

beforeAll(async () => {
  vi.stubGlobal("location", { hash: "" });
  ({ routeOf } = await import("../src/routes.js"));
});

const ID = "5b1f8a2c9d3e4f60718293a4b5c6d7e8";

describe("places in the fragment", () => {
  test("links of shares and requests name their record", () => {
    expect(routeOf(`#/s/${ID}`)).toEqual({ view: "receive", id: ID });
    expect(routeOf(`#/r/${ID}`)).toEqual({ view: "answer", id: ID });
    expect(routeOf(`#/shares/${ID}`)).toEqual({ view: "share", id: ID });
  });

  test("a link that a mail program broke is said to be broken", () => {
    for (const broken of [`#/s/${ID.slice(1)}`, `#/s/${ID}0`, `#/s/${ID.toUpperCase()}`, `#/s/${ID}/`, `#/s/${ID}?key=1`, "#/s/", "#/x", "#/constructor"]) {
      expect(routeOf(broken), broken).toEqual({ view: "lost" });
    }
  });

  test("the start is the start, however it is written", () => {
    for (const start of ["", "#", "#/"]) expect(routeOf(start)).toEqual({ view: "send" });
  });
});
