/**
 * A verified report against a relying party's policy: is this program, on a machine in this state, one to trust?
 *
 * The report is true; what is asked here is whether it is good enough. Every refusal is `Untrusted` POLICY with the
 * first reason found. Two questions are asked apart:
 *
 * - `acceptPlatform`: the state of the machine, and whether it is one of the machines named;
 * - `acceptProgram`: the exact program, or who signed it, at which security version.
 *
 * An empty list accepts nothing. Statements that a platform leaves out (null) count as the worse one.
 */

import { type Bytes, concat, hex } from "../protocol/bytes.js";
import type { SnpPolicy, SnpProduct } from "../protocol/messages.js";
import type { IntelPolicy, PlatformPolicy } from "./policy.js";
import { notAccepted } from "./refusal.js";
import { type IntelState, type NitroReport, type Report, type SnpReport, type SnpTcb, measurementOf } from "./reports.js";
import { PERFMON } from "./tdx.js";
import { sameBytes } from "./x509.js";

/** How a policy knows a program. A signer can sign an enclave that gives everything away (RULES 7). */
export type AcceptedBy = "measurement" | "signer";

const DAY = 86_400;
// Bits of an SNP guest policy ("SEV Secure Nested Paging Firmware ABI", guest policy).
export const SMT = 1 << 16;
export const MIGRATE_MA = 1 << 18;
export const PAGE_SWAP_DISABLE = 1 << 25;

/** What a status would be if the machine were up to date: only where that one is accepted may a grace follow. */
const WITHOUT_OUT_OF_DATE: ReadonlyMap<string, string> = new Map([
  ["OutOfDate", "UpToDate"],
  ["OutOfDateConfigurationNeeded", "ConfigurationNeeded"],
]);

const isZero = (bytes: Bytes): boolean => bytes.every((byte) => byte === 0);
const among = (bytes: Bytes, list: readonly Bytes[]): boolean => list.some((one) => sameBytes(one, bytes));

/** Throws `Untrusted` POLICY unless the machine is in a state that `policy` accepts at `now`, unix seconds. */
export function acceptPlatform(report: Report, policy: PlatformPolicy, now: number): void {
  if (report.platform === "sgx" && (policy.platform === "sgx" || policy.platform === "insecure-software")) {
    acceptIntel(report.intel, policy, now);
  } else if (report.platform === "tdx" && policy.platform === "tdx") {
    acceptIntel(report.intel, policy, now);
    if (report.tdAttributes & PERFMON && !policy.allow_perfmon) {
      throw notAccepted("the TD may use performance counters, which the policy does not allow");
    }
  } else if (report.platform === "snp" && policy.platform === "snp") {
    acceptSnp(report, policy);
  } else if (report.platform === "nitro" && policy.platform === "nitro") {
    acceptInstance(report, policy.instances);
  } else {
    throw anotherKind();
  }
}

/** How the policy knows the program. Throws `Untrusted` POLICY unless it does. */
export function acceptProgram(report: Report, policy: PlatformPolicy): AcceptedBy {
  if (report.platform === "sgx" && (policy.platform === "sgx" || policy.platform === "insecure-software")) {
    const { measurements, signers } = policy;
    if (among(measurementOf(report), measurements)) return "measurement";
    const rules = signers.filter((one) => sameBytes(one.signer, report.signer) && one.product_id === report.productId);
    return acceptSigner(report, report.svn, rules, measurements.length + signers.length);
  }
  if (report.platform === "tdx" && policy.platform === "tdx") {
    const known = policy.measurements.map((one) => concat(one.mrtd, one.rtmr0, one.rtmr1, one.rtmr2, one.rtmr3));
    return acceptMeasurement(report, known, 0);
  }
  if (report.platform === "snp" && policy.platform === "snp") {
    const { measurements, signers } = policy;
    if (among(measurementOf(report), measurements)) return "measurement";
    return acceptSigner(report, report.guestSvn, signersOf(report, policy), measurements.length + signers.length);
  }
  if (report.platform === "nitro" && policy.platform === "nitro") {
    const signer = report.pcrs.get(8);
    if (signer !== undefined && !isZero(signer) && among(signer, policy.signers)) return "signer";
    const known = policy.measurements.map((one) => concat(one.pcr0, one.pcr1, one.pcr2));
    return acceptMeasurement(report, known, policy.signers.length);
  }
  throw anotherKind();
}

const anotherKind = (): Error => notAccepted("the report is of another platform than the section of the policy");

/** Rules about whoever signed the guest's ID block. */
function signersOf(report: SnpReport, policy: SnpPolicy): SnpPolicy["signers"] {
  // An ID block may have an author, who signed the ID key: then he answers for it.
  const signedBy = isZero(report.authorKeyDigest) ? report.idKeyDigest : report.authorKeyDigest;
  return policy.signers.filter(
    (rule) =>
      // All zeros stand for "nobody signed", which no rule can mean.
      !isZero(rule.key_digest) &&
      sameBytes(rule.key_digest, signedBy) &&
      sameBytes(rule.family_id, report.familyId) &&
      sameBytes(rule.image_id, report.imageId),
  );
}

/** `others`: how many programs the policy knows in another way. */
function acceptMeasurement(report: Report, known: readonly Bytes[], others: number): AcceptedBy {
  if (among(measurementOf(report), known)) return "measurement";
  if (known.length + others === 0) throw notAccepted("the policy names no measurement, so it accepts no program");
  const shown = report.registers.map(([name, value]) => `${name} ${hex(value)}`).join(", ");
  throw notAccepted(`the program is not one that the policy names: ${shown}`);
}

