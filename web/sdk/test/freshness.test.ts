import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import type { Appraisal } from "../src/attestation/appraisal.js";
import { RolledBack } from "../src/client/attacks.js";
import { Checkpoints } from "../src/client/checkpoints.js";
import { Watch, type WatchRequest, type WatchedLog } from "../src/client/freshness.js";
import { BadInput } from "../src/client/errors.js";
import type { Reply } from "../src/client/replies.js";
import { MemoryShelf } from "../src/client/storage.js";
import { type Bytes, base64, utf8 } from "../src/protocol/bytes.js";
import { encode } from "../src/protocol/codec.js";
import { ErrorNumber, StrongroomError } from "../src/protocol/errors.js";
import { logOrigin } from "../src/protocol/leaves.js";
import { type Freshen, type TrustPolicy, VaultReply } from "../src/protocol/messages.js";
import { parseCheckpoint } from "../src/protocol/notes.js";
import { Log, type Signer, logSigner, note, witness } from "./log_maker.js";

const CLUSTER = new Uint8Array(32).fill(7);
const ORIGIN = logOrigin(CLUSTER);
const EVIDENCE = utf8("evidence");
const NOW = 1_800_000_000;
const UPDATED: VaultReply = { type: "updated", version: 2 };
const COLLECTED: VaultReply = { type: "collected", results: [] };

let key: Signer;
let stranger: Signer;
let witnesses: readonly Signer[];

beforeAll(async () => {
  [key, stranger] = await Promise.all([logSigner(ORIGIN), logSigner(ORIGIN)]);
  witnesses = await Promise.all(["a.example", "b.example", "c.example"].map(witness));
});

/** A Vault with its host: what it says of a log is signed; what is lied, is lied by the host alone unless it says otherwise. */
class Host {
  log: Log;
  signer: Signer = key;
  asked: Freshen[] = [];
  /** Who cosigns, and when. */
  cosigned: readonly (readonly [Signer, number])[] = [];
  proof: (old: number) => Promise<Bytes[]> = (old) => (old > this.log.leaves.length ? Promise.resolve([]) : this.log.consistency(old));

  constructor(log: Log) {
    this.log = log;
  }

  async checkpoint(size = this.log.leaves.length): Promise<Bytes> {
    const seen = { origin: this.signer.verifier.name, ...(await this.log.tree(size)) };
    return note(seen, [await this.signer.line(seen), ...(await Promise.all(this.cosigned.map(([who, when]) => who.line(seen, when))))]);
  }

  readonly answer = async (request: WatchRequest): Promise<Reply> => {
    if (request.type !== "freshen") throw new Error("no charter is needed where no log began anew");
    this.asked.push(request);
    return { type: "freshness", checkpoint: await this.checkpoint(), proof: await this.proof(request.size), cosigned: null };
  };

  /** A reply, after one more commit. */
  async replies(reply: VaultReply, size?: number): Promise<Reply> {
    if (size === undefined) await this.log.append(`commit ${this.log.leaves.length}`);
    return { type: "logged", checkpoint: await this.checkpoint(size), reply: encode(VaultReply, reply) };
  }
}

const policyOf = (witnessing: Pick<TrustPolicy, "witnesses" | "cosignatures">): TrustPolicy =>
  ({ vault: { clusters: [CLUSTER] }, ...witnessing }) as unknown as TrustPolicy;
const NOBODY = policyOf({ witnesses: [], cosignatures: 0 });

let shelf: MemoryShelf;
beforeEach(() => {
  shelf = new MemoryShelf();
});

/** A session of a page that is loaded anew: what it knows is what was kept. */
function begin(host: Host, { policy = NOBODY, watch }: { readonly policy?: TrustPolicy; readonly watch?: Watch } = {}): Promise<WatchedLog> {
  const watching = { url: "https://vault.example.com/", policy, checkpoints: new Checkpoints(shelf), now: () => NOW, notice: () => undefined };
  const appraisal = { claims: { cluster_id: CLUSTER, recoveries: 0, generation: 0, council: 0, release: 0 }, genesis: { log_key: key.verifier.public } } as unknown as Appraisal;
  return (watch ?? new Watch(watching)).begin(EVIDENCE, appraisal, host.answer);
}

