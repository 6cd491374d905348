/**
 * Witnesses as somebody names them: in a genesis statement, by custodians, and in a client's trust policy (RULES 23).
 *
 * Witnesses keep a host from showing an older state of a Vault, or two states to two people. So a client has to know them
 * from elsewhere than from this host, which could otherwise found its cluster with witnesses of its own, or with none.
 */

import { hex } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, Untrusted } from "../protocol/errors.js";
import { LEASE } from "../protocol/limits.js";
import type { TrustPolicy, Watchers } from "../protocol/messages.js";
import { COSIGNATURE, type SignedCheckpoint, type Verifier, cosignatures, parseVerifier } from "../protocol/notes.js";
import { notAccepted, visible } from "./refusal.js";

/** Seconds by which the clocks of a client and of a witness may differ. */
const MAX_CLOCK_ERROR = 300;

/** What a genesis statement, custodians and a trust policy all say. */
export type Witnessing = Pick<TrustPolicy, "witnesses" | "cosignatures">;

/**
 * The verifier keys of witnesses of whom it takes `cosignatures`. Throws `Misuse` MALFORMED with the reason.
 *
 * It takes more than half of them, else two histories could both get as many; each counts once, whatever its name.
 */
export async function parseWitnesses({ witnesses, cosignatures }: Witnessing): Promise<readonly Verifier[]> {
  const found = await Promise.all(witnesses.map((key) => parseVerifier(key, COSIGNATURE)));
  if (new Set(found.map((witness) => hex(witness.public))).size < found.length) throw malformed("the same witness is named twice");
  if (found.length === 0 && cosignatures === 0) return [];
  if (!(found.length < 2 * cosignatures && cosignatures <= found.length)) {
    throw malformed(`cosignatures = ${cosignatures} is not more than half of ${found.length}, and at most all`);
  }
  return found;
}

/**
 * Exactly the policy's witnesses, in whatever order, and as many of them: `named` by custodians at a recovery, as the
 * claims say, or else those of the genesis statement. Throws `Untrusted` POLICY.
 *
 * Who pinned others before that recovery is not moved to new ones unsaid, which he would take for his own.
 */
export function acceptWitnesses(genesis: Witnessing, named: Watchers | null, policy: Witnessing): void {
  if (named !== null && !sameWatchers(named, policy)) {
    const names = named.witnesses.map((key) => visible(key).slice(0, 120)).join(", ");
    throw notAccepted(
      `its custodians have named other witnesses at a recovery than the policy does: ${named.cosignatures} of ${names || "none"}; ask the custodians whether they did, and then pin anew`,
    );
  }
  const watchers = named ?? genesis;
  const [shown, expected] = [new Set(watchers.witnesses), new Set(policy.witnesses)];
  const surplus = watchers.witnesses.find((key) => !expected.has(key));
  if (surplus !== undefined) throw notAccepted(`its cluster has a witness that the policy does not name: ${visible(surplus).slice(0, 120)}`);
  const missing = policy.witnesses.find((key) => !shown.has(key));
  if (missing !== undefined) throw notAccepted(`the policy names a witness that its cluster does not have: ${visible(missing).slice(0, 120)}`);
  if (watchers.cosignatures !== policy.cosignatures || watchers.witnesses.length !== shown.size) {
    const asked = (one: Witnessing): string => `${one.cosignatures} of ${one.witnesses.length}`;
    throw notAccepted(`its cluster asks for ${asked(watchers)} witnesses, the policy for ${asked(policy)}`);
  }
}

/**
 * As many of the policy's witnesses as it asks for have seen this checkpoint lately, by `now` (unix seconds).
 *
 * Lately: within a Vault's lease, and what clocks may differ. Otherwise a host stops the time of its enclave, and shows
 * for ever a state that witnesses saw once. Throws `Untrusted`: INTEGRITY for too few cosignatures, CLOCK for too old
 * ones and for those of the future.
 */
export async function verifyCosigned(signed: SignedCheckpoint, policy: Witnessing, now: number): Promise<void> {
  const seen = await cosignatures(signed, await parseWitnesses(policy));
  if (seen.length < policy.cosignatures) {
    throw new Untrusted(ErrorNumber.INTEGRITY, `${seen.length} of the ${policy.cosignatures} witnesses that it takes have seen this checkpoint`);
  }
  const ages = seen.map(({ time }) => BigInt(now) - time);
  if (ages.filter((age) => age <= LEASE + MAX_CLOCK_ERROR && age >= -MAX_CLOCK_ERROR).length < policy.cosignatures) {
    throw new Untrusted(
      ErrorNumber.CLOCK,
      `by the clock of this machine witnesses saw it ${ages.join(", ")} seconds ago, which is not lately: if this clock is right, the host holds back the time, to show an older state for longer`,
    );
  }
}

/** The same witnesses, in whatever order, and as many of them. */
const sameWatchers = (one: Witnessing, other: Witnessing): boolean =>
  one.cosignatures === other.cosignatures && JSON.stringify([...one.witnesses].sort()) === JSON.stringify([...other.witnesses].sort());

const malformed = (reason: string): Misuse => new Misuse(ErrorNumber.MALFORMED, reason);
