/** A log that began anew: what its custodians signed for that, and what it means for who was here before (RULES 25). */

import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, StrongroomError, Untrusted } from "../protocol/errors.js";
import { type VerifiedCharter, isCut, verifyCharter } from "../protocol/governance.js";
import { MAX_RECOVERIES } from "../protocol/limits.js";
import type { Claims, Gap } from "../protocol/messages.js";
import { equal } from "../protocol/primitives.js";
import { type Standing, WHAT_TO_DO, verifyCouncil } from "./standings.js";

/**
 * What was given up since the log's generation `since`, oldest first, signed by custodians of the cluster of these claims;
 * and since the cluster was last seen, by none who had been replaced by then.
 *
 * Throws `Untrusted` ROLLED_BACK for a charter that doesn't hold: without it, this is a log that was put back.
 */
export async function verifyNewGeneration(
  untrustedCharter: Bytes,
  claims: Claims,
  since: number,
  known: Standing | undefined,
): Promise<readonly Gap[]> {
  const charter = await verified(untrustedCharter);
  if (!equal(charter.clusterId, claims.cluster_id)) throw refused("the charter is another cluster's");
  if (charter.gaps.at(-1)?.gap.generation !== claims.generation) {
    throw refused(`no gap is signed before generation ${claims.generation} of the log`);
  }
  const named = charter.gaps.at(-1)?.gap.watchers ?? null;
  if (JSON.stringify(named) !== JSON.stringify(claims.watchers)) throw refused("the charter names others to watch the log than its evidence does");
  if (isCut(charter, since)) {
    throw new Untrusted(
      ErrorNumber.ROLLED_BACK,
      `its log began anew more than ${MAX_RECOVERIES - 1} times since it was last seen here, and what custodians gave up first is not kept any more; ${WHAT_TO_DO}`,
    );
  }
  for (const { gap, council } of charter.gaps) {
    if (known !== undefined && gap.generation > known.generation) verifyCouncil(known, council);
  }
  return charter.gaps.map(({ gap }) => gap).filter(({ generation }) => generation > since);
}

async function verified(untrustedCharter: Bytes): Promise<VerifiedCharter> {
  try {
    return await verifyCharter(untrustedCharter);
  } catch (error) {
    if (!(error instanceof Misuse || error instanceof Untrusted)) throw error;
    throw refused(reasonOf(error));
  }
}

const reasonOf = (error: StrongroomError): string => error.reason || error.error;

const refused = (reason: string): Untrusted =>
  new Untrusted(ErrorNumber.ROLLED_BACK, `its log began anew, and its custodians have not signed that: ${reason}`);
