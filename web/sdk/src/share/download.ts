/**
 * Where received files go: to a place that the user picks (File System Access API), else through the service worker, else,
 * small ones, by a link. Several files become a folder, or a ZIP archive that stores and does not compress.
 *
 * Pickers open in a click's handler only, so picking and saving are two steps. Whatever goes wrong on the way leaves nothing
 * under the file's name that looks whole.
 */

import { makeZip, predictLength } from "client-zip";

import { BadInput } from "../client/errors.js";
import type { Bytes } from "../protocol/bytes.js";
import { Control } from "./control.js";
import { Cancelled } from "./errors.js";
import type { FileEntry } from "./format.js";
import type { OpenShare } from "./shares.js";
import { canStream, streamToDisk } from "./streamed_download.js";

/** What a browser that can neither write files nor stream downloads is given in one piece. */
export const MAX_IN_MEMORY = 256 << 20;

/** Takes one file, all or nothing. */
export interface Sink {
  write(pieces: AsyncIterable<Bytes>): Promise<void>;
}

/** A place for several files. */
export type Target = { readonly kind: "folder"; readonly folder: Folder } | { readonly kind: "archive"; readonly sink: Sink };

export interface SaveOptions {
  readonly control?: Control;
  readonly signal?: AbortSignal;
  /** Told the bytes of plaintext so far. */
  readonly progress?: (done: number, total: number) => void;
}

/** Ask where one file is to go. Throws `Cancelled`, and `BadInput` if this browser can't save so much. */
export async function pickFile({ path, size }: { readonly path: string; readonly size: number }): Promise<Sink> {
  const name = nameOf(path);
  const { showSaveFilePicker } = pickers();
  if (showSaveFilePicker !== undefined) {
    const handle = await picked(() => showSaveFilePicker.call(globalThis, { suggestedName: name }));
    return { write: (pieces) => writeTo(handle, pieces) };
  }
  if (canStream()) return { write: (pieces) => streamToDisk(name, size, pieces) };
  if (size > MAX_IN_MEMORY) throw new BadInput("this browser can't save a file of this size from a page", "use a current Chrome, Edge or Firefox, or the command line");
  return { write: (pieces) => offer(name, pieces) };
}

