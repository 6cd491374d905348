import { describe, expect, it } from "vitest";

import { problem, vectors } from "./vector_runs.js";

describe("the SDK reads the vectors of the specification as Python does", () => {
  it.each(vectors())("%s", async (_path, vector) => {
    expect(await problem(vector)).toBeUndefined();
  });
});
