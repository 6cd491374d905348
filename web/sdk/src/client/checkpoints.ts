/**
 * The highest checkpoint of each log that this browser has seen: an older state is recognised by it.
 *
 * A client that forgets is a client that can be shown last month's database. So what one page has seen is kept for the
 * next, for as long as the browser keeps anything for this origin, and two tabs can't make it forget: each says over
 * which checkpoint it puts its own, and is told when another one stands there by now. Whoever may run scripts of this
 * origin, or clears its data, can make it forget.
 */

import type { Bytes } from "../protocol/bytes.js";
import { Untrusted } from "../protocol/errors.js";
import { type Checkpoint, parseCheckpoint } from "../protocol/notes.js";
import { equal } from "../protocol/primitives.js";
import { IndexedShelf, MemoryShelf, type Shelf } from "./storage.js";

/** Where a client keeps one signed checkpoint of each log, by the log's name. Throws `BadInput` as its shelf does. */
export class Checkpoints {
  readonly #shelf: Shelf;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  /** The note that is kept; undefined: this log was never seen. */
  async highest(origin: string): Promise<Bytes | undefined> {
    const kept = await this.#shelf.get(origin);
    if (kept === undefined || isNoteOf(kept, origin)) return kept;
    await this.setAside(origin);
    return undefined;
  }

  /**
   * Put `note` in the place of `over`, which it was shown to extend. What is kept then: another note than `note` where
   * another tab has put it there meanwhile; nothing is changed in that case.
   */
  async keep(origin: string, note: Bytes, over: Bytes | undefined): Promise<Bytes> {
    let standing = note;
    await this.#shelf.change(origin, (kept) => {
      standing = isNoteOf(kept, origin) && !mayReplace(kept, note, over) ? kept : note;
      return standing;
    });
    return standing;
  }

  /** Forget the note of a log, which turned out to be none that it signed, and say so. */
  async setAside(origin: string): Promise<void> {
    console.warn(`what was kept of ${origin} was damaged and is lost: an older state of it would not be noticed here this once`);
    await this.#shelf.delete(origin);
  }
}

/** In this origin's database, where there is one; else for as long as the program runs. */
export const keptCheckpoints = (): Checkpoints =>
  new Checkpoints("indexedDB" in globalThis ? new IndexedShelf("checkpoints") : new MemoryShelf());

export const sameCheckpoint = (one: Checkpoint, other: Checkpoint): boolean =>
  one.origin === other.origin && one.size === other.size && equal(one.root, other.root);

/** Signature lines aside: one checkpoint may be cosigned by these witnesses or by those. */
function mayReplace(kept: Bytes, note: Bytes, over: Bytes | undefined): boolean {
  const found = parseCheckpoint(kept).checkpoint;
  return [over, note].some((one) => one !== undefined && sameCheckpoint(found, parseCheckpoint(one).checkpoint));
}

function isNoteOf(kept: unknown, origin: string): kept is Bytes {
  if (!(kept instanceof Uint8Array)) return false;
  try {
    return parseCheckpoint(kept as Bytes).checkpoint.origin === origin;
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return false;
  }
}
