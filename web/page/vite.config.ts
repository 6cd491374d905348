import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { seal } from "./build/seal.ts";
import manifest from "./package.json" with { type: "json" };

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "/",
  resolve: { alias: { "@strongroom/sdk": here("../sdk/src/index.ts") } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [seal(manifest.version)],
  build: {
    chunkSizeWarningLimit: 2_000, // pdf.js, in the preview alone
    outDir: here("dist"),
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: here("index.html"), callback: here("callback/index.html"), preview: here("preview/index.html"), sw: here("src/worker/main.ts") },
      // a service worker's address is its identity: it must not change with its content
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  worker: { format: "es" },
});
