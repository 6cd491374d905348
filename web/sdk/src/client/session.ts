/**
 * Attested sessions, the client's side: nothing is sent before the evidence was accepted (RULES 1 to 3).
 *
 * What a lying network can do here, and what stops it:
 *
 * 1. Answer with another enclave's evidence, or its own: appraised under the client's policy, before the hello.
 * 2. Replay, swap or alter answers: each opens once, in this session, and names the request that it answers.
 * 3. Say that the session is lost: one new handshake, with evidence appraised anew; the second time it is an error.
 * 4. Say in clear what only an enclave may say, such as "refused": see `Unsealed`.
 * 5. Lose an answer: the same bytes go out once more, under a new counter. Their request id makes that harmless.
 *
 * What a host can do with a genuine Vault and an old copy of its database, and what stops that, is told in `freshness`.
 */

import { type Appraisal, appraise } from "../attestation/appraisal.js";
import { EvaluationFloors } from "../attestation/floors.js";
import type { Bytes } from "../protocol/bytes.js";
import { type Kind, encode } from "../protocol/codec.js";
import { ErrorNumber, Misuse, Untrusted, fromNumber } from "../protocol/errors.js";
import type { Role } from "../protocol/evidence.js";
import { MAX_MESSAGE, MAX_SESSION_LIFE } from "../protocol/limits.js";
import { AuthenticatorRequest, type RolePolicy, VaultRequest } from "../protocol/messages.js";
import { Domain, type SigningKey } from "../protocol/primitives.js";
import { type Channel, ClientHandshake, splitReply } from "../protocol/session.js";
import { Unreachable } from "./errors.js";
import { type Watch, type WatchedLog, WatchRequest } from "./freshness.js";
import { type Reply, type ReplyOf, isOf, readReply } from "./replies.js";
import type { Standings } from "./standings.js";
import { Transport, Unsealed } from "./transport.js";

/** Seconds before its end at which a session is replaced. */
const MARGIN = 30;
/** Counters between the oldest unanswered request of a session and its newest: half a window, see `Turns`. */
const IN_FLIGHT = 32;
const LOST: ReadonlySet<number> = new Set([ErrorNumber.UNKNOWN_SESSION, ErrorNumber.STALE_KEY]);

const REQUESTS = { vault: VaultRequest, authenticator: AuthenticatorRequest } as const;

/** Unix seconds. */
export type Clock = () => number;

/** Which enclave, what is known of its cluster, and for a Vault what is remembered of its log. */
export interface Peer<R extends Role> {
  readonly role: R;
  readonly policy: RolePolicy;
  readonly watch: R extends "vault" ? Watch : null;
  readonly standings: Standings;
}

/** Whose sessions they are, and by which clock. */
export interface Client {
  readonly bindingKey: SigningKey;
  readonly now: Clock;
}

/**
 * Keeps frames that overtake each other within the receivers' windows, on both sides.
 *
 * A packet lost and sent again can hold one frame up while hundreds pass. No request goes out while one that is
 * IN_FLIGHT counters older has no answer. So a request is overtaken by at most 31 others; and an answer by those to at
 * most 31 older and 31 newer requests, fewer than the 64 after which it would look like a replay.
 */
class Turns {
  #next = 0;
  readonly #unanswered = new Set<number>();
  #waiting: (() => void)[] = [];

