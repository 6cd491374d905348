import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Bytes, concat, utf8 } from "../src/protocol/bytes.js";
import { type Folder, MAX_IN_MEMORY, archiveOf, pickFile, pickTarget, saveAll, saveFile } from "../src/share/download.js";
import { Cancelled, Damaged } from "../src/share/errors.js";
import type { FileEntry } from "../src/share/format.js";
import type { OpenShare } from "../src/share/shares.js";
import { StreamedDownloads } from "../src/share/streamed_download.js";

const entry = (path: string, size: number): FileEntry => ({ path, size, type: "", modified: 1_700_000_000, offset: 0, length: 0, segments: "" });

/** A share of these files; a null stands for one whose second piece is damaged. */
function shareOf(files: Record<string, string | null>): OpenShare {
  async function* read({ path }: FileEntry): AsyncGenerator<Bytes> {
    const text = files[path];
    yield utf8(text?.slice(0, 3) ?? "bad");
    if (text === null || text === undefined) throw new Damaged("segment 2 of 2 is not what was sent");
    yield utf8(text.slice(3));
  }
  return { files: Object.entries(files).map(([path, text]) => entry(path, text?.length ?? 6)), read } as unknown as OpenShare;
}

/** Folders as browsers have them: what is written shows only after `close`. */
class MemoryFolder implements Folder {
  readonly entries = new Map<string, MemoryFolder | { bytes: Uint8Array }>();

  async getDirectoryHandle(name: string, options?: { create: true }): Promise<MemoryFolder> {
    const found = this.entries.get(name);
    if (found instanceof MemoryFolder) return found;
    if (found !== undefined) throw new DOMException("", "TypeMismatchError");
    if (options === undefined) throw new DOMException("", "NotFoundError");
    const made = new MemoryFolder();
    this.entries.set(name, made);
    return made;
  }

  async getFileHandle(name: string, options?: { create: true }) {
    const found = this.entries.get(name) ?? { bytes: new Uint8Array() };
    if (found instanceof MemoryFolder) throw new DOMException("", "TypeMismatchError");
    if (!this.entries.has(name) && options === undefined) throw new DOMException("", "NotFoundError");
    this.entries.set(name, found);
    return {
      createWritable: async () => {
        const parts: Uint8Array[] = [];
        return {
          write: async (piece: Bytes) => void parts.push(piece),
          close: async () => void (found.bytes = concat(...parts)),
          abort: async () => undefined,
        };
      },
    };
  }

  async removeEntry(name: string): Promise<void> {
    this.entries.delete(name);
  }

  tree(): Record<string, unknown> {
    return Object.fromEntries([...this.entries].map(([name, one]) => [name, one instanceof MemoryFolder ? one.tree() : Buffer.from(one.bytes).toString()]));
  }
}

let disk: MemoryFolder;

beforeEach(() => {
  disk = new MemoryFolder();
  vi.stubGlobal("showDirectoryPicker", async () => disk);
  vi.stubGlobal("showSaveFilePicker", async ({ suggestedName }: { suggestedName: string }) => disk.getFileHandle(suggestedName, { create: true }));
});

afterEach(() => vi.unstubAllGlobals());

describe("saving", () => {
  test("one file goes where the user says, and says how far it is", async () => {
    const share = shareOf({ "a/report.pdf": "content" });
    const file = share.files[0] as FileEntry;
    const seen: number[] = [];
    await saveFile(share, file, await pickFile(file), { progress: (done) => seen.push(done) });
    expect(disk.tree()).toEqual({ "report.pdf": "content" });
    expect(seen).toEqual([3, 7]);
  });

  test("all files go into a folder of their own, which replaces nothing", async () => {
    await disk.getDirectoryHandle("Audit", { create: true });
    await disk.getFileHandle("Audit (2)", { create: true });
    const share = shareOf({ "a/b/c.txt": "first", "d.txt": "second" });
    await saveAll(share, await pickTarget(share.files, "Audit"));
    expect(disk.tree()).toEqual({ Audit: {}, "Audit (2)": "", "Audit (3)": { a: { b: { "c.txt": "first" } }, "d.txt": "second" } });
  });

  test.each([["../../etc: passwd?", ".. .. etc passwd"], ["...", "files"], ["", "files"], ["a\u202Egpj.exe", "a gpj.exe"]])(
    "a title is no path: %j becomes the folder %j",
    async (title, name) => {
      await pickTarget([], title);
      expect([...disk.entries.keys()]).toEqual([name]);
    },
  );

  test("a damaged file leaves nothing under its name", async () => {
    const share = shareOf({ "good.txt": "content", "bad.txt": null });
    await expect(saveAll(share, await pickTarget(share.files, "Audit"))).rejects.toThrow(Damaged);
    expect(disk.tree()).toEqual({ Audit: { "good.txt": "content" } });
  });

  test("who closes the picker has cancelled", async () => {
    vi.stubGlobal("showSaveFilePicker", async () => {
      throw new DOMException("", "AbortError");
    });
    await expect(pickFile(entry("a", 1))).rejects.toThrow(Cancelled);
  });

  test("a signal cancels", async () => {
    const share = shareOf({ a: "content" });
    const file = share.files[0] as FileEntry;
    await expect(saveFile(share, file, await pickFile(file), { signal: AbortSignal.abort() })).rejects.toThrow(Cancelled);
  });

  test("a browser that can only keep files in memory is not asked to keep gigabytes", async () => {
    vi.stubGlobal("showSaveFilePicker", undefined);
    await expect(pickFile(entry("a", MAX_IN_MEMORY + 1))).rejects.toThrow("can't save a file of this size");
  });
});