/** Ask where all files are to go; `name` of the folder or the archive. Throws as `pickFile`. */
export async function pickTarget(files: readonly FileEntry[], name: string): Promise<Target> {
  const spaced = name.replaceAll(/[\\/:*?"<>|\p{C}\s]+/gu, " ");
  const plain = [...spaced].slice(0, 80).join("").replaceAll(/^ +|[. ]+$/g, "") || "files";
  const { showDirectoryPicker } = pickers();
  if (showDirectoryPicker !== undefined) {
    const parent = await picked(() => showDirectoryPicker.call(globalThis, { mode: "readwrite" }));
    return { kind: "folder", folder: await freshFolder(parent, plain) };
  }
  const size = Number(predictLength(files.map((file) => ({ name: file.path, size: file.size }))));
  return { kind: "archive", sink: await pickFile({ path: `${plain}.zip`, size }) };
}

/** Decrypt one file to there. Throws what `OpenShare.read` does. */
export async function saveFile(share: OpenShare, file: FileEntry, sink: Sink, options: SaveOptions = {}): Promise<void> {
  await sink.write(new Saving(share, file.size, options).pieces(file));
}

/** Decrypt all files to there. */
export async function saveAll(share: OpenShare, place: Target, options: SaveOptions = {}): Promise<void> {
  const saving = new Saving(share, share.files.reduce((sum, file) => sum + file.size, 0), options);
  if (place.kind === "archive") {
    await place.sink.write(archiveOf(share.files, (file) => saving.pieces(file)));
    return;
  }
  for (const file of share.files) await writeInto(place.folder, file.path, saving.pieces(file));
}

/** A ZIP archive of the files, piece by piece. */
export async function* archiveOf(files: readonly FileEntry[], read: (file: FileEntry) => AsyncIterable<Bytes>): AsyncGenerator<Bytes, void, undefined> {
  const entries = files.map((file) => ({
    name: file.path,
    size: file.size,
    lastModified: new Date(1000 * (file.modified === 0 ? 315_532_800 : file.modified)), // ZIP knows no time before 1980
    input: read(file),
  }));
  const reader = makeZip(entries).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield new Uint8Array(next.value);
  } finally {
    await reader.cancel().catch(() => undefined); // of a stream that failed
  }
}

class Saving {
  readonly #share: OpenShare;
  readonly #total: number;
  readonly #control: Control;
  readonly #progress: (done: number, total: number) => void;
  #done = 0;

  constructor(share: OpenShare, total: number, { control = new Control(), signal, progress = (): void => undefined }: SaveOptions) {
    this.#share = share;
    this.#total = total;
    this.#control = control.obey(signal);
    this.#progress = progress;
  }

  async *pieces(file: FileEntry): AsyncGenerator<Bytes, void, undefined> {
    await this.#control.passed();
    for await (const piece of this.#share.read(file, this.#control)) {
      this.#done += piece.length; // before the piece goes: who takes it may detach it
      yield piece;
      this.#progress(this.#done, this.#total);
    }
  }
}

// --- File System Access: https://wicg.github.io/file-system-access, which TypeScript does not know ----------------

/** The little of a directory's handle that is used here. */
export interface Folder {
  getDirectoryHandle(name: string, options?: { readonly create: true }): Promise<Folder>;
  getFileHandle(name: string, options?: { readonly create: true }): Promise<PickedFile>;
  removeEntry(name: string): Promise<void>;
}

export interface PickedFile {
  createWritable(): Promise<{ write(piece: Bytes): Promise<void>; close(): Promise<void>; abort(): Promise<void> }>;
}

interface Pickers {
  readonly showSaveFilePicker?: (options: { readonly suggestedName: string }) => Promise<PickedFile>;
  readonly showDirectoryPicker?: (options: { readonly mode: "readwrite" }) => Promise<Folder>;
}

const pickers = (): Pickers => globalThis as Pickers;

async function picked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw new Cancelled();
    throw error;
  }
}

/** What is written shows only after `close`. */
async function writeTo(file: PickedFile, pieces: AsyncIterable<Bytes>): Promise<void> {
  const writable = await file.createWritable();
  try {
    for await (const piece of pieces) await writable.write(piece);
  } catch (error) {
    await writable.abort().catch(() => undefined); // the first error is the one that counts
    throw error;
  }
  await writable.close();
}

/** In a folder of its own nothing can be replaced. */
async function freshFolder(parent: Folder, name: string): Promise<Folder> {
  for (let number = 1; ; number++) {
    const tried = number === 1 ? name : `${name} (${number})`;
    if (!(await exists(() => parent.getDirectoryHandle(tried)))) return parent.getDirectoryHandle(tried, { create: true });
  }
}

/** As a folder or as a file. */
async function exists(find: () => Promise<unknown>): Promise<boolean> {
  try {
    await find();
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return false;
    if (error instanceof DOMException && error.name === "TypeMismatchError") return true;
    throw error;
  }
}

/** The manifest's paths were verified: none climbs, none is two files. */
async function writeInto(root: Folder, path: string, pieces: AsyncIterable<Bytes>): Promise<void> {
  const parts = path.split("/");
  const name = parts.pop() ?? "";
  let folder = root;
  for (const part of parts) folder = await folder.getDirectoryHandle(part, { create: true });
  try {
    await writeTo(await folder.getFileHandle(name, { create: true }), pieces);
  } catch (error) {
    await folder.removeEntry(name).catch(() => undefined); // an empty file of that name
    throw error;
  }
}

// --- a link -----------------------------------------------------------------------------------------------------

const MINUTE = 60_000;

/** A blob's URL, as the target of a download link and of nothing else (RULES 26). */
async function offer(name: string, pieces: AsyncIterable<Bytes>): Promise<void> {
  const parts: Bytes[] = [];
  for await (const piece of pieces) parts.push(piece);
  const url = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), MINUTE);
}

const nameOf = (path: string): string => path.split("/").at(-1) ?? path;
