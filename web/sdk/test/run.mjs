// Runs a TypeScript module in Node as Vite reads it: node sdk/test/run.mjs MODULE [ARGUMENT…]

import { resolve } from "node:path";
import { runnerImport } from "vite";

await runnerImport(resolve(process.argv[2]), { configFile: false, logLevel: "error" });
