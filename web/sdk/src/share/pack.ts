/**
 * A pack: age files one behind the other, last the manifest (`spec/share.md`). Blobs in, bytes out; no network.
 *
 * All lengths are known before anything is read, so the pack's is too. A receiver gets each segment only after its digest
 * held, and each chunk only after its tag did: digests say who sent it, tags that it is whole (RULES 27).
 *
 * Attacks stopped here: a segment, a file or a manifest in the place of another; a blob of another share, or one that
 * somebody else encrypted to the same recipient; a blob cut short, or made longer.
 */

import { type Bytes, base64, concat, hex, unhex } from "../protocol/bytes.js";
import { equal, sha256 } from "../protocol/primitives.js";
import { BadInput } from "../client/errors.js";
import { Opener, Sealer, ageLength } from "./age.js";
import { Damaged, Truncated, Unreadable } from "./errors.js";
import {
  DIGEST,
  type FileEntry,
  MAX_FILES,
  MAX_MANIFEST,
  type Manifest,
  type ManifestPlace,
  SEGMENT,
  type ShareSecret,
  digestsOf,
  encodeManifest,
  parseManifest,
  verifyDistinct,
  verifyPath,
} from "./format.js";

/** Plaintext bytes that are read and sealed at a time; whole chunks of age. */
const BLOCK = 1 << 20;
const MEDIA_TYPE = /^[ -~]{0,127}$/;

/** A file to send. */
export interface Source {
  readonly path: string;
  readonly content: Blob;
  readonly type: string;
  /** Unix seconds; 0: not known. */
  readonly modified: number;
}

/** A file as browsers have it, under the path that receivers see. */
export function sourceOf({ path, file }: { readonly path: string; readonly file: File }): Source {
  return {
    path,
    content: file,
    type: MEDIA_TYPE.test(file.type) ? file.type : "",
    modified: Math.max(0, Math.floor(file.lastModified / 1000)),
  };
}

/** What is to be sent, laid out. Iterate over `blocks()` once; then `place` says where the manifest lies. */
export class Pack {
  readonly sources: readonly Source[];
  /** Bytes of the whole pack. */
  readonly size: number;
  readonly #offsets: readonly number[];
  readonly #manifestOffset: number;
  readonly #manifestSize: number;
  #place: ManifestPlace | undefined;

