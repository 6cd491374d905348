import { beforeAll, describe, expect, test, vi } from "vitest";

let checks: typeof import("../src/service/checks.js");

beforeAll(async () => {
  vi.stubGlobal("navigator", { language: "en", languages: ["en"] });
  vi.stubGlobal("localStorage", { getItem: () => null });
  checks = await import("../src/service/checks.js");
});

describe("file names", () => {
  test("a name that reads backwards is refused before anybody signs in, and shown for what it is", () => {
    expect(checks.plainName("report\u202Efdp.exe")).toBe("report[U+202E]fdp.exe");
    expect(checks.checkFiles(["plan.txt", "report\u202Efdp.exe"])).toContain("“report[U+202E]fdp.exe”");
  });

  test("what the format refuses, the picker refuses", () => {
    for (const name of ["a\u0007b", "a:b", "a\\b", "ends.", "ends ", "x".repeat(256)]) expect(checks.checkFiles([name]), name).not.toBeNull();
    expect(checks.checkFiles(["a", "A/b"])).toContain("folder");
    expect(checks.checkFiles(["Åre 2026.pdf", "folder/👩‍💻.txt"])).toBeNull();
  });

  test("emoji and letters with accents stay as they are", () => {
    for (const name of ["👩‍💻.txt", "Åre.pdf"]) expect(checks.plainName(name)).toBe(name);
  });
});

describe("addresses", () => {
  test("of what a mail program copies, the address is taken", () => {
    for (const text of ["Bob <bob@example.com>", '"Smith, Bob" <bob@example.com>', "<bob@example.com>", "Bob B. Smith <bob@example.com>;"]) expect(checks.wordsIn(text), text).toEqual(["bob@example.com"]);
    expect(checks.wordsIn("al@example.com, Bob <bob@example.com>\nCy <cy@example.com>")).toEqual(["al@example.com", "bob@example.com", "cy@example.com"]);
  });

  test("an address beside another is not lost", () => {
    expect(checks.wordsIn("al@example.com Bob <bob@example.com>")).toEqual(["al@example.com", "bob@example.com"]);
  });

  test("what the Vault would not take is said in the form", () => {
    for (const text of ["bob", "bob@example", "böb@example.com", `${"b".repeat(65)}@example.com`]) expect(checks.checkAddress(text), text).not.toBeNull();
    expect(checks.checkAddress("bob@example.com")).toBeNull();
  });

  test("a recipient is no second person, however it is written", () => {
    expect(checks.checkSecond("BOB@Example.COM", ["bob@example.com"])).not.toBeNull();
    expect(checks.checkSecond("carol@example.com", ["bob@example.com"])).toBeNull();
  });
});
