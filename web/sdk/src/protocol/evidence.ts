/**
 * Evidence, claims and the genesis statement (RFC 9334 terms; `spec/evidence.md`).
 *
 * A quote commits to the claims by its report data, the claims commit to the keys of the session, and the key of the
 * cluster signs the claims, so a genuine enclave of *another* cluster can't stand in (RULES 6).
 */

import { type Bytes, compareBytes, concat, utf8 } from "./bytes.js";
import { type Kind, decode } from "./codec.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import { MAX_EVIDENCE, MAX_EVIDENCE_AHEAD, MAX_GENESIS } from "./limits.js";
import { Claims, Evidence, Genesis } from "./messages.js";
import { Domain, digest, equal, verifySignature } from "./primitives.js";

export type Role = Claims["role"];
export type PlatformKind = Evidence["kind"];

/** Evidence and what it carries, decoded and not yet believed. */
export interface ParsedEvidence {
  readonly evidence: Evidence;
  readonly claims: Claims;
  readonly genesis: Genesis;
}

/** The 64 bytes of report data: digest of the claims' exact bytes ‖ 32 zero bytes. */
export async function reportData(claims: Bytes): Promise<Bytes> {
  return concat(await digest(Domain.REPORT_DATA, claims), new Uint8Array(32));
}

/** Cluster id (32 bytes) of the exact bytes of a genesis statement. */
export const clusterId = (genesis: Bytes): Promise<Bytes> => digest(Domain.GENESIS, genesis);

/** Digest (32 bytes) of the exact bytes of evidence: what a hello says it accepted. */
export const evidenceDigest = (evidence: Bytes): Promise<Bytes> => digest(Domain.EVIDENCE, evidence);

/** Decode evidence of a member and what it carries, trusting nothing. Throws `Untrusted` EVIDENCE. */
export function parseEvidence(untrustedEvidence: Bytes): ParsedEvidence {
  const evidence = parsed(untrustedEvidence, Evidence);
  const claims = parsed(evidence.claims, Claims);
  verifySorted(claims);
  if (claims.watchers !== null && claims.stage !== "member") throw refused("an enclave that is no member names who watches the log");
  if ((claims.attempt !== null) !== (claims.stage === "recovering")) {
    throw refused("an enclave that recovers names its attempt, and no other does");
  }
  // Only a member holds the key ring. What founds, joins or recovers proves its program, never that it is of a cluster.
  if (claims.stage !== "member") throw refused(`this enclave is no member of a cluster, it is ${claims.stage}`);
  return { evidence, claims, genesis: parsed(evidence.genesis, Genesis, MAX_GENESIS) };
}

/** Decode what evidence carries beside a quote. Throws `Untrusted` EVIDENCE. */
export function parsed<T>(untrusted: Bytes, kind: Kind<T>, limit: number = MAX_EVIDENCE): T {
  try {
    return decode(untrusted, kind, limit);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw refused(`evidence does not parse (${error.error})`);
  }
}

/** By code point, each once: JavaScript's own order of texts is that of UTF-16. */
function verifySorted(claims: Claims): void {
  const names = claims.config.map((value) => utf8(value.name));
  for (const [at, name] of names.entries()) {
    const before = names[at - 1];
    if (before !== undefined && compareBytes(before, name) >= 0) {
      throw refused("configuration values are not sorted and unique");
    }
  }
}

/**
 * Every check of evidence that serves clients which needs neither a quote nor a policy, given the report data of a
 * verified quote. `now` is unix seconds. Throws `Untrusted` EVIDENCE.
 */
export async function verifyClaims(
  { evidence, claims, genesis }: ParsedEvidence,
  quoted: { readonly reportData: Bytes; readonly role: Role; readonly now: number },
): Promise<void> {
  const { role, now } = quoted;
  // Without this, a host pairs a genuine quote with claims of its own, thus with its own session key.
  if (!equal(quoted.reportData, await reportData(evidence.claims))) throw refused("the quote was made over other claims");
  if (claims.role !== role || genesis.role !== role) {
    throw refused(`this is evidence of role ${claims.role} (its cluster: ${genesis.role}); ${role} was expected`);
  }
  if (claims.expires_at <= now) throw refused("the evidence has expired");
  if (claims.expires_at > now + MAX_EVIDENCE_AHEAD) {
    throw refused(`the evidence expires more than ${MAX_EVIDENCE_AHEAD / 3600} hours ahead: check both clocks`);
  }
  if (!equal(claims.cluster_id, await clusterId(evidence.genesis))) {
    throw refused("the cluster id is not that of the genesis statement");
  }
  try {
    // Genesis statements are public: only the signature shows that this enclave holds the cluster's ring.
    await verifySignature(genesis.cluster_key, evidence.cluster_signature, Domain.CLAIMS_SIGNATURE, evidence.claims);
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    throw refused("the cluster's key did not sign these claims");
  }
  // Otherwise a host relays what a genuine enclave made for one handshake, and stands in for it elsewhere.
  if (claims.peer !== null) throw refused("this evidence was made for one handshake between enclaves, not to serve clients");
}

const refused = (reason: string): Untrusted => new Untrusted(ErrorNumber.EVIDENCE, reason);
