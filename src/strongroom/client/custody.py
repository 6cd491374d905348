"""What the row of a sealed key ring says in clear: whose cluster it is, who governs it, and who can bring it back.

Whoever has a copy of the database reads it without any key. The charter is a chain of signatures that begins with the
statement whose digest is the cluster id, so only its newest links can have been cut off: an older copy looks like this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Council, Genesis, cluster_id, parse_genesis
from strongroom.protocol.governance import MAX_CHARTER, Charter, log_generation, verify_charter
from strongroom.protocol.index import row_digest


class Machine(NamedTuple):
    """A machine with a program that opens the ring by itself, if it still is."""

    label: str
    kind: str
    measurement: bytes
    since: int


@dataclass(frozen=True, slots=True)
class Custody:
    """A ring's charter, verified, and its wraps."""

    digest: bytes
    """Of the row, as the log and an attempt to recover have it."""
    cluster: bytes
    genesis: bytes
    founding: Genesis
    charter: Charter
    encoded: bytes
    """The charter, as it stands in the row."""
    councils: list[Council]
    """Oldest first."""
    machines: list[Machine]

    @property
    def council(self) -> Council:
        """The one in office: its shares open the ring."""
        return self.councils[-1]

    @property
    def generation(self) -> int:
        """Of the log."""
        return log_generation(self.charter)

    @property
    def who_recovers(self) -> str:
        """In words."""
        if self.founding.development:
            return "nobody but a machine that has it: a development cluster, whose one custodian is automatic"
        names = ", ".join(custodian.name for custodian in self.council.custodians)
        return f"{self.council.threshold} of {len(self.council.custodians)}: {names}"


class _Instance(msgspec.Struct):
    label: str
    kind: str
    measurement: bytes
    since: int


class _InstanceWrap(msgspec.Struct):
    instance: _Instance


class _Row(msgspec.Struct):
    """The row, without what is sealed."""

    charter: bytes
    instances: list[_InstanceWrap]
    recovery_wrap: bytes


class Named(NamedTuple):
    """What a row says without that anything was verified."""

    role: str
    cluster: bytes


def read_named(untrusted_row: bytes) -> Named:
    """Raises `Untrusted` INTEGRITY for what is no such row, EVIDENCE for a genesis statement that does not parse."""
    statement = _charter(_row(untrusted_row)).genesis.statement
    return Named(parse_genesis(statement).role, cluster_id(statement))


def verify_custody(untrusted_row: bytes) -> Custody:
    """Raises `Untrusted`: INTEGRITY, EVIDENCE."""
    row = _row(untrusted_row)
    charter = _charter(row)
    genesis, councils = verify_charter(charter)
    if not row.recovery_wrap:
        raise Untrusted(Number.INTEGRITY, "the key ring is not wrapped to a recovery key: nobody could bring it back")
    machines = [
        Machine(one.instance.label, one.instance.kind, one.instance.measurement, one.instance.since)
        for one in row.instances
    ]
    statement = charter.genesis.statement
    return Custody(
        row_digest(untrusted_row), cluster_id(statement), statement, genesis, charter, row.charter, councils, machines
    )


def _row(untrusted_row: bytes) -> _Row:
    try:
        return msgspec.msgpack.decode(untrusted_row, type=_Row)
    except (msgspec.DecodeError, ValueError):
        raise Untrusted(Number.INTEGRITY, "the row of the key ring is none of this version") from None


def _charter(row: _Row) -> Charter:
    try:
        return decode(row.charter, Charter, limit=MAX_CHARTER)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "the charter beside the key ring does not parse") from None
