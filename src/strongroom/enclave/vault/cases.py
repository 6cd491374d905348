"""What an Authenticator is told of each record: `context.record` of the rules.

Most of it stands in the record. Approvals, idle days and the time are looked up only where the rules name them, so
that other records cost nothing more. Attack stopped here: approvals for one record, action or binding key that count
for another. They are supplied for exactly the key that asks now, and the gate holds an OK against who asked then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.counters import Counters
from strongroom.enclave.vault.plans import APPROVALS, IDLE, TIME, plan_of
from strongroom.enclave.vault.records import Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.standing import NO_STANDING, Approvers, Basis, OpenQuestion, Seeing, Using
from strongroom.enclave.vault.witnessed import WitnessedTime
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import Ticket

DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose request it is, as far as that is known before a decision."""

    binding_key: bytes
    tickets: Sequence[Ticket]
    request_id: bytes | None
    """None for requests that change nothing."""

    @staticmethod
    def of(caller: Caller, tickets: Sequence[Ticket], request_id: bytes | None = None) -> Asker:
        return Asker(caller.binding_key, tickets, request_id)


@dataclass(frozen=True, slots=True)
class Case:
    """One record to be decided on, with what the rules may know of it."""

    found: Found
    record: Record
    facts: bytes
    """Encoded `RecordFacts`, without approvals."""
    question: OpenQuestion | None = None
    """By which somebody with this binding key waits for approvals, or has got them."""

    @property
    def approvers(self) -> Approvers:
        return () if self.question is None else self.question.approvers

    @property
    def is_approved(self) -> bool:
        """Whether an OK may be owed to approvals."""
        return self.question is not None and bool(self.question.approvals)

    def without_approvals(self) -> Case:
        return Case(self.found, self.record, self.facts)


class Cases:
    """Looks up what the rules name."""

    def __init__(self, clock: Clock, witnessed: WitnessedTime, shelf: Shelf, counters: Counters) -> None:
        self._clock = clock
        self._witnessed = witnessed
        self._shelf = shelf
        self._counters = counters

    async def of(self, action: Action, found: Sequence[tuple[Found, Record]], asker: Asker) -> list[Case]:
        """In order. Raises `Untrusted` INTEGRITY for a standing row that lies."""
        needs = [plan_of(record.instructions).needs for _, record in found]
        if not any(needs):
            return [Case(one, record, encode(record.facts)) for one, record in found]
        keys = [
            self._shelf.standing_key(one.handle)
            for (one, _), named in zip(found, needs, strict=True)
            if named & {*APPROVALS, IDLE}
        ]
        await self._counters.load((self._counters.standing, keys))
        now, witnessed = self._clock.now(), self._witnessed.now()
        return [
            self._case(action, one, record, named, asker, now, witnessed)
            for (one, record), named in zip(found, needs, strict=True)
        ]

    def _case(
        self,
        action: Action,
        found: Found,
        record: Record,
        needs: frozenset[str],
        asker: Asker,
        now: int,
        witnessed: int | None,
    ) -> Case:
        standing, question, idle = NO_STANDING, None, None
        if needs & {*APPROVALS, IDLE}:
            standing = self._counters.standing.value(self._shelf.standing_key(found.handle))
        if needs & APPROVALS:
            asked = (basis_of(found, record), now, asker.binding_key, action, asker.request_id)
            question = standing.find(*asked)
            if question is None and record.last.request_id == asker.request_id:
                # A retry gets the same success. What it commits beyond that would find its approvals used up.
                question = standing.find_repeated(*asked)
        if IDLE in needs and witnessed is not None and standing.owner_seen_at:
            idle = max(0, witnessed - standing.owner_seen_at) // DAY
        facts = msgspec.structs.replace(record.facts, idle_days=idle, time=witnessed if needs & TIME else None)
        return Case(found, record, encode(facts), question)

    def using(self, case: Case, asker: Asker) -> Using | None:
        """To commit with what an OK on this case permits: its approvals are used up."""
        if case.question is None or not case.is_approved:
            return None
        key = self._shelf.standing_key(case.found.handle)
        basis = basis_of(case.found, case.record)
        return Using(key, basis, self._clock.now(), case.question.question, asker.request_id)

    def seeing(self, found: Found, instructions: bytes) -> Seeing | None:
        """To commit when the owner was there, where rules ask for how long they were not. Raises `Untrusted` CLOCK."""
        now = self._witnessed.latest() if IDLE in plan_of(instructions).needs else None
        return None if now is None else Seeing(self._shelf.standing_key(found.handle), now)


def basis_of(found: Found, record: Record) -> Basis:
    """What a question at this record is about."""
    plan = plan_of(record.instructions)
    return Basis(found.version, plan.digest, plan.instructions.quorum)
