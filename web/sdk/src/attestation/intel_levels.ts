/**
 * Which of Intel's TCB levels a machine, its TDX module and its quoting enclave reach, and what follows for the whole:
 * as Intel's own verifier (`SGXDataCenterAttestationPrimitives`, QuoteVerification) converges them.
 */

import type { Bytes } from "../protocol/bytes.js";
import { doesNotVerify } from "./intel_chain.js";
import type { Quote } from "./intel_quote.js";
import type { ModuleIdentity, Pck, Standing, TcbInfo, TcbStatus, VersionLevel } from "./intel_statements.js";
import { sameBytes } from "./x509.js";

const COMPONENTS = 16;
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

/** The highest level that the machine reaches; of a TD, under the module that started it. Throws `Untrusted` EVIDENCE. */
export function machineStanding(quote: Quote, pck: Pck, info: TcbInfo): Standing {
  return standingUnder(quote, TEE_TCB_SVN, pck, info);
}

/** The level under the TDX module that runs now, which only reports of TDX 1.5 tell. Throws `Untrusted` EVIDENCE. */
export function currentStanding(quote: Quote, pck: Pck, info: TcbInfo): Standing | undefined {
  if (quote.kind !== "tdx" || quote.body.length <= TEE_TCB_SVN_2) return undefined;
  return standingUnder(quote, TEE_TCB_SVN_2, pck, info);
}

/** Machine and quoting enclave together. A TD that goes on running after its module was updated is to be started anew. */
export function mergeStanding(launch: Standing, enclave: Standing, current: Standing | undefined): Standing {
  const found = converged(launch, enclave);
  return current === undefined ? found : { ...found, status: relaunched(found.status, current.status) };
}

function standingUnder(quote: Quote, at: number, pck: Pck, info: TcbInfo): Standing {
  const isTd = quote.kind === "tdx";
  const module = quote.body.subarray(at, at + COMPONENTS);
  const level = info.levels.find(({ sgx, tdx, pce }) => {
    if (sgx.length !== COMPONENTS || (isTd && tdx.length !== COMPONENTS)) {
      throw doesNotVerify("a TCB level does not have sixteen components");
    }
    return pck.pceSvn >= pce && reaches(pck.cpuSvn, sgx) && (!isTd || reaches(module, tdx));
  });
  if (level === undefined) throw doesNotVerify("No matching TCB level found");
  if (!isTd) return level;
  const own = moduleLevel(quote, module, info);
  return own === undefined ? level : converged(level, own);
}

const reaches = (found: ArrayLike<number>, lowest: readonly number[]): boolean =>
  lowest.every((version, at) => (found[at] ?? 0) >= version);

/** The module's own level, if its version has levels. */
function moduleLevel({ body }: Quote, svns: Bytes, info: TcbInfo): VersionLevel | undefined {
  const [svn = 0, version = 0] = svns;
  if (info.module === undefined) throw doesNotVerify("TDX TCB Info is missing tdxModule field");
  const isNamed = version > 0 && info.modules.length > 0;
  const id = `TDX_${version.toString(16).padStart(2, "0")}`.toLowerCase();
  const identity = isNamed ? info.modules.find((one) => one.id.toLowerCase() === id) : info.module;
  if (identity === undefined) throw doesNotVerify("Intel does not know this version of the TDX module");
  verifyModule(body, identity);
  if (!isNamed) return undefined;
  const level = identity.levels.find((one) => svn >= one.svn);
  if (level === undefined) throw doesNotVerify(`TDX module ISVSVN ${svn} is below the lowest that Intel knows`);
  return level;
}

function verifyModule(body: Bytes, { signer, attributes, mask }: ModuleIdentity): void {
  const found = body.subarray(...SEAM_ATTRIBUTES);
  const fits = found.every((bits, at) => bits === ((attributes[at] ?? 0) & (mask[at] ?? 0)));
  if (!sameBytes(body.subarray(...MR_SIGNER_SEAM), signer) || !fits) {
    throw doesNotVerify("the TDX module is not the one that Intel describes");
  }
}

/** A part below counts where it is out of date or revoked. */
function converged(machine: Standing, part: Standing): Standing {
  return {
    date: Math.min(machine.date, part.date),
    status: convergedStatus(machine.status, part.status),
    advisories: [...new Set([...machine.advisories, ...part.advisories])],
  };
}

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