const failure = async (work: Promise<unknown>): Promise<StrongroomError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof StrongroomError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};
const kept = async (): Promise<bigint | undefined> => {
  const found = await new Checkpoints(shelf).highest(ORIGIN);
  return found === undefined ? undefined : parseCheckpoint(found).checkpoint.size;
};

/** What proves an attack, read back. */
async function attack(work: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await failure(work);
  expect(error).toBeInstanceOf(RolledBack);
  expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
  expect((error as RolledBack).fileName).toMatch(/^strongroom-attack-[0-9a-f]{32}\.json$/);
  return JSON.parse((error as RolledBack).evidence) as Record<string, unknown>;
}

describe("a Vault whose log was seen before", () => {
  it("shows that it extends what was seen, and is known by its newest checkpoint from then on", async () => {
    const host = new Host(await Log.of(3));
    const first = await begin(host);
    expect(await first.open(await host.replies(UPDATED))).toEqual(UPDATED);
    expect(await kept()).toBe(4n);
    await host.log.append("somebody else's");
    await begin(host);
    expect(host.asked.map(({ size }) => size)).toEqual([0, 4]);
    expect(await kept()).toBe(5n);
  });

  it("does not go back to last month's database", async () => {
    await begin(new Host(await Log.of(9)));
    const before = await new Checkpoints(shelf).highest(ORIGIN);
    const restored = new Host(await Log.of(5));
    const found = await attack(begin(restored));
    expect(found).toMatchObject({ format: "strongroom attack 1", finding: "shorter", noticed_at: NOW, url: "https://vault.example.com/", origin: ORIGIN, cluster_id: "07".repeat(32), proof: [] });
    expect(found["known"]).toBe(new TextDecoder().decode(before));
    expect(found["shown"]).toBe(new TextDecoder().decode(await restored.checkpoint()));
    expect(found["evidence"]).toBe(base64(EVIDENCE));
    expect(await kept()).toBe(9n);
    // Nor the second time, nor with a page that was open all along.
    expect((await attack(begin(restored)))["finding"]).toBe("shorter");
  });

  it("does not show another history: of the same length, and longer", async () => {
    await begin(new Host(await Log.of(6)));
    const fork = new Host(await Log.of(6, "another"));
    expect((await attack(begin(fork)))["finding"]).toBe("forked");
    await fork.log.append("more");
    expect((await attack(begin(fork)))["finding"]).toBe("not-extended");
    expect(await kept()).toBe(6n);
  });

  it("is not believed without a proof, or with a wrong one", async () => {
    const host = new Host(await Log.of(6));
    await begin(host);
    await host.log.append("more");
    for (const proof of [[], [new Uint8Array(32)], (await host.log.consistency(5)) as Bytes[]]) {
      host.proof = () => Promise.resolve(proof);
      expect(await attack(begin(host))).toMatchObject({ finding: "not-extended", proof: proof.map((one) => Buffer.from(one).toString("hex")) });
    }
  });

  it("is known to a page that is still open, too, though everything that was kept is gone", async () => {
    const watch = new Watch({ url: "", policy: NOBODY, checkpoints: new Checkpoints(shelf), now: () => NOW, notice: () => undefined });
    await begin(new Host(await Log.of(9)), { watch });
    await shelf.delete(ORIGIN);
    expect((await attack(begin(new Host(await Log.of(5)), { watch })))["finding"]).toBe("shorter");
  });

  it("is asked about both what this page saw and what is kept", async () => {
    const host = new Host(await Log.of(5));
    const watch = new Watch({ url: "", policy: NOBODY, checkpoints: new Checkpoints(shelf), now: () => NOW, notice: () => undefined });
    await begin(host, { watch });
    const longer = new Host(await Log.of(8));
    await begin(longer);
    await begin(longer, { watch });
    expect(longer.asked.map(({ size }) => size).sort()).toEqual([5, 5, 8]);
  });

  it("can't blame what others have signed: another key, another log and no signature are refused and prove nothing", async () => {
    await begin(new Host(await Log.of(9)));
    const host = new Host(await Log.of(5));
    for (const signer of [stranger, await logSigner("strongroom/other/0/0")]) {
      host.signer = signer;
      const error = await failure(begin(host));
      expect([error.number, error instanceof RolledBack]).toEqual([ErrorNumber.INTEGRITY, false]);
    }
    expect(await kept()).toBe(9n);
  });

  it("may refuse to say", async () => {
    const host = new Host(await Log.of(2));
    const silent = Object.assign(host, { answer: () => Promise.resolve<Reply>({ type: "error", number: ErrorNumber.STOPPING, index: 0, place: 0, version: 0 }) });
    expect((await failure(begin(silent))).number).toBe(ErrorNumber.STOPPING);
    const odd = Object.assign(host, { answer: () => Promise.resolve<Reply>({ type: "proved" }) });
    expect((await failure(begin(odd))).number).toBe(ErrorNumber.INTEGRITY);
    expect(await kept()).toBeUndefined();
  });
});

