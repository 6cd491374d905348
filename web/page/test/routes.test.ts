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

describe("leaving", () => {
  const goTo = (hash: string): void => {
    location.hash = hash;
    window.dispatchEvent(new Event("hashchange"));
  };

  test("a running upload is not dropped by a click on another place", async () => {
    const { followLocation, route, stayHere, wanted } = await import("../src/routes.js");
    vi.stubGlobal("window", new EventTarget());
    vi.stubGlobal("location", { hash: "#/", pathname: "/", search: "" });
    vi.stubGlobal("history", { replaceState: (_state: null, _title: string, url: string) => (location.hash = url.slice(url.indexOf("#"))) });
    followLocation();
    const before = route.value;
    const release = stayHere();

    goTo("#/request");
    expect(route.value).toBe(before);
    expect(location.hash).toBe("#/");
    expect(wanted.value).toBe("#/request");

    release();
    expect(wanted.value).toBeNull();
    goTo("#/request");
    expect(route.value).toEqual({ view: "request" });
  });
});
