"""The gate before every operation on a record: decide, count, throttle, log.

Refused and missing look alike: both end here, with the same number, by the same path (RULES 19). What a decision
changes (attempt counters, access log) is committed before any answer leaves (RULES 15 and 21).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
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

    def __init__(self, clock: Clock, decider: Decider, shelf: Shelf, writer: Writer) -> None:
        self._clock = clock
        self._decider = decider
        self._shelf = shelf
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
        now = self._clock.now()
        throttled = Verdict(int(Number.THROTTLED), verdict.identity)
        return [throttled if one.attempts.is_throttled(verdict.identity, now) else verdict for one in found]

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
        entry = self.entry(action, found, verdict)
        if verdict.allowed:
            return verdict.identity, entry
        await self.write_refusals([(found, verdict, entry)])
        raise from_number(verdict.number)

    async def may_describe(self, caller: Caller, namespace: str, tickets: Sequence[Ticket]) -> bool:
        """Whether the namespace lets this caller describe what is in it.

        Asked for unknown names too, so that an unknown name takes the same path as a refused one (RULES 19).
        """
        found = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=namespace)))
        if found.live is None:
            return False
        return (await self.decide("describe", found.live, [found], caller.binding_key, tickets))[0].allowed

    def entry(self, action: Action, found: Found, verdict: Verdict) -> LogEntry:
        return LogEntry(
            at=self._clock.now(),
            handle=found.handle,
            version=found.version,
            action=action,
            identity=verdict.identity,
            number=verdict.number,
        )

    async def write_refusals(self, refusals: Sequence[tuple[Found, Verdict, LogEntry]]) -> None:
        """Count and log refusals of people whose ticket was accepted; others leave no trace on a record."""
        counted = [(found, verdict, entry) for found, verdict, entry in refusals if verdict.identity]
        for _ in range(len(refusals) - len(counted)):
            self._writer.count_unticketed()
        if not counted:
            return
        handles = [found.handle for found, _, _ in counted]
        await until_settled(lambda: self._count_refusals(handles, counted))

    async def _count_refusals(
        self, handles: Sequence[bytes], counted: Sequence[tuple[Found, Verdict, LogEntry]]
    ) -> None:
        async with self._writer.watching(self._shelf.keys(handles)) as watches:
            latest = await self._shelf.find(handles)
            change = Change(log=[entry for _, _, entry in counted], watches=list(watches.values()))
            now = self._clock.now()
            for current, (_, verdict, _) in zip(latest, counted, strict=True):
                if verdict.number == int(Number.REFUSED):
                    change.puts.append(self._shelf.put_attempts(current, current.attempts.add(verdict.identity, now)))
            await self._writer.submit(change)
