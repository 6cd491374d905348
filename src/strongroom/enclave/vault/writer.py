"""The one writer: group commit, quotas, versions and the access log in one place.

Changes that arrive while a commit is under way form the next group, so a durable write costs a share of one
`fsync`. One group is in flight at a time; that order makes quota counters exact and lets "the version is still the
one decided on" be checked inside the commit (RULES 15).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.vault.records import LogBatch, LogEntry, Quota, Usage, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Put, Row
from strongroom.protocol.primitives import Domain, digest

MAX_GROUP: Final = 256
"""Changes of one commit."""
MAX_PENDING: Final = 4096
"""Changes waiting; more are refused as BUSY."""
USAGE_CACHE: Final = 65_536

Read = Callable[[Sequence[bytes]], Awaitable[list[Row | None]]]
Commit = Callable[[Sequence[Put], Sequence[bytes]], Awaitable[None]]


class Stale(Misuse):
    """What a decision was based on has changed: decide again."""


class Watch:
    """Says whether a row was written between the reading that a decision is based on and the commit."""

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = False


@dataclass(slots=True)
class Charge:
    """What a change adds to a usage row, and how much that row may reach (records, bytes)."""

    key: bytes
    records: int
    size: int
    max_records: int
    max_size: int


@dataclass(slots=True)
class Change:
    """One request's effect on the database: all of it or nothing."""

    puts: list[Put] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    charges: Sequence[Charge] = ()
    watches: list[Watch] = field(default_factory=list)


def charges_for(quota: Quota, total: bytes, mine: bytes, records: int, size: int) -> list[Charge]:
    """Charges against a namespace's quota: the namespace as a whole, and one identity in it."""
    return [
        Charge(total, records, size, quota.max_records, quota.max_bytes),
        Charge(mine, records, size, quota.max_records_per_identity, quota.max_bytes_per_identity),
    ]


class Writer:
    """Takes changes, answers when they are durable."""

    def __init__(self, platform: Platform, sealer: RowSealer, read: Read, commit: Commit) -> None:
        self._platform = platform
        self._sealer = sealer
        self._read = read
        self._commit = commit
        self._pending: list[tuple[Change, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._usage: dict[bytes, tuple[int, Usage]] = {}
        self._in_flight: frozenset[bytes] = frozenset()
        self._settled: asyncio.Future[None]
        self._watches: dict[bytes, set[Watch]] = {}
        self._run: Final = platform.random(16)
        self._sequence = 0
        self._previous = bytes(32)
        self._unticketed = 0

    def count_unticketed(self) -> None:
        """Note a request without a valid ticket; goes out with the next batch."""
        self._unticketed += 1

    @asynccontextmanager
    async def watching(self, keys: Sequence[bytes]) -> AsyncIterator[dict[bytes, Watch]]:
        """Watch rows from before they are read until what was decided on them is committed.

        Waits for a commit under way that touches them: the host could still show the rows from before it.
        """
        while not self._in_flight.isdisjoint(keys):
            await asyncio.wait([self._settled])
        watches = {key: Watch() for key in keys}
        for key, watch in watches.items():
            self._watches.setdefault(key, set()).add(watch)
        try:
            yield watches
        finally:
            for key, watch in watches.items():
                self._watches[key].discard(watch)
                if not self._watches[key]:
                    del self._watches[key]

    async def submit(self, change: Change) -> None:
        """Returns when `change` is durable.

        Raises `Stale` when a watched row was written meanwhile, `Misuse` QUOTA_EXCEEDED, `Unavailable` BUSY or what
        the database answered; then nothing of it was written.
        """
        if len(self._pending) >= MAX_PENDING:
            raise Unavailable(Number.BUSY)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((change, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        while self._pending:
            group, self._pending = self._pending[:MAX_GROUP], self._pending[MAX_GROUP:]
            try:
                await self._write(group)
            except StrongroomError as error:
                for _, done in group:
                    if not done.done():
                        done.set_exception(type(error)(error.number, error.reason))

    async def _write(self, group: list[tuple[Change, asyncio.Future[None]]]) -> None:
        await self._load_usage([charge.key for change, _ in group for charge in change.charges])
        accepted: list[tuple[Change, asyncio.Future[None]]] = []
        usage: dict[bytes, Usage] = {}
        for change, done in group:
            try:
                usage |= self._charged(change, usage)
            except StrongroomError as error:
                done.set_exception(error)
            else:
                accepted.append((change, done))
                self._mark_stale(change)
        if not accepted:
            return
        puts = [put for change, _ in accepted for put in change.puts]
        charged: dict[bytes, tuple[int, Usage]] = {}
        for key, value in usage.items():
            version = self._usage[key][0]
            charged[key] = (version + 1, value)
            puts.append(Put(key, version, version + 1, self._sealer.seal(key, version + 1, encode(value))))
        entries = [entry for change, _ in accepted for entry in change.log]
        self._in_flight = frozenset(put.key for put in puts)
        self._settled = asyncio.get_running_loop().create_future()
        try:
            await self._commit(puts, [self._seal_log(entries)] if entries else [])
        except StrongroomError as error:
            # Whether the host wrote the group is unknown: forget the counters and read them again.
            self._usage.clear()
            if error.number is Number.CONFLICT:
                raise Unavailable(Number.STORE_UNAVAILABLE, "somebody else writes this database") from None
            raise
        finally:
            self._in_flight = frozenset()
            self._settled.set_result(None)
        self._usage.update(charged)
        for _, done in accepted:
            if not done.done():
                done.set_result(None)

    async def _load_usage(self, keys: Sequence[bytes]) -> None:
        if len(self._usage) > USAGE_CACHE:
            self._usage.clear()
        missing = list({key for key in keys if key not in self._usage})
        if not missing:
            return
        for key, row in zip(missing, await self._read(missing), strict=True):
            if row is None:
                self._usage[key] = (0, Usage(records=0, bytes=0))
            else:
                self._usage[key] = (row.version, parse_payload(self._sealer.open(key, row), Usage))

    def _charged(self, change: Change, so_far: dict[bytes, Usage]) -> dict[bytes, Usage]:
        if any(watch.stale for watch in change.watches):
            raise Stale(Number.CONFLICT, "the record changed while it was being decided on")
        result: dict[bytes, Usage] = {}
        for charge in change.charges:
            now = result.get(charge.key) or so_far.get(charge.key) or self._usage[charge.key][1]
            records, size = now.records + charge.records, now.bytes + charge.size
            grows = charge.records > 0 or charge.size > 0
            if grows and (records > charge.max_records or size > charge.max_size):
                raise Misuse(Number.QUOTA_EXCEEDED)
            result[charge.key] = Usage(records=max(0, records), bytes=max(0, size))
        return result

    def _mark_stale(self, change: Change) -> None:
        for put in change.puts:
            for watch in self._watches.get(put.key, ()):
                watch.stale = True

    def _seal_log(self, entries: list[LogEntry]) -> bytes:
        """run (16) ‖ sequence (8) ‖ sealed batch."""
        batch = encode(
            LogBatch(
                run=self._run,
                sequence=self._sequence,
                previous=self._previous,
                unticketed=self._unticketed,
                entries=entries,
            )
        )
        key = digest(Domain.LOG_RUN, self._run)
        sealed = self._run + self._sequence.to_bytes(8, "big") + self._sealer.seal(key, self._sequence, batch)
        self._sequence += 1
        self._previous = digest(Domain.LOG_ENTRY, batch)
        self._unticketed = 0
        return sealed
