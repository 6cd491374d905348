import { ErrorNumber, Unavailable, Untrusted } from "@strongroom/sdk";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";

import type { Problem } from "../src/service/types.js";

let problems: typeof import("../src/service/problem.js");
let raised: Problem[];

beforeAll(async () => {
  vi.stubGlobal("navigator", { language: "en", languages: ["en"] });
  vi.stubGlobal("localStorage", { getItem: () => null });
  problems = await import("../src/service/problem.js");
});

beforeEach(() => {
  raised = [];
  problems.followAlarms((problem) => raised.push(problem));
});

describe("alarms", () => {
  test.each([
    [ErrorNumber.ROLLED_BACK, "The server shows an older state than this browser has seen"],
    [ErrorNumber.LOG_OMITTED, "The server holds back a part of its records"],
  ])("%i stops the page, whichever view it came up in", (number, title) => {
    const problem = problems.problemOf(new Untrusted(number));
    expect(raised).toEqual([problem]);
    expect(problem).toMatchObject({ title, remedy: "stop", alarm: { evidence: null } });
  });

  test.each([ErrorNumber.INTEGRITY, ErrorNumber.CLOCK, ErrorNumber.POLICY])("%i is no alarm", (number) => {
    expect(problems.problemOf(new Untrusted(number)).alarm).toBeNull();
    expect(raised).toEqual([]);
  });
});

test.each([
  [ErrorNumber.LEASE_ENDED, "The vault has stopped for safety"],
  [ErrorNumber.WITNESSES_UNAVAILABLE, "The change could not be confirmed"],
])("what witnesses hold up (%i) can be tried again", (number, title) => {
  expect(problems.problemOf(new Unavailable(number))).toMatchObject({ title, remedy: "retry", alarm: null });
});
