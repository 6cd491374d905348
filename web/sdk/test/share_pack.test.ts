import { Decrypter } from "age-encryption";
import { describe, expect, test, vi } from "vitest";
import { BadInput } from "../src/client/errors.js";
import { concat, hex } from "../src/protocol/bytes.js";
import { sha256 } from "../src/protocol/primitives.js";
import { CHUNK, HEADER, NONCE, Opener, Sealer, ageLength, generateIdentity, recipientOf } from "../src/share/age.js";
import { Damaged, Truncated, Unreadable } from "../src/share/errors.js";
import { type FileEntry, type Manifest, SEGMENT, type ShareSecret, parseShare } from "../src/share/format.js";
import { Pack, type Source, ahead, inChunks, openFile, openManifest } from "../src/share/pack.js";
import { writeJson } from "../src/share/shapes.js";

vi.setConfig({ testTimeout: 60_000 }); // ML-KEM and ChaCha20 in JavaScript, on machines that can be slow

const identity = await generateIdentity();
const recipient = await recipientOf(identity);

/** Bytes that differ everywhere, so that whatever changes places is seen. */
function content(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0, x = seed; at < size; at++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = x >>> 16;
  }
  return bytes;
}

const source = (path: string, bytes: Uint8Array<ArrayBuffer>): Source => ({ path, content: new Blob([bytes]), type: "", modified: 7 });

async function all(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return concat(...parts);
}

async function* pieces(bytes: Uint8Array, size = 300_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

interface Made {
  readonly share: ShareSecret;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly manifest: Manifest;
}

async function made(sources: readonly Source[], to = recipient): Promise<Made> {
  const pack = new Pack(sources);
  const bytes = await all(pack.blocks(to));
  expect(bytes.length).toBe(pack.size);
  const share = parseShare(
    writeJson({
      format: "strongroom share 1",
      title: "t",
      message: "",
      identity,
      blob: "00".repeat(16),
      size: pack.size,
      manifest: pack.place,
      sent_at: 1,
    } satisfies ShareSecret),
  );
  const manifest = to === recipient ? await openManifest(share, manifestOf(share, bytes)) : { format: "strongroom manifest 1" as const, files: [] };
  return { share, bytes, manifest };
}

function manifestOf(share: ShareSecret, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { offset, length } = share.manifest ?? { offset: 0, length: 0 };
  return bytes.slice(offset, offset + length);
}

const part = (bytes: Uint8Array, entry: FileEntry) => bytes.slice(entry.offset, entry.offset + entry.length);

/** What came out before `openFile` threw, and what it threw. */
async function opened(entry: FileEntry, bytes: Uint8Array): Promise<{ plain: Uint8Array; error: unknown }> {
  const parts: Uint8Array[] = [];
  try {
    for await (const piece of openFile(entry, identity, pieces(bytes))) parts.push(piece);
  } catch (error) {
    return { plain: concat(...parts), error };
  }
  return { plain: concat(...parts), error: undefined };
}

const large = content(3 * SEGMENT + 12_345, 5);
const twin = content(3 * SEGMENT + 12_345, 9);
const two = await made([source("large.bin", large), source("folder/twin.bin", twin), source("empty", new Uint8Array())]);
const [first, second, third] = two.manifest.files as [FileEntry, FileEntry, FileEntry];

describe("age", () => {
  test.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 20 * CHUNK + 3])("typage opens what is sealed here: %i bytes", async (size) => {
    const plain = content(size);
    const sealer = await Sealer.start(recipient);
    const cut = Math.floor(size / CHUNK / 2) * CHUNK;
    const parts = cut > 0 ? await sealer.seal(plain.subarray(0, cut), "more") : [];
    const file = concat(sealer.head, ...parts, ...(await sealer.seal(plain.subarray(cut), "last")));
    expect(file.length).toBe(ageLength(size));
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    expect(Buffer.compare(await decrypter.decrypt(file), plain)).toBe(0);
  });

  test("no two files share a nonce or a header", async () => {
    const [a, b] = [await Sealer.start(recipient), await Sealer.start(recipient)];
    expect(hex(a.head.subarray(HEADER))).not.toBe(hex(b.head.subarray(HEADER)));
    expect(hex(a.head.subarray(0, HEADER))).not.toBe(hex(b.head.subarray(0, HEADER)));
  });

  test("a file whose empty chunk follows a full one is refused", async () => {
    const sealer = await Sealer.start(recipient);
    const file = concat(sealer.head, ...(await sealer.seal(content(CHUNK), "more")), ...(await sealer.seal(new Uint8Array(), "last")));
    const opener = new Opener(identity);
    await opener.open(file);
    await expect(opener.finish()).rejects.toThrow("last chunk is empty");
  });

  test("an altered header is refused", async () => {
    const sealer = await Sealer.start(recipient);
    const file = concat(sealer.head, ...(await sealer.seal(content(10), "last")));
    for (const at of [0, 30, 1_000, HEADER - 3, HEADER + 1]) {
      const altered = file.slice();
      altered[at] = (altered[at] ?? 0) ^ 1;
      const opener = new Opener(identity);
      await expect(opener.open(altered).then(() => opener.finish())).rejects.toThrow(Damaged);
    }
  });
});