describe("witnesses", () => {
  const policy = (): TrustPolicy => policyOf({ witnesses: witnesses.map(({ text }) => text), cosignatures: 2 });
  const begun = (cosigned: Host["cosigned"]): Promise<WatchedLog> =>
    Log.of(4).then((log) => {
      const host = new Host(log);
      host.cosigned = cosigned;
      return begin(host, { policy: policy() });
    });
  const [a, b] = [0, 1].map((at) => (): Signer => witnesses[at] as Signer) as [() => Signer, () => Signer];

  it("must have seen what a new client is shown", async () => {
    await begun([[a(), NOW - 10], [b(), NOW - 500]]);
    expect(await kept()).toBe(4n);
  });

  it.each<[string, number, () => Host["cosigned"]]>([
    ["none", ErrorNumber.INTEGRITY, () => []],
    ["one too few", ErrorNumber.INTEGRITY, () => [[a(), NOW]]],
    ["the same one twice", ErrorNumber.INTEGRITY, () => [[a(), NOW], [a(), NOW - 1]]],
    ["long ago", ErrorNumber.CLOCK, () => [[a(), NOW], [b(), NOW - 901]]],
    ["in the future", ErrorNumber.CLOCK, () => [[a(), NOW], [b(), NOW + 301]]],
  ])("that have not are missed: %s", async (_what, number, cosigned) => {
    const error = await failure(begun(cosigned()));
    expect(error.number).toBe(number);
    expect(await kept()).toBeUndefined();
  });

  it("whom nobody named count for nothing", async () => {
    const others = await Promise.all(["a.example", "b.example"].map(witness));
    expect((await failure(begun(others.map((one) => [one, NOW] as const)))).number).toBe(ErrorNumber.INTEGRITY);
  });

  it("are those of the policy, and nothing is asked of a Vault with others", () => {
    const watch = new Watch({ url: "", policy: policy(), checkpoints: new Checkpoints(shelf), now: () => NOW, notice: () => undefined });
    const genesis = { witnesses: witnesses.map(({ text }) => text), cosignatures: 2 };
    const shown = (fields: object, watchers: object | null = null): never => ({ genesis: { ...genesis, ...fields }, claims: { watchers } }) as never;
    watch.accept(shown({}));
    expect(() => watch.accept(shown({ cosignatures: 1 }))).toThrow(StrongroomError);
    expect(() => watch.accept(shown({ witnesses: [], cosignatures: 0 }))).toThrow(StrongroomError);
    expect(() => watch.accept(shown({}, { witnesses: genesis.witnesses.slice(1), cosignatures: 1 }))).toThrow("custodians have named other witnesses");
  });
});

