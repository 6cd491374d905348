import { describe, expect, test } from "vitest";
import { BadInput } from "../src/client/errors.js";
import { utf8 } from "../src/protocol/bytes.js";
import { ageLength, generateIdentity } from "../src/share/age.js";
import { NotReady, Unreadable } from "../src/share/errors.js";
import {
  type Card,
  type DeskEntry,
  type FileEntry,
  MAX_MANIFEST,
  MAX_PATH,
  type ShareSecret,
  encodeManifest,
  formatCard,
  parseCard,
  parseDesk,
  parseManifest,
  parseRequest,
  parseShare,
  verifyAuthor,
  verifyBlob,
  verifyDistinct,
  verifyPath,
} from "../src/share/format.js";

const json = (value: unknown) => utf8(JSON.stringify(value));
const id = "0123456789abcdef0123456789abcdef";
const identity = await generateIdentity();

const file = (path: string, offset: number): FileEntry => ({
  path,
  size: 11,
  type: "application/pdf",
  modified: 1,
  offset,
  length: ageLength(11),
  segments: Buffer.alloc(32).toString("base64"),
});

const twoFiles = [file("report.pdf", 0), file("annex/a.csv", ageLength(11))];

const share: ShareSecret = {
  format: "strongroom share 1",
  title: "Penetration test",
  message: "Line one\nline two",
  identity,
  blob: id,
  size: 2 * ageLength(11) + 5000,
  manifest: { offset: 2 * ageLength(11), length: 5000, sha256: "00".repeat(32) },
  sent_at: 1_790_000_000,
};

const card: Card = {
  format: "strongroom passkey 1",
  name: "bob@example.com",
  rp_id: "share.example.com",
  origin: "https://share.example.com",
  credential_id: "AAEC",
  public_key: "AwQF",
};

const entry: DeskEntry = {
  id,
  kind: "share",
  title: "t",
  recipients: ["bob@example.com"],
  groups: ["Admins"],
  second: null,
  passkeys: [card],
  expires_at: 1,
  max_opens: 0,
  sent_at: 1,
  size: 2,
  files: 1,
  blob: id,
  box: null,
  state: "sent",
};

describe("a share's description", () => {
  test("is read as it was written", () => {
    expect(parseShare(json(share))).toEqual(share);
    expect(parseShare(json({ ...share, manifest: null })).manifest).toBeNull();
  });

  test("an empty one says that nothing is there, which is no damage", () => {
    expect(() => parseShare(new Uint8Array())).toThrow(NotReady);
  });

  const { sent_at: _, ...incomplete } = share;
  test.each<[string, unknown]>([
    ["an unknown field", { ...share, key: "x" }],
    ["an inherited name as a field", { ...share, ["__proto__x"]: 1 }],
    ["a field left out", incomplete],
    ["another format", { ...share, format: "strongroom share 2" }],
    ["a size that JavaScript would round", { ...share, size: 2 ** 53 }],
    ["a fraction", { ...share, sent_at: 1.5 }],
    ["a number below zero", { ...share, sent_at: -1 }],
    ["a number as text", { ...share, sent_at: "1" }],
    ["a title of many lines", { ...share, title: "a\nb" }],
    ["an empty title", { ...share, title: "" }],
    ["a title that is too long", { ...share, title: "é".repeat(201) }],
    ["half a character", { ...share, message: "\ud800" }],
    ["a blob id in capitals", { ...share, blob: id.toUpperCase() }],
    ["a blob id that is a path", { ...share, blob: "../../../../../../../../etc/pass" }],
    ["a key of another kind", { ...share, identity: "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX" }],
    ["a key with a slip in it", { ...share, identity: identity.replace(/.$/, (last) => (last === "Q" ? "P" : "Q")) }],
    ["a manifest in the middle", { ...share, size: share.size + 1 }],
    ["a list of files that fills the memory", { ...share, size: 2 ** 33, manifest: { ...share.manifest, offset: 2 ** 33 - ageLength(MAX_MANIFEST) - 1, length: ageLength(MAX_MANIFEST) + 1 } }],
    ["a list", [share]],
    ["nothing", null],
  ])("with %s is refused", (_name, value) => {
    expect(() => parseShare(json(value))).toThrow(Unreadable);
  });

  test("that is no JSON, has a mark before it, or is too long is refused", () => {
    expect(() => parseShare(utf8("{"))).toThrow("is not JSON");
    expect(() => parseShare(Uint8Array.of(0xef, 0xbb, 0xbf, ...json(share)))).toThrow("is not JSON");
    expect(() => parseShare(Uint8Array.of(0xff, ...json(share)))).toThrow("is not JSON");
    expect(() => parseShare(new Uint8Array(65_537))).toThrow("too long");
  });

  test("errors never quote the key", () => {
    for (const wrong of [{ ...share, identity: `${identity}X` }, { ...share, identity: identity.toLowerCase() }, { ...share, size: "x" }]) {
      try {
        parseShare(json(wrong));
        expect.unreachable();
      } catch (error) {
        expect(String(error)).not.toContain(identity.slice(20, 40));
        expect(String(error).toUpperCase()).not.toContain(identity.slice(20, 40));
      }
    }
  });

  test("that is from nobody whom the Vault knows is refused", () => {
    verifyAuthor({ principal: "m:alice", email: "" });
    expect(() => verifyAuthor({ principal: "", email: "" })).toThrow("who it is from");
    expect(() => verifyAuthor({ principal: "", email: "ceo@example.com" })).toThrow("who it is from");
  });

  test("that points at the blob of another record is refused", () => {
    const terms = { expires_at: 0, max_opens: 0, closed: false, fillable: false, blob: Uint8Array.from(Buffer.from(id, "hex")), blob_bytes: share.size };
    verifyBlob(share, terms);
    expect(() => verifyBlob(share, null)).toThrow(Unreadable);
    expect(() => verifyBlob(share, { ...terms, blob: null })).toThrow(Unreadable);
    expect(() => verifyBlob(share, { ...terms, blob: new Uint8Array(16) })).toThrow(Unreadable);
    expect(() => verifyBlob(share, { ...terms, blob_bytes: share.size - 1 })).toThrow(Unreadable);
  });
});

