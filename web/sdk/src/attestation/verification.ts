/** From a quote of any platform to a verified report. The relying party says which platforms and roots may be. */

import { type Bytes, hex } from "../protocol/bytes.js";
import type { PlatformKind } from "../protocol/evidence.js";
import { sha256 } from "../protocol/primitives.js";
import { rootCertificate } from "./intel_quote.js";
import { verifyNitroDocument } from "./nitro.js";
import { notAccepted, refuse } from "./refusal.js";
import type { Report } from "./reports.js";
import { verifySgxQuote } from "./sgx.js";
import { verifySnpReport } from "./snp.js";
import { verifyTdxQuote } from "./tdx.js";
import { sameBytes } from "./x509.js";

/** What a relying party allows evidence to be. */
export interface Allowed {
  readonly platforms: readonly PlatformKind[];
  /** SHA-256 of the roots that software evidence may end in. */
  readonly insecureRoots: readonly Bytes[];
}

/**
 * Verify a quote up to its maker's root at `now`, unix seconds; software evidence up to one of `insecureRoots`. Every
 * state of the platform passes that the maker does not call revoked: the rest is policy.
 *
 * Throws `Untrusted`: POLICY for a platform or root that was not named, EVIDENCE for everything else.
 */
export async function verifyQuote(
  untrusted: { readonly kind: PlatformKind; readonly quote: Bytes; readonly collateral: Bytes },
  { platforms, insecureRoots }: Allowed,
  now: number,
): Promise<Report> {
  const { kind, quote, collateral } = untrusted;
  if (!platforms.includes(kind)) {
    const what = kind === "insecure-software" ? "software evidence" : `${kind} evidence`;
    throw notAccepted(`this is ${what}, and the policy does not name ${kind}`);
  }
  switch (kind) {
    case "sgx":
      return verifySgxQuote(quote, collateral, now);
    case "tdx":
      return verifyTdxQuote(quote, collateral, now);
    case "snp":
      return verifySnpReport(quote, collateral, now);
    case "nitro":
      // Nothing would look at it, so two evidences would stand for one document.
      if (collateral.length > 0) throw refuse("a Nitro document needs no collateral, and some came along");
      return verifyNitroDocument(quote, now);
    case "insecure-software": {
      const root = await sha256(rootCertificate(quote));
      if (!insecureRoots.some((one) => sameBytes(one, root))) {
        throw notAccepted(`the policy does not name the software root ${hex(root)}`);
      }
      return verifySgxQuote(quote, collateral, now, root);
    }
  }
}