/** `named`: how many programs and signers the policy names at all. */
function acceptSigner(report: Report, svn: number, rules: readonly { readonly min_svn: number }[], named: number): AcceptedBy {
  const floor = Math.min(...rules.map((rule) => rule.min_svn));
  if (rules.length > 0 && svn >= floor) return "signer";
  if (rules.length > 0) {
    throw notAccepted(`security version ${svn} is below the policy's floor ${floor} for this signer and product`);
  }
  if (named === 0) throw notAccepted("the policy names no measurement and no signer, so it accepts no program");
  const measurement = hex(measurementOf(report));
  throw notAccepted(`measurement ${measurement} is not one that the policy names, nor is its signer`);
}

function acceptIntel(state: IntelState, policy: IntelPolicy, now: number): void {
  const { tcbEvaluationNumber: number, platformId } = state;
  if (number < policy.min_tcb_evaluation) {
    throw notAccepted(`TCB evaluation number ${number} is below the policy's floor ${policy.min_tcb_evaluation}`);
  }
  if (!policy.tcb_statuses.some((status) => status === state.tcbStatus)) acceptInGrace(state, policy, now);
  for (const advisory of state.advisories) {
    if (policy.refused_advisories.includes(advisory)) {
      throw notAccepted(`the machine is open to ${advisory}, which the policy refuses`);
    }
  }
  if (policy.platform_ids !== null && !among(platformId, policy.platform_ids)) {
    throw notAccepted(`the machine ${hex(platformId)} (PPID) is not one that the policy names`);
  }
  for (const [found, allowed, what] of [
    [state.smt, policy.allow_smt, "simultaneous multithreading is on"],
    [state.dynamicPlatform, policy.allow_dynamic_platform, "the platform is dynamic (packages can be added)"],
    [state.cachedKeys, policy.allow_cached_keys, "the platform's keys are cached by Intel"],
  ] as const) {
    if (!allowed && found !== false) {
      throw notAccepted(`${what}${found === null ? ", or may be" : ""}, which the policy does not allow`);
    }
  }
}

function acceptInGrace(state: IntelState, policy: IntelPolicy, now: number): void {
  const otherwise = WITHOUT_OUT_OF_DATE.get(state.tcbStatus);
  if (policy.grace_days > 0 && policy.tcb_statuses.some((status) => status === otherwise)) {
    const until = state.tcbDate + policy.grace_days * DAY;
    if (now <= until) return;
    const late = Math.ceil((now - until) / DAY);
    throw notAccepted(`TCB status ${state.tcbStatus}, ${late} days past the policy's grace of ${policy.grace_days}`);
  }
  throw notAccepted(`TCB status ${state.tcbStatus} is not one that the policy accepts`);
}

function acceptSnp(report: SnpReport, policy: SnpPolicy): void {
  const products = policy.products.filter((one) => one.name === report.product);
  if (products.length === 0) {
    const why = report.product === "Milan" ? "; software can extract the seed of Milan's attestation keys" : "";
    throw notAccepted(`the policy does not name ${report.product} processors${why}`);
  }
  const shortfalls = products.map((one) => shortfallOf(report, one, policy));
  if (!shortfalls.includes(undefined)) throw notAccepted(`security version ${shortfalls[0]}`);
  const providers = policy.vlek_providers;
  if (report.key === "vlek" && providers !== null && !providers.includes(report.provider)) {
    throw notAccepted(`a key of the cloud provider '${report.provider}' signed (VLEK), whom the policy does not name`);
  }
  if (policy.chip_ids !== null && (report.key === "vlek" || !among(report.chipId, policy.chip_ids))) {
    throw notAccepted(`the machine ${hex(report.chipId)} (CHIP_ID) is not one that the policy names`);
  }
  if (!policy.vmpls.includes(report.vmpl)) {
    throw notAccepted(`the report is of privilege level ${report.vmpl} (VMPL), which the policy does not name`);
  }
  if (report.guestPolicy & SMT && !policy.allow_smt) {
    throw notAccepted("the guest may run with simultaneous multithreading, which the policy does not allow");
  }
  if (report.guestPolicy & MIGRATE_MA && !policy.allow_migration_agent) {
    throw notAccepted("a migration agent may move the guest, which the policy does not allow");
  }
  if (!(report.guestPolicy & PAGE_SWAP_DISABLE) && policy.require_page_swap_disable) {
    throw notAccepted("the host may move the guest's pages, and the policy requires PAGE_SWAP_DISABLE");
  }
  if (policy.require_crl && !report.crlChecked) {
    throw notAccepted("AMD's list of revoked certificates did not come along, and the policy requires it");
  }
}

/**
 * What is below the floors of `product`: now, after the rollback that the host may still do, or at the start.
 *
 * Firmware that let a host alter a guest as it started has altered it, whatever firmware runs today. A guest that a
 * migration agent moved shows the machine that it came to.
 */
function shortfallOf(report: SnpReport, product: SnpProduct, policy: SnpPolicy): string | undefined {
  const states: (readonly [which: string, tcb: SnpTcb])[] = [
    ["", report.tcb],
    ["committed ", report.committedTcb],
  ];
  if (!policy.allow_migration_agent) states.push(["launch ", report.launchTcb]);
  for (const [which, tcb] of states) {
    for (const part of ["bootloader", "tee", "snp", "microcode", "fmc"] as const) {
      const floor = product[`min_${part}`];
      if (tcb[part] < floor) return `${tcb[part]} of the ${which}${part} is below the policy's floor ${floor}`;
    }
  }
  return undefined;
}

function acceptInstance(report: NitroReport, instances: readonly string[] | null): void {
  const [instance = ""] = report.moduleId.split("-enc");
  if (instances !== null && !instances.includes(instance)) {
    throw notAccepted(`the instance '${instance}' is not one that the policy names`);
  }
}
