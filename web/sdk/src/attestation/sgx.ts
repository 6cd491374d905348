/** SGX quotes of version 3: from untrusted bytes to a verified report of a production enclave. */

import type { Bytes } from "../protocol/bytes.js";
import { DEBUG, INTEL_ROOT, verifyQuote } from "./intel.js";
import { parseQuote, uint16 } from "./intel_quote.js";
import { refuse } from "./refusal.js";
import type { SgxReport } from "./reports.js";

// Places in a report: Intel "Software Developer's Manual", volume 3D, 39.15.
const ATTRIBUTES = 48;
const MRENCLAVE = 64;
const MRSIGNER = 128;
const ISVPRODID = 256;
const ISVSVN = 258;
const REPORTDATA = 320;

const INIT = 0x01;
const DEBUG_FLAG = 0x02;
const MODE64 = 0x04;

/**
 * Verify a quote against its collateral (JSON) at `now`, unix seconds.
 *
 * `root`: SHA-256 of the root certificate to trust. Any TCB status but "Revoked" passes: what to make of it is policy.
 * Throws `Untrusted` EVIDENCE.
 */
export async function verifySgxQuote(
  untrustedQuote: Bytes,
  untrustedCollateral: Bytes,
  now: number,
  root: Bytes = INTEL_ROOT,
): Promise<SgxReport> {
  const quote = parseQuote(untrustedQuote);
  if (quote.kind !== "sgx") throw refuse("this is not an SGX quote of version 3");
  const { body } = quote;
  const verdict = await verifyQuote(quote, untrustedCollateral, root, now);
  const flags = body[ATTRIBUTES] ?? DEBUG_FLAG;
  if (flags & DEBUG_FLAG) throw refuse(DEBUG);
  if ((flags & (INIT | MODE64)) !== (INIT | MODE64)) {
    throw refuse("the enclave's attributes are not those of an initialised 64-bit production enclave");
  }
  return {
    platform: "sgx",
    registers: [["MRENCLAVE", body.subarray(MRENCLAVE, MRENCLAVE + 32)]],
    reportData: body.subarray(REPORTDATA, REPORTDATA + 64),
    root: verdict.root,
    provenAt: verdict.provenAt,
    validUntil: verdict.validUntil,
    signer: body.subarray(MRSIGNER, MRSIGNER + 32),
    productId: uint16(body, ISVPRODID),
    svn: uint16(body, ISVSVN),
    intel: verdict.intel,
  };
}
