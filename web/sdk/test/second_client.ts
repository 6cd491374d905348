/**
 * Every vector read by the SDK, for whoever compares: `node sdk/test/run.mjs sdk/test/second_client.ts`.
 *
 * Prints "ok GROUP/CASE.json" or "FAIL …" of each vector, and last "made …": a hello and a signature of its own for the
 * first implementation to open.
 */

import { ownHandshake, problem, vectors } from "./vector_runs.js";

for (const [path, vector] of vectors()) {
  const wrong = await problem(vector);
  if (wrong !== undefined) process.exitCode = 1;
  console.log(wrong === undefined ? `ok ${path}` : `FAIL ${path} ${wrong}`);
}
console.log(`made ${JSON.stringify(await ownHandshake())}`);
