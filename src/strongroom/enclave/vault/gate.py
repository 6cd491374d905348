"""The gate before every operation on a record: decide, count, throttle, log.

Refused and missing look alike: both end here, with the same number, by the same path (RULES 19). What a decision
changes (attempt counters, journal, access log) is committed before any answer leaves (RULES 15 and 21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.counters import Attempt, Counters, Stale
from strongroom.enclave.vault.decisions import Decider, Question, Verdict
from strongroom.enclave.vault.journal import Note, opening_token
from strongroom.enclave.vault.records import LogEntry, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.terms import barrier
from strongroom.enclave.vault.writer import Change, Watch, Writer
from strongroom.protocol.errors import Number, Refused, StrongroomError, Unavailable, from_number
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import ByName, ByPerson, OfNamespace, Person, Terms, Ticket
from strongroom.protocol.vault_messages import Collect, Delete, Fill, GrantBlob, History, Update, Visit

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


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody inside the gate."""

    found: Found
    record: Record
    action: Action
    """What the rules permitted."""
    person: Person
    cluster: bytes
    """The Authenticator cluster on whose word `person` stands."""
    change: Change
    """Already holds the traces of the decision; commit it with what the action changes."""


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
        throttled = Verdict(int(Number.THROTTLED), verdict.people)
        return [
            throttled
            if any(self._counters.attempts(key).is_throttled(one.principal, now) for one in verdict.people)
            else verdict
            for key in keys
        ]

    async def hold_to_terms(
        self, caller: Caller, request: Collect, found: Sequence[Found], verdicts: dict[bytes, Verdict]
    ) -> dict[bytes, bytes]:
        """Put what terms forbid in place of what the rules allowed; by handle, the tokens of releases that count."""
        asked = ((one, binding_terms(one.live, verdicts[one.handle])) for one in found)
        bound = [(one, terms) for one, terms in asked if terms is not None]
        if not bound:
            return {}
        await self._counters.load([], [], [self._shelf.journal_key(one.handle) for one, _ in bound])
        now = self._clock.now()
        tokens: dict[bytes, bytes] = {}
        for one, terms in bound:
            people = verdicts[one.handle].people
            token = opening_token(people[0].principal, caller.binding_key, request.request_id)
            number = barrier(terms, now)
            if number == 0:
                journal = self._counters.journal(self._shelf.journal_key(one.handle))
                number = 0 if journal.has_room(token, terms.max_opens) else int(Number.OPENED_OUT)
            if number == 0:
                tokens[one.handle] = token
            else:
                verdicts[one.handle] = Verdict(number, people)
        return tokens

    async def pass_or_refuse(
        self,
        actions: Sequence[Action],
        found: Found,
        caller: Caller,
        tickets: Sequence[Ticket],
        record: Record | None,
        change: Change,
    ) -> tuple[Action, Verdict]:
        """The first of `actions` that is permitted, and the verdict on it; its traces are put into `change`.

        Raises what was decided on the last one otherwise, after writing that down: however many were asked, it is one
        refusal. `record` None (missing, or deleted) is `Refused`.
        """
        if record is None:
            self._writer.count_unticketed()
            raise Refused
        for action in actions:
            verdict = (await self.decide(action, record, [found], caller.binding_key, tickets))[0]
            if verdict.allowed:
                self.trace(change, action, found, verdict)
                return action, verdict
            if verdict.number != int(Number.REFUSED):
                break
        await self.write_refusals(action, [(found, verdict)])
        raise from_number(verdict.number)

    async def enter(
        self,
        caller: Caller,
        request: Update | Fill | Delete | History | GrantBlob,
        actions: Sequence[Action],
        found: Found,
        record: Record | None,
        watch: Watch,
    ) -> Entry:
        """Through the gate to the record that a request addresses. Raises what was decided otherwise.

        Of a record with a name only who may describe what is in its namespace is told anything but REFUSED (RULES 19).
        """
        if record is not None and record.kind == "namespace":
            record = None
        change = Change(watches=[watch])
        passing = self.pass_or_refuse(actions, found, caller, request.tickets, record, change)
        if isinstance(request.address, ByName | ByPerson):
            told = self.may_describe(caller, request.address.namespace, request.tickets)
            outcome, (allowed, log) = await asyncio.gather(_outcome(passing), told)
            if isinstance(outcome, StrongroomError):
                raise outcome if allowed else Refused()
            change.log += log
        else:
            outcome = await passing
        if record is None:
            raise Refused
        action, verdict = outcome
        return Entry(found, record, action, verdict.person, verdict.cluster, change)

    async def verify_open(self, entry: Entry) -> None:
        """Raises `Refused` CLOSED or EXPIRED when terms stand in the way of who entered, after writing that down."""
        verdict = Verdict(0, (entry.person,))
        terms = binding_terms(entry.record, verdict)
        number = 0 if terms is None else barrier(terms, self._clock.now())
        if number:
            await self.write_refusals(entry.action, [(entry.found, Verdict(number, verdict.people))])
            raise from_number(number)

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
        return verdict.allowed, [self.entry("describe", found, verdict)] if verdict.people else []

    def trace(
        self, change: Change, action: Action, found: Found, verdict: Verdict, token: bytes | None = None
    ) -> Note | None:
        """Put a decision into log and journal with `change`; the note, if the record has a journal.

        `token` is that of a release that counts.
        """
        change.log.append(self.entry(action, found, verdict))
        terms = None if found.record is None else found.record.terms
        if terms is None:
            return None
        visit = Visit(
            number=0,
            at=self._clock.now(),
            action=action,
            person=verdict.person,
            version=found.version,
            outcome=verdict.number,
        )
        note = Note(self._shelf.journal_key(found.handle), visit, token, terms.max_opens)
        change.notes.append(note)
        return note

    def trace_new(self, change: Change, found: Found, record: Record) -> None:
        """Put into log and journal that `record` is stored in the place of what was found."""
        stored = Found(found.handle, found.version + 1, record, damaged=False)
        note = self.trace(change, "create", stored, Verdict(0, (record.author,)))
        if note is not None:
            note.fresh = True

    def entry(self, action: Action, found: Found, verdict: Verdict) -> LogEntry:
        return LogEntry(
            at=self._clock.now(),
            handle=found.handle,
            version=found.version,
            action=action,
            identity=verdict.person.principal,
            number=verdict.number,
        )

    async def write_refusals(self, action: Action, refusals: Sequence[tuple[Found, Verdict]]) -> None:
        """Count and log refusals of people whose ticket was accepted; others leave no trace on a record."""
        change = Change()
        now = self._clock.now()
        for found, verdict in refusals:
            if not verdict.people:
                self._writer.count_unticketed()
                continue
            self.trace(change, action, found, verdict)
            if verdict.number == int(Number.REFUSED):
                key = self._shelf.attempts_key(found.handle)
                change.attempts += [Attempt(key, one.principal, now) for one in verdict.people]
        if change.log:
            await self._writer.submit(change)


def binding_terms(record: Record | None, verdict: Verdict) -> Terms | None:
    """The terms that bind whom a verdict permits; None for who stored the record, and where there are none."""
    if record is None or not verdict.allowed or verdict.person.principal == record.depositor:
        return None
    return record.terms


async def _outcome(work: Coroutine[Any, Any, T]) -> T | StrongroomError:
    try:
        return await work
    except StrongroomError as error:
        return error
