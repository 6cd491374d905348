/**
 * The highest checkpoint of each log that this browser has seen, and how its cluster stood: an older state is recognised
 * by them.
 *
 * A client that forgets is a client that can be shown last month's database. So what one page has seen is kept for the
 * next, for as long as the browser keeps anything for this origin, and two tabs can't make it forget: each says over
 * which checkpoint it puts its own, and is told when another one stands there by now. Whoever may run scripts of this
 * origin, or clears its data, can make it forget.
 */

import { type Bytes, hex } from "../protocol/bytes.js";
import { Untrusted } from "../protocol/errors.js";
import { logOrigin } from "../protocol/leaves.js";
import { type Checkpoint, parseCheckpoint } from "../protocol/notes.js";
import { equal } from "../protocol/primitives.js";
import { BadInput } from "./errors.js";
import { type Standing, type StandingStore, raised } from "./standings.js";
import { IndexedShelf, MemoryShelf, type Shelf } from "./storage.js";

const GENERATION = /^[0-9]{1,13}$/;

/**
 * Where a client keeps one signed checkpoint of each log, by the log's name, and one standing of each cluster: in memory,
 * with a word, where its shelf keeps nothing.
 */
export class Checkpoints implements StandingStore {
  readonly #shelf: Shelf;
  /** What the shelf did not take: a full disk must not end a session. */
  readonly #memory = new Map<string, Bytes>();
  readonly #standings = new Map<string, Standing>();
  #said = false;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  /** The note that is kept; undefined: this log was never seen. */
  async highest(origin: string): Promise<Bytes | undefined> {
    const kept = await this.#orSay(this.#shelf.get(origin));
    const remembered = this.#memory.get(origin);
    if (kept === undefined || isNoteOf(kept, origin)) return larger(kept, remembered);
    await this.setAside(origin);
    return remembered;
  }

  /**
   * Put `note` in the place of `over`, which it was shown to extend. What is kept then: another note than `note` where
   * another tab has put it there meanwhile; nothing is changed in that case.
   */
  async keep(origin: string, note: Bytes, over: Bytes | undefined): Promise<Bytes> {
    let standing: Bytes | undefined;
    const choose = (kept: unknown): unknown => {
      const found = larger(isNoteOf(kept, origin) ? kept : undefined, this.#memory.get(origin));
      standing = found !== undefined && !mayReplace(found, note, over) ? found : note;
      return standing === note ? note : kept;
    };
    const done = await this.#orSay(this.#shelf.change(origin, choose).then(() => true));
    if (standing === undefined) choose(undefined); // the shelf can't even say what stands there
    if (standing !== note) return standing ?? note;
    if (done === undefined) this.#memory.set(origin, note);
    else this.#memory.delete(origin); // the shelf knows more
    return note;
  }

  /** Of which generations of a cluster's log a note is kept. Their numbers are far apart: most are times. */
  async generations(cluster: Bytes): Promise<readonly number[]> {
    const before = logOrigin(cluster).slice(0, -1);
    const names = [...((await this.#orSay(this.#shelf.names())) ?? []), ...this.#memory.keys()];
    const after = names.filter((name) => name.startsWith(before)).map((name) => name.slice(before.length));
    return [...new Set(after.filter((number) => GENERATION.test(number)).map(Number))];
  }

  /** Forget the note of a log, which turned out to be none that it signed, and say so. */
  async setAside(origin: string): Promise<void> {
    console.warn(`what was kept of ${origin} was damaged and is lost: an older state of it would not be noticed here this once`);
    this.#memory.delete(origin);
    await this.#orSay(this.#shelf.delete(origin));
  }

  async standing(cluster: Bytes): Promise<Standing | undefined> {
    const name = standingName(cluster);
    const kept = await this.#orSay(this.#shelf.get(name));
    if (kept !== undefined && !isStanding(kept)) await this.setAside(name);
    const remembered = this.#standings.get(name);
    return isStanding(kept) ? raised(remembered, kept) : remembered;
  }

  async raiseStanding(cluster: Bytes, standing: Standing): Promise<void> {
    const name = standingName(cluster);
    this.#standings.set(name, raised(this.#standings.get(name), standing));
    await this.#orSay(this.#shelf.change(name, (kept) => raised(isStanding(kept) ? kept : undefined, standing)));
  }

  /** Undefined, and once a word, where the shelf keeps nothing: private windows, no space left. */
  async #orSay<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof BadInput)) throw error;
      if (!this.#said) console.warn(`${error.message}: an older state of the Vault is noticed only for as long as this page is open`);
      this.#said = true;
      return undefined;
    }
  }
}

/** In this origin's database, where there is one; else for as long as the program runs. */
export const keptCheckpoints = (): Checkpoints =>
  new Checkpoints("indexedDB" in globalThis ? new IndexedShelf("checkpoints") : new MemoryShelf());

export const sameCheckpoint = (one: Checkpoint, other: Checkpoint): boolean =>
  one.origin === other.origin && one.size === other.size && equal(one.root, other.root);

function larger(one: Bytes | undefined, other: Bytes | undefined): Bytes | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return parseCheckpoint(one).checkpoint.size < parseCheckpoint(other).checkpoint.size ? other : one;
}

/** Beside the notes, under a name that no log has. */
const standingName = (cluster: Bytes): string => `standing/${hex(cluster)}`;

function isStanding(kept: unknown): kept is Standing {
  if (typeof kept !== "object" || kept === null) return false;
  const { recoveries, generation, council, release } = kept as Partial<Record<keyof Standing, unknown>>;
  return [recoveries, generation, council, release].every((one) => typeof one === "number" && Number.isSafeInteger(one) && one >= 0);
}

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
