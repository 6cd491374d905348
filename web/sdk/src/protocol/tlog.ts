/**
 * Merkle trees over a log (RFC 6962, as C2SP's tlog specifications use them; `spec/log.md`).
 *
 * What checks the two proofs. They are made by the host, which keeps the hashes: nobody believes it, everybody checks. A
 * proof has exactly the hashes that it needs, of 32 bytes each: none is skipped, so there is one proof of each statement.
 * Sizes and indexes are `bigint`: shifts of JavaScript's numbers end at 2^32, where a log may be longer.
 */

import { type Bytes, concat } from "./bytes.js";
import { ErrorNumber, Untrusted } from "./errors.js";
import { equal, sha256 } from "./primitives.js";

/** Root (32 bytes) of the tree without leaves. */
export const emptyRoot = (): Promise<Bytes> => sha256(new Uint8Array());

/** Hash (32 bytes) of one leaf's data. */
export const leafHash = (leaf: Bytes): Promise<Bytes> => sha256(concat(Uint8Array.of(0), leaf));

/** Hash (32 bytes) of an inner node. */
export const nodeHash = (left: Bytes, right: Bytes): Promise<Bytes> => sha256(concat(Uint8Array.of(1), left, right));

/** A log at one size, and its root hash (32 bytes). */
export interface Tree {
  readonly size: bigint;
  readonly root: Bytes;
}

/** A leaf by its place, counted from 0, and its hash. */
export interface Leaf {
  readonly index: bigint;
  readonly hash: Bytes;
}

/** Throws `Untrusted` INTEGRITY unless the leaf of this hash stands at its index of the tree (RFC 9162 2.1.3.2). */
export async function verifyInclusion({ index, hash }: Leaf, tree: Tree, proof: readonly Bytes[]): Promise<void> {
  const wrong = bad("inclusion");
  if (index < 0n || index >= tree.size || !isOfHashes(proof)) throw wrong;
  const path = new Path(index, tree.size - 1n, wrong);
  let node = hash;
  for (const sibling of proof) node = path.step() === "left" ? await nodeHash(sibling, node) : await nodeHash(node, sibling);
  path.verifyEnded();
  if (!equal(node, tree.root)) throw wrong;
}

/** Throws `Untrusted` INTEGRITY unless the tree `now` extends the tree `old` (RFC 9162 2.1.4.2). */
export async function verifyConsistency(old: Tree, now: Tree, proof: readonly Bytes[]): Promise<void> {
  const wrong = bad("consistency");
  if (old.size < 0n || old.size > now.size || !isOfHashes(proof)) throw wrong;
  if (old.size === 0n || old.size === now.size) {
    const same = old.size === now.size ? equal(old.root, now.root) : true;
    const empty = old.size === 0n ? equal(old.root, await emptyRoot()) : true;
    if (proof.length > 0 || !same || !empty) throw wrong;
    return;
  }
  const isPower = (old.size & (old.size - 1n)) === 0n;
  const [first, ...rest] = isPower ? [old.root, ...proof] : proof;
  if (first === undefined) throw wrong;
  const path = new Path(old.size - 1n, now.size - 1n, wrong);
  path.climb();
  let before = first;
  let after = first;
  for (const node of rest) {
    if (path.step() === "left") [before, after] = [await nodeHash(node, before), await nodeHash(node, after)];
    else after = await nodeHash(after, node);
  }
  path.verifyEnded();
  if (!equal(before, old.root) || !equal(after, now.root)) throw wrong;
}

/** From a leaf up to the root: on which side the next sibling stands. */
class Path {
  #at: bigint;
  #last: bigint;
  readonly #wrong: Untrusted;

  constructor(at: bigint, last: bigint, wrong: Untrusted) {
    this.#at = at;
    this.#last = last;
    this.#wrong = wrong;
  }

  /** Up to where the leaf's subtree is the left one of its parent. */
  climb(): void {
    while (this.#at & 1n) this.#up();
  }

  /** Side of the next sibling. Throws when the root is reached: a proof that is longer than its path. */
  step(): "left" | "right" {
    if (this.#last === 0n) throw this.#wrong;
    const isLeft = (this.#at & 1n) === 1n || this.#at === this.#last;
    // The rightmost node of a tree that is not full has no sibling on some levels.
    if (isLeft) while (!(this.#at & 1n) && this.#at !== 0n) this.#up();
    this.#up();
    return isLeft ? "left" : "right";
  }

  verifyEnded(): void {
    if (this.#last !== 0n) throw this.#wrong;
  }

  #up(): void {
    this.#at >>= 1n;
    this.#last >>= 1n;
  }
}

/** Two hashes of other lengths could be the same 64 bytes as two true ones, cut elsewhere. */
const isOfHashes = (proof: readonly Bytes[]): boolean => proof.every((node) => node.length === 32);

const bad = (which: string): Untrusted => new Untrusted(ErrorNumber.INTEGRITY, `the proof of ${which} does not hold`);
