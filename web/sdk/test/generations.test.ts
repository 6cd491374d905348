import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import type { Appraisal } from "../src/attestation/appraisal.js";
import { Checkpoints } from "../src/client/checkpoints.js";
import { Watch, type WatchRequest, type WatchedLog } from "../src/client/freshness.js";
import type { Reply } from "../src/client/replies.js";
import { type Notice, Standings, explainNotice, standingOf } from "../src/client/standings.js";
import { MemoryShelf } from "../src/client/storage.js";
import { type Bytes, utf8 } from "../src/protocol/bytes.js";
import { ErrorNumber, StrongroomError } from "../src/protocol/errors.js";
import { logOrigin } from "../src/protocol/leaves.js";
import { MAX_RECOVERIES } from "../src/protocol/limits.js";
import type { Claims, Gap, SignedGap, TrustPolicy } from "../src/protocol/messages.js";
import { parseCheckpoint, verifierOf, ED25519 } from "../src/protocol/notes.js";
import { Cluster } from "./charter_maker.js";
import { Log, Signer, note } from "./log_maker.js";

const NOW = 1_800_000_000;
const AT = 1_790_000_000;

let key: CryptoKeyPair;
let logKey: Bytes;
let cluster: Cluster;
let shelf: MemoryShelf;
let notices: Notice[];

beforeAll(async () => {
  key = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  logKey = new Uint8Array(await crypto.subtle.exportKey("raw", key.publicKey));
  cluster = await Cluster.found(logKey);
});

beforeEach(() => {
  shelf = new MemoryShelf();
  notices = [];
});

const claimsOf = (fields: Partial<Claims>): Claims =>
  ({ role: "vault", cluster_id: cluster.id, recoveries: 0, generation: 0, council: 0, release: 0, watchers: null, ...fields }) as Claims;

/** A Vault with its host, in one generation of its log. */
class Host {
  readonly log: Log;
  readonly claims: Claims;
  charter: Bytes;
  charters = 0;

  constructor(log: Log, claims: Partial<Claims>, charter: Bytes = cluster.charter()) {
    this.log = log;
    this.claims = claimsOf(claims);
    this.charter = charter;
  }

  readonly answer = async (request: WatchRequest): Promise<Reply> => {
    if (request.type === "ask-charter") {
      this.charters += 1;
      return { type: "charter-is", charter: this.charter, pending: new Uint8Array() };
    }
    const origin = logOrigin(cluster.id, 0, this.claims.generation);
    const signer = Signer.of(await verifierOf(origin, ED25519, logKey), key.privateKey);
    const shown = { origin, ...(await this.log.tree()) };
    const proof = request.size > this.log.leaves.length ? [] : await this.log.consistency(request.size);
    return { type: "freshness", checkpoint: note(shown, [await signer.line(shown)]), proof, cosigned: null };
  };
}

