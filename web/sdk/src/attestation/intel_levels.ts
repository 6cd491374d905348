/**
 * Which of Intel's TCB levels a machine, its TDX module and its quoting enclave reach, and what follows for the whole:
 * as Intel's own verifier (`SGXDataCenterAttestationPrimitives`, QuoteVerification) converges them.
 */

import type { Bytes } from "../protocol/bytes.js";
import { doesNotVerify } from "./intel_chain.js";
import { type Quote, uint16 } from "./intel_quote.js";
import {
  type ModuleIdentity,
  type Pck,
  type QeIdentity,
  type Standing,
  TCB_STATUSES,
  type TcbInfo,
  type TcbStatus,
  type VersionLevel,
} from "./intel_statements.js";
import { sameBytes } from "./x509.js";

const COMPONENTS = 16;
/** Of a TDX module's components the first is its security version, and the second its version. */
const MODULE_VERSION = 1;
/** Places in a TD report. */
const TEE_TCB_SVN = 0;
const TEE_TCB_SVN_2 = 584;
const MR_SIGNER_SEAM = [64, 112] as const;
const SEAM_ATTRIBUTES = [112, 120] as const;

const OUT_OF_DATE: readonly TcbStatus[] = ["OutOfDate", "OutOfDateConfigurationNeeded"];
const CONFIGURATION_NEEDED: readonly TcbStatus[] = [
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDateConfigurationNeeded",
];
const NOT_OUT_OF_DATE: readonly TcbStatus[] = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
];

/** What Intel says of machines: all but what only a comparison of two modules of one TD can show. */
const OF_MACHINES = TCB_STATUSES.filter((status) => !status.startsWith("TDRelaunch"));
/** What Intel says of quoting enclaves, and of TDX modules: no software hardens either. */
const OF_ENCLAVES = OF_MACHINES.filter((status) => !status.includes("SWHardening"));
const OF_MODULES = OF_ENCLAVES.filter((status) => !status.includes("Configuration"));
/** ISVSVN in a quoting enclave's report. */
const ISVSVN = 258;

/** The highest level that the quoting enclave reaches. Throws `Untrusted` EVIDENCE. */
export function enclaveStanding({ qeReport }: Quote, { levels }: QeIdentity): Standing {
  const svn = uint16(qeReport, ISVSVN);
  const level = levels.find((one) => svn >= one.svn);
  if (level !== undefined) return known(level, OF_ENCLAVES, "the QE identity");
  const lowest = levels.at(-1)?.svn ?? "any";
  throw doesNotVerify(`QE ISVSVN ${svn} is below ${lowest}, the lowest that Intel knows`);
}

/** The highest level that the machine reaches; of a TD, under the module that started it. Throws `Untrusted` EVIDENCE. */
export function machineStanding(quote: Quote, pck: Pck, info: TcbInfo): Standing {
  if (quote.kind === "tdx") verifyModule(quote, info);
  return standingUnder(quote, TEE_TCB_SVN, pck, info);
}

/** The level under the TDX module that runs now, which only reports of TDX 1.5 tell. Throws `Untrusted` EVIDENCE. */
export function currentStanding(quote: Quote, pck: Pck, info: TcbInfo): Standing | undefined {
  if (quote.kind !== "tdx" || quote.body.length <= TEE_TCB_SVN_2) return undefined;
  return standingUnder(quote, TEE_TCB_SVN_2, pck, info);
}

/**
 * Machine and quoting enclave together. A TD that started under a module that is out of date, and goes on under one that
 * is not, is to be started anew.
 */
export function mergeStanding(launch: Standing, enclave: Standing, current: Standing | undefined): Standing {
  const found = converged(launch, enclave);
  if (current === undefined) return found;
  // With the enclave on both sides: started anew, the TD would have the same one.
  return { ...found, status: relaunched(found.status, convergedStatus(current.status, enclave.status)) };
}