describe("a manifest", () => {
  const read = (files: readonly FileEntry[]) => parseManifest(encodeManifest(files), share);

  test("is read as it was written", () => {
    expect(read(twoFiles).files).toEqual(twoFiles);
  });

  const [first, second] = twoFiles as [FileEntry, FileEntry];
  test.each<[string, FileEntry[]]>([
    ["files that overlap", [first, { ...second, offset: 10 }]],
    ["a gap between files", [first, { ...second, offset: second.offset + 1 }]],
    ["a length that is not that of its size", [first, { ...second, size: 12 }]],
    ["a file that no one names", [first]],
    ["the same file twice", [first, { ...second, path: "report.pdf" }]],
    ["a path that climbs", [first, { ...second, path: "../a.csv" }]],
    ["a digest too few", [first, { ...second, segments: "" }]],
    ["a digest too many", [first, { ...second, segments: Buffer.alloc(64).toString("base64") }]],
    ["base64 that can be written in another way", [first, { ...second, segments: `${"A".repeat(42)}B=` }]],
    ["no files", []],
  ])("with %s is refused", (_name, files) => {
    expect(() => read(files)).toThrow(Unreadable);
  });
});

describe("paths", () => {
  test.each(["a", "a/b/c.txt", "Ärende/日本語.pdf", ".hidden", "a b", "..a", "🦊"])("%s is taken", (path) => {
    verifyPath(path);
  });

  test.each([
    "", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "a.", "a ", "a /b", "a\\b", "C:a", "a\0", "a\nb", "a\u007f", "a\u0085",
    "report\u202Efdp.exe", "a\u200Fb", "a\u2066b", "a\u061Cb", "a\u2028b", "\ud800", "a".repeat(256), "é".repeat(128), "a/".repeat(512) + "b",
  ])("%j is refused", (path) => {
    expect(() => verifyPath(path)).toThrow(Unreadable);
  });

  test("a path of the greatest length is taken", () => {
    verifyPath(`${"a/".repeat(MAX_PATH / 2 - 1)}bc`);
  });

  test.each([
    [["A.txt", "a.txt"]],
    [["\u00e9", "e\u0301"]],
    [["\u00c9", "e\u0301"]],
    [["a", "a/b"]],
    [["A/b", "a/B/c"]],
  ])("%j could become one file", (paths) => {
    expect(() => verifyDistinct(paths)).toThrow(Unreadable);
  });

  test("files of one folder are distinct", () => {
    verifyDistinct(["a/b", "a/c", "ab", "a-b/c"]);
  });
});

describe("the others", () => {
  test("a request is read as it was written", () => {
    const request = { format: "strongroom request 1", title: "t", message: "", box: id, box_version: 1, blob: id, max_bytes: 5, expires_at: 9 };
    expect(parseRequest(json(request))).toEqual(request);
    expect(() => parseRequest(json({ ...request, recipient: "age1pq1" }))).toThrow(Unreadable); // the key never comes from a page (RULES 27)
  });

  test("a desk is read as it was written", () => {
    const page = { format: "strongroom desk 1", entries: [entry] };
    expect(parseDesk(json(page))).toEqual(page);
    expect(() => parseDesk(json({ ...page, entries: [{ ...entry, state: "open" }] }))).toThrow("entries[0].state");
  });

  test("a card is read as it was handed over; what is none is the reader's own mistake", () => {
    expect(parseCard(formatCard(card))).toEqual(card);
    expect(() => parseCard("hello")).toThrow(BadInput);
    expect(() => parseCard(formatCard({ ...card, name: "bob" }))).toThrow(BadInput);
    expect(() => parseCard(formatCard({ ...card, public_key: "AwQ!" }))).toThrow(BadInput);
    expect(() => parseCard(formatCard({ ...card, public_key: "AwR" }))).toThrow(BadInput); // bits left over
  });
});
