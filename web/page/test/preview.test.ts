import { describe, expect, test } from "vitest";

import { kindOf } from "../src/preview/protocol.js";

describe("what the preview shows", () => {
  test("SVG is never drawn: it is a program", () => {
    expect(kindOf("image/svg+xml", "logo.svg")).toBeNull();
  });

  test("HTML and XML are shown as text at most", () => {
    expect(kindOf("text/html", "page.html")).toBe("text");
    expect(kindOf("text/xml", "feed.xml")).toBe("text");
    expect(kindOf("application/xhtml+xml", "page.xhtml")).toBeNull();
  });

  test("pictures, PDF and text", () => {
    expect(kindOf("image/png", "a.png")).toBe("image");
    expect(kindOf("application/pdf", "a.pdf")).toBe("pdf");
    expect(kindOf("", "a.PDF")).toBe("pdf");
    expect(kindOf("", "notes.md")).toBe("text");
    expect(kindOf("application/zip", "a.zip")).toBeNull();
  });
});
