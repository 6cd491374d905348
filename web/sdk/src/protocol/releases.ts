/**
 * The list of programs that may have a cluster's ring, as its approvers sign it (`spec/cluster.md`, RULES 7).
 *
 * A list is complete and replaces the one before: what is not in it gets nothing any more. Signatures are OpenSSH's own
 * (`ssh-keygen -Y sign`), under a namespace of their own.
 *
 * Attacks stopped here: a list signed by too few, by one approver twice, or for another cluster; a key that signed while
 * nobody touched it; a program that stands there twice, with two security versions; a version that is written so that
 * what stands beside it is not seen.
 */

import { type Bytes, hex } from "./bytes.js";
import { decode } from "./codec.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import type { PlatformKind, Role } from "./evidence.js";
import { MAX_RELEASES } from "./limits.js";
import { type Approval, type ListedRelease, ReleaseList, SignedReleases } from "./messages.js";
import { equal } from "./primitives.js";
import { PRESENT, type SshKey, parseSshKey, verifySshsig } from "./sshsig.js";

/** Of signatures: nothing that was signed for a login, a commit or a sign-in is ever an approval. */
export const NAMESPACE = "strongroom-releases";

/** Of a release: printable ASCII without blanks. */
const VERSION = /^[!-~]{1,64}$/;

/** For whom a list must be signed, and by whom. */
export interface Approving {
  /** Cluster id. */
  readonly cluster: Bytes;
  readonly role: Role;
  /** Public keys as OpenSSH writes them. */
  readonly approvers: readonly Bytes[];
  /** How many of them it takes. */
  readonly approvals: number;
}

/** Decode a list, trusting nothing. Throws `Untrusted` EVIDENCE. */
export function parseReleases(untrustedSigned: Bytes): { readonly signed: SignedReleases; readonly releases: ReleaseList } {
  try {
    const signed = decode(untrustedSigned, SignedReleases, MAX_RELEASES);
    return { signed, releases: decode(signed.statement, ReleaseList, MAX_RELEASES) };
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw new Untrusted(ErrorNumber.EVIDENCE, `the list of releases does not parse (${error.error})`);
  }
}

/**
 * The list, if enough of the approvers signed it for this cluster. Throws `Untrusted` EVIDENCE, INTEGRITY or
 * TOKEN_UNTRUSTED.
 */
export async function verifyReleases(untrustedSigned: Bytes, { cluster, role, approvers, approvals }: Approving): Promise<ReleaseList> {
  const { signed, releases } = parseReleases(untrustedSigned);
  if (!equal(releases.cluster, cluster) || releases.role !== role) throw refused("the list of releases is another cluster's");
  verifyUnambiguous(releases);
  // One approver is counted once, however often his key is listed.
  const keys = new Set(signed.approvals.map(({ key }) => hex(key)));
  if (keys.size !== signed.approvals.length) throw refused("an approver signed the list twice");
  for (const approval of signed.approvals) await verifyApproval(approval, approvers, signed.statement);
  const needed = Math.max(1, approvals);
  // An empty set of approvers approves nothing (and 0 of them is not "anybody").
  if (approvers.length === 0 || keys.size < needed) {
    throw refused(`${keys.size} approvers signed the list of the ${needed} it takes`);
  }
  return releases;
}

/** The release that this program is, if the list names it and its security version is not below the floor. */
export function isReleased(releases: ReleaseList, kind: PlatformKind, measurement: Bytes): ListedRelease | undefined {
  return releases.releases.find(
    ({ svn, programs }) =>
      svn >= releases.min_svn && programs.some((program) => program.kind === kind && equal(program.measurement, measurement)),
  );
}

async function verifyApproval({ key, signature }: Approval, approvers: readonly Bytes[], statement: Bytes): Promise<void> {
  if (!approvers.some((approver) => equal(approver, key))) throw refused("somebody signed the list who is no approver");
  const touch = await verifySshsig(parsedKey(key), signature, statement, NAMESPACE);
  // Else a program on the approver's machine approves what it likes while the key is plugged in.
  if (touch !== undefined && !(touch.flags & PRESENT)) throw refused("nobody touched the security key that signed the list");
}

function parsedKey(key: Bytes): SshKey {
  try {
    return parseSshKey(key);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw refused(error.reason);
  }
}

/** Each version is a word, and each version and each program stands in a list once: else one program had two security versions. */
function verifyUnambiguous({ releases }: ReleaseList): void {
  const versions = releases.map(({ version }) => version);
  if (!versions.every((version) => VERSION.test(version))) {
    throw refused("a version in the list of releases is not 1 to 64 visible ASCII characters");
  }
  const programs = releases.flatMap((release) => release.programs.map(({ kind, measurement }) => `${kind} ${hex(measurement)}`));
  if (new Set(versions).size !== versions.length || new Set(programs).size !== programs.length) {
    throw refused("the list of releases names a version or a program twice");
  }
}

const refused = (reason: string): Untrusted => new Untrusted(ErrorNumber.INTEGRITY, reason);
