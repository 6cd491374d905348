/**
 * Trust policies as data: which evidence a relying party accepts for a role.
 *
 * A platform that has no section is refused, and an empty list denies. Where a list is optional, null says in the open
 * that any will do. Software evidence is accepted only by a policy whose name says `insecure`.
 */

import { type Bytes, hex } from "../protocol/bytes.js";
import { encode } from "../protocol/codec.js";
import { ErrorNumber, Misuse } from "../protocol/errors.js";
import type { PlatformKind, Role } from "../protocol/evidence.js";
import { fromJson } from "../protocol/json.js";
import {
  type NitroPolicy,
  type ReleaseAuthority,
  RolePolicy,
  type SgxPolicy,
  type SnpPolicy,
  type SoftwarePolicy,
  type TdxPolicy,
  TrustPolicy,
} from "../protocol/messages.js";
import { Domain, digest } from "../protocol/primitives.js";
import { parseSshKey } from "../protocol/sshsig.js";
import { parseWitnesses } from "./witnessing.js";

/** What SGX, TDX and the platform that imitates SGX have in common: the state of the machine, as Intel sees it. */
export type IntelPolicy = Omit<SgxPolicy, "measurements" | "signers">;
export type PlatformPolicy =
  | ({ readonly platform: "sgx" } & SgxPolicy)
  | ({ readonly platform: "insecure-software" } & SoftwarePolicy)
  | ({ readonly platform: "tdx" } & TdxPolicy)
  | ({ readonly platform: "snp" } & SnpPolicy)
  | ({ readonly platform: "nitro" } & NitroPolicy);

const ADVISORY = /^INTEL-SA-[0-9]{5}$/;

/** What a policy says of each platform that it names; of any other it accepts nothing. */
export function sectionsOf(policy: RolePolicy): ReadonlyMap<PlatformKind, PlatformPolicy> {
  const { sgx, tdx, snp, nitro, insecure_software: software } = policy;
  const sections: PlatformPolicy[] = [];
  if (sgx !== null) sections.push({ platform: "sgx", ...sgx });
  if (tdx !== null) sections.push({ platform: "tdx", ...tdx });
  if (snp !== null) sections.push({ platform: "snp", ...snp });
  if (nitro !== null) sections.push({ platform: "nitro", ...nitro });
  if (software !== null) sections.push({ platform: "insecure-software", ...software });
  return new Map(sections.map((section) => [section.platform, section]));
}

/** Digest (32 bytes) of a complete policy: what caches and pooled sessions are keyed by (RULES 5). */
export const policyDigest = (policy: RolePolicy): Promise<Bytes> => digest(Domain.POLICY, encode(RolePolicy, policy));

/**
 * A trust policy from its JSON form, parsed: bytes are hex, every field is there, null stands for a section left out
 * and for "any". Throws `Misuse` MALFORMED.
 */
export async function parseTrustPolicy(untrusted: unknown): Promise<TrustPolicy> {
  const policy = fromJson(TrustPolicy, untrusted);
  verifyName(policy);
  for (const role of ["vault", "authenticator"] as const) {
    verifyAdvisories(policy[role], role);
    verifyAuthority(policy[role].releases, role);
  }
  await verifyWitnesses(policy);
  return policy;
}

/** A policy that accepts software evidence says so by name, so that nobody uses it unaware. */
function verifyName(policy: TrustPolicy): void {
  const isNamed = policy.name.includes("insecure");
  const accepts = [policy.vault, policy.authenticator].some((role) => role.insecure_software !== null);
  if (accepts && !isNamed) throw malformed('one that accepts software evidence must have "insecure" in its name');
  if (isNamed && !accepts) throw malformed('named "insecure" but accepts no software evidence');
}

/** A name that Intel never gives, such as INTEL-SA-289, would refuse nothing, and nobody would notice. */
function verifyAdvisories(policy: RolePolicy, role: Role): void {
  for (const section of [policy.sgx, policy.tdx, policy.insecure_software]) {
    if (section?.refused_advisories.some((advisory) => !ADVISORY.test(advisory))) {
      throw malformed(`${role}: a refused advisory is not INTEL-SA- and five digits`);
    }
  }
}

/** Approvers whose keys nothing reads, or who can never be enough, would otherwise be found out when a program is new. */
function verifyAuthority(authority: ReleaseAuthority | null, role: Role): void {
  if (authority === null) return;
  const { approvers, approvals } = authority;
  for (const key of approvers) {
    try {
      parseSshKey(key);
    } catch (error) {
      if (!(error instanceof Misuse)) throw error;
      throw malformed(`${role}: ${error.reason}`);
    }
  }
  if (new Set(approvers.map(hex)).size !== approvers.length) throw malformed(`${role}: an approver of releases stands there twice`);
  if (approvals < Math.min(1, approvers.length) || approvals > approvers.length) {
    throw malformed(`${role}: ${approvals} of ${approvers.length} approvers of releases can never agree`);
  }
}

/** Witnesses whom nobody can count would otherwise be found out at the first request. */
async function verifyWitnesses(policy: TrustPolicy): Promise<void> {
  try {
    await parseWitnesses(policy);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw malformed(error.reason);
  }
}

const malformed = (what: string): Misuse => new Misuse(ErrorNumber.MALFORMED, `trust policy: ${what}`);
