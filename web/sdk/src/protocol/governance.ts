/**
 * Who governs a cluster, and what they have signed (`spec/cluster.md`, RULES 6, 8, 25).
 *
 * A genesis statement holds the first council. Each later one is a `Succession`: it names the one before it by digest and
 * is signed by as many custodians of that as its threshold says, and by every custodian of its own.
 *
 * Attacks stopped here: a council that nobody of the former one has signed; signatures of one council used for another,
 * or one signature counted twice; a gap in the log signed for another cluster or place; a later gap by which the witnesses
 * come back into office who were replaced at an earlier one.
 */

import type { Bytes } from "./bytes.js";
import { type Kind, decode } from "./codec.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import { clusterId } from "./evidence.js";
import { MAX_GENESIS, MAX_RECOVERIES } from "./limits.js";
import { Charter, type Council, Gap, Genesis, type Seat, type SignedGap, type SignedGenesis, type SignedSuccession, Succession } from "./messages.js";
import { Domain, digest, equal, verifySignature } from "./primitives.js";

const MAX_CHARTER = 512 * 1024;
const MAX_GAP = 16 * 1024;

/** A charter in which everything is signed as it must be. */
export interface VerifiedCharter {
  readonly clusterId: Bytes;
  readonly genesis: Genesis;
  /** Oldest first. */
  readonly councils: readonly Council[];
  /** What was given up, oldest first; the newest `MAX_RECOVERIES` of it. */
  readonly gaps: readonly VerifiedGap[];
}

/** What custodians have signed that they gave up. */
export interface VerifiedGap {
  readonly gap: Gap;
  /** Serial of their council. */
  readonly council: number;
}

/** Digest (32 bytes) of the exact bytes of a genesis statement or a succession: what the next one names. */
export const statementDigest = (statement: Bytes): Promise<Bytes> => digest(Domain.COUNCIL, statement);

/**
 * The genesis statement and all councils, each signed as it must be; and all gaps signed. Throws `Untrusted` EVIDENCE or
 * INTEGRITY.
 */
export async function verifyCharter(untrustedCharter: Bytes): Promise<VerifiedCharter> {
  const charter = parsed(untrustedCharter, Charter, MAX_CHARTER, "the charter");
  const genesis = await verifyGenesis(charter.genesis);
  const cluster = await clusterId(charter.genesis.statement);
  const councils = [genesis.council];
  let before: Before = { statement: charter.genesis.statement, council: genesis.council, serial: 0 };
  for (const signed of charter.successions) {
    const council = await verifySuccession(cluster, before, signed);
    councils.push(council);
    before = { statement: signed.statement, council, serial: before.serial + 1 };
  }
  const gaps: VerifiedGap[] = [];
  for (const signed of charter.gaps) {
    const last = gaps.at(-1)?.gap;
    const gap = await verifyGap(cluster, councils, last?.generation ?? 0, signed);
    if ((last?.watchers ?? null) !== null && gap.watchers === null) {
      throw refused("a gap leaves out the witnesses that the one before it names");
    }
    gaps.push({ gap, council: signed.council });
  }
  return { clusterId: cluster, genesis, councils, gaps };
}

/** A council in office, by the statement that made it. */
interface Before {
  readonly statement: Bytes;
  readonly council: Council;
  readonly serial: number;
}

/**
 * Whether gaps may be gone that ended this generation of the log, or a later one: the list is full, and begins after it.
 * What was given up since then, nobody can say.
 */
export const isCut = ({ gaps }: Pick<VerifiedCharter, "gaps">, generation: number): boolean =>
  gaps.length >= MAX_RECOVERIES && generation < (gaps[0]?.gap.generation ?? 0);

/** A genesis statement that all its custodians accepted. */
async function verifyGenesis({ statement, accepted }: SignedGenesis): Promise<Genesis> {
  const genesis = parsed(statement, Genesis, MAX_GENESIS, "the genesis statement");
  const { council, development } = genesis;
  if (!development) await verifySeats(council, accepted, council.custodians.length, Domain.ACCEPTANCE, statement);
  return genesis;
}

/** The council of the statement that follows `before`. */
async function verifySuccession(cluster: Bytes, before: Before, { statement, accepted, endorsed }: SignedSuccession): Promise<Council> {
  const succession = parsed(statement, Succession, MAX_GENESIS, "the succession");
  const follows = succession.serial === before.serial + 1 && equal(succession.previous, await statementDigest(before.statement));
  if (!follows || !equal(succession.cluster, cluster)) throw refused("the succession follows another council");
  const { council } = succession;
  await verifySeats(before.council, endorsed, Math.max(1, before.council.threshold), Domain.ENDORSEMENT, statement);
  await verifySeats(council, accepted, council.custodians.length, Domain.ACCEPTANCE, statement);
  return council;
}

/**
 * What was given up at the end of the log's generation `before`. Generations rise, and some may be left out: a backup may
 * be older than a recovery that witnesses have seen.
 */
async function verifyGap(cluster: Bytes, councils: readonly Council[], before: number, { statement, council, signed }: SignedGap): Promise<Gap> {
  const gap = parsed(statement, Gap, MAX_GAP, "the gap");
  const theirs = councils[council];
  if (!equal(gap.cluster, cluster) || gap.generation <= before || theirs === undefined) {
    throw refused("the gap is of another cluster or generation");
  }
  await verifySeats(theirs, signed, Math.max(1, theirs.threshold), Domain.GAP, statement);
  return gap;
}

/** At least `needed` custodians of `council`, each counted once, signed `statement`; and nobody else did. */
async function verifySeats(council: Council, seats: readonly Seat[], needed: number, domain: Domain, statement: Bytes): Promise<void> {
  if (new Set(seats.map(({ index }) => index)).size !== seats.length) throw refused("a custodian signed twice");
  for (const { index, signature } of seats) {
    const custodian = council.custodians[index];
    if (custodian === undefined) throw refused("somebody signed who is no custodian");
    await verifySignature(custodian.key, signature, domain, statement);
  }
  if (seats.length < needed) throw refused(`${seats.length} custodians signed of the ${needed} that it takes`);
}

function parsed<T>(untrusted: Bytes, kind: Kind<T>, limit: number, what: string): T {
  try {
    return decode(untrusted, kind, limit);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw new Untrusted(ErrorNumber.EVIDENCE, `${what} does not parse (${error.error})`);
  }
}

const refused = (reason: string): Untrusted => new Untrusted(ErrorNumber.INTEGRITY, reason);
