/**
 * The highest checkpoint of each Vault's log that was seen here: what a host has to hide from who rolls a database back.
 *
 * It is kept for as long as the browser keeps anything for this origin, and never lowered, by however many tabs.
 */

import type { Bytes } from "../protocol/bytes.js";
import { Untrusted } from "../protocol/errors.js";
import { type SignedCheckpoint, parseCheckpoint } from "../protocol/notes.js";
import { IndexedShelf, MemoryShelf, type Shelf } from "./storage.js";

/** Checkpoints by the origin of their log, as they were verified once. */
export class Checkpoints {
  readonly #shelf: Shelf;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  /** The highest that was seen, with its signature, or undefined. */
  async highest(origin: string): Promise<SignedCheckpoint | undefined> {
    return parsed(await this.#shelf.get(origin));
  }

  /** Keep a verified checkpoint, unless a higher one is kept. */
  async raise(seen: SignedCheckpoint): Promise<void> {
    const { origin, size } = seen.checkpoint;
    await this.#shelf.change(origin, (kept) => {
      const highest = parsed(kept);
      return highest !== undefined && highest.checkpoint.size >= size ? kept : seen.note;
    });
  }
}

/** In this origin's database, where there is one; else for as long as the program runs. */
export const keptCheckpoints = (): Checkpoints =>
  new Checkpoints("indexedDB" in globalThis ? new IndexedShelf("checkpoints") : new MemoryShelf());

/** Undefined for what another version of this page may have kept. */
function parsed(kept: unknown): SignedCheckpoint | undefined {
  if (!(kept instanceof Uint8Array)) return undefined;
  try {
    return parseCheckpoint(kept as Bytes);
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return undefined;
  }
}
