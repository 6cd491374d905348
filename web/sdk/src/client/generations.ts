/** A log that began anew: what its custodians signed for that, and what it means for who was here before (RULES 25). */

import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, StrongroomError, Untrusted } from "../protocol/errors.js";
import { type VerifiedCharter, verifyCharter } from "../protocol/governance.js";
import type { Claims, Gap } from "../protocol/messages.js";
import { equal } from "../protocol/primitives.js";

/**
 * What was given up since the log's generation `known`, oldest first, signed by custodians of the cluster of these claims.
 *
 * Throws `Untrusted` ROLLED_BACK for a charter that doesn't hold: without it, this is a log that was put back.
 */
export async function verifyNewGeneration(untrustedCharter: Bytes, claims: Claims, known: number): Promise<readonly Gap[]> {
  const charter = await verified(untrustedCharter);
  if (!equal(charter.clusterId, claims.cluster_id)) throw refused("the charter is another cluster's");
  const gaps = charter.gaps.filter(({ generation }) => generation > known);
  if (gaps.at(-1)?.generation !== claims.generation) {
    throw refused(`no gap is signed before generation ${claims.generation} of the log`);
  }
  return gaps;
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
