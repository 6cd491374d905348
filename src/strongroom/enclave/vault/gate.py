"""The gate before every operation on a record: decide, count, throttle, log.

Refused and missing look alike: both end here, with the same number, by the same path (RULES 19). What a decision
changes (attempt counters, access log) is committed before any answer leaves (RULES 15 and 21).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.counters import Attempt, Counters
from strongroom.enclave.vault.decisions import Decider, Question, Verdict
from strongroom.enclave.vault.records import LogEntry, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.writer import Change, Stale, Writer
from strongroom.protocol.errors import Number, Refused, Unavailable, from_number
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import OfNamespace, Ticket

T = TypeVar("T")

RETRIES: Final = 8
"""Times a request is decided anew when what it is about changes under it."""


async def until_settled(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat `attempt` while rows change under it. Raises `Unavailable` BUSY when they never rest."""
    for _ in range(RETRIES):
        try:
            return await attempt()
        except Stale:
            continue
    raise Unavailable(Number.BUSY, "the record keeps changing")


class Gate:
    """Decisions on records, with their traces."""

    def __init__(self, clock: Clock, decider: Decider, shelf: Shelf, counters: Counters, writer: Writer) -> None:
        self._clock = clock
        self._decider = decider
        self._shelf = shelf
        self._counters = counters
        self._writer = writer

    async def decide(
        self, action: Action, record: Record, found: Sequence[Found], binding_key: bytes, tickets: Sequence[Ticket]
    ) -> list[Verdict]:
        """One decision for records with the same instructions and facts as `record`; a verdict for each."""
        verdict = await self._decider.decide(
            Question(
                action=action,
                binding_key=binding_key,
                tickets=tickets,
                instructions=record.instructions,
                facts=record.facts,
                records=tuple(one.ref for one in found),
            )
        )
        if not verdict.allowed:
            return [verdict] * len(found)
        keys = [self._shelf.attempts_key(one.handle) for one in found]
        await self._counters.load([], keys)
        now = self._clock.now()
        throttled = Verdict(int(Number.THROTTLED), verdict.principals)
        return [
            throttled
            if any(self._counters.attempts(key).is_throttled(one, now) for one in verdict.principals)
            else verdict
            for key in keys
        ]

    async def pass_or_refuse(
        self, action: Action, found: Found, caller: Caller, tickets: Sequence[Ticket], record: Record | None
    ) -> tuple[str, LogEntry]:
        """The principal allowed, and the log entry to commit with what it is allowed.

        Raises what was decided otherwise, after writing it down. `record` None (missing, or deleted) is `Refused`.
        """
        if record is None:
            self._writer.count_unticketed()
            raise Refused
        verdict = (await self.decide(action, record, [found], caller.binding_key, tickets))[0]
        if verdict.allowed:
            return verdict.identity, self.entry(action, found, verdict)
        await self.write_refusals(action, [(found, verdict)])
        raise from_number(verdict.number)

    async def may_describe(
        self, caller: Caller, namespace: str, tickets: Sequence[Ticket]
    ) -> tuple[bool, list[LogEntry]]:
        """Whether the namespace lets this caller describe what is in it, and what to log of it.

        Asked for every record that is addressed by name, there or not: who may not describe is told REFUSED either
        way, by the same path, whatever ticket is missing or expired (RULES 19).
        """
        found = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=namespace)))
        if found.live is None:
            return False, []
        verdict = (await self.decide("describe", found.live, [found], caller.binding_key, tickets))[0]
        return verdict.allowed, [self.entry("describe", found, verdict)] if verdict.principals else []

    def entry(self, action: Action, found: Found, verdict: Verdict) -> LogEntry:
        return self.entry_at(action, found.handle, found.version, verdict)

    def entry_at(self, action: Action, handle: bytes, version: int, verdict: Verdict) -> LogEntry:
        return LogEntry(
            at=self._clock.now(),
            handle=handle,
            version=version,
            action=action,
            identity=verdict.identity,
            number=verdict.number,
        )

    async def write_refusals(self, action: Action, refusals: Sequence[tuple[Found, Verdict]]) -> None:
        """Count and log refusals of people whose ticket was accepted; others leave no trace on a record."""
        change = Change()
        now = self._clock.now()
        for found, verdict in refusals:
            if not verdict.principals:
                self._writer.count_unticketed()
                continue
            change.log.append(self.entry(action, found, verdict))
            if verdict.number == int(Number.REFUSED):
                key = self._shelf.attempts_key(found.handle)
                change.attempts += [Attempt(key, identity, now) for identity in verdict.principals]
        if change.log:
            await self._writer.submit(change)
