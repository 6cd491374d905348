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
 * 4. Answer with an old checkpoint later in a session: each reply carries one, none is below the first of the session.
 *
 * Without witnesses a client that was never here has nothing to compare with, and a host that shows one client an older
 * state for good, with everything that this client saw in it, is not noticed (RULES 23).
 */

import type { Appraisal } from "../attestation/appraisal.js";
import { acceptWitnesses, verifyCosigned } from "../attestation/witnessing.js";
import { type Bytes, hex } from "../protocol/bytes.js";
import { ErrorNumber, StrongroomError, Untrusted, fromNumber } from "../protocol/errors.js";
import { logOrigin, logVerifier } from "../protocol/leaves.js";
import type { Freshen, Freshness, Genesis, TrustPolicy } from "../protocol/messages.js";
import { type SignedCheckpoint, type Verifier, verifyCheckpoint } from "../protocol/notes.js";
import { RolledBack, findingOf } from "./attacks.js";
import { type Checkpoints, sameCheckpoint } from "./checkpoints.js";
import { type Reply, readReply } from "./replies.js";
import { Unsealed } from "./transport.js";

/** Sends one request in the session that is watched. */
type Send = (request: Freshen) => Promise<Reply>;

/** Replies to writes: when they are told, the checkpoint that covers them is on the disk. */
const WRITES: ReadonlySet<Reply["type"]> = new Set(["stored", "updated", "deleted", "asked", "approved", "namespace-created"]);

/** Whose log it is, and by what it is watched. */
export interface Watching {
  readonly url: string;
  readonly policy: TrustPolicy;
  readonly checkpoints: Checkpoints;
  /** Unix seconds. */
  readonly now: () => number;
}

/** What one client remembers of the log of the Vault at `url`, over all its sessions. */
export class Watch {
  readonly watching: Watching;
  readonly #seen = new Map<string, SignedCheckpoint>();

  constructor(watching: Watching) {
    this.watching = watching;
  }

  /** The witnesses must be those of the policy. Throws `Untrusted` POLICY. */
  accept(genesis: Genesis): void {
    acceptWitnesses(genesis, this.watching.policy);
  }

  /**
   * The log of a new session, in which nothing was asked yet, once it is shown to extend all that was seen.
   *
   * Throws `Untrusted` ROLLED_BACK, INTEGRITY or CLOCK, and what the Vault answered.
   */
  async begin(evidence: Bytes, { claims, genesis }: Appraisal, send: Send): Promise<WatchedLog> {
    const log = new WatchedLog(this, { evidence, send, log: await logVerifier(claims.cluster_id, genesis.log_key) });
    await log.begin();
    return log;
  }

  /** Whether there is anything to compare the log with. */
  async isKnown(): Promise<boolean> {
    const { policy, checkpoints } = this.watching;
    const kept = await Promise.all(policy.vault.clusters.map((cluster) => checkpoints.highest(logOrigin(cluster))));
    return kept.some((note) => note !== undefined);
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
  readonly send: Send;
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

  constructor(watch: Watch, session: Session) {
    this.#watch = watch;
    this.#session = session;
  }

  /** Throws as `Watch.begin`. */
  async begin(): Promise<void> {
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

  async #stored(): Promise<SignedCheckpoint | undefined> {
    const note = await this.#watch.watching.checkpoints.highest(this.#session.log.name);
    return note === undefined ? undefined : this.#own(note);
  }

  /** What was kept, if this log signed it. */
  async #own(note: Bytes): Promise<SignedCheckpoint | undefined> {
    try {
      return await verifyCheckpoint(note, this.#session.log);
    } catch (error) {
      if (!(error instanceof Untrusted)) throw error;
      await this.#watch.watching.checkpoints.setAside(this.#session.log.name);
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
