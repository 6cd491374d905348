"""Who governs a cluster, and what they have signed (`spec/cluster.md`, RULES 6, 8, 25).

A genesis statement holds the first council. Each later one is a `Succession`: it names the one before it by digest and
is signed by as many custodians of that as its threshold says, and by every custodian of its own, whose signature shows
that he could decrypt his share. The chain is public and kept beside the sealed ring, which is bound to it.

Attacks stopped here: a council that nobody of the former one has signed; signatures of one council used for another,
or one signature counted twice; a gap in the log signed for another cluster, attempt or place; a later gap by which the
witnesses come back into office who were replaced at an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import (
    Bytes32,
    Bytes64,
    Council,
    Count,
    Generation,
    Genesis,
    PlatformKind,
    UnixTime,
    Watchers,
    cluster_id,
    parse_genesis,
    watchers_by,
)
from strongroom.protocol.limits import (
    MAX_COUNCILS,
    MAX_CUSTODIANS,
    MAX_GENESIS,
    MAX_LISTED_PROGRAMS,
    MAX_RECOVERIES,
)
from strongroom.protocol.primitives import Domain, digest, verify_signature
from strongroom.protocol.releases import Measurement


class Seat(Message):
    """A signature of one custodian."""

    index: Count
    """Of the custodian in his council, from 0."""
    signature: Bytes64


Seats = Annotated[list[Seat], Meta(max_length=MAX_CUSTODIANS)]


class SignedGenesis(Message):
    """A genesis statement, and what every custodian signed when he had decrypted his share."""

    statement: Annotated[bytes, Meta(max_length=MAX_GENESIS)]
    """Encoded `Genesis`."""
    accepted: Seats
    """`Domain.ACCEPTANCE` over the statement; none in a development cluster."""


class Succession(Message):
    """The council that follows another one."""

    version: Literal[1]
    cluster: Bytes32
    serial: Annotated[int, Meta(ge=1, le=MAX_COUNCILS)]
    """1 for the first one after genesis."""
    previous: Bytes32
    """`statement_digest` of the statement before it."""
    council: Council


class SignedSuccession(Message):
    """A succession, and who signed it."""

    statement: Annotated[bytes, Meta(max_length=MAX_GENESIS)]
    """Encoded `Succession`."""
    accepted: Seats
    """`Domain.ACCEPTANCE` by every custodian of the new council."""
    endorsed: Seats
    """`Domain.ENDORSEMENT` by as many of the council before it as its threshold says."""


MAX_GAP: Final = 16 * 1024
"""An encoded `Gap`, with as many witnesses as there can be."""


class Gap(Message):
    """What a recovery gives up (RULES 25): the log as witnesses have seen it, and the older one of the database."""

    version: Literal[1]
    cluster: Bytes32
    recoveries: Count
    """Of the cluster once it is recovered."""
    generation: Generation
    """Of the log that begins with it: above all that witnesses know."""
    attempt: Bytes32
    """Digest of the attempt's key (`attempt_digest`)."""
    found_size: Count
    """Leaves of the log in the database."""
    found_root: Bytes32
    known_size: Count
    """Leaves of the log that a witness has cosigned."""
    known_root: Bytes32
    at: UnixTime
    """By the recovering enclave's clock."""
    watchers: Watchers | None
    """Who watch the log from here on; None: those of the genesis statement. Each later gap carries them on."""


class SignedGap(Message):
    """A gap that as many custodians have signed as the threshold says."""

    statement: Annotated[bytes, Meta(max_length=MAX_GAP)]
    """Encoded `Gap`."""
    council: Count
    """Serial of theirs."""
    signed: Seats
    """`Domain.GAP` over the statement."""


class Named(Message):
    """A program that the list of releases names, and since when without a break: what a delay is counted from."""

    kind: PlatformKind
    measurement: Measurement
    at: UnixTime
    """When the list came that names it first, by the enclave's clock: for people."""
    witnessed: UnixTime
    """The same as witnesses vouch for it, when they had seen that list; 0: not yet, or there are no witnesses."""


class Charter(Message):
    """All that is public about how a cluster is governed, and bound to its sealed ring."""

    genesis: SignedGenesis
    successions: Annotated[list[SignedSuccession], Meta(max_length=MAX_COUNCILS)]
    gaps: Annotated[list[SignedGap], Meta(max_length=MAX_RECOVERIES)]
    """The newest ones, oldest first: where they are as many as there can be, older ones may be gone."""
    recoveries: Count
    releases: bytes
    """Encoded `SignedReleases`; empty: none yet."""
    named: Annotated[list[Named], Meta(max_length=MAX_LISTED_PROGRAMS)]
    """Each program that this list releases, in its order."""


MAX_CHARTER: Final = 512 * 1024