  async take<T>(work: () => Promise<T>): Promise<T> {
    while (this.#next - this.#oldest() >= IN_FLIGHT) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const number = this.#next++;
    this.#unanswered.add(number);
    try {
      return await work();
    } finally {
      this.#unanswered.delete(number);
      for (const go of this.#waiting.splice(0)) go();
    }
  }

  #oldest(): number {
    const [oldest = this.#next] = this.#unanswered; // a set keeps the order in which numbers came
    return oldest;
  }
}

/** A proved session. */
interface Session {
  readonly channel: Channel;
  readonly appraisal: Appraisal;
  /** Unix seconds. */
  readonly until: number;
  readonly turns: Turns;
  /** Of a Vault, once it is shown to extend what was seen. */
  log: WatchedLog | null;
  /** The server says that it does not know it. */
  lost: boolean;
}

/** The server at `url` in one role, reached only through sessions with an enclave that `policy` accepts. */
export class AttestedServer<R extends Role> {
  readonly #role: R;
  readonly #policy: RolePolicy;
  readonly #watch: Watch | null;
  readonly #standings: Standings;
  readonly #client: Client;
  readonly #transport: Transport;
  readonly #floors = new EvaluationFloors();
  #opening: Promise<Session> | undefined;
  #session: Session | undefined;

  constructor(url: string, peer: Peer<R>, client: Client) {
    this.#role = peer.role;
    this.#policy = peer.policy;
    this.#watch = peer.watch;
    this.#standings = peer.standings;
    this.#client = client;
    this.#transport = new Transport(url);
  }

  /** The server's current evidence, appraised by nobody yet. */
  evidence(): Promise<Bytes> {
    return this.#persist(() => this.#fetchEvidence());
  }

  /** Fetch evidence and appraise it; no session is opened. Throws `Untrusted` with the reason. */
  async verify(): Promise<Appraisal> {
    return this.#appraise(await this.evidence());
  }

  /** What the current session rests on; opens one if there is none. */
  async appraisal(): Promise<Appraisal> {
    return (await this.#persist(() => this.#current())).appraisal;
  }

  /**
   * One request, one reply of type `kind`. Throws what the enclave answered, `Untrusted`, or `Unavailable`. Requests may
   * be made in parallel.
   */
  async ask<T extends Reply["type"]>(
    request: R extends "vault" ? VaultRequest : AuthenticatorRequest,
    kind: T,
  ): Promise<ReplyOf<T>> {
    const message = encode<VaultRequest | AuthenticatorRequest>(REQUESTS[this.#role] as Kind<VaultRequest | AuthenticatorRequest>, request);
    if (message.length > MAX_MESSAGE) throw new Misuse(ErrorNumber.TOO_LARGE);
    const reply = await this.#persist(() => this.#exchange(message));
    if (reply.type === "error") throw fromNumber(reply.number, "", reply);
    if (!isOf(reply, kind)) throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered another kind of request");
    return reply;
  }

  // --- repeating ------------------------------------------------------------------------------------------------

  /** `attempt`, repeated at most once for each reason for which repeating may help. */
  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    const excused = new Set<string>();
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        const reason = excuse(error);
        if (reason === undefined || excused.has(reason)) throw error instanceof Unsealed ? error.asError() : error;
        excused.add(reason);
      }
    }
  }

  async #exchange(message: Bytes): Promise<Reply> {
    const session = await this.#current();
    try {
      const reply = await this.#roundTrip(session, message);
      return session.log === null ? reply : await session.log.open(reply);
    } catch (error) {
      if (error instanceof Unsealed && LOST.has(error.number)) session.lost = true;
      throw error;
    }
  }

  // --- one session ----------------------------------------------------------------------------------------------

  /** The session in use, or a new one; parallel requests share the handshake. */
  #current(): Promise<Session> {
    const session = this.#session;
    if (session !== undefined && !session.lost && session.until > this.#client.now()) return Promise.resolve(session);
    this.#opening ??= this.#open().then(
      (opened) => {
        this.#session = opened;
        this.#opening = undefined;
        return opened;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }

  async #open(): Promise<Session> {
    const { bindingKey, now } = this.#client;
    const evidence = await this.#fetchEvidence();
    const appraisal = await this.#appraise(evidence);
    const openedAt = now();
    const handshake = await ClientHandshake.begin({
      role: this.#role,
      evidence: appraisal.evidenceDigest,
      serverKemKey: appraisal.claims.kem_key,
      bindingKey: bindingKey.public,
    });
    const answer = await this.#transport.hello(handshake.hello);
    const channel = await orAltered("the answer to the hello is not from the attested enclave", () => handshake.finish(answer));
    const until = Math.min(appraisal.claims.expires_at, openedAt + MAX_SESSION_LIFE) - MARGIN;
    const session: Session = { channel, appraisal, until, turns: new Turns(), log: null, lost: false };
    const signature = await bindingKey.sign(Domain.PROOF, channel.transcript);
    const reply = await this.#roundTrip(session, encode(VaultRequest, { type: "prove", signature, evidence: null }));
    if (reply.type === "error") throw fromNumber(reply.number);
    if (reply.type !== "proved") throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave did not take the proof");
    this.#floors.note(appraisal.report, appraisal.claims.cluster_id);
    if (this.#watch !== null) {
      session.log = await this.#watch.begin(evidence, appraisal, (request) => this.#roundTrip(session, encode(WatchRequest, request)));
    }
    // Now that the log has been shown to go with it.
    await this.#standings.keep(appraisal.claims, session.log?.gaveUpAt ?? null);
    return session;
  }

  async #fetchEvidence(): Promise<Bytes> {
    try {
      return await this.#transport.evidence();
    } catch (error) {
      if (!(error instanceof Untrusted)) throw error;
      throw new Untrusted(ErrorNumber.EVIDENCE, error.reason);
    }
  }

  async #appraise(evidence: Bytes): Promise<Appraisal> {
    const now = Math.floor(this.#client.now());
    const appraisal = await appraise(evidence, { role: this.#role, policy: this.#policy, now });
    this.#watch?.accept(appraisal);
    this.#floors.verify(appraisal.report, appraisal.claims.cluster_id);
    await this.#standings.verify(appraisal.claims);
    return appraisal;
  }

  async #roundTrip(session: Session, message: Bytes): Promise<Reply> {
    const { sent, plaintext } = await session.turns.take(async () => {
      const { counter, frame } = await session.channel.seal(message);
      const answer = await this.#transport.frame(frame);
      const altered = "an answer was altered, repeated or taken from another session";
      return { sent: counter, plaintext: (await orAltered(altered, () => session.channel.open(answer))).message };
    });
    const { request, message: reply } = splitReply(plaintext);
    if (request !== sent) throw new Untrusted(ErrorNumber.INTEGRITY, "the network gave the answer to another request");
    return readReply(reply, this.#role);
  }
}

/** Why another attempt may help. */
function excuse(error: unknown): string | undefined {
  if (error instanceof Unsealed) return LOST.has(error.number) ? "session" : error.number === ErrorNumber.REPLAYED ? "replay" : undefined;
  return error instanceof Unreachable && error.broken ? "network" : undefined;
}

/** Whatever is wrong with what the network gave, it is the network's doing. */
async function orAltered<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof Misuse || error instanceof Untrusted)) throw error;
    throw new Untrusted(ErrorNumber.INTEGRITY, what);
  }
}
