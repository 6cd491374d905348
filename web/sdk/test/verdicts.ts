/**
 * Verdicts of the SDK about quotes, for whoever compares: one JSON line of inputs of a vector ("verify quote") on
 * standard input, one line on standard output with the report, or with number and reason of the refusal.
 */

import { createInterface } from "node:readline";

import { StrongroomError } from "../src/protocol/errors.js";
import { toJson } from "../src/protocol/json.js";
import { ATTESTATION } from "./attestation_runs.js";

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await verdict(JSON.parse(line) as Record<string, unknown>)));
}

async function verdict(given: Record<string, unknown>): Promise<unknown> {
  try {
    return toJson(await ATTESTATION["verify quote"]?.(given));
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
    return { error: error.number, reason: error.reason };
  }
}
