/**
 * Is what a Vault shows the newest state, and the same for everybody? What a client checks (`spec/log.md`, RULES 23).
 *
 * What a host can do with a genuine Vault and its whole database, and what stops it here:
 *
 * 1. Restore last month's database: its log is shorter than what this browser has seen, or does not extend it. Asked in
 *    every session, first of all, by the checkpoint that is kept.
 * 2. Run two copies, one for each half of the users: each checkpoint must extend the one that was seen before, by a
 *    proof. What another tab has seen meanwhile counts too: before its checkpoint is replaced, that is proven.
 * 3. Show a new client, which has seen nothing, an old state: witnesses must have seen it lately, where there are some.
 * 4. Say that its log began anew after a recovery: the custodians must have signed what was given up, and where; they
 *    must be none who were replaced; and the log must extend, to the leaf, the one that they signed for.
 * 5. Answer with an old checkpoint later in a session: each reply carries one, none is below the first of the session.
 *
 * Without witnesses a client that was never here has nothing to compare with, and a host that shows one client an older
 * state for good, with everything that this client saw in it, is not noticed (RULES 23).
 */

import type { Appraisal } from "../attestation/appraisal.js";
import { acceptWitnesses, verifyCosigned } from "../attestation/witnessing.js";
import { type Bytes, hex } from "../protocol/bytes.js";
import { ErrorNumber, StrongroomError, Untrusted, fromNumber } from "../protocol/errors.js";
import { logVerifier } from "../protocol/leaves.js";
import { either } from "../protocol/kinds.js";
import { AskCharter, Freshen, type Freshness, type Gap, type TrustPolicy } from "../protocol/messages.js";
import { type SignedCheckpoint, type Verifier, verifyCheckpoint } from "../protocol/notes.js";
import { type Tree, verifyConsistency } from "../protocol/tlog.js";
import { RolledBack, findingOf } from "./attacks.js";
import { type Checkpoints, sameCheckpoint } from "./checkpoints.js";
import { verifyNewGeneration } from "./generations.js";
import { type Reply, readReply } from "./replies.js";
import { type Notice, Standings, earlierGeneration } from "./standings.js";
import { Unsealed } from "./transport.js";

/** What is asked about the log itself. */
export type WatchRequest = Freshen | AskCharter;
export const WatchRequest = either<WatchRequest>(Freshen, AskCharter);

/** Sends one request in the session that is watched. */
type Send = (request: WatchRequest) => Promise<Reply>;

/** Replies to writes: when they are told, the checkpoint that covers them is on the disk. */
const WRITES: ReadonlySet<Reply["type"]> = new Set(["stored", "updated", "deleted", "asked", "approved", "namespace-created"]);

/** Whose log it is, and by what it is watched. */
export interface Watching {
  readonly url: string;
  readonly policy: TrustPolicy;
  readonly checkpoints: Checkpoints;
  /** Unix seconds. */
  readonly now: () => number;
  /** Is told of what the user should know and need not stop for: that the Vault was recovered, and what was given up. */
  readonly notice: (notice: Notice) => void;
}

/** What one client remembers of the log of the Vault at `url`, over all its sessions. */
export class Watch {
  readonly watching: Watching;
  readonly standings: Standings;
  readonly #seen = new Map<string, SignedCheckpoint>();

  constructor(watching: Watching) {
    this.watching = watching;
    this.standings = new Standings(watching.checkpoints, watching.notice);
  }

  /** The witnesses must be those of the policy. Throws `Untrusted` POLICY. */
  accept({ genesis, claims }: Pick<Appraisal, "genesis" | "claims">): void {
    acceptWitnesses(genesis, claims.watchers, this.watching.policy);
  }

  /**
   * The log of a new session, in which nothing was asked yet, once it is shown to extend all that was seen.
   *
   * Throws `Untrusted` ROLLED_BACK, INTEGRITY or CLOCK, and what the Vault answered.
   */
  async begin(evidence: Bytes, appraisal: Appraisal, send: Send): Promise<WatchedLog> {
    const { claims, genesis } = appraisal;
    const shown = await logVerifier(claims.cluster_id, genesis.log_key, claims.generation);
    const log = new WatchedLog(this, { evidence, send, appraisal, log: shown });
    await log.begin();
    return log;
  }