/** A session of a page that is loaded anew, as `AttestedServer` opens it. */
async function visit(host: Host): Promise<WatchedLog> {
  const policy = { vault: { clusters: [cluster.id] }, witnesses: [], cosignatures: 0 } as unknown as TrustPolicy;
  const notice = (one: Notice): unknown => notices.push(one);
  const watch = new Watch({ url: "https://vault.example.com/", policy, checkpoints: new Checkpoints(shelf), now: () => NOW, notice });
  await watch.standings.verify(host.claims);
  const appraisal = { claims: host.claims, genesis: { log_key: logKey } } as unknown as Appraisal;
  const log = await watch.begin(utf8("evidence"), appraisal, host.answer);
  await watch.standings.keep(host.claims, log.gaveUpAt);
  return log;
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

const keptOf = async (generation: number): Promise<bigint | undefined> => {
  const found = await new Checkpoints(shelf).highest(logOrigin(cluster.id, 0, generation));
  return found === undefined ? undefined : parseCheckpoint(found).checkpoint.size;
};

/** The log of a database of 5 leaves that was restored, and went on. */
async function restored(): Promise<Log> {
  const log = await Log.of(5);
  await log.append("after the recovery");
  return log;
}

/** What custodians sign of a database that ends there. */
const found = async (size: number, log?: Log): Promise<Pick<Gap, "found_size" | "found_root">> => ({
  found_size: size,
  found_root: (await (log ?? (await Log.of(size))).tree(size)).root,
});

describe("a log that began anew", () => {
  it("is followed where custodians signed what they gave up, and the user is told of what is lost", async () => {
    await visit(new Host(await Log.of(9), {}));
    const gap = await cluster.gap({ ...(await found(5)), known_size: 9 }, 0, 2);
    const host = new Host(await restored(), { recoveries: 1, generation: 1 }, cluster.charter(gap));
    await visit(host);
    expect(notices).toEqual([
      { about: "lost", lines: 4, at: AT },
      { about: "recovered", role: "vault", recoveries: 1, gaveUpAt: AT },
    ]);
    expect([await keptOf(0), await keptOf(1)]).toEqual([9n, 6n]);
    // From then on it is known, and nobody is told again.
    await visit(host);
    expect([host.charters, notices.length]).toEqual([1, 2]);
  });

  it("keeps what was not given up: who has seen less than that is told of no loss", async () => {
    await visit(new Host(await Log.of(4), {}));
    const gap = await cluster.gap({ ...(await found(5)), known_size: 9 }, 1, 2);
    await visit(new Host(await restored(), { recoveries: 1, generation: 1 }, cluster.charter(gap)));
    expect(notices).toEqual([{ about: "recovered", role: "vault", recoveries: 1, gaveUpAt: AT }]);
  });

  it("is an attack where it does not extend what was never given up", async () => {
    await visit(new Host(await Log.of(4), {}));
    const another = await Log.of(7, "another");
    const gap = await cluster.gap({ ...(await found(5, another)), known_size: 9 }, 0, 1);
    const other = new Host(another, { recoveries: 1, generation: 1 }, cluster.charter(gap));
    const error = await failure(visit(other));
    expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
    expect(error.reason).toMatch(/lacks what its custodians did not give up/);
    expect(await keptOf(1)).toBeUndefined();
    expect(notices).toEqual([]);
  });

  it.each([2, 9])("is an attack where it does not extend what custodians signed for, whatever was seen: %i", async (seen) => {
    await visit(new Host(await Log.of(seen), {}));
    const gap = await cluster.gap({ ...(await found(5)), known_size: 9 }, 0, 1);
    const swapped = await Log.of(4);
    for (const text of ["another", "database", "than was surveyed"]) await swapped.append(text);
    const error = await failure(visit(new Host(swapped, { recoveries: 1, generation: 1 }, cluster.charter(gap))));
    expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
    expect(error.reason).toMatch(/is not what its custodians signed for \(5 entries\)/);
    expect([await keptOf(1), notices]).toEqual([undefined, []]);
  });

  it("is no business of custodians who were replaced", async () => {
    const later = await cluster.succeeded();
    await visit(new Host(await Log.of(9), { council: 1 }, later.charter()));
    const fields = { ...(await found(5)), known_size: 9 };
    // An older copy, in which they are in office; and the newest charter, with a gap that they have signed.
    for (const [council, charter] of [
      [0, cluster.charter(await cluster.gap(fields, 0, 1))],
      [1, later.charter(await cluster.gap(fields, 0, 1))],
    ] as const) {
      const error = await failure(visit(new Host(await restored(), { recoveries: 1, generation: 1, council }, charter)));
      expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
      expect(error.reason).toMatch(/^custodians who were replaced have recovered an older copy/);
      expect([await keptOf(1), notices]).toEqual([undefined, []]);
    }
    await visit(new Host(await restored(), { recoveries: 1, generation: 1, council: 1 }, later.charter(await later.gap(fields, 0, 1))));
    expect(await keptOf(1)).toBe(6n);
  });

  it("is followed over several recoveries, by the one that gave up most", async () => {
    await visit(new Host(await Log.of(9), {}));
    const first = await cluster.gap({ ...(await found(3)), known_size: 9 }, 0, 1);
    const second = await cluster.gap({ ...(await found(5)), known_size: 6, generation: 3, recoveries: 2, at: AT + 60 }, 0, 1);
    await visit(new Host(await Log.of(6), { recoveries: 2, generation: 3 }, cluster.charter(first, second)));
    expect(notices[0]).toEqual({ about: "lost", lines: 6, at: AT });
    expect(notices[1]).toMatchObject({ gaveUpAt: AT + 60 });
  });

  it("says in its evidence who watches it, as its custodians have signed", async () => {
    await visit(new Host(await Log.of(9), {}));
    const [watchers, others] = [{ witnesses: ["a.example", "b.example"], cosignatures: 2 }, { witnesses: ["c.example"], cosignatures: 1 }];
    const gap = await cluster.gap({ ...(await found(5)), known_size: 9, watchers }, 0, 1);
    for (const said of [others, null]) {
      const error = await failure(visit(new Host(await restored(), { recoveries: 1, generation: 1, watchers: said }, cluster.charter(gap))));
      expect(error.reason).toContain("names others to watch the log");
    }
    const without = await cluster.gap({ ...(await found(5)), known_size: 9, generation: 2 }, 0, 1);
    const back = await failure(visit(new Host(await restored(), { recoveries: 2, generation: 2 }, cluster.charter(gap, without))));
    expect(back.reason).toContain("leaves out the witnesses");
    await visit(new Host(await restored(), { recoveries: 1, generation: 1, watchers }, cluster.charter(gap)));
  });

  it("more often than its charter keeps is not followed from before the oldest gap that is kept", async () => {
    await visit(new Host(await Log.of(4), {}));
    const numbers = Array.from({ length: MAX_RECOVERIES }, (_, at) => at + 7);
    const fields = await found(5);
    const gaps = await Promise.all(numbers.map((generation) => cluster.gap({ ...fields, known_size: 5, generation }, 0, 1)));
    const newest = new Host(await restored(), { recoveries: 99, generation: numbers.at(-1) as number }, cluster.charter(...gaps));
    const error = await failure(visit(newest));
    expect([error.number, error.reason]).toEqual([ErrorNumber.ROLLED_BACK, expect.stringContaining("is not kept any more")]);
    // Where the list is not full, nothing is gone from it; and who was here after the oldest gap misses nothing.
    const first = gaps[0] as SignedGap;
    await visit(new Host(await restored(), { recoveries: 1, generation: 7 }, cluster.charter(first)));
    await visit(newest);
  });

  it.each<[string, () => Promise<Bytes>]>([
    ["nobody signed anything", async () => cluster.charter()],
    ["one custodian signed, and it takes two", async () => cluster.charter(await cluster.gap({ found_size: 5 }, 1))],
    ["one custodian signed twice", async () => cluster.charter(await cluster.gap({ found_size: 5 }, 1, 1))],
    ["it was signed for an earlier generation", async () => cluster.charter(await cluster.gap({ generation: 2 }, 0, 1))],
    ["it was signed for another cluster", async () => cluster.charter(await cluster.gap({ cluster: new Uint8Array(32) }, 0, 1))],
    ["it is another cluster's whole charter", async () => {
      const other = await Cluster.found(logKey);
      return other.charter(await other.gap({ found_size: 5 }, 0, 1));
    }],
    ["it is no charter", async () => utf8("charter")],
  ])("without valid signatures is a log that was put back: %s", async (_what, made) => {
    await visit(new Host(await Log.of(9), {}));
    const error = await failure(visit(new Host(await restored(), { recoveries: 1, generation: 1 }, await made())));
    expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
    expect(error.reason).toMatch(/custodians have not signed that/);
    expect([await keptOf(0), await keptOf(1)]).toEqual([9n, undefined]);
    expect(notices).toEqual([]);
  });

  it("is asked about also by a page that was closed before it had kept how the cluster stood", async () => {
    await visit(new Host(await Log.of(9), {}));
    await shelf.delete((await shelf.names()).find((name) => name.startsWith("standing/")) ?? "");
    const error = await failure(visit(new Host(await restored(), { recoveries: 1, generation: 1 })));
    expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
  });

  // Without witnesses a generation's number is a time: far above the one before.
  it.each([0, AT - 5000])("is asked about by a page that has kept a checkpoint of generation %i alone", async (generation) => {
    await visit(new Host(await Log.of(9), { generation }));
    await shelf.delete((await shelf.names()).find((name) => name.startsWith("standing/")) ?? "");
    const error = await failure(visit(new Host(await restored(), { recoveries: 1, generation: AT })));
    expect([error.number, await keptOf(AT)]).toEqual([ErrorNumber.ROLLED_BACK, undefined]);
  });

  it("is compared with what was seen, and lost lines are told, though how the cluster stands is kept already", async () => {
    await visit(new Host(await Log.of(9), {}));
    await new Checkpoints(shelf).raiseStanding(cluster.id, standingOf(claimsOf({ recoveries: 1, generation: AT })));
    const charter = cluster.charter(await cluster.gap({ ...(await found(5)), known_size: 9, generation: AT }, 0, 1));
    const swapped = await Log.of(4);
    for (const text of ["another", "database", "than was surveyed"]) await swapped.append(text);
    const error = await failure(visit(new Host(swapped, { recoveries: 1, generation: AT }, charter)));
    expect([error.number, await keptOf(AT)]).toEqual([ErrorNumber.ROLLED_BACK, undefined]);
    await visit(new Host(await restored(), { recoveries: 1, generation: AT }, charter));
    expect([await keptOf(AT), notices]).toEqual([6n, [{ about: "lost", lines: 4, at: AT }]]);
  });

  it("is not taken for an earlier one of which a page has kept a checkpoint alone", async () => {
    await visit(new Host(await restored(), { recoveries: 1, generation: AT }));
    await shelf.delete((await shelf.names()).find((name) => name.startsWith("standing/")) ?? "");
    const error = await failure(visit(new Host(await Log.of(30), { recoveries: 1 })));
    expect(error.number).toBe(ErrorNumber.ROLLED_BACK);
    expect(error.reason).toMatch(new RegExp(`of generation 0, and generation ${AT}`));
  });

  it("is nothing new to who was never here", async () => {
    const host = new Host(await restored(), { recoveries: 1, generation: 1 });
    await visit(host);
    expect([host.charters, notices]).toEqual([0, []]);
  });
});

describe("a cluster that was seen before", () => {
  const standings = (): Standings => new Standings(new Checkpoints(shelf), (one) => notices.push(one));

  it("does not go back before its recovery, nor to an older list of releases", async () => {
    await standings().keep(claimsOf({ recoveries: 2, generation: 1, council: 1, release: 7 }), null);
    for (const [older, number] of [
      [{ recoveries: 1, generation: 1, council: 1, release: 9 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 2, generation: 0, council: 1, release: 7 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 3, generation: 0, council: 1, release: 7 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 2, generation: 1, council: 0, release: 7 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 3, generation: 2, council: 0, release: 7 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 2, generation: 1, council: 1, release: 6 }, ErrorNumber.POLICY],
      [{ recoveries: 2, generation: 1, council: 1, release: 0 }, ErrorNumber.POLICY],
      // Nobody signs how often a cluster was recovered: that takes nothing along.
      [{ recoveries: 3, generation: 1, council: 0, release: 7 }, ErrorNumber.ROLLED_BACK],
      [{ recoveries: 3, generation: 1, council: 2, release: 6 }, ErrorNumber.POLICY],
    ] as const) {
      expect((await failure(standings().verify(claimsOf(older)))).number).toBe(number);
    }
    await standings().verify(claimsOf({ recoveries: 2, generation: 1, council: 1, release: 7 }));
    await standings().verify(claimsOf({ recoveries: 3, generation: 1, council: 2, release: 7 }));
    await standings().verify(claimsOf({ recoveries: 3, generation: 2, council: 2, release: 1 }));
  });

  it("may go back to an older list by a recovery alone only as an Authenticator: that has no log to sign for", async () => {
    const [before, after] = [claimsOf({ role: "authenticator", release: 3 }), claimsOf({ role: "authenticator", recoveries: 1, release: 2 })];
    await standings().keep(before, null);
    await standings().verify(after);
    await standings().keep(after, null);
    await standings().verify(after);
    expect((await failure(standings().verify(before))).number).toBe(ErrorNumber.ROLLED_BACK);
  });

  it("is told to have been recovered once, and only to who was here before", async () => {
    const [first, second] = [claimsOf({ recoveries: 1 }), claimsOf({ recoveries: 2, role: "authenticator" })];
    await standings().keep(first, null);
    await standings().keep(first, null);
    expect(notices).toEqual([]);
    await standings().keep(second, null);
    await standings().keep(second, null);
    expect(notices).toEqual([{ about: "recovered", role: "authenticator", recoveries: 2, gaveUpAt: null }]);
    expect(explainNotice(notices[0] as Notice)).toMatch(/^this Authenticator was recovered by its custodians .* \(recovery 2\);/);
  });

  it("is remembered as it stood highest, by two tabs at once, and by a browser that keeps nothing", async () => {
    const checkpoints = new Checkpoints(shelf);
    await Promise.all([checkpoints.raiseStanding(cluster.id, standingOf(claimsOf({ release: 3 }))), new Checkpoints(shelf).raiseStanding(cluster.id, standingOf(claimsOf({ release: 2 })))]);
    expect(await new Checkpoints(shelf).standing(cluster.id)).toEqual({ recoveries: 0, generation: 0, council: 0, release: 3 });
    Object.assign(shelf, { change: () => Promise.reject(new StrongroomError(ErrorNumber.BUSY)), get: () => Promise.resolve(undefined) });
    await expect(checkpoints.raiseStanding(cluster.id, standingOf(claimsOf({ release: 4 })))).rejects.toThrow();
    expect(await checkpoints.standing(cluster.id)).toMatchObject({ release: 4 });
  });

  it("is remembered by the highest of each part, where two tabs saw two copies of it", async () => {
    const checkpoints = new Checkpoints(shelf);
    await checkpoints.raiseStanding(cluster.id, { recoveries: 1, generation: 1, council: 0, release: 5 });
    await new Checkpoints(shelf).raiseStanding(cluster.id, { recoveries: 2, generation: 0, council: 1, release: 4 });
    expect(await new Checkpoints(shelf).standing(cluster.id)).toEqual({ recoveries: 2, generation: 1, council: 1, release: 5 });
  });

  it("whose standing was damaged is said to be forgotten, and is no crash", async () => {
    await new Checkpoints(shelf).raiseStanding(cluster.id, standingOf(claimsOf({ release: 3 })));
    const [name = ""] = await shelf.names();
    for (const damaged of [null, "3", { recoveries: 0 }, { recoveries: 0, generation: 0, release: 3 }, { recoveries: -1, generation: 0, council: 0, release: Number.NaN }]) {
      await shelf.put(name, damaged);
      expect(await new Checkpoints(shelf).standing(cluster.id)).toBeUndefined();
    }
  });
});
