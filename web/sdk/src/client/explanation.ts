/**
 * What was verified, step by step, for people: the page shows these lines, and translates titles and details by their
 * key. Values are facts and stay as they are. A value is one line, whatever it holds.
 */

import { MIGRATE_MA, PAGE_SWAP_DISABLE, SMT } from "../attestation/acceptance.js";
import { type Appraisal, showConfig } from "../attestation/appraisal.js";
import { type IntelState, type Report, type SnpReport, measurementOf } from "../attestation/reports.js";
import type { Witnessing } from "../attestation/witnessing.js";
import { hex } from "../protocol/bytes.js";
import type { PlatformKind } from "../protocol/evidence.js";
import type { Genesis } from "../protocol/messages.js";
import { isReleased, parseReleases } from "../protocol/releases.js";

/** One thing that was checked. */
export interface Line {
  /** Names what it is about, for translations: "platform.snp", "register.MRENCLAVE", "program.measurement". */
  readonly key: string;
  readonly title: string;
  readonly value: string;
  readonly detail: string;
}

export const PLATFORMS: Readonly<Record<PlatformKind, string>> = {
  sgx: "Intel SGX: the processor isolates the enclave from its host",
  tdx: "Intel TDX: the processor isolates the virtual machine from its host",
  snp: "AMD SEV-SNP: the processor isolates the virtual machine from its host",
  nitro: "AWS Nitro: Amazon's hypervisor isolates the enclave from its instance",
  "insecure-software": "NO HARDWARE: whoever runs this machine can read everything",
};
const ROOTS: Readonly<Record<PlatformKind, string>> = {
  sgx: "Intel's root certificate",
  tdx: "Intel's root certificate",
  snp: "AMD's root key for this line of processors",
  nitro: "Amazon's root certificate for enclaves",
  "insecure-software": "a development root that anybody can make",
};
const REGISTERS: ReadonlyMap<string, string> = new Map([
  ["MRENCLAVE", "digest of the program"],
  ["MRTD", "digest of the firmware that the machine began with"],
  ["RTMR0", "its configuration"],
  ["RTMR1", "what it booted"],
  ["RTMR2", "what that started"],
  ["RTMR3", "what was measured later"],
  ["MEASUREMENT", "digest of what the machine began with"],
  ["PCR0", "digest of the enclave image"],
  ["PCR1", "its kernel and first steps"],
  ["PCR2", "its application"],
]);

/** Everything that an appraisal rests on: what was accepted and why, then what the hardware vouches for. */
export const explain = (appraisal: Appraisal): readonly Line[] => [
  ...explainAcceptance(appraisal),
  ...explainClaims(appraisal),
  ...explainReport(appraisal.kind, appraisal.report),
];

/** Why a trust policy accepts it. */
export function explainAcceptance(appraisal: Appraisal): readonly Line[] {
  const { claims, kind } = appraisal;
  return [
    explainProgram(appraisal),
    line("accepted.cluster", "accepted cluster", hex(claims.cluster_id), "your policy names this cluster"),
    line("accepted.platform", "accepted platform", kind, "its state is one that your policy accepts"),
    line("config", "configuration", showConfig(claims.config), "exactly what your policy expects"),
  ];
}

function explainProgram({ acceptedBy, kind, report, releases: untrustedReleases }: Appraisal): Line {
  switch (acceptedBy) {
    case "signer":
      return line("program.signer", "accepted signer", "by your policy", "THE SIGNER CAN READ what this enclave reads");
    case "measurement":
      return line("program.measurement", "accepted program", "by measurement", "your policy names exactly this program");
    case "release": {
      const { signed, releases } = parseReleases(untrustedReleases);
      const release = isReleased(releases, kind, measurementOf(report));
      const detail = `security version ${release?.svn ?? 0}, in list ${releases.serial}, approved by ${signed.approvals.length}`;
      return line("program.release", "accepted program", `release ${oneLine(release?.version ?? "")}`, detail);
    }
  }
}

/** What makes evidence genuine, beside the hardware. */
export function explainClaims({ claims, genesis, appraisedAt }: Appraisal): readonly Line[] {
  return [
    line("claims", "claims", "match", "the quote commits to the keys that the session uses"),
    line("role", "role", claims.role, "what this enclave does"),
    line(
      genesis.development ? "cluster.development" : "cluster",
      "cluster",
      hex(claims.cluster_id),
      explainCluster(genesis),
    ),
    ...(claims.role === "vault"
      ? [line("witnesses", "witnesses", oneLine(explainWitnesses(claims.watchers ?? genesis)), "who notices if an older state is shown to a client that was never here")]
      : []),
    ...(genesis.council.approvers.length > 0 ? [line("approvers", "approvers", explainApprovers(genesis), "must sign the list of programs that get the keys; as the cluster began")] : []),
    ...(claims.release > 0 ? [line("releases", "releases", `list ${claims.release}`, "of programs, by which this enclave goes")] : []),
    line("build", "build", oneLine(claims.build), "version as the program names itself"),
    line("expires", "expires", `in ${claims.expires_at - appraisedAt} s`, "its keys turn over hourly"),
  ];
}

/** Who can recover the keys of a cluster. */
export const explainCluster = (genesis: Genesis): string =>
  genesis.development
    ? "a DEVELOPMENT cluster: its operator can read everything"
    : `${genesis.council.threshold} of ${genesis.council.custodians.length} custodians can recover its keys`;

const explainApprovers = ({ council }: Genesis): string => `${council.approvals} of ${council.approvers.length}`;