  /** Whether there is anything to compare the log with. */
  async isKnown(): Promise<boolean> {
    const { policy, checkpoints } = this.watching;
    const { clusters } = policy.vault;
    const standings = await Promise.all(clusters.map((cluster) => checkpoints.standing(cluster)));
    const logs = await Promise.all(clusters.map((cluster) => checkpoints.generations(cluster)));
    return standings.some((one) => one !== undefined) || logs.some((generations) => generations.length > 0);
  }

  /** The highest of this log that this client itself has seen. */
  seen(origin: string): SignedCheckpoint | undefined {
    return this.#seen.get(origin);
  }

  see(signed: SignedCheckpoint): void {
    const { origin, size } = signed.checkpoint;
    const known = this.#seen.get(origin);
    if (known === undefined || known.checkpoint.size < size) this.#seen.set(origin, signed);
  }
}

interface Session {
  readonly evidence: Bytes;
  readonly appraisal: Appraisal;
  readonly send: Send;
  /** Of the generation that the evidence says. */
  readonly log: Verifier;
}

/** The log as one session shows it. A session lives in one run of one Vault, in which a log only grows. */
export class WatchedLog {
  readonly #watch: Watch;
  readonly #session: Session;
  #first: SignedCheckpoint | undefined;
  #highest: SignedCheckpoint | undefined;
  #lastNote: string | undefined;
  /** What was kept when last looked at; this session was shown to extend it. */
  #kept: SignedCheckpoint | undefined;
  #keeping: Promise<boolean> | undefined;
  /** What was found while nobody waited. */
  #broken: unknown;
  #gaveUpAt: number | null = null;

  constructor(watch: Watch, session: Session) {
    this.#watch = watch;
    this.#session = session;
  }

  /** When custodians last gave up a part of this log, since it was seen before; unix seconds. Null: they did not. */
  get gaveUpAt(): number | null {
    return this.#gaveUpAt;
  }

