/**
 * How a cluster stood when this browser last saw it: how often it was recovered, by which council, with which releases.
 *
 * All of that only rises. So what a host can do with an old machine of a cluster, and what stops it here:
 *
 * 1. Start a machine from before a recovery, with its old ring and database: fewer recoveries than were seen, or an
 *    earlier generation of the log.
 * 2. Start one that goes by an older list of releases, in which a program stands that was retired since.
 * 3. With custodians who were replaced since, have an older copy recovered: only those of before have a say in it. The
 *    council in office, and who signed for each new generation, must be none before the one that was seen.
 *
 * A recovery from a backup may bring an older list back, and then its custodians have signed that: a generation that rose
 * takes any list along, and the user is told. A number of recoveries alone takes nothing along: nobody signs that, and
 * whoever has an old ring says what he likes. An Authenticator has no log, thus no generation: there the number must do.
 */

import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Untrusted } from "../protocol/errors.js";
import type { Claims } from "../protocol/messages.js";

export const WHAT_TO_DO = "ask its custodians; if they did mean that, clear what this browser keeps for this site";

/** What evidence says of a cluster. */
export interface Standing {
  readonly recoveries: number;
  /** Of the log; an Authenticator has none, and its recoveries stand here. */
  readonly generation: number;
  /** Serial of the one in office. */
  readonly council: number;
  /** Serial of the list of releases. */
  readonly release: number;
}

/** Where a client keeps one standing of each cluster, by its id. */
export interface StandingStore {
  /** Undefined: this cluster was never seen. */
  standing(cluster: Bytes): Promise<Standing | undefined>;
  /** Keep what `raised` makes of this and what is kept. */
  raiseStanding(cluster: Bytes, standing: Standing): Promise<void>;
}

/** What a user should know and need not stop for. */
export type Notice =
  /**
   * Custodians recovered this cluster since it was last seen. `gaveUpAt` (unix seconds): the last time with an older
   * database; null: none was older.
   */
  | { readonly about: "recovered"; readonly role: Claims["role"]; readonly recoveries: number; readonly gaveUpAt: number | null }
  /** Lines of the log that were seen here are gone, and with them what was stored, changed or revoked there. */
  | { readonly about: "lost"; readonly lines: number; readonly at: number };

export const standingOf = ({ role, recoveries, generation, council, release }: Claims): Standing => ({
  recoveries,
  generation: role === "vault" ? generation : recoveries,
  council,
  release,
});

/** Below 0: `one` is from before a recovery that `other` knows. */
const compareRecovered = (one: Standing, other: Standing): number =>
  one.recoveries - other.recoveries || one.generation - other.generation;

/**
 * The highest of each part; of the list of releases, that of the later generation, which may bring an older one back. Not
 * simply the later one of both: two tabs may have seen two copies of a cluster at once.
 */
export function raised(one: Standing | undefined, other: Standing): Standing {
  if (one === undefined) return other;
  const later = one.generation - other.generation || one.release - other.release;
  return {
    recoveries: Math.max(one.recoveries, other.recoveries),
    generation: Math.max(one.generation, other.generation),
    council: Math.max(one.council, other.council),
    release: (later > 0 ? one : other).release,
  };
}

/** Whoever acts for the cluster is of no council before the one that was seen. Throws `Untrusted` ROLLED_BACK. */
export function verifyCouncil(known: Standing, council: number): void {
  if (council >= known.council) return;
  throw rolledBack(
    `custodians who were replaced have recovered an older copy of this cluster (council seen: ${known.council}, now: ${council}); ${WHAT_TO_DO}`,
  );
}

const isSame = (one: Standing, other: Standing): boolean =>
  compareRecovered(one, other) === 0 && one.council === other.council && one.release === other.release;

const rolledBack = (reason: string): Untrusted => new Untrusted(ErrorNumber.ROLLED_BACK, reason);

/** Of the log. A later one is known by its own checkpoint, or by how the cluster stood. */
export const earlierGeneration = (shown: number, known: number): Untrusted =>
  rolledBack(`its log is of generation ${shown}, and generation ${known} of its cluster's was seen before; ${WHAT_TO_DO}`);

/** What one client holds evidence against. `notice` is told that a cluster was recovered. */
export class Standings {
  readonly #kept: StandingStore;
  readonly #notice: (notice: Notice) => void;

  constructor(kept: StandingStore, notice: (notice: Notice) => void) {
    this.#kept = kept;
    this.#notice = notice;
  }

  known(cluster: Bytes): Promise<Standing | undefined> {
    return this.#kept.standing(cluster);
  }

  /** This enclave is not from before what was seen of its cluster. Throws `Untrusted` ROLLED_BACK or POLICY. */
  async verify(claims: Claims): Promise<void> {
    const [known, shown] = [await this.#kept.standing(claims.cluster_id), standingOf(claims)];
    if (known === undefined) return;
    if (shown.recoveries < known.recoveries) {
      throw rolledBack(
        `this is an enclave from before a recovery of its cluster (recoveries seen: ${known.recoveries}, now: ${shown.recoveries}); ${WHAT_TO_DO}`,
      );
    }
    const isOfTheSame = shown.generation === known.generation;
    if (isOfTheSame && shown.council < known.council) {
      throw rolledBack(
        `this is an enclave from before other custodians came into office (council seen: ${known.council}, now: ${shown.council})`,
      );
    }
    verifyCouncil(known, shown.council);
    if (shown.generation < known.generation) {
      throw earlierGeneration(shown.generation, known.generation);
    }
    if (isOfTheSame && shown.release < known.release) {
      throw new Untrusted(
        ErrorNumber.POLICY,
        `it goes by list ${shown.release} of releases, and list ${known.release} was seen before: what has been retired since may be in it`,
      );
    }
  }

  /**
   * Remember it, once the session stands; and say so if the cluster was recovered since. `gaveUpAt`: when its custodians
   * gave up a part of its log, if they did.
   */
  async keep(claims: Claims, gaveUpAt: number | null): Promise<void> {
    const [known, shown] = [await this.#kept.standing(claims.cluster_id), standingOf(claims)];
    if (known !== undefined && isSame(known, shown)) return;
    await this.#kept.raiseStanding(claims.cluster_id, shown);
    if (known === undefined || compareRecovered(shown, known) <= 0) return;
    this.#notice({ about: "recovered", role: claims.role, recoveries: shown.recoveries, gaveUpAt });
  }
}

/** A notice in words, for whoever shows no page. */
export function explainNotice(notice: Notice): string {
  if (notice.about === "lost") {
    return (
      `when this Vault was recovered (${shownUtc(notice.at)}), its custodians gave up the newest part of its log: ` +
      `${notice.lines.toLocaleString("en")} lines that you have seen are gone, and with them what was stored, changed or revoked there`
    );
  }
  const what = notice.role === "vault" ? "Vault" : "Authenticator";
  const gaveUp = notice.gaveUpAt === null ? "" : `, and they signed where its log goes on (${shownUtc(notice.gaveUpAt)})`;
  return (
    `this ${what} was recovered by its custodians since you last used it (recovery ${notice.recoveries})${gaveUp}; ` +
    "if you did not hear of that, ask them"
  );
}

/** To the minute. */
const shownUtc = (at: number): string => `${new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
