/**
 * The certificates and revocation lists that a quote of Intel's rests on.
 *
 * Every chain is given in full, from who signs for Intel to the one root that is trusted, and is exactly as long as it
 * must be. So nothing is searched for, and a certificate never stands in a place that is not its own: whoever took the
 * key out of one machine (WireTap, TEE.fail) has a PCK certificate below the root, too.
 */

import type { Bytes } from "../protocol/bytes.js";
import { refuse } from "./refusal.js";
import {
  type Certificate,
  Oid,
  type RevocationList,
  Usage,
  constraintsOf,
  isRevoked,
  parseRevocationList,
  sameBytes,
  usageOf,
  verifyEcdsaSigned,
  verifyUnderstood,
} from "./x509.js";

const UNDERSTOOD = [Oid.BASIC_CONSTRAINTS, Oid.KEY_USAGE];

/** A chain whose signatures and purposes hold; the last one is the root, which is trusted by its digest. */
export async function verifyChain(chain: readonly Certificate[], now: number, where: string): Promise<void> {
  const what = `certificate of ${where}`;
  for (const [at, certificate] of chain.entries()) {
    verifyUnderstood(certificate, UNDERSTOOD, what);
    if (now < certificate.notBefore) throw doesNotVerify("a certificate is not valid yet");
    if (now >= certificate.notAfter) throw doesNotVerify("a certificate that it rests on has expired");
    // No certificate of Intel's here limits itself to servers, code or mail: such a one was made for something else.
    if (certificate.extensions.has(Oid.EXTENDED_KEY_USAGE)) throw doesNotVerify("a certificate is for another purpose");
    const constraints = constraintsOf(certificate, what);
    if (at === 0) {
      if (constraints?.isAuthority) throw doesNotVerify("an authority's certificate stands where none may");
      continue;
    }
    if (!constraints?.isAuthority || !usageOf(certificate, what)?.has(Usage.KEY_CERT_SIGN)) {
      throw doesNotVerify("a certificate was issued by one that must not issue any");
    }
    if (constraints.pathLength !== undefined && constraints.pathLength < at - 1) {
      throw doesNotVerify("a chain is longer than one of its certificates permits");
    }
  }
  for (const [at, issuer] of chain.slice(1).entries()) {
    const issued = chain[at];
    if (issued === undefined || !sameBytes(issued.issuer, issuer.subject)) {
      throw doesNotVerify("a certificate names another issuer than the one that follows");
    }
    await verifyEcdsaSigned(issued, issuer.key, "P-256", what);
  }
}

/** A list of `issuer`'s that holds at `now`. */
export async function verifyRevocationList(
  untrustedDer: Bytes,
  issuer: Certificate,
  now: number,
  where: string,
): Promise<RevocationList> {
  const what = `${where} CRL`;
  const list = parseRevocationList(untrustedDer, what);
  if (!sameBytes(list.issuer, issuer.subject)) throw doesNotVerify(`the ${what} is another issuer's`);
  if (!usageOf(issuer, what)?.has(Usage.CRL_SIGN)) throw doesNotVerify(`the ${what} is signed by one that must not sign any`);
  await verifyEcdsaSigned(list, issuer.key, "P-256", what);
  if (list.extensions.size === 0) throw doesNotVerify(`the ${what} does not say which one of its issuer's it is`);
  // A critical one says that the list speaks of some certificates only, or of changes to another list.
  verifyUnderstood(list, [], what);
  if (now < list.issuedAt) throw doesNotVerify("a list of revoked certificates is from the future");
  if (now >= list.nextAt) throw doesNotVerify("a list of revoked certificates has expired");
  return list;
}

/** That none of `certificates` stands on the list of its issuer. */
export function verifyNotRevoked(certificates: readonly Certificate[], lists: readonly RevocationList[]): void {
  for (const certificate of certificates) {
    const own = lists.find((list) => sameBytes(list.issuer, certificate.issuer));
    if (own === undefined) throw doesNotVerify("there is no list that would tell whether a certificate is revoked");
    if (isRevoked(own, certificate)) throw doesNotVerify("a certificate that it rests on is revoked");
  }
}

export const doesNotVerify = (reason: string): Error => refuse(`the quote does not verify: ${reason}`);
