import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["sdk/test/**/*.test.ts", "page/test/**/*.test.ts"], environment: "node", pool: "threads", maxWorkers: 1 },
});
