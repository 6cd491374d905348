"""The gate before every operation on a record: decide, count, throttle, log.

Refused and missing look alike: both end here, with the same number, by the same path (RULES 19). What a decision
changes (attempt counters, marks, journal, access log) is committed before any answer leaves (RULES 15 and 21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.vault.cases import Asker, Case, Cases
from strongroom.enclave.vault.counters import Attempt, Counters
from strongroom.enclave.vault.decisions import Decider, Question, Verdict
from strongroom.enclave.vault.journal import Note, opening_token
from strongroom.enclave.vault.marks import Marking
from strongroom.enclave.vault.people import are_as_before, are_called
from strongroom.enclave.vault.quotas import Quotas
from strongroom.enclave.vault.records import LogEntry, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.standing import Step
from strongroom.enclave.vault.tables import Stale
from strongroom.enclave.vault.terms import barrier
from strongroom.enclave.vault.writer import Change, Watch, Writer
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.errors import Number, Refused, StrongroomError, Unavailable, from_number
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import Address, ByName, ByPerson, OfNamespace, Person, Terms
from strongroom.protocol.vault_messages import Visit

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


SPENT: Final = frozenset({Number.TOKEN_UNTRUSTED, Number.TICKET_EXPIRED, Number.THROTTLED, Number.QUOTA_EXCEEDED})
"""What may stand against marks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody inside the gate."""

    found: Found
    record: Record
    action: Action
    """What the rules permitted."""
    verdict: Verdict
    change: Change
    """Already holds the traces of the decision; commit it with what the action changes."""

    @property
    def person(self) -> Person:
        return self.verdict.person


class Gate:
    """Decisions on records, with their traces."""

    def __init__(
        self,
        clock: Clock,
        decider: Decider,
        cases: Cases,
        shelf: Shelf,
        counters: Counters,
        writer: Writer,
        quotas: Quotas,
    ) -> None:
        self._clock = clock
        self._decider = decider
        self._cases = cases
        self._shelf = shelf
        self._counters = counters
        self._writer = writer
        self._quotas = quotas

    async def cases(self, action: Action, found: Sequence[tuple[Found, Record]], asker: Asker) -> list[Case]:
        """What is to be decided, in order. Those with the same instructions and facts go into one decision."""
        return await self._cases.of(action, found, asker)

    def seeing(self, found: Found, instructions: bytes) -> Step | None:
        """To commit when it is new what the owner's absence permits, or when the owner was there.

        Raises `Untrusted` CLOCK where nobody can say when that is.
        """
        return self._cases.seeing(found, instructions)

    async def decide(self, action: Action, cases: Sequence[Case], asker: Asker) -> list[Verdict]:
        """One decision for records with the same instructions and facts; a verdict for each."""
        verdict = await self._ask(action, cases, asker)
        if not verdict.allowed:
            # Whoever waits for approvals may well look now and then: that is no guess.
            return [replace(verdict, is_awaited=case.question is not None) for case in cases]
        verdicts = [verdict] * len(cases)
        for at, case in enumerate(cases):
            if case.is_approved and _asked(case, verdict):
                verdicts[at] = replace(verdict, using=self._cases.using(case, asker))
        others = [at for at, case in enumerate(cases) if case.is_approved and not _asked(case, verdict)]
        if others:
            # Permitted is somebody else than who asked with this key: then without what was approved for that one.
            alone = await self._ask(action, [cases[at].without_approvals() for at in others], asker)
            for at in others:
                verdicts[at] = alone
        return await self._held_up(cases, verdicts)

    async def _held_up(self, cases: Sequence[Case], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """With THROTTLED in place of OK for whoever was refused too often."""
        keys = [self._shelf.attempts_key(case.found.handle) for case in cases]
        await self._counters.load((self._counters.attempts, keys))
        now = self._clock.now()
        return [
            verdict.but(Number.THROTTLED) if verdict.allowed and self._is_held_up(key, verdict, now) else verdict
            for key, verdict in zip(keys, verdicts, strict=True)
        ]

    def _is_held_up(self, key: bytes, verdict: Verdict, now: int) -> bool:
        """Whether too few permit it of those who have not refused the same person too often."""
        attempts = self._counters.attempts.value(key)
        free = [one for one in verdict.people if not attempts.is_throttled(one.cluster, one.principal, now)]
        return len(free) < verdict.quorum

    async def _ask(self, action: Action, cases: Sequence[Case], asker: Asker) -> Verdict:
        verdict = await self._decider.decide(
            Question(
                action=action,
                binding_key=asker.binding_key,
                tickets=asker.tickets,
                instructions=cases[0].record.instructions,
                facts=cases[0].facts,
                approvers=cases[0].approvers,
                records=tuple(case.found.ref for case in cases),
            )
        )
        return await self._settled(verdict, cases[0].record) if verdict.marked else verdict

    async def _settled(self, verdict: Verdict, record: Record) -> Verdict:
        """The verdict once its marks are durable, so that nothing that is done about it can come before them; or what
        stands against them."""
        now = self._clock.now()
        rows: dict[bytes, list[Mark]] = {}
        for one in verdict.marked:
            rows.setdefault(self._shelf.marks_key(one.cluster, one.principal), []).append(one.mark)
        markings = [Marking(key, tuple(marks), now) for key, marks in rows.items()]
        marks = self._counters.marks
        await self._counters.load((marks, [one.key for one in markings]))
        try:
            if not all(marks.value(one.key).holds(one.marks) for one in markings):
                if not all(marks.value(one.key).marks for one in markings):
                    charges = await self._quotas.charges_of_marks(record)
                    markings = [replace(one, charges=charges) for one in markings]
                await self._writer.submit(Change(marks=markings))
        except StrongroomError as error:
            if error.number in SPENT:
                return verdict.but(error.number)
            raise
        return verdict

    async def hold_to_terms(
        self, asker: Asker, request_id: bytes, found: Sequence[Found], verdicts: dict[bytes, Verdict]
    ) -> dict[bytes, bytes]:
        """Put what terms forbid in place of what the rules allowed; by handle, the tokens of releases that count."""
        asked = ((one, binding_terms(one.live, verdicts[one.handle])) for one in found)
        bound = [(one, terms) for one, terms in asked if terms is not None]
        if not bound:
            return {}
        await self._counters.load((self._counters.journals, [self._shelf.journal_key(one.handle) for one, _ in bound]))
        now = self._clock.now()
        tokens: dict[bytes, bytes] = {}
        for one, terms in bound:
            verdict = verdicts[one.handle]
            token = opening_token(verdict.person.principal, asker.binding_key, request_id)
            number = barrier(terms, now)
            if number is None:
                journal = self._counters.journal(self._shelf.journal_key(one.handle))
                number = None if journal.has_room(token, terms.max_opens) else Number.OPENED_OUT
            if number is None:
                tokens[one.handle] = token
            else:
                verdicts[one.handle] = verdict.but(number)
        return tokens

    async def pass_or_refuse(
        self, asker: Asker, actions: Sequence[Action], found: Found, record: Record | None, change: Change
    ) -> tuple[Action, Verdict]:
        """The first of `actions` that is permitted, and the verdict on it; its traces are put into `change`.

        Raises what was decided on the last one otherwise, after writing that down: however many were asked, it is one
        refusal. `record` None (missing, or deleted) is `Refused`.
        """
        if record is None:
            self._writer.count_unticketed()
            raise Refused
        for action in actions:
            cases = await self.cases(action, [(found, record)], asker)
            verdict = (await self.decide(action, cases, asker))[0]
            if verdict.allowed:
                self.trace(change, action, found, verdict)
                return action, verdict
            if verdict.number != int(Number.REFUSED):
                break
        await self.write_refusals(action, [(found, verdict)])
        raise from_number(verdict.number)

    async def enter(
        self,
        asker: Asker,
        address: Address,
        actions: Sequence[Action],
        found: Found,
        record: Record | None,
        watch: Watch,
    ) -> Entry:
        """Through the gate to the record at `address`. Raises what was decided otherwise.

        Of a record with a name only who may describe what is in its namespace is told anything but REFUSED (RULES 19).
        """
        if record is not None and record.kind == "namespace":
            record = None
        change = Change(watches=[watch])
        passing = self.pass_or_refuse(asker, actions, found, record, change)
        if isinstance(address, ByName | ByPerson):
            told = self.may_describe(asker, address.namespace)
            outcome, (allowed, traces) = await asyncio.gather(_outcome(passing), told)
            if isinstance(outcome, StrongroomError):
                raise outcome if allowed else Refused()
            change.take(traces)
        else:
            outcome = await passing
        if record is None:
            raise Refused
        action, verdict = outcome
        return Entry(found, record, action, verdict, change)

    async def audit(self, asker: Asker, address: Address) -> Entry:
        """Through the gate by the right to audit; that somebody looked is durable when this returns."""
        handle = self._shelf.handle(address)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            entry = await self.enter(asker, address, ["audit"], found, found.record, watches[handle])
            await self._writer.submit(entry.change)
        return entry

    async def verify_open(self, entry: Entry) -> None:
        """Raises `Refused` CLOSED or EXPIRED when terms stand in the way of who entered, after writing that down."""
        terms = binding_terms(entry.record, entry.verdict)
        number = None if terms is None else barrier(terms, self._clock.now())
        if number is not None:
            await self.write_refusals(entry.action, [(entry.found, entry.verdict.but(number))])
            raise from_number(number)

    async def may_describe(self, asker: Asker, namespace: str) -> tuple[bool, Change]:
        """Whether the namespace lets this caller describe what is in it, and the traces of that.

        Asked for every record that is addressed by name, there or not: who may not describe is told REFUSED either
        way, by the same path, whatever ticket is missing or expired (RULES 19).
        """
        found = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=namespace)))
        traces = Change()
        if found.live is None:
            return False, traces
        cases = await self.cases("describe", [(found, found.live)], asker)
        verdict = (await self.decide("describe", cases, asker))[0]
        if verdict.people:
            traces.log.append(self.entry("describe", found, verdict))
            traces.steps += self._steps(found, verdict)
        return verdict.allowed, traces

    def trace(
        self, change: Change, action: Action, found: Found, verdict: Verdict, token: bytes | None = None
    ) -> Note | None:
        """Put a decision into log and journal with `change`; the note, if the record has a journal.

        `token` is that of a release that counts.
        """
        change.log.append(self.entry(action, found, verdict))
        change.steps += self._steps(found, verdict)
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

    def _steps(self, found: Found, verdict: Verdict) -> list[Step]:
        """What a decision changes in the record's standing row."""
        steps: list[Step] = []
        record = found.record
        if verdict.using is not None:
            steps.append(verdict.using)
        if verdict.allowed and record is not None and are_called(verdict.people, record.depositor, 1):
            # On the word of any one: a false one keeps a deputy waiting, a quorum's would let one of them call the
            # owner something else until the deputy may.
            seeing = self.seeing(found, record.instructions)
            steps += [] if seeing is None else [seeing]
        return steps

    def trace_new(self, change: Change, found: Found, record: Record, permitted: Verdict) -> None:
        """Put into log and journal that `record` is stored in the place of what was found."""
        stored = Found(found.handle, found.version + 1, record)
        note = self.trace(change, "create", stored, Verdict(0, permitted.people, permitted.quorum))
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
            if verdict.number == int(Number.REFUSED) and not verdict.is_awaited:
                key = self._shelf.attempts_key(found.handle)
                change.attempts += [Attempt(key, one.cluster, one.principal, now) for one in verdict.people]
        if change.log:
            await self._writer.submit(change)


def binding_terms(record: Record | None, verdict: Verdict) -> Terms | None:
    """The terms that bind whom a verdict permits; None for who stored the record, and where there are none."""
    if record is None or not verdict.allowed or are_called(verdict.people, record.depositor, verdict.quorum):
        return None
    return record.terms


def _asked(case: Case, verdict: Verdict) -> bool:
    """Whether who is permitted is who asked for the approvals of this case."""
    return case.question is not None and are_as_before(verdict.people, case.question.people, verdict.quorum)


async def _outcome(work: Coroutine[Any, Any, T]) -> T | StrongroomError:
    try:
        return await work
    except StrongroomError as error:
        return error