  /** Throws as `Watch.begin`. */
  async begin(): Promise<void> {
    await this.#followGenerations();
    this.#kept = await this.#stored();
    const own = this.#watch.seen(this.#session.log.name);
    const isOther = own !== undefined && (this.#kept === undefined || !sameCheckpoint(own.checkpoint, this.#kept.checkpoint));
    if (this.#kept !== undefined || own === undefined) await this.#prove(this.#kept);
    if (isOther) await this.#prove(own);
    await this.#keep();
  }

  /**
   * What a reply says, once its checkpoint was verified; of an acknowledged write, once that is kept.
   *
   * Throws `Untrusted`: INTEGRITY for a reply without a checkpoint of this log, ROLLED_BACK for another history.
   */
  async open(reply: Reply): Promise<Reply> {
    if (this.#broken !== undefined) throw this.#broken;
    if (reply.type === "error") return reply;
    if (reply.type !== "logged") throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered without a checkpoint of its log");
    await this.#verify(reply.checkpoint);
    const found = readReply(reply.reply, "vault");
    if (found.type === "trail-of") await this.#verify(found.checkpoint);
    if (WRITES.has(found.type)) await this.#keep();
    else this.#keepMeanwhile();
    return found;
  }

  // --- verifying ------------------------------------------------------------------------------------------------

  /** Have it shown that this log extends what was seen of it. */
  async #prove(known: SignedCheckpoint | undefined): Promise<void> {
    const answer = await this.#freshen(known?.checkpoint.size ?? 0n);
    const shown = await verifyCheckpoint(answer.checkpoint, this.#session.log);
    if (known !== undefined) await this.#compare(known, shown, answer.proof);
    await this.#verifyCosigned(answer, shown);
    await this.#see(shown);
  }

  /** Witnesses have seen the log lately, though not always to its end. Throws `Untrusted` INTEGRITY or CLOCK. */
  async #verifyCosigned(answer: Freshness, shown: SignedCheckpoint): Promise<void> {
    const cosigned = answer.cosigned === null ? shown : await verifyCheckpoint(answer.cosigned, this.#session.log);
    const [before, after] = [cosigned.checkpoint, shown.checkpoint];
    if (before.size > after.size || (before.size === after.size && hex(before.root) !== hex(after.root))) {
      throw new Untrusted(ErrorNumber.INTEGRITY, "the checkpoint that witnesses saw is not of the log that is shown");
    }
    const { policy, now } = this.#watch.watching;
    await verifyCosigned(cosigned, policy, Math.floor(now()));
  }

  /**
   * Where the log has begun anew since what was seen of it, its custodians must have signed that (RULES 25), what they
   * signed for must be what goes on, and what they did not give up must still be there.
   */
  async #followGenerations(): Promise<void> {
    const { claims, genesis } = this.#session.appraisal;
    const known = await this.#watch.standings.known(claims.cluster_id);
    const since = (await this.#seenGeneration()) ?? known?.generation;
    // Who was never here has nothing to compare with.
    if (since === undefined || since >= claims.generation) return;
    const seen = await this.#storedOf(await logVerifier(claims.cluster_id, genesis.log_key, since));
    const answer = await this.#session.send({ type: "ask-charter" });
    if (answer.type === "error") throw fromNumber(answer.number);
    if (answer.type !== "charter-is") throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered another kind of request");
    const gaps = await verifyNewGeneration(answer.charter, claims, since, known);
    for (const gap of gaps) await this.#proveOlder({ size: BigInt(gap.found_size), root: gap.found_root }, "is not what its custodians signed for");
    this.#gaveUpAt = gaps.at(-1)?.at ?? null;
    if (seen === undefined) return;
    // The least that was found: what lies below it was never given up.
    const [gap] = [...gaps].sort((one: Gap, other: Gap) => one.found_size - other.found_size);
    if (gap === undefined || seen.checkpoint.size <= BigInt(gap.found_size)) {
      await this.#proveOlder(seen.checkpoint, "lacks what its custodians did not give up");
    } else {
      this.#watch.watching.notice({ about: "lost", lines: Number(seen.checkpoint.size) - gap.found_size, at: gap.at });
    }
  }

  /**
   * The last one of this cluster's log of which a checkpoint is kept, which comes before how the cluster stands: a page
   * that was closed early may have kept it alone. Throws `Untrusted` ROLLED_BACK for a checkpoint of a later one.
   */
  async #seenGeneration(): Promise<number | undefined> {
    const { claims, genesis } = this.#session.appraisal;
    const kept = await this.#watch.watching.checkpoints.generations(claims.cluster_id);
    for (const generation of [...kept].sort((one, other) => other - one)) {
      const seen = await this.#storedOf(await logVerifier(claims.cluster_id, genesis.log_key, generation));
      if (seen === undefined) continue;
      if (generation > claims.generation) throw earlierGeneration(claims.generation, generation);
      return generation;
    }
    return undefined;
  }

  /**
   * As `#prove`, of a tree of an earlier generation: it goes on under another name. There is no evidence for others here,
   * since two checkpoints of two generations convince nobody without all that custodians have signed.
   */
  async #proveOlder(known: Tree, refusal: string): Promise<void> {
    const { checkpoint, proof } = await this.#freshen(known.size);
    const shown = await verifyCheckpoint(checkpoint, this.#session.log);
    try {
      await verifyConsistency(known, shown.checkpoint, proof);
    } catch (error) {
      if (!(error instanceof Untrusted)) throw error;
      throw new Untrusted(
        ErrorNumber.ROLLED_BACK,
        `its log began anew, and ${refusal} (${known.size.toLocaleString("en")} entries)`,
      );
    }
  }

  async #freshen(size: bigint): Promise<Freshness> {
    const answer = await this.#session.send({ type: "freshen", size: Number(size) });
    if (answer.type === "error") throw fromNumber(answer.number);
    if (answer.type !== "freshness") throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered another kind of request");
    return answer;
  }

  async #verify(note: Bytes): Promise<void> {
    const text = hex(note);
    if (text === this.#lastNote) return;
    await this.#see(await verifyCheckpoint(note, this.#session.log));
    this.#lastNote = text;
  }

  /** Answers overtake one another: not each is above the one before, but none is below the first. */
  async #see(shown: SignedCheckpoint): Promise<void> {
    const { size } = shown.checkpoint;
    const [first, highest] = [(this.#first ??= shown), (this.#highest ??= shown)];
    if (size <= first.checkpoint.size) await this.#compare(first, shown, []);
    if (size === highest.checkpoint.size) await this.#compare(highest, shown, []);
    // Others may have come while it was compared.
    if (size > (this.#highest ?? shown).checkpoint.size) this.#highest = shown;
    this.#watch.see(shown);
  }

  /** Throws `RolledBack` where what is shown does not extend what is known. */
  async #compare(known: SignedCheckpoint, shown: SignedCheckpoint, proof: readonly Bytes[]): Promise<void> {
    const finding = await findingOf(known, shown, proof);
    if (finding === undefined) return;
    const { url, now } = this.#watch.watching;
    const at = "location" in globalThis ? new URL(url, location.href).href : url;
    throw await RolledBack.of({ finding, known, shown, proof, evidence: this.#session.evidence, url: at, noticedAt: Math.floor(now()) });
  }

  // --- keeping --------------------------------------------------------------------------------------------------

  #stored(): Promise<SignedCheckpoint | undefined> {
    return this.#storedOf(this.#session.log);
  }

  async #storedOf(log: Verifier): Promise<SignedCheckpoint | undefined> {
    const note = await this.#watch.watching.checkpoints.highest(log.name);
    return note === undefined ? undefined : this.#own(note, log);
  }

  /** What was kept, if this log signed it. */
  async #own(note: Bytes, log: Verifier = this.#session.log): Promise<SignedCheckpoint | undefined> {
    try {
      return await verifyCheckpoint(note, log);
    } catch (error) {
      if (!(error instanceof Untrusted)) throw error;
      await this.#watch.watching.checkpoints.setAside(log.name);
      return undefined;
    }
  }

  /** Done when what has been seen by now is kept. Those who wait for each other's turn have it written once. */
  async #keep(): Promise<void> {
    while (this.#isUnkept()) {
      this.#keeping ??= this.#keepOnce().finally(() => (this.#keeping = undefined));
      if (!(await this.#keeping)) return;
    }
  }

  /** False where it can't be: the Vault does not say how what another tab has seen goes together with this. */
  async #keepOnce(): Promise<boolean> {
    const [highest, over] = [this.#highest, this.#kept];
    if (highest === undefined) return false;
    const { checkpoints } = this.#watch.watching;
    const note = await checkpoints.keep(this.#session.log.name, highest.note, over?.note);
    if (note === highest.note) {
      this.#kept = highest;
      return true;
    }
    // Another tab saw it, perhaps in another copy of this Vault.
    const other = await this.#own(note);
    try {
      if (other !== undefined) await this.#prove(other);
    } catch (error) {
      if (error instanceof Untrusted) this.#broken = error;
      else if (error instanceof StrongroomError || error instanceof Unsealed) return false; // it is asked about next time
      throw error;
    }
    this.#kept = other;
    return true;
  }

  /** What a mere read has shown is kept behind the reader's back; what is found there, the next who asks is told. */
  #keepMeanwhile(): void {
    this.#keep().catch((error: unknown) => {
      this.#broken = error;
    });
  }

  #isUnkept(): boolean {
    if (this.#highest === undefined || this.#kept === undefined) return this.#highest !== undefined;
    return this.#highest.checkpoint.size > this.#kept.checkpoint.size;
  }
}
