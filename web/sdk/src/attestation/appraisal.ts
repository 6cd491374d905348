/**
 * Appraisal of evidence (RFC 9334): claims, or a refusal that says why. Pure: bytes, policy and time come in.
 *
 * Rules, in the order in which they are checked:
 *
 * 1. The evidence parses strictly and its platform kind is one that the relying party named.
 * 2. The quote verifies up to its maker's root, or for software evidence up to a root named by digest; it is exactly as
 *    long as it says, not of a debug enclave, and nothing it relies on has expired (`verification`).
 * 3. The report data commit to exactly these claims, the role is the expected one, and the evidence is current (RULES 2).
 * 4. The cluster's own key signed the claims, and the cluster id is the digest of the statement with that key (RULES 6).
 * 5. Evidence made for one handshake counts in that handshake only, and never serves clients (RULES 4).
 * 6. Cluster, program, state of the machine and configuration are those of the policy; an empty list denies
 *    (`acceptance`). A program may also be one that enough approvers have released (`verifyReleased`).
 *
 * An enclave that holds no ring serves nobody: one that founds, joins or recovers is refused where evidence is parsed.
 */

import { type Bytes, hex } from "../protocol/bytes.js";
import { type PlatformKind, type Role, evidenceDigest, parseEvidence, verifyClaims } from "../protocol/evidence.js";
import type { Claims, ConfigValue, Genesis, ReleaseAuthority, ReleaseList, RolePolicy } from "../protocol/messages.js";
import { isReleased, parseReleases, verifyReleases } from "../protocol/releases.js";
import { type AcceptedBy, acceptPlatform, acceptProgram } from "./acceptance.js";
import { type PlatformPolicy, sectionsOf } from "./policy.js";
import { notAccepted, refuse, visible } from "./refusal.js";
import { type Report, measurementOf } from "./reports.js";
import { verifyQuote } from "./verification.js";
import { sameBytes } from "./x509.js";

/** Genuine evidence that a policy accepts. */
export interface Appraisal {
  /** 32 bytes: what a hello says it accepted. */
  readonly evidenceDigest: Bytes;
  readonly kind: PlatformKind;
  readonly role: Role;
  readonly claims: Claims;
  readonly genesis: Genesis;
  readonly report: Report;
  /**
   * "signer": accepted by its signer, who can sign an enclave that gives everything away (RULES 7). "release": by the list
   * of releases that came along.
   */
  readonly acceptedBy: AcceptedBy | "release";
  /** Encoded `SignedReleases`; empty where `claims.release` is 0. Verified only where it was accepted by "release". */
  readonly releases: Bytes;
  /** Unix seconds at which it was appraised. */
  readonly appraisedAt: number;
}

export interface Relying {
  readonly role: Role;
  readonly policy: RolePolicy;
  /** Unix seconds. */
  readonly now: number;
}

/**
 * Appraise evidence that serves clients, against a relying party's own policy.
 *
 * Throws `Untrusted` with the first reason found: EVIDENCE for what does not hold, POLICY for what is genuine and not
 * accepted.
 */
export async function appraise(untrustedEvidence: Bytes, { role, policy, now }: Relying): Promise<Appraisal> {
  const parsed = parseEvidence(untrustedEvidence);
  const { evidence, claims, genesis } = parsed;
  const sections = sectionsOf(policy);
  const allowed = { platforms: [...sections.keys()], insecureRoots: policy.insecure_software?.roots ?? [] };
  const report = await verifyQuote(evidence, allowed, now);
  await verifyClaims(parsed, { reportData: report.reportData, role, now });
  if (!policy.clusters.some((cluster) => sameBytes(cluster, claims.cluster_id))) {
    throw notAccepted(`cluster ${hex(claims.cluster_id)} is not one that the policy names`);
  }
  const section = sections.get(evidence.kind);
  if (section === undefined) throw notAccepted(`the policy does not name ${evidence.kind}`);
  const candidate = { kind: evidence.kind, report, cluster: claims.cluster_id, role, untrustedReleases: evidence.releases };
  const acceptedBy = await acceptEnclave(candidate, policy.releases, section);
  acceptPlatform(report, section, now);
  verifySerial(evidence.releases, claims);
  acceptConfig(claims.config, policy.config);
  return {
    evidenceDigest: await evidenceDigest(untrustedEvidence),
    kind: evidence.kind,
    role,
    claims,
    genesis,
    report,
    acceptedBy,
    releases: evidence.releases,
    appraisedAt: now,
  };
}