describe("a pack", () => {
  test("comes out as it went in", async () => {
    for (const [entry, plain] of [[first, large], [second, twin], [third, new Uint8Array()]] as const) {
      const result = await opened(entry, part(two.bytes, entry));
      expect(result.error).toBeUndefined();
      expect(Buffer.compare(result.plain, plain)).toBe(0);
    }
    expect(two.manifest.files.map((entry) => entry.path)).toEqual(["large.bin", "folder/twin.bin", "empty"]);
    expect(NONCE + HEADER).toBe(ageLength(0) - 16);
  });

  test("a size on every boundary comes out as it went in", async () => {
    const overhead = ageLength(0) - 16;
    const sizes = [1, CHUNK, SEGMENT - overhead - 16 * 16, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + CHUNK];
    const { bytes, manifest } = await made(sizes.map((size) => source(`${size}`, content(size, size))));
    for (const [at, entry] of manifest.files.entries()) {
      const { plain, error } = await opened(entry, part(bytes, entry));
      expect(error).toBeUndefined();
      expect(Buffer.compare(plain, content(sizes[at] ?? 0, sizes[at]))).toBe(0);
    }
  });

  test("a byte altered anywhere: nothing of its segment comes out", async () => {
    for (const at of [5, HEADER + 3, SEGMENT + 7, 2 * SEGMENT, first.length - 1]) {
      const bytes = part(two.bytes, first);
      bytes[at] = (bytes[at] ?? 0) ^ 0x80;
      const { plain, error } = await opened(first, bytes);
      expect(error).toBeInstanceOf(Damaged);
      expect(plain.length).toBeLessThanOrEqual(Math.floor(at / SEGMENT) * SEGMENT);
      expect(Buffer.compare(plain, large.subarray(0, plain.length))).toBe(0);
    }
  });

  test("segments of one file that changed places are refused", async () => {
    const bytes = part(two.bytes, first);
    const swapped = concat(bytes.subarray(SEGMENT, 2 * SEGMENT), bytes.subarray(0, SEGMENT), bytes.subarray(2 * SEGMENT));
    expect(await opened(first, swapped)).toMatchObject({ plain: { length: 0 }, error: expect.any(Damaged) });
  });

  test("a segment of another file is refused", async () => {
    const bytes = part(two.bytes, first);
    bytes.set(part(two.bytes, second).subarray(SEGMENT, 2 * SEGMENT), SEGMENT);
    const { plain, error } = await opened(first, bytes);
    expect(error).toBeInstanceOf(Damaged);
    expect(plain.length).toBeLessThan(SEGMENT);
  });

  test("another file in its place is refused before a byte comes out", async () => {
    expect(await opened(first, part(two.bytes, second))).toMatchObject({ plain: { length: 0 }, error: expect.any(Damaged) });
  });

  test("a file that the host encrypted to the same recipient is refused", async () => {
    // age takes it: only the digests know the sender.
    const forged = await made([source("large.bin", twin), source("folder/twin.bin", large), source("empty", new Uint8Array())]);
    expect(await opened(first, part(forged.bytes, first))).toMatchObject({ plain: { length: 0 }, error: expect.any(Damaged) });
    await expect(openManifest(two.share, manifestOf(two.share, forged.bytes))).rejects.toThrow(Damaged);
  });

  test("a file cut short is told from an altered one, and never looks whole", async () => {
    const bytes = part(two.bytes, first);
    for (const size of [0, 100, SEGMENT, 2 * SEGMENT, 2 * SEGMENT + 5, first.length - 1]) {
      const { plain, error } = await opened(first, bytes.slice(0, size));
      expect(error).toBeInstanceOf(Truncated);
      expect(plain.length).toBeLessThan(first.size);
    }
  });

  test("a file made longer is refused", async () => {
    for (const more of [1, SEGMENT]) {
      const { error } = await opened(first, concat(part(two.bytes, first), new Uint8Array(more)));
      expect(error).toBeInstanceOf(Damaged);
    }
  });

  test("a segment behind the last one is refused, also where the last one is full", async () => {
    const size = SEGMENT - HEADER - NONCE - 16 * 16;
    expect(ageLength(size)).toBe(SEGMENT);
    const { bytes, manifest } = await made([source("full", content(size))]);
    const entry = manifest.files[0] as FileEntry;
    const { error } = await opened(entry, concat(part(bytes, entry), content(SEGMENT)));
    expect(String(error)).toContain("segment 2 of 1");
  });

  test("a manifest that is another one is refused: altered, cut, longer, of another share", async () => {
    const bytes = manifestOf(two.share, two.bytes);
    const altered = bytes.slice();
    altered[HEADER + 40] = (altered[HEADER + 40] ?? 0) ^ 1;
    await expect(openManifest(two.share, altered)).rejects.toThrow(Damaged);
    await expect(openManifest(two.share, bytes.slice(0, -1))).rejects.toThrow(Truncated);
    await expect(openManifest(two.share, concat(bytes, new Uint8Array(1)))).rejects.toThrow(Damaged);
    const other = await made([source("a", content(10))]);
    await expect(openManifest(two.share, manifestOf(other.share, other.bytes))).rejects.toThrow(Damaged);
  });

  test("a manifest whose digest fits but whose paths climb is refused", async () => {
    const sealer = await Sealer.start(recipient);
    const files = [{ ...first, path: "../../etc/passwd" }];
    const plain = writeJson({ format: "strongroom manifest 1", files });
    const manifest = concat(sealer.head, ...(await sealer.seal(plain, "last")));
    const place = { offset: first.length, length: manifest.length, sha256: hex(await sha256(manifest)) };
    const share = { ...two.share, manifest: place, size: first.length + manifest.length };
    await expect(openManifest(share, manifest)).rejects.toThrow(Unreadable);
  });

  test("a pack for another key is refused", async () => {
    const other = await made([source("a", content(10))], await recipientOf(await generateIdentity()));
    await expect(openManifest(other.share, manifestOf(other.share, other.bytes))).rejects.toThrow("for another key");
  });

  test("what no receiver would accept is not sent", () => {
    const plain = content(1);
    expect(() => new Pack([])).toThrow(BadInput);
    expect(() => new Pack([source("../a", plain)])).toThrow(BadInput);
    expect(() => new Pack([source("a", plain), source("A", plain)])).toThrow(BadInput);
  });

  test("a file that changes while it is read is not sent", async () => {
    const shrunk = { path: "a", content: { size: 10, slice: () => new Blob([content(9)]) } as unknown as Blob, type: "", modified: 0 };
    await expect(all(new Pack([shrunk]).blocks(recipient))).rejects.toThrow(BadInput);
  });
});