describe("every reply", () => {
  it("comes with a checkpoint of the log", async () => {
    const host = new Host(await Log.of(3));
    const log = await begin(host);
    for (const bare of [COLLECTED, { type: "proved" } as const, await host.answer({ type: "freshen", size: 3 })]) {
      expect((await failure(log.open(bare))).number).toBe(ErrorNumber.INTEGRITY);
    }
    const empty = { ...(await host.replies(COLLECTED)), checkpoint: new Uint8Array() } as Reply;
    expect((await failure(log.open(empty))).number).toBe(ErrorNumber.INTEGRITY);
    host.signer = stranger;
    expect((await failure(log.open(await host.replies(COLLECTED)))).number).toBe(ErrorNumber.INTEGRITY);
  });

  it("may overtake others of the session, and is never below its first", async () => {
    const host = new Host(await Log.of(5));
    const log = await begin(host);
    await host.log.append("6");
    for (const size of [6, 5, 6]) expect(await log.open(await host.replies(COLLECTED, size))).toEqual(COLLECTED);
    expect((await attack(log.open(await host.replies(COLLECTED, 4))))["finding"]).toBe("shorter");
    const fork = new Host(await Log.of(6, "another"));
    expect((await attack(log.open(await fork.replies(COLLECTED, 6))))["finding"]).toBe("forked");
  });

  it("that this version does not know is said to be so", async () => {
    const host = new Host(await Log.of(3));
    const log = await begin(host);
    const logged = await host.replies(COLLECTED);
    expect((await failure(log.open({ ...logged, reply: utf8("?") } as Reply))).number).toBe(ErrorNumber.UNSUPPORTED);
  });

  it("to a write waits until it is kept what it must be remembered by", async () => {
    const host = new Host(await Log.of(3));
    const log = await begin(host);
    let write = (): void => undefined;
    const change = shelf.change.bind(shelf);
    shelf.change = async (...how) => {
      await new Promise<void>((resolve) => (write = resolve));
      return change(...how);
    };
    expect(await log.open(await host.replies(COLLECTED))).toEqual(COLLECTED);
    let told = false;
    const stored = log.open(await host.replies(UPDATED)).then(() => (told = true));
    for (const size of [4n, 5n]) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect([told, await kept()]).toEqual([false, size - 1n]);
      write();
    }
    await stored;
    expect(await kept()).toBe(5n);
  });
});

describe("a browser that keeps nothing", () => {
  it("goes on, and what this page has seen is remembered for as long as it is open", async () => {
    const full = () => Promise.reject(new BadInput("no space left", "make some"));
    const host = new Host(await Log.of(3));
    const checkpoints = new Checkpoints(shelf);
    Object.assign(shelf, { change: full });
    const watch = new Watch({ url: "https://vault.example.com/", policy: NOBODY, checkpoints, now: () => NOW, notice: () => undefined });
    const log = await begin(host, { watch });
    for (const reply of [COLLECTED, UPDATED, COLLECTED, UPDATED]) expect(await log.open(await host.replies(reply))).toEqual(reply);
    const highest = async () => parseCheckpoint((await checkpoints.highest(ORIGIN)) as Bytes).checkpoint.size;
    expect([await highest(), await kept()]).toEqual([7n, undefined]);
    Reflect.deleteProperty(shelf, "change");
    await log.open(await host.replies(UPDATED));
    expect([await highest(), await kept()]).toEqual([8n, 8n]);
  });
});

describe("two tabs", () => {
  it("of one Vault raise what is kept together", async () => {
    const host = new Host(await Log.of(3));
    const [one, other] = await Promise.all([begin(host), begin(host)]);
    for (const tab of [one, other, one, one, other]) await tab.open(await host.replies(UPDATED));
    expect(await kept()).toBe(8n);
  });

  it("that are shown two copies of a Vault notice, though each copy only grows", async () => {
    const host = new Host(await Log.of(3));
    const [one, other] = await Promise.all([begin(host), begin(host)]);
    await one.open(await host.replies(UPDATED));
    const clone = new Host(await Log.of(3));
    await clone.log.append("another commit");
    host.log = clone.log; // where the second tab is led now
    const found = await attack(other.open(await host.replies(UPDATED)));
    expect(found["finding"]).toBe("not-extended");
    expect((await failure(other.open(await host.replies(COLLECTED)))).number).toBe(ErrorNumber.ROLLED_BACK);
    expect(await kept()).toBe(4n);
  });

  it("of which one can't ask any more leave what the other has kept", async () => {
    const host = new Host(await Log.of(3));
    const [one, other] = await Promise.all([begin(host), begin(host)]);
    for (let more = 0; more < 3; more++) await one.open(await host.replies(UPDATED));
    const late = await host.replies(UPDATED, 4);
    Object.assign(host, { proof: () => Promise.reject(new StrongroomError(ErrorNumber.BUSY)) });
    expect(await other.open(late)).toEqual(UPDATED);
    expect(await kept()).toBe(6n);
  });
});