describe("an archive", () => {
  test("is one that unzip reads", async () => {
    const share = shareOf({ "a/ü☂.txt": "content", "b.txt": "second file" });
    const parts: Bytes[] = [];
    for await (const piece of archiveOf(share.files, (file) => share.read(file))) parts.push(piece);
    const folder = mkdtempSync(join(tmpdir(), "archive-"));
    try {
      writeFileSync(join(folder, "all.zip"), concat(...parts));
      const listing = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print({n: z.read(n).decode() for n in z.namelist()} if z.testzip() is None else 'bad')";
      expect(execFileSync("python3", ["-c", listing, join(folder, "all.zip")], { encoding: "utf8", env: { PYTHONUTF8: "1", PATH: process.env["PATH"] } }).trim()).toBe(
        "{'a/ü☂.txt': 'content', 'b.txt': 'second file'}",
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("with a damaged file breaks off", async () => {
    const share = shareOf({ "good.txt": "content", "bad.txt": null });
    await expect(async () => {
      for await (const _ of archiveOf(share.files, (file) => share.read(file)));
    }).rejects.toThrow(Damaged);
  });
});

describe("a download through a service worker", () => {
  const id = "0123456789abcdef0123456789abcdef";
  const announcement = { type: "strongroom download", id, name: "bericht (1) 'ü'.pdf", size: 6 };

  test("gives what the page gives, once, under headers that make it no document", async () => {
    const downloads = new StreamedDownloads();
    const { port1, port2 } = new MessageChannel();
    const give: unknown[] = [utf8("con"), utf8("tent"), "end"];
    const asked: unknown[] = [];
    port1.onmessage = ({ data }) => {
      asked.push(data);
      if (data === "next") port1.postMessage(give.shift());
    };
    expect(downloads.announced(announcement, [port2])).toBe(true);
    const response = downloads.answer(`https://share.example.com/download/${id}`);
    expect(await response?.text()).toBe("content");
    expect(asked).toEqual(["ready", "next", "next", "next"]);
    expect(response?.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''bericht%20%281%29%20%27%C3%BC%27.pdf");
    expect(response?.headers.get("content-security-policy")).toBe("default-src 'none'; sandbox");
    expect(response?.headers.get("content-type")).toBe("application/octet-stream");
    expect(response?.headers.get("x-content-type-options")).toBe("nosniff");
    expect(downloads.answer(`https://share.example.com/download/${id}`)?.status).toBe(404);
    port1.close();
  });

  test("that the page breaks off is an error of the download, not its end", async () => {
    const downloads = new StreamedDownloads();
    const { port1, port2 } = new MessageChannel();
    const give: unknown[] = [utf8("con"), "failed"];
    port1.onmessage = ({ data }) => {
      if (data === "next") port1.postMessage(give.shift());
    };
    downloads.announced(announcement, [port2]);
    await expect(downloads.answer(`https://share.example.com/download/${id}`)?.text()).rejects.toThrow(TypeError);
    port1.close();
  });

  test("concerns no other request or message", () => {
    const downloads = new StreamedDownloads();
    expect(downloads.answer("https://share.example.com/blobs/1")).toBeUndefined();
    for (const data of [null, "x", {}, { ...announcement, id: "../x" }, { ...announcement, size: 1.5 }]) {
      expect(downloads.announced(data, [])).toBe(false);
    }
  });
});