function standingUnder(quote: Quote, at: number, pck: Pck, info: TcbInfo): Standing {
  const isTd = quote.kind === "tdx";
  const module = quote.body.subarray(at, at + COMPONENTS);
  // A module that has a version has levels of its own, so that its part of these says nothing.
  const first = module[MODULE_VERSION] ? MODULE_VERSION + 1 : 0;
  const level = info.levels.find(({ sgx, tdx, pce }) => {
    if (sgx.length !== COMPONENTS || (isTd && tdx.length !== COMPONENTS)) {
      throw doesNotVerify("a TCB level does not have sixteen components");
    }
    return pck.pceSvn >= pce && reaches(pck.cpuSvn, sgx) && (!isTd || reaches(module, tdx, first));
  });
  if (level === undefined) throw doesNotVerify("No matching TCB level found");
  known(level, OF_MACHINES, "the TCB info");
  if (!isTd) return level;
  const own = moduleLevel(module, info);
  return own === undefined ? level : converged(level, own);
}

const reaches = (found: ArrayLike<number>, lowest: readonly number[], first = 0): boolean =>
  lowest.every((version, at) => at < first || (found[at] ?? 0) >= version);

/** The module's own level; the first modules, of version 0, have none. */
function moduleLevel(svns: Bytes, info: TcbInfo): VersionLevel | undefined {
  const [svn = 0, version = 0] = svns;
  if (version === 0) return undefined;
  const level = identityOf(version, info).levels.find((one) => svn >= one.svn);
  if (level === undefined) throw doesNotVerify(`TDX module ISVSVN ${svn} is below the lowest that Intel knows`);
  return known(level, OF_MODULES, "the TDX module");
}

function identityOf(version: number, info: TcbInfo): ModuleIdentity {
  const id = `TDX_${version.toString(16).padStart(2, "0")}`.toLowerCase();
  const identity = info.modules.find((one) => one.id.toLowerCase() === id);
  if (identity === undefined) throw doesNotVerify("Intel does not know this version of the TDX module");
  return identity;
}

/** The module that started the TD is signed and set up as Intel says. */
function verifyModule({ body }: Quote, info: TcbInfo): void {
  if (info.module === undefined) throw doesNotVerify("TDX TCB Info is missing tdxModule field");
  const version = body[TEE_TCB_SVN + MODULE_VERSION] ?? 0;
  const { signer, attributes, mask } = version === 0 ? info.module : identityOf(version, info);
  const fits = body.subarray(...SEAM_ATTRIBUTES).every((bits, at) => bits === ((attributes[at] ?? 0) & (mask[at] ?? 0)));
  if (!sameBytes(body.subarray(...MR_SIGNER_SEAM), signer) || !fits) {
    throw doesNotVerify("the TDX module is not the one that Intel describes");
  }
}

/** The level, if its status is one that Intel gives to what it is about. */
function known<Level extends Standing>(level: Level, statuses: readonly TcbStatus[], where: string): Level {
  if (!statuses.includes(level.status)) throw doesNotVerify(`${level.status} is not a status of ${where}`);
  return level;
}

/** A part below counts where it is out of date or revoked. */
function converged(machine: Standing, part: Standing): Standing {
  return {
    date: Math.min(machine.date, part.date),
    status: convergedStatus(machine.status, part.status),
    advisories: joined(machine.advisories, part.advisories),
  };
}

/** The first list, and of the second what is not in it. */
const joined = (first: readonly string[], second: readonly string[]): readonly string[] => [
  ...first,
  ...new Set(second.filter((one) => !first.includes(one))),
];

function convergedStatus(machine: TcbStatus, part: TcbStatus): TcbStatus {
  if (part === "Revoked") return "Revoked";
  if (part !== "OutOfDate" || !NOT_OUT_OF_DATE.includes(machine)) return machine;
  return CONFIGURATION_NEEDED.includes(machine) ? "OutOfDateConfigurationNeeded" : "OutOfDate";
}

function relaunched(launch: TcbStatus, current: TcbStatus): TcbStatus {
  if (!OUT_OF_DATE.includes(launch) || !NOT_OUT_OF_DATE.includes(current)) return launch;
  const isConfigured = ![launch, current].some((status) => CONFIGURATION_NEEDED.includes(status));
  return isConfigured ? "TDRelaunchAdvised" : "TDRelaunchAdvisedConfigurationNeeded";
}