/** A program that a list of releases may name. */
export interface Candidate {
  readonly kind: PlatformKind;
  readonly report: Report;
  /** Cluster id. */
  readonly cluster: Bytes;
  readonly role: Role;
  /** Encoded `SignedReleases` that came along; empty: none. */
  readonly untrustedReleases: Bytes;
}

/** How the policy knows the program: named by it, or released. */
async function acceptEnclave(candidate: Candidate, authority: ReleaseAuthority | null, section: PlatformPolicy): Promise<AcceptedBy | "release"> {
  if (authority !== null && (candidate.untrustedReleases.length > 0 || authority.min_serial > 0)) {
    // Also of a program that the policy names: one that approvers have retired is accepted by nobody (RULES 7), and
    // least of all because it leaves their list out.
    await verifyReleased(candidate, authority);
    return "release";
  }
  return acceptProgram(candidate.report, section);
}

/**
 * The list, signed by enough of the authority's approvers, that names the program of this report. Throws `Untrusted`
 * POLICY when it does not, and for a list that is too old, and as `verifyReleases`.
 */
export async function verifyReleased(candidate: Candidate, authority: ReleaseAuthority): Promise<ReleaseList> {
  const { kind, report, cluster, role, untrustedReleases } = candidate;
  if (untrustedReleases.length === 0) throw notAccepted("the policy goes by a list of releases, and none came along");
  const { approvers, approvals, min_serial: floor } = authority;
  const releases = await verifyReleases(untrustedReleases, { cluster, role, approvers, approvals });
  if (releases.serial < floor) {
    throw notAccepted(`the list of releases is number ${releases.serial}, below the floor ${floor}`);
  }
  if (isReleased(releases, kind, measurementOf(report)) === undefined) {
    throw notAccepted(`the program is not one that list ${releases.serial} of releases names`);
  }
  return releases;
}

/** The list that came along is the one that the enclave says it goes by, whoever looks at it. */
export function verifySerial(untrustedReleases: Bytes, claims: Claims): void {
  const serial = untrustedReleases.length > 0 ? parseReleases(untrustedReleases).releases.serial : 0;
  if (serial !== claims.release) throw refuse("the list of releases is another than the enclave goes by");
}

/** Exactly the policy's values: what neither side mentions stands at its default (RULES 7). */
function acceptConfig(shown: readonly ConfigValue[], expected: readonly ConfigValue[]): void {
  const isIn = (value: ConfigValue, list: readonly ConfigValue[]): boolean =>
    list.some((one) => one.name === value.name && one.value === value.value);
  for (const value of shown) {
    if (!isIn(value, expected)) {
      throw notAccepted(`configuration ${showConfig([value])} is not what the policy expects`);
    }
  }
  for (const value of expected) {
    if (!isIn(value, shown)) {
      throw notAccepted(`the policy expects configuration ${showConfig([value])}, which the evidence does not show`);
    }
  }
}

/** Configuration values as one line of text. */
export function showConfig(config: readonly ConfigValue[]): string {
  // JSON: a value may hold line breaks, and what turns the direction of writing.
  const shown = config.map(({ name, value }) => [...`${visible(name)} = ${visible(value)}`].slice(0, 120).join(""));
  return shown.join(", ") || "all defaults";
}
