/** What is done with the vectors of the log: keys, checkpoints, cosignatures, proofs. */

import { unhex } from "../src/protocol/bytes.js";
import { COSIGNATURE, ED25519, type KeyType, cosignatures, formatVerifier, parseCheckpoint, parseVerifier, verifyCheckpoint } from "../src/protocol/notes.js";
import { verifyConsistency, verifyInclusion } from "../src/protocol/tlog.js";

/** Inputs as they stand in the file: the reader of each knows its type. */
type Given = Readonly<Record<string, unknown>>;

const input = <T>(given: Given, name: string): T => given[name] as T;
const proofOf = (given: Given) => input<string[]>(given, "proof").map(unhex);
const treeOf = (given: Given, size: string, root: string) => ({ size: BigInt(input<number>(given, size)), root: unhex(input(given, root)) });
/** As the files write integers: as text where JavaScript would round. */
const written = (value: bigint): number | string => (value > BigInt(Number.MAX_SAFE_INTEGER) ? value.toString() : Number(value));

export const LOG: Record<string, (given: Given) => Promise<Record<string, unknown>>> = {
  "verifier key": async (given) => {
    const vkey = input<string>(given, "vkey");
    const verifier = await parseVerifier(vkey, input<KeyType>(given, "type"));
    if (formatVerifier(verifier) !== vkey) throw new Error("not written as it was read");
    return { key_name: verifier.name, key_id: verifier.keyId, public: verifier.public };
  },
  checkpoint: async (given) => {
    const log = await parseVerifier(input(given, "log"), ED25519);
    const { origin, size, root } = (await verifyCheckpoint(unhex(input(given, "note")), log)).checkpoint;
    return { origin, size: written(size), root };
  },
  cosignatures: async (given) => {
    const witnesses = await Promise.all(input<string[]>(given, "witnesses").map((vkey) => parseVerifier(vkey, COSIGNATURE)));
    const found = await cosignatures(parseCheckpoint(unhex(input(given, "note"))), witnesses);
    return { cosignatures: found.map(({ witness, time }) => ({ name: witness.name, time: written(time) })) };
  },
  inclusion: async (given) => {
    const leaf = { index: BigInt(input<number>(given, "index")), hash: unhex(input(given, "leaf")) };
    await verifyInclusion(leaf, treeOf(given, "size", "root"), proofOf(given));
    return {};
  },
  consistency: async (given) => {
    await verifyConsistency(treeOf(given, "old", "old_root"), treeOf(given, "size", "root"), proofOf(given));
    return {};
  },
};