/** Who watches the log of a cluster, by name. */
export function explainWitnesses({ witnesses, cosignatures }: Witnessing): string {
  if (witnesses.length === 0) return "none";
  return `${cosignatures} of ${witnesses.length}: ${witnesses.map((key) => key.split("+")[0]).join(", ")}`;
}

/** What the hardware vouches for. */
export function explainReport(kind: PlatformKind, report: Report): readonly Line[] {
  return [
    line(`platform.${kind}`, "platform", kind, PLATFORMS[kind]),
    line(`root.${kind}`, "root", hex(report.root), ROOTS[kind]),
    ...report.registers.map(([name, value]) => line(`register.${name}`, name, hex(value), REGISTERS.get(name) ?? "")),
    ...explainPlatform(report),
    line("valid", "valid until", time(report.validUntil), "the first of the things that this rests on expires"),
  ];
}

function explainPlatform(report: Report): readonly Line[] {
  switch (report.platform) {
    case "sgx":
      return [
        line("sgx.signer", "MRSIGNER", hex(report.signer), "who signed the program"),
        line("sgx.version", "product and version", `${report.productId} / ${report.svn}`, "as its signer numbers them"),
        ...intel(report.intel),
      ];
    case "tdx":
      return [
        line("tdx.attributes", "TD attributes", hex64(report.tdAttributes), "no debugging, no migration"),
        line("tdx.xfam", "XFAM", hex64(report.xfam), "processor features that the TD may use"),
        ...(
          [
            ["MRCONFIGID", report.mrConfigId],
            ["MROWNER", report.mrOwner],
            ["MROWNERCONFIG", report.mrOwnerConfig],
          ] as const
        )
          .filter(([, value]) => !isZero(value))
          .map(([name, value]) => line(`tdx.${name}`, name, hex(value), "chosen by the host")),
        ...intel(report.intel),
      ];
    case "snp":
      return snp(report);
    case "nitro":
      return [
        line("nitro.signer", "PCR8", hex(report.pcrs.get(8) ?? new Uint8Array()) || "none", "who signed the image"),
        line("nitro.module", "module", report.moduleId, "instance and enclave"),
        line("nitro.time", "signed at", time(report.signedAt), "by the hypervisor's clock"),
      ];
  }
}

function intel(state: IntelState): readonly Line[] {
  const stated = (value: boolean | null): string => (value === null ? "not stated" : value ? "yes" : "no");
  const advisories = state.advisories.map(oneLine).join(", ") || "none";
  return [
    line("intel.status", "TCB status", state.tcbStatus, "state of processor and microcode, as their maker sees it"),
    line("intel.advisories", "advisories", advisories, "known weaknesses of that state"),
    line("intel.evaluation", "TCB evaluation", `${state.tcbEvaluationNumber}`, "edition of the maker's assessment"),
    line("intel.date", "TCB date", time(state.tcbDate), "weaknesses known before this date are mended"),
    line("intel.platform", "PPID", hex(state.platformId), "which processor package"),
    line("intel.smt", "SMT", stated(state.smt), "several threads share a core"),
    line("intel.dynamic", "dynamic platform", stated(state.dynamicPlatform), "packages can be added to the machine"),
    line("intel.cached", "cached keys", stated(state.cachedKeys), "Intel keeps the platform's keys"),
  ];
}

function snp(report: SnpReport): readonly Line[] {
  const tcb = Object.entries(report.tcb).map(([part, version]) => `${part}=${version}`).join(" ");
  const bits = [
    [SMT, "SMT allowed"],
    [MIGRATE_MA, "MIGRATION AGENT allowed"],
    [PAGE_SWAP_DISABLE, "no page swap"],
  ] as const;
  const words = bits.filter(([bit]) => report.guestPolicy & bit).map(([, word]) => word).join(", ");
  const isSigned = !isZero(report.idKeyDigest);
  const chip = isZero(report.chipId) ? "not named" : "which chip";
  const key = report.key.toUpperCase();
  return [
    line("snp.processor", "processor", `${report.product}, ${key}`, "line of processors, and which key signed"),
    ...(report.provider ? [line("snp.provider", "provider", report.provider, "to whom AMD lent the key")] : []),
    line("snp.tcb", "TCB", tcb, "security versions of the platform's parts"),
    line("snp.policy", "guest policy", hex64(BigInt(report.guestPolicy)), words),
    line("snp.vmpl", "VMPL", `${report.vmpl}`, "privilege level that asked for the report"),
    line("snp.chip", "CHIP_ID", hex(report.chipId), chip),
    line("snp.id_key", "ID key", isSigned ? hex(report.idKeyDigest) : "none", "who signed the guest's identity"),
    ...(isZero(report.authorKeyDigest)
      ? []
      : [line("snp.author", "author key", hex(report.authorKeyDigest), "who answers for that key")]),
    ...(isSigned
      ? [
          line("snp.family", "family", hex(report.familyId), "as the signer names it"),
          line("snp.image", "image", hex(report.imageId), "as the signer names it"),
        ]
      : []),
    line("snp.version", "guest version", `${report.guestSvn}`, "as its signer numbers it"),
    line("snp.crl", "revocations", report.crlChecked ? "checked" : "not at hand", "AMD's list of revoked certificates"),
  ];
}

const line = (key: string, title: string, value: string, detail: string): Line => ({ key, title, value, detail });
const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
const hex64 = (value: bigint): string => value.toString(16).padStart(16, "0");
/** Line breaks and what turns the direction of writing become spaces. */
const oneLine = (text: string): string => text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
/** Minutes, in UTC. */
const time = (at: number): string => `${new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