def statement_digest(statement: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of a genesis statement or a succession: what the next one names."""
    return digest(Domain.COUNCIL, statement)


def attempt_digest(key: bytes) -> bytes:
    """Digest (32 bytes) that names an attempt by its key."""
    return digest(Domain.ATTEMPT, key)


def parse_succession(untrusted_statement: bytes) -> Succession:
    """Raises `Untrusted` EVIDENCE."""
    try:
        return decode(untrusted_statement, Succession, limit=MAX_GENESIS)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the succession does not parse ({error.error})") from None


def verify_seats(council: Council, seats: Sequence[Seat], needed: int, domain: Domain, statement: bytes) -> None:
    """At least `needed` custodians of `council`, each counted once, signed `statement`; and nobody else did.

    Raises `Untrusted` INTEGRITY.
    """
    if len({seat.index for seat in seats}) != len(seats):
        raise Untrusted(Number.INTEGRITY, "a custodian signed twice")
    for seat in seats:
        if seat.index >= len(council.custodians):
            raise Untrusted(Number.INTEGRITY, "somebody signed who is no custodian")
        verify_signature(council.custodians[seat.index].key, seat.signature, domain, statement)
    if len(seats) < needed:
        raise Untrusted(Number.INTEGRITY, f"{len(seats)} custodians signed of the {needed} that it takes")


def verify_genesis(signed: SignedGenesis) -> Genesis:
    """A genesis statement that all its custodians accepted. Raises `Untrusted` EVIDENCE or INTEGRITY."""
    genesis = parse_genesis(signed.statement)
    if not genesis.development:
        council = genesis.council
        verify_seats(council, signed.accepted, len(council.custodians), Domain.ACCEPTANCE, signed.statement)
    return genesis


def verify_succession(
    cluster: bytes, previous: bytes, before: Council, serial: int, signed: SignedSuccession
) -> Council:
    """The council of the statement that follows `previous` (exact bytes), whose council is `before`.

    Raises `Untrusted` EVIDENCE or INTEGRITY.
    """
    succession = parse_succession(signed.statement)
    named = (succession.cluster, succession.serial, succession.previous)
    if named != (cluster, serial, statement_digest(previous)):
        raise Untrusted(Number.INTEGRITY, "the succession follows another council")
    council = succession.council
    verify_seats(before, signed.endorsed, max(1, before.threshold), Domain.ENDORSEMENT, signed.statement)
    verify_seats(council, signed.accepted, len(council.custodians), Domain.ACCEPTANCE, signed.statement)
    return council


def verify_charter(charter: Charter) -> tuple[Genesis, list[Council]]:
    """The genesis statement and all councils, oldest first, each signed as it must be; and all gaps signed.

    Raises `Untrusted` EVIDENCE or INTEGRITY.
    """
    genesis = verify_genesis(charter.genesis)
    cluster = cluster_id(charter.genesis.statement)
    councils, statement = [genesis.council], charter.genesis.statement
    for serial, signed in enumerate(charter.successions, 1):
        councils.append(verify_succession(cluster, statement, councils[-1], serial, signed))
        statement = signed.statement
    generation, watchers = 0, None
    for signed_gap in charter.gaps:
        gap = verify_gap(cluster, councils, generation, signed_gap)
        if watchers is not None and gap.watchers is None:
            raise Untrusted(Number.INTEGRITY, "a gap leaves out the witnesses that the one before it names")
        generation, watchers = gap.generation, gap.watchers
    return genesis, councils


def parse_gap(untrusted_statement: bytes) -> Gap:
    """Raises `Untrusted` EVIDENCE."""
    try:
        return decode(untrusted_statement, Gap, limit=MAX_GAP)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the gap does not parse ({error.error})") from None


def log_generation(charter: Charter) -> int:
    """Of the log, by this charter: that of its last gap, which may leave generations out."""
    return parse_gap(charter.gaps[-1].statement).generation if charter.gaps else 0


def named_watchers(charter: Charter) -> Watchers | None:
    """Whom custodians named last to watch the log; None: nobody else than the genesis statement does."""
    return parse_gap(charter.gaps[-1].statement).watchers if charter.gaps else None


def watchers_of(charter: Charter) -> Watchers:
    """Who watches the log, by a charter. Raises `Untrusted` EVIDENCE."""
    return watchers_by(parse_genesis(charter.genesis.statement), named_watchers(charter))


def with_gap(charter: Charter, gap: SignedGap | None) -> Charter:
    """After one more recovery. The oldest gap goes where there are as many as a charter holds: a cluster that can't be
    recovered once more would be lost."""
    gaps = charter.gaps if gap is None else [*charter.gaps, gap][-MAX_RECOVERIES:]
    return replace(charter, gaps=gaps, recoveries=charter.recoveries + 1)


def is_cut(charter: Charter, generation: int) -> bool:
    """Whether gaps may be gone that ended this generation of the log, or a later one: the list is full, and begins
    after it. What was given up since then, nobody can say."""
    return len(charter.gaps) >= MAX_RECOVERIES and generation < parse_gap(charter.gaps[0].statement).generation


def verify_gap(cluster: bytes, councils: Sequence[Council], before: int, signed: SignedGap) -> Gap:
    """What was given up at the end of the log's generation `before`. Raises `Untrusted` EVIDENCE or INTEGRITY.

    Generations rise, and some may be left out: a backup may be older than a recovery that witnesses have seen.
    """
    gap = parse_gap(signed.statement)
    if gap.cluster != cluster or gap.generation <= before or signed.council >= len(councils):
        raise Untrusted(Number.INTEGRITY, "the gap is of another cluster or generation")
    council = councils[signed.council]
    verify_seats(council, signed.signed, max(1, council.threshold), Domain.GAP, signed.statement)
    return gap
