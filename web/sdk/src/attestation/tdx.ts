/**
 * TDX quotes of versions 4 and 5: from untrusted bytes to a verified report of a production TD.
 *
 * A TD whose module was updated while it ran (version 5 tells) is as good as the worse of the two, never better.
 */

import type { Bytes } from "../protocol/bytes.js";
import { DEBUG, INTEL_ROOT, type Verdict, verifyQuote } from "./intel.js";
import { type Quote, parseQuote, uint64 } from "./intel_quote.js";
import { TCB_STATUSES, type TcbStatus } from "./intel_statements.js";
import { refuse } from "./refusal.js";
import type { IntelState, TdxReport } from "./reports.js";

// Attributes as in Intel's "TDX Module ABI", ATTRIBUTES: bits 7:0 (TUD) open the TD to its host or to profilers.
const DEBUG_BIT = 1n << 0n;
const UNDER_DEBUG = 0xffn;
const LASS = 1n << 27n;
const SEPT_VE_DISABLE = 1n << 28n;
const MIGRATABLE = 1n << 29n;
const PKS = 1n << 30n;
const KEY_LOCKER = 1n << 31n;
/** Performance counters are the TD's own. */
export const PERFMON = 1n << 63n;
/** What a TD may have. Other bits are reserved, or let somebody else in (service TDs, provisioning agents). */
const DEFINED = LASS | SEPT_VE_DISABLE | PKS | KEY_LOCKER | PERFMON;

/** XFAM_FIXED1 and XFAM_FIXED0 of Intel's TDX module: a TD with other bits can't have been started by it. */
const XFAM_ALWAYS = 0x3n;
const XFAM_MAY = 0x6dbe7n;
const AVX = 1n << 2n;
const AVX_512 = 0b111n << 5n;
const CET = 0b11n << 11n;
const AMX = 0b11n << 17n;
/** Features whose bits are on together or not at all (the same, XFAM). */
const TOGETHER = [AVX_512, CET, AMX];

// Places in a TD report ("TDX DCAP Quoting Library API", A.3.2).
const MRSEAM = 16;
const MRSIGNERSEAM = 64;
const SEAMATTRIBUTES = 112;
const TDATTRIBUTES = 120;
const XFAM = 128;
const MRTD = 136;
const MRCONFIGID = 184;
const MROWNER = 232;
const MROWNERCONFIG = 280;
const RTMR0 = 328;
const REPORTDATA = 520;
/** What version 1.5 appends: TEE_TCB_SVN_2 (16), MRSERVICETD (48). */
const MRSERVICETD = 600;

/**
 * Verify a quote against its collateral (JSON) at `now`, unix seconds.
 *
 * `root`: SHA-256 of the root certificate to trust. Any TCB status but "Revoked" passes: what to make of it is policy.
 * Clouds hand quotes out in larger buffers: cut the padding off before, for a quote is exactly as long as it says.
 * Throws `Untrusted` EVIDENCE.
 */
export async function verifyTdxQuote(
  untrustedQuote: Bytes,
  untrustedCollateral: Bytes,
  now: number,
  root: Bytes = INTEL_ROOT,
): Promise<TdxReport> {
  const quote = parseQuote(untrustedQuote);
  if (quote.kind !== "tdx") throw refuse("this is not a TDX quote of version 4 or 5");
  const { body } = quote;
  const register = (at: number): Bytes => body.subarray(at, at + 48);
  const tdAttributes = uint64(body, TDATTRIBUTES);
  const xfam = uint64(body, XFAM);
  // Before any signature, since these are told best from each other here: refusing on a liar's word does no harm.
  verifyAttributes(tdAttributes);
  verifyXfam(xfam);
  verifyModule(quote);
  const verdict = await verifyQuote(quote, untrustedCollateral, root, now);
  return {
    platform: "tdx",
    registers: [
      ["MRTD", register(MRTD)],
      ...[0, 1, 2, 3].map((index): [string, Bytes] => [`RTMR${index}`, register(RTMR0 + 48 * index)]),
    ],
    reportData: body.subarray(REPORTDATA, REPORTDATA + 64),
    root: verdict.root,
    provenAt: verdict.provenAt,
    validUntil: verdict.validUntil,
    tdAttributes,
    xfam,
    mrSeam: register(MRSEAM),
    mrConfigId: register(MRCONFIGID),
    mrOwner: register(MROWNER),
    mrOwnerConfig: register(MROWNERCONFIG),
    intel: withModule(verdict),
  };
}

function verifyAttributes(attributes: bigint): void {
  if (attributes & DEBUG_BIT) throw refuse(DEBUG);
  if (attributes & UNDER_DEBUG) throw refuse("the TD is open to profiling, or to debugging of a kind unknown here");
  if (!(attributes & SEPT_VE_DISABLE)) {
    // The host could take pages away and have the guest's own handler run at moments of its choosing.
    throw refuse("the TD lets its host inject exceptions into it (SEPT_VE_DISABLE is off)");
  }
  if (attributes & MIGRATABLE) {
    throw refuse("the TD may be moved to another machine, by a migration TD that nobody appraised");
  }
  if (attributes & ~DEFINED) throw refuse("the TD has attributes that are reserved, or that let another TD in");
}

function verifyXfam(xfam: bigint): void {
  const isLegal = (xfam & XFAM_ALWAYS) === XFAM_ALWAYS && !(xfam & ~XFAM_MAY);
  const isWhole = TOGETHER.every((group) => [0n, group].includes(xfam & group));
  if (!isLegal || !isWhole || (xfam & AVX_512 && !(xfam & AVX))) {
    throw refuse("the TD has a set of processor features (XFAM) that no TDX module allows");
  }
}

const isZero = (bytes: Bytes): boolean => bytes.every((byte) => byte === 0);

function verifyModule({ header, body }: Quote): void {
  if (!isZero(header.subarray(8, 12))) throw refuse("reserved fields of the quote's header are not zero");
  if (!isZero(body.subarray(MRSIGNERSEAM, SEAMATTRIBUTES + 8))) {
    throw refuse("the TDX module is not a production module of Intel's");
  }
  if (!isZero(body.subarray(MRSERVICETD))) throw refuse("a service TD, which nobody appraised, is bound to the TD");
}

/** The machine's state with the TDX module of the start and the one that runs now: of each value the worse one. */
function withModule({ intel, current }: Verdict): IntelState {
  if (current === undefined) return intel;
  const rank = (status: string): number => TCB_STATUSES.indexOf(status as TcbStatus);
  if (current.status === "Revoked") throw refuse("the TDX module has a status that is not known here");
  return {
    ...intel,
    tcbStatus: rank(current.status) > rank(intel.tcbStatus) ? current.status : intel.tcbStatus,
    advisories: [...new Set([...intel.advisories, ...current.advisories])],
    tcbDate: Math.min(intel.tcbDate, current.date),
  };
}
