"""The one writer: group commit, counters, versions and the access log in one place.

Changes that arrive while a commit is under way form the next group, so a durable write costs a share of one
`fsync`. One group is in flight at a time; that order makes counters exact and lets "the version is still the one
decided on" be checked inside the commit (RULES 15).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from strongroom.enclave.vault import journal, marks, standing
from strongroom.enclave.vault.counters import Attempt, Counters
from strongroom.enclave.vault.journal import Note
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.marks import Marking
from strongroom.enclave.vault.records import Charge, LogEntry
from strongroom.enclave.vault.standing import Step
from strongroom.enclave.vault.tables import Stale
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from strongroom.protocol.link import MAX_BODY, Put

MAX_GROUP: Final = 256
"""Changes of one commit."""
MAX_GROUP_BYTES: Final = MAX_BODY // 4
"""Bytes of rows of one commit. Above the link's limit a group would fail as a whole, with everybody's changes in it."""
MAX_PENDING: Final = 4096
"""Changes waiting; more are refused as BUSY."""


class Watch:
    """Says whether a row was written between the reading that a decision is based on and the commit."""

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = False


@dataclass(slots=True)
class Change:
    """One request's effect on the database: all of it or nothing."""

    puts: list[Put] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    marks: list[Marking] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)

    def take(self, traces: Change) -> None:
        """Add the traces of another decision."""
        self.log += traces.log
        self.notes += traces.notes
        self.steps += traces.steps

    @property
    def all_charges(self) -> list[Charge]:
        """With those for rows of marks, which count only if this change opens the row."""
        return [*self.charges, *(charge for marking in self.marks for charge in marking.charges)]

    @property
    def critical(self) -> set[bytes]:
        """Keys of rows whose change must not be lost with a rollback: replaced, counted, marked, asked, approved.

        A new record, and a line of the access log, may be: within what `WITNESS_PATIENCE` says.
        """
        keys = {put.key for put in self.puts if put.replaces}
        keys.update(attempt.key for attempt in self.attempts)
        keys.update(note.key for note in self.notes if note.token is not None)
        keys.update(marking.key for marking in self.marks)
        keys.update(step.key for step in self.steps)
        return keys

    @property
    def keys(self) -> set[bytes]:
        """Of all rows that it changes or tells of."""
        return self.critical.union((put.key for put in self.puts), (note.key for note in self.notes))

    @property
    def only_logs(self) -> bool:
        """Lines of the access log, visits and refusals, and nothing that anybody gains by."""
        return not (self.puts or self.marks or self.steps or any(note.token is not None for note in self.notes))

    @property
    def size(self) -> int:
        """Bytes of its rows, about."""
        rows = sum(len(put.sealed) + 128 for put in self.puts)
        rows += (journal.MAX_ROW + 128) * len(self.notes)
        rows += (marks.MAX_ROW + 128) * len(self.marks) + (standing.MAX_ROW + 128) * len(self.steps)
        return rows + 512 * (len(self.log) + len(self.all_charges)) + 512


Pending = tuple[Change, asyncio.Future[None]]


class Writer:
    """Takes changes, answers when they are durable."""

    def __init__(self, counters: Counters, ledger: Ledger, witnessing: Witnessing) -> None:
        self._counters = counters
        self._ledger = ledger
        self._witnessing = witnessing
        self._unticketed = 0
        self._pending: list[Pending] = []
        self._task: asyncio.Task[None] | None = None
        self._in_flight: frozenset[bytes] = frozenset()
        self._settled: asyncio.Future[None]
        self._watches: dict[bytes, set[Watch]] = {}

    def count_unticketed(self) -> None:
        """Note a request without a valid ticket; the next commit says how many there were."""
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
        the database answered; then nothing of it was written that is acknowledged. WITNESSES_UNAVAILABLE for whatever
        does more than log and count, while no witness answers.
        """
        if len(self._pending) >= MAX_PENDING:
            raise Unavailable(Number.BUSY)
        if not change.only_logs:
            self._witnessing.verify_may_write()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((change, done))
        if self._task is None or self._task.done():
            # In a context of its own: what it reads for everybody, no single answer rests on.
            self._task = asyncio.create_task(self._drain(), context=Context())
        await done
        if self._witnessing.exists:
            self._witnessing.rest_on(change.keys)

    async def _drain(self) -> None:
        while self._pending:
            group = self._take()
            error: StrongroomError = Unavailable(Number.INTERNAL)
            try:
                await self._write(group)
            except StrongroomError as failure:
                error = failure
            finally:
                # Whatever happened, nobody waits for ever, and nobody shares an exception with somebody else.
                for _, done in group:
                    if not done.done():
                        done.set_exception(type(error)(error.number, error.reason))

    def _take(self) -> list[Pending]:
        size = taken = 0
        for change, _ in self._pending[:MAX_GROUP]:
            size += change.size
            if taken and size > MAX_GROUP_BYTES:
                break
            taken += 1
        group, self._pending = self._pending[:taken], self._pending[taken:]
        return group

    async def _write(self, group: list[Pending]) -> None:
        counters = self._counters
        await counters.load(
            (counters.usage, [charge.key for change, _ in group for charge in change.all_charges]),
            (counters.attempts, [attempt.key for change, _ in group for attempt in change.attempts]),
            (counters.journals, [note.key for change, _ in group for note in change.notes]),
            (counters.marks, [marking.key for change, _ in group for marking in change.marks]),
            (counters.standing, [step.key for change, _ in group for step in change.steps]),
        )
        tally = self._counters.tally()
        accepted: list[Pending] = []
        for change, done in group:
            try:
                if any(watch.stale for watch in change.watches):
                    raise Stale(Number.CONFLICT, "the record changed while it was being decided on")
                tally.verify_notes(change.notes)
                marked, stepped = tally.marked(change.marks), tally.stepped(change.steps)
                tally.charge([*change.charges, *tally.charges_of(change.marks)])
            except StrongroomError as error:
                if not done.done():
                    done.set_exception(error)
                continue
            tally.set(marked, stepped)
            tally.count(change.attempts)
            tally.write(change.notes)
            accepted.append((change, done))
            self._mark_stale(change)
        if not accepted:
            return
        puts = [put for change, _ in accepted for put in change.puts] + tally.puts()
        entries = [entry for change, _ in accepted for entry in change.log]
        critical = frozenset(key for change, _ in accepted for key in change.critical)
        unticketed = self._unticketed
        self._in_flight = frozenset(put.key for put in puts)
        self._settled = asyncio.get_running_loop().create_future()
        try:
            await self._ledger.commit(puts, entries, unticketed=unticketed, critical=critical)
        except StrongroomError as error:
            # Whether the host wrote the group is found out by the ledger; what these rows hold then, is read again.
            self._counters.forget()
            if error.number is Number.CONFLICT:
                raise Unavailable(Number.STORE_UNAVAILABLE, "somebody else writes this database") from None
            raise
        finally:
            self._in_flight = frozenset()
            self._settled.set_result(None)
        self._unticketed -= unticketed
        tally.keep()
        for _, done in accepted:
            if not done.done():
                done.set_result(None)

    def _mark_stale(self, change: Change) -> None:
        for put in change.puts:
            for watch in self._watches.get(put.key, ()):
                watch.stale = True