describe("streams", () => {
  test("`inChunks` keeps every byte, in order", async () => {
    const bytes = content(1_000_003);
    const sizes: number[] = [];
    const parts: Uint8Array[] = [];
    for await (const chunk of inChunks(pieces(bytes, 7_919), 65_536)) {
      sizes.push(chunk.length);
      parts.push(chunk.slice());
    }
    expect(Buffer.compare(concat(...parts), bytes)).toBe(0);
    expect(new Set(sizes.slice(0, -1))).toEqual(new Set([65_536]));
  });

  test("`ahead` makes one item more than was asked for, and ends what it began", async () => {
    const seen: string[] = [];
    async function* items(): AsyncGenerator<number> {
      try {
        for (let number = 0; ; number++) {
          seen.push(`made ${number}`);
          yield number;
        }
      } finally {
        seen.push("ended");
      }
    }
    for await (const number of ahead(items())) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push(`used ${number}`);
      if (number === 1) break;
    }
    expect(seen).toEqual(["made 0", "made 1", "used 0", "made 2", "used 1", "ended"]);
  });

  test("`ahead` throws what its source threw", async () => {
    async function* items(): AsyncGenerator<number> {
      yield 1;
      throw new Damaged("x");
    }
    const seen: number[] = [];
    await expect(async () => {
      for await (const number of ahead(items())) seen.push(number);
    }).rejects.toThrow(Damaged);
    expect(seen).toEqual([1]);
  });
});
