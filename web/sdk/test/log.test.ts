import { beforeAll, describe, expect, it, vi } from "vitest";

import { acceptWitnesses, parseWitnesses } from "../src/attestation/witnessing.js";
import { Checkpoints } from "../src/client/checkpoints.js";
import { MemoryShelf } from "../src/client/storage.js";
import { type Bytes, hex, unhex, utf8 } from "../src/protocol/bytes.js";
import { ErrorNumber, type StrongroomError } from "../src/protocol/errors.js";
import { logOrigin, logVerifier } from "../src/protocol/leaves.js";
import { COSIGNATURE, type Checkpoint, ED25519, bodyOf, cosignatures, formatVerifier, parseCheckpoint, parseVerifier, verifierOf, verifyCheckpoint } from "../src/protocol/notes.js";
import { type Tree, leafHash, nodeHash, verifyConsistency, verifyInclusion } from "../src/protocol/tlog.js";
import { Log, type Signer, logSigner, note, witness } from "./log_maker.js";

const numberOf = async (work: () => unknown): Promise<number> => {
  try {
    await work();
  } catch (error) {
    return (error as StrongroomError).number;
  }
  throw new Error("nothing was thrown");
};

describe("Merkle trees", () => {
  const SIZES = Array.from({ length: 18 }, (_, size) => size);
  let log: Log;

  beforeAll(async () => {
    log = await Log.of(17);
  });

  it("have the roots of the public test data of Certificate Transparency", async () => {
    const known = new Log();
    const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    for (const leaf of leaves) known.leaves.push(await leafHash(unhex(leaf)));
    expect(hex((await known.tree(0)).root)).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(hex((await known.tree(1)).root)).toBe("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    expect(hex((await known.tree(8)).root)).toBe("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
  });

  it("every leaf of every tree is proven, and proven nowhere else", async () => {
    for (const size of SIZES.slice(1, 13)) {
      const tree = await log.tree(size);
      for (let index = 0; index < size; index++) {
        const [hash, proof] = [log.leaves[index] as Bytes, await log.inclusion(index, size)];
        await verifyInclusion({ index: BigInt(index), hash }, tree, proof);
        const elsewhere = BigInt((index + 1) % size);
        if (size > 1) expect(await numberOf(() => verifyInclusion({ index: elsewhere, hash }, tree, proof))).toBe(ErrorNumber.INTEGRITY);
        for (const bent of [[...proof, hash], [...proof.slice(0, -1), ...(proof.at(-1) === undefined ? [hash] : [proof.at(-1)?.slice(1) as Bytes])], proof.slice(1), proof.toReversed().map((one) => one.toReversed() as Bytes)]) {
          if (bent.length === 0 && proof.length === 0) continue;
          expect(await numberOf(() => verifyInclusion({ index: BigInt(index), hash }, tree, bent))).toBe(ErrorNumber.INTEGRITY);
        }
      }
    }
  });

  it("every tree extends those before it, and no tree a forked one", async () => {
    const sizes = SIZES.slice(0, 12);
    const fork = await Log.of(sizes.length, "another");
    const [trees, forked] = await Promise.all([log, fork].map((one) => Promise.all(sizes.map((size) => one.tree(size))))) as [Tree[], Tree[]];
    for (const [size, tree] of trees.entries()) {
      for (const [old, before] of trees.slice(0, size + 1).entries()) {
        const proof = await log.consistency(old, size);
        await verifyConsistency(before, tree, proof);
        expect(await numberOf(() => verifyConsistency(before, tree, [...proof, tree.root]))).toBe(ErrorNumber.INTEGRITY);
        if (old === 0) continue;
        for (const told of [proof, await fork.consistency(old, size)]) {
          expect(await numberOf(() => verifyConsistency(forked[old] as Tree, tree, told))).toBe(ErrorNumber.INTEGRITY);
        }
      }
    }
  });

  it("a tree never extends a larger one, and an empty one has one root", async () => {
    expect(await numberOf(async () => verifyConsistency(await log.tree(9), await log.tree(8), []))).toBe(ErrorNumber.INTEGRITY);
    const { root } = await log.tree(2);
    expect(await numberOf(() => verifyConsistency({ size: 2n, root }, { size: 1n, root }, []))).toBe(ErrorNumber.INTEGRITY);
    const empty = { size: 0n, root: new Uint8Array(32) };
    expect(await numberOf(async () => verifyConsistency(empty, await log.tree(8), []))).toBe(ErrorNumber.INTEGRITY);
  });

  it("logs longer than 2^32 leaves are climbed to their top", async () => {
    // The leaf at 2^40 is the left-most of all that come behind 2^40 equal ones: its proof is one hash.
    const [hash, left] = [await leafHash(utf8("one")), await leafHash(utf8("2^40 others"))];
    const tree = { size: 2n ** 40n + 1n, root: await nodeHash(left, hash) };
    await verifyInclusion({ index: 2n ** 40n, hash }, tree, [left]);
    expect(await numberOf(() => verifyInclusion({ index: 2n ** 8n, hash }, tree, [left]))).toBe(ErrorNumber.INTEGRITY);
    await verifyConsistency({ size: 2n ** 40n, root: left }, tree, [hash]);
    expect(await numberOf(() => verifyConsistency({ size: 2n ** 40n, root: left }, { ...tree, size: 2n ** 41n + 1n }, [hash]))).toBe(ErrorNumber.INTEGRITY);
  });
});

describe("checkpoints", () => {
  const cluster = new Uint8Array(32).fill(7);
  const origin = logOrigin(cluster);
  let log: Signer;
  let checkpoint: Checkpoint;
  let signed: Bytes;

  beforeAll(async () => {
    log = await logSigner(origin);
    checkpoint = { origin, ...(await (await Log.of(5)).tree()) };
    signed = note(checkpoint, [await log.line(checkpoint)]);
  });

  it("of a cluster's log are named after it and verify under its key", async () => {
    expect(origin).toBe(`strongroom/${"07".repeat(32)}/0/0`);
    const verifier = await logVerifier(cluster, log.verifier.public);
    expect((await verifyCheckpoint(signed, verifier)).checkpoint).toEqual(checkpoint);
  });

  it("verify as others have signed them: the example of C2SP signed-note", async () => {
    // golang.org/x/mod/sumdb/note, with which sum.golang.org signs.
    const verifier = await parseVerifier("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ED25519);
    expect(formatVerifier(verifier)).toBe("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  });

  it.each<[string, (text: string) => string]>([
    ["a leading zero", (text) => text.replace("\n5\n", "\n05\n")],
    ["a sign", (text) => text.replace("\n5\n", "\n+5\n")],
    ["a size of twenty digits", (text) => text.replace("\n5\n", `\n1${"0".repeat(19)}\n`)],
    ["a root hash without padding", (text) => text.replace("=\n", "\n")],
    ["a root hash that is too short", (text) => text.replace(/\n[^\n]{44}\n/, "\nAAAA\n")],
    ["bits left over in the root hash", (text) => text.replace(/(.)=\n/, (_all, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}=\n`)],
    ["an extension line", (text) => text.replace("\n\n", "\nmore\n\n")],
    ["no empty line", (text) => text.replace("\n\n", "\n")],
    ["no signature", (text) => text.slice(0, text.indexOf("\n\n") + 2)],
    ["a line that is no signature", (text) => `${text}hello\n`],
    ["a hyphen for the dash", (text) => text.replace("\u2014", "-")],
    ["no line break at the end", (text) => text.slice(0, -1)],
    ["no origin", (text) => text.slice(text.indexOf("\n"))],
    ["line breaks of two characters", (text) => text.replaceAll("\n", "\r\n")],
    ["a mark of byte order", (text) => `\ufeff${text}`],
    ["an extension line without text", (text) => text.replace("\n\n", "\n\n\n")],
    ["a terminal code in a further signature", (text) => `${text}\u2014 a\u001b[2K AAAAAAAA\n`],
    ["a signature without name", (text) => `${text}\u2014 AAAAAAAA\n`],
    ["a signature of a key id alone", (text) => `${text}\u2014 a AAAAAA==\n`],
    ["words behind a signature", (text) => `${text}\u2014 a AAAAAAAA b\n`],
    ["more than fits", (text) => text + text.split("\n\n")[1]?.repeat(40)],
  ])("have one spelling: with %s they are none, or another log's", async (_what, bend) => {
    const bent = bend(new TextDecoder().decode(signed));
    expect(bent).not.toBe(new TextDecoder().decode(signed));
    expect(await numberOf(() => verifyCheckpoint(utf8(bent), log.verifier))).toBe(ErrorNumber.INTEGRITY);
  });

  it("are of no more than 2^63 − 1 leaves", async () => {
    const sized = async (size: bigint) => note({ ...checkpoint, size }, [await log.line({ ...checkpoint, size })]);
    await verifyCheckpoint(await sized(2n ** 63n - 1n), log.verifier);
    expect(await numberOf(async () => verifyCheckpoint(await sized(2n ** 63n), log.verifier))).toBe(ErrorNumber.INTEGRITY);
  });

  it("hold no control characters, whatever log they are of", async () => {
    for (const odd of ["\t", "\r", "\u001b[2K"]) {
      const seen = { ...checkpoint, origin: `a${odd}b` };
      expect(await numberOf(async () => parseCheckpoint(note(seen, [await log.line(seen)])))).toBe(ErrorNumber.INTEGRITY);
    }
  });

  it("of another generation of a log, signed by its key under its name, are another log's", async () => {
    const seen = { ...checkpoint, origin: logOrigin(cluster, 0, 1) };
    expect(await numberOf(async () => verifyCheckpoint(note(seen, [await log.line(seen)]), log.verifier))).toBe(ErrorNumber.INTEGRITY);
  });

  it("that are no text are none", async () => {
    const odd = [...utf8("\u2014 a"), 0xff, ...utf8(" AAAAAAAA\n")];
    expect(await numberOf(() => parseCheckpoint(Uint8Array.of(...signed, ...odd)))).toBe(ErrorNumber.INTEGRITY);
    expect(parseCheckpoint(Uint8Array.of(...signed, ...odd.filter((byte) => byte !== 0xff))).lines).toHaveLength(2);
  });

  it("of another log, another key, another size or another root are refused", async () => {
    const others = await Promise.all([
      logVerifier(new Uint8Array(32).fill(8), log.verifier.public),
      logSigner(origin).then((other) => other.verifier),
      verifierOf(origin, ED25519, new Uint8Array(32).fill(0xff)),
    ]);
    for (const other of others) expect(await numberOf(() => verifyCheckpoint(signed, other))).toBe(ErrorNumber.INTEGRITY);
    const line = await log.line(checkpoint);
    for (const bent of [{ size: 6n }, { root: new Uint8Array(32) }]) {
      expect(await numberOf(() => verifyCheckpoint(note({ ...checkpoint, ...bent }, [line]), log.verifier))).toBe(ErrorNumber.INTEGRITY);
    }
  });

  it("a line under the log's name and another key stands beside its own, and never for it", async () => {
    const thief = await logSigner(origin);
    const both = note(checkpoint, [await thief.line(checkpoint), await log.line(checkpoint)]);
    await verifyCheckpoint(both, log.verifier);
    expect(await numberOf(async () => verifyCheckpoint(note(checkpoint, [await thief.line(checkpoint)]), log.verifier))).toBe(ErrorNumber.INTEGRITY);
  });

  const TEXT = "a.example+552c61d5+BAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

  it("a witness's key is read and written", async () => {
    expect(formatVerifier(await parseVerifier(TEXT, COSIGNATURE))).toBe(TEXT);
  });

  it.each<[string, (nines: Bytes) => string | Promise<string>]>([
    ["no hash", () => TEXT.replace("552c61d5+", "")],
    ["another hash", () => TEXT.replace("552c61d5", "552c61d6")],
    ["a hash in capitals", () => TEXT.replace("552c61d5", "552C61D5")],
    ["a space in the name", async (nines) => formatVerifier(await verifierOf("a example", COSIGNATURE, nines))],
    ["an invisible space in the name", async (nines) => formatVerifier(await verifierOf("a\u2003example", COSIGNATURE, nines))],
    ["half a character in the name", async (nines) => formatVerifier(await verifierOf("a\ud800", COSIGNATURE, nines))],
    ["no name", async (nines) => formatVerifier(await verifierOf("", COSIGNATURE, nines))],
    ["a log's type", async (nines) => formatVerifier(await verifierOf("a.example", ED25519, nines))],
    ["a name of 129 bytes", async (nines) => formatVerifier(await verifierOf("a".repeat(129), COSIGNATURE, nines))],
    ["a short key", async (nines) => formatVerifier(await verifierOf("a.example", COSIGNATURE, nines.slice(1)))],
  ])("a witness's key with %s is none", async (_what, bent) => {
    const text = await bent(new Uint8Array(32).fill(9));
    expect(await numberOf(() => parseVerifier(text, COSIGNATURE))).toBe(ErrorNumber.MALFORMED);
  });

  describe("cosignatures", () => {
    let witnesses: Signer[];
    const verifiers = () => witnesses.map((one) => one.verifier);
    const counted = async (lines: readonly string[], seen = checkpoint) => (await cosignatures(parseCheckpoint(note(seen, lines)), verifiers())).length;

    beforeAll(async () => {
      witnesses = [await witness("a.example"), await witness("b.example")];
    });

    it("count by key, each witness once, with its latest time", async () => {
      const [a, b] = witnesses as [Signer, Signer];
      const lines = [await a.line(checkpoint, 5), await b.line(checkpoint, 7), await a.line(checkpoint, 9)];
      const found = await cosignatures(parseCheckpoint(note(checkpoint, lines)), verifiers());
      expect(found.map(({ witness: { name }, time }) => [name, time])).toEqual([["a.example", 9n], ["b.example", 7n]]);
      const twice = [a.verifier, { ...a.verifier }];
      expect(await cosignatures(parseCheckpoint(note(checkpoint, lines)), twice)).toHaveLength(1);
    });

    it("of strangers, under a stolen name, of another checkpoint or with another time count for nothing", async () => {
      const [a] = witnesses as [Signer];
      const other = { ...checkpoint, size: 4n };
      const lie = (await a.line(checkpoint, 5)).split(" ");
      const bent = unbased(lie[2] ?? "");
      bent[11] = 6; // the last byte of the time
      const lines = [
        await (await witness("c.example")).line(checkpoint, 5),
        await (await witness("a.example")).line(checkpoint, 5),
        await a.line(other, 5),
        await a.line(checkpoint, 0),
        `${lie[0]} ${lie[1]} ${btoa(String.fromCharCode(...bent))}`,
      ];
      expect(await counted(lines)).toBe(0);
      expect(await counted([...lines, await a.line(checkpoint, 5)])).toBe(1);
    });
  });

  const unbased = (text: string): Bytes => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
});

describe("witnesses", () => {
  it("are those of the policy and as many of them, in whatever order", async () => {
    const [a, b, c] = (await Promise.all(["a.example", "b.example", "c.example"].map(witness))).map((one) => one.text) as [string, string, string];
    const policy = { witnesses: [a, b, c], cosignatures: 2 };
    acceptWitnesses({ witnesses: [c, a, b], cosignatures: 2 }, null, policy);
    acceptWitnesses({ witnesses: [], cosignatures: 0 }, null, { witnesses: [], cosignatures: 0 });
    for (const shown of [
      { witnesses: [a, b], cosignatures: 2 },
      { witnesses: [], cosignatures: 0 },
      { witnesses: [a, b, c, (await witness("d.example")).text], cosignatures: 2 },
      { witnesses: [a, b, c, c], cosignatures: 2 },
      { witnesses: [a, b, c], cosignatures: 3 },
      { witnesses: [a, b, (await witness("c.example")).text], cosignatures: 2 },
    ]) {
      expect(await numberOf(() => acceptWitnesses(shown, null, policy))).toBe(ErrorNumber.POLICY);
    }
    expect(await numberOf(() => acceptWitnesses(policy, null, { witnesses: [], cosignatures: 0 }))).toBe(ErrorNumber.POLICY);
  });

  it("are those whom custodians named last, and a policy of before is refused with that reason", async () => {
    const [a, b, c] = (await Promise.all(["a.example", "b.example", "c.example"].map(witness))).map((one) => one.text) as [string, string, string];
    const [before, after] = [{ witnesses: [a, b, c], cosignatures: 2 }, { witnesses: [c], cosignatures: 1 }];
    acceptWitnesses(before, after, after);
    acceptWitnesses(before, { witnesses: [c, b, a], cosignatures: 2 }, before);
    for (const named of [after, { witnesses: [], cosignatures: 0 }, { witnesses: [a, b, c], cosignatures: 3 }]) {
      expect(() => acceptWitnesses(before, named, before)).toThrow("its custodians have named other witnesses");
    }
    expect(await numberOf(() => acceptWitnesses(before, null, after))).toBe(ErrorNumber.POLICY);
  });

  it("are counted only where more than half of them are needed, and no more than there are", async () => {
    const keys = (await Promise.all(["a.example", "b.example", "c.example"].map(witness))).map((one) => one.text);
    for (const [count, cosignatures] of [[0, 0], [1, 1], [2, 2], [3, 2], [3, 3]] as const) {
      expect(await parseWitnesses({ witnesses: keys.slice(0, count), cosignatures })).toHaveLength(count);
    }
    for (const [count, cosignatures] of [[0, 1], [1, 0], [2, 1], [3, 1], [3, 4]] as const) {
      expect(await numberOf(() => parseWitnesses({ witnesses: keys.slice(0, count), cosignatures }))).toBe(ErrorNumber.MALFORMED);
    }
  });

  it("one key under two names is one witness", async () => {
    const one = (await witness("a.example")).verifier;
    const other = await verifierOf("b.example", COSIGNATURE, one.public);
    const witnesses = [formatVerifier(one), formatVerifier(other)];
    expect(await numberOf(() => parseWitnesses({ witnesses, cosignatures: 2 }))).toBe(ErrorNumber.MALFORMED);
  });
});

describe("what was seen of a log", () => {
  const at = (size: bigint, fill = 1, origin = "log"): Bytes => {
    const seen = { origin, size, root: new Uint8Array(32).fill(fill) };
    return utf8(`${bodyOf(seen)}\n\u2014 log AAAAAAAA\n`);
  };

  it("is replaced by whoever knew it, and never lowered by a tab that did not", async () => {
    const kept = new Checkpoints(new MemoryShelf());
    expect(await kept.highest("log")).toBeUndefined();
    expect(await kept.keep("log", at(7n), undefined)).toEqual(at(7n));
    const [first, second] = await Promise.all([kept.keep("log", at(9n), at(7n)), kept.keep("log", at(8n), at(7n))]);
    expect([first, second]).toEqual([at(9n), at(9n)]);
    expect(await kept.keep("log", at(9n, 2), at(7n))).toEqual(at(9n));
    expect(await kept.highest("log")).toEqual(at(9n));
    expect(await kept.keep("other", at(3n, 1, "other"), undefined)).toEqual(at(3n, 1, "other"));
    expect(await kept.highest("log")).toEqual(at(9n));
  });

  it("that is damaged is lost, and that is said", async () => {
    const said = vi.spyOn(console, "warn").mockReturnValue();
    const shelf = new MemoryShelf();
    const kept = new Checkpoints(shelf);
    for (const odd of ["text", 5, utf8("no checkpoint"), at(5n, 1, "other")]) {
      await shelf.put("log", odd);
      expect(await kept.highest("log")).toBeUndefined();
      expect(await shelf.get("log")).toBeUndefined();
    }
    expect(said).toHaveBeenCalledTimes(4);
    said.mockRestore();
  });
});