  /** Throws `BadInput` for files that no receiver would accept. */
  constructor(sources: readonly Source[]) {
    verifySources(sources);
    this.sources = sources;
    const offsets: number[] = [];
    let at = 0;
    for (const { content } of sources) {
      offsets.push(at);
      at += ageLength(content.size);
    }
    this.#offsets = offsets;
    this.#manifestOffset = at;
    // Digests have a fixed length as text: any will do to know how long the manifest becomes.
    const blank = sources.map(({ content }) => new Uint8Array(DIGEST * Math.ceil(ageLength(content.size) / SEGMENT)));
    this.#manifestSize = encodeManifest(this.#entries(blank)).length;
    this.size = at + ageLength(this.#manifestSize);
    if (this.#manifestSize > MAX_MANIFEST || !Number.isSafeInteger(this.size)) {
      throw new BadInput("this is too much for one share", "send it in several, or put the files into an archive");
    }
  }

  /** Where the manifest lies, once all blocks were taken. */
  get place(): ManifestPlace {
    if (this.#place === undefined) throw new Error("the pack has not been made yet");
    return this.#place;
  }

  /** The pack, piece by piece. Throws `BadInput` when a file changes while it is read. */
  async *blocks(recipient: string): AsyncGenerator<Uint8Array, void, undefined> {
    const digests: Bytes[] = [];
    for (const source of this.sources) {
      const segments = new SegmentDigests();
      for await (const piece of sealed(source, recipient)) {
        segments.add(piece);
        yield piece;
      }
      digests.push(await segments.finish());
    }
    const manifest = encodeManifest(this.#entries(digests));
    const sealer = await Sealer.start(recipient);
    const whole = concat(sealer.head, ...(await sealer.seal(manifest, "last")));
    this.#place = { offset: this.#manifestOffset, length: ageLength(this.#manifestSize), sha256: hex(await sha256(whole)) };
    yield whole;
  }

  #entries(digests: readonly Bytes[]): FileEntry[] {
    return this.sources.map(({ path, content, type, modified }, at) => ({
      path,
      size: content.size,
      type,
      modified,
      offset: this.#offsets[at] ?? 0,
      length: ageLength(content.size),
      segments: base64(digests[at] ?? new Uint8Array()),
    }));
  }
}

/** The manifest of a share from the bytes at its place. Throws `Damaged` and `Unreadable`. */
export async function openManifest(share: ShareSecret, untrusted: Bytes): Promise<Manifest> {
  const place = share.manifest;
  if (place === null) throw new Unreadable("it has no manifest");
  if (untrusted.length < place.length) throw new Truncated("the host has less of the list of files than was sent");
  if (untrusted.length !== place.length || !equal(await sha256(untrusted), unhex(place.sha256))) {
    throw new Damaged("the list of files is not the one that was sent");
  }
  const opener = new Opener(share.identity);
  return parseManifest(concat(await opener.open(untrusted), await opener.finish()), share);
}

/**
 * The plaintext of one file from its bytes in the pack, piece by piece; at most two segments are in memory.
 *
 * Whoever writes it down shows it to nobody before the last piece came: until then it may have been cut off.
 * Throws `Damaged`.
 */
export async function* openFile(entry: FileEntry, identity: string, untrusted: AsyncIterable<Uint8Array>): AsyncGenerator<Bytes, void, undefined> {
  const opener = new Opener(identity);
  let opened = 0;
  for await (const segment of verifiedSegments(entry, untrusted)) {
    const plain = await opener.open(segment);
    opened += plain.length;
    if (plain.length > 0) yield plain;
  }
  const last = await opener.finish();
  if (opened + last.length !== entry.size) throw new Damaged("it has another size than was said");
  if (last.length > 0) yield last;
}

/** The same items; the next one is made while this one is used. */
export async function* ahead<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const source = items[Symbol.asyncIterator]();
  const take = (): Promise<IteratorResult<T>> => {
    const result = source.next();
    result.catch(() => undefined); // it is thrown when it is awaited, perhaps much later
    return result;
  };
  let next = take();
  try {
    for (;;) {
      const result = await next;
      if (result.done === true) return;
      next = take();
      yield result.value;
    }
  } finally {
    await next.catch(() => undefined);
    await source.return?.();
  }
}

/**
 * The same bytes in pieces of exactly `size`, the last of what remains. The memory of a piece is used again for the next but
 * one: fresh buffers of mebibytes pile up faster than they are collected.
 */
export async function* inChunks(blocks: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Bytes, void, undefined> {
  const buffers = [new Uint8Array(size), new Uint8Array(size)] as const;
  let chunk: Bytes = buffers[0];
  let used = 0;
  for await (const block of blocks) {
    for (let at = 0; at < block.length; ) {
      const taken = block.subarray(at, at + size - used);
      chunk.set(taken, used);
      used += taken.length;
      at += taken.length;
      if (used < size) continue;
      yield chunk;
      chunk = chunk === buffers[0] ? buffers[1] : buffers[0];
      used = 0;
    }
  }
  if (used > 0) yield chunk.subarray(0, used);
}

/** Segments whose digest held. */
async function* verifiedSegments(entry: FileEntry, untrusted: AsyncIterable<Uint8Array>): AsyncGenerator<Bytes, void, undefined> {
  const digests = digestsOf(entry);
  let number = 0;
  let came = 0;
  for await (const segment of inChunks(untrusted, SEGMENT)) {
    came += segment.length;
    if (came < entry.length && segment.length < SEGMENT) throw cutShort();
    const digest = digests[number++];
    if (digest === undefined || !equal(await sha256(segment), digest)) {
      throw new Damaged(`segment ${number} of ${digests.length} is not what was sent`);
    }
    yield segment;
  }
  if (number !== digests.length) throw cutShort();
}

const cutShort = (): Truncated => new Truncated("the host has less of it than was sent");

/** Digests of each mebibyte of what is added. */
class SegmentDigests {
  readonly #digests: Promise<Bytes>[] = [];
  #segment = new Uint8Array(SEGMENT);
  #used = 0;

  add(block: Uint8Array): void {
    for (let at = 0; at < block.length; ) {
      const taken = block.subarray(at, at + SEGMENT - this.#used);
      this.#segment.set(taken, this.#used);
      this.#used += taken.length;
      at += taken.length;
      if (this.#used === SEGMENT) this.#digest();
    }
  }

  async finish(): Promise<Bytes> {
    if (this.#used > 0) this.#digest();
    return concat(...(await Promise.all(this.#digests)));
  }

  #digest(): void {
    // Reused at once: WebCrypto works on a copy of what it is given.
    this.#digests.push(sha256(this.#segment.subarray(0, this.#used)));
    this.#used = 0;
  }
}

async function* sealed(source: Source, recipient: string): AsyncGenerator<Uint8Array, void, undefined> {
  const sealer = await Sealer.start(recipient);
  yield sealer.head;
  let left = source.content.size;
  if (left === 0) yield* await sealer.seal(new Uint8Array(), "last");
  for await (const block of ahead(read(source))) {
    left -= block.length;
    yield* await sealer.seal(block, left === 0 ? "last" : "more");
  }
}

/** Exactly the bytes that were announced: their number is part of offsets that are fixed by now. */
async function* read({ path, content }: Source): AsyncGenerator<Bytes, void, undefined> {
  for (let at = 0; at < content.size; at += BLOCK) {
    const size = Math.min(BLOCK, content.size - at);
    const block = new Uint8Array(await content.slice(at, at + size).arrayBuffer().catch(() => new ArrayBuffer(0)));
    if (block.length !== size) throw new BadInput(`${path} changed, or can't be read any more`, "send it again when nobody writes to it");
    yield block;
  }
}

function verifySources(sources: readonly Source[]): void {
  if (sources.length < 1 || sources.length > MAX_FILES) {
    throw new BadInput(`a share holds 1 to ${MAX_FILES} files`, "put many files into an archive");
  }
  for (const { path, type } of sources) {
    const name = JSON.stringify(path.slice(0, 200));
    explained(`${name} can't be sent`, "rename it", () => verifyPath(path));
    if (!MEDIA_TYPE.test(type)) throw new BadInput(`${name} has a media type that can't be sent`, "leave the type empty");
  }
  const hint = "rename one of them; A and a are one on many disks";
  explained("this can't be sent", hint, () => verifyDistinct(sources.map((source) => source.path)));
}

function explained(what: string, hint: string, verify: () => void): void {
  try {
    verify();
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new BadInput(`${what}: ${error.reason}`, hint);
  }
}

