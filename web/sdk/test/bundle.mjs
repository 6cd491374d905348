// Bundles a TypeScript module for Node as Vite reads it, so that it starts in a moment: node sdk/test/bundle.mjs MODULE FOLDER

import { resolve } from "node:path";
import { build } from "vite";

await build({
  configFile: false,
  logLevel: "error",
  ssr: { noExternal: true },
  build: { ssr: resolve(process.argv[2]), outDir: process.argv[3], minify: false, target: "node20" },
});
