/** A log that began anew: what its custodians signed for that, and what it means for who was here before (RULES 25). */

import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, StrongroomError, Untrusted } from "../protocol/errors.js";
import { type VerifiedCharter, verifyCharter } from "../protocol/governance.js";
import type { Claims, Gap } from "../protocol/messages.js";
import { equal } from "../protocol/primitives.js";
import { type Standing, verifyCouncil } from "./standings.js";

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
