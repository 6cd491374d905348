"""Approvals: somebody asks, others say yes, and then it can be done once (RULES 17).

What a question covers, and why its approvals count for nothing else, stands in `standing`. Who may `ask` and who may
`approve` the record's rules say; how many it takes, too.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker, basis_of
from strongroom.enclave.vault.counters import Counters
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.people import agreed
from strongroom.enclave.vault.shelf import Shelf
from strongroom.enclave.vault.standing import Approving, Asking, Basis, OpenQuestion, open_to
from strongroom.enclave.vault.writer import Writer
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.vault_messages import Approve, Approved, Ask, Asked, Question, Questions, QuestionsOf

ASKABLE: Final = frozenset({"collect", "update", "fill", "delete", "audit"})
"""What one can do to a record. Nobody asks for leave to ask, or to approve."""


class Approvals:
    """Operations on what stands open at a record."""

    def __init__(
        self, platform: Platform, clock: Clock, shelf: Shelf, counters: Counters, writer: Writer, gate: Gate
    ) -> None:
        self._platform = platform
        self._clock = clock
        self._shelf = shelf
        self._counters = counters
        self._writer = writer
        self._gate = gate

    async def ask(self, caller: Caller, request: Ask) -> Asked:
        if request.action not in ASKABLE:
            raise Misuse(Number.MALFORMED, "that can't be asked for")
        return await until_settled(lambda: self._ask(caller, request))

    async def _ask(self, caller: Caller, request: Ask) -> Asked:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            asker = Asker.of(caller, request.tickets, request.request_id)
            entry = await self._gate.enter(asker, request.address, ["ask"], found, found.live, watches[handle])
            now = self._clock.now()
            question = OpenQuestion(
                question=self._platform.random(16),
                request_id=request.request_id,
                action=request.action,
                people=list(entry.verdict.people),
                key=caller.binding_key,
                asked_at=now,
                expires_at=now + request.seconds,
                approvals=[],
                used_by=None,
            )
            step = Asking(self._shelf.standing_key(handle), basis_of(found, entry.record), now, question)
            entry.change.steps.append(step)
            await self._writer.submit(entry.change)
        asked = step.question
        return Asked(question=asked.question, version=found.version, expires_at=asked.expires_at)

    async def questions(self, caller: Caller, request: Questions) -> QuestionsOf:
        return await until_settled(lambda: self._questions(caller, request))

    async def _questions(self, caller: Caller, request: Questions) -> QuestionsOf:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            asker = Asker.of(caller, request.tickets)
            entry = await self._gate.enter(asker, request.address, ["approve"], found, found.live, watches[handle])
            # Into the log only: nothing was approved.
            entry.change.notes.clear()
            await self._writer.submit(entry.change)
        basis = basis_of(found, entry.record)
        live = await self._live(handle, basis)
        shown = [_shown(one, basis.quorum) for one in live if one.used_by is None]
        return QuestionsOf(version=found.version, questions=shown)

    async def approve(self, caller: Caller, request: Approve) -> Approved:
        return await until_settled(lambda: self._approve(caller, request))

    async def _approve(self, caller: Caller, request: Approve) -> Approved:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            asker = Asker.of(caller, request.tickets, request.request_id)
            entry = await self._gate.enter(asker, request.address, ["approve"], found, found.live, watches[handle])
            people, basis = entry.verdict.people, basis_of(found, entry.record)
            live = await self._live(handle, basis)
            if open_to(live, request.question, people) is None:
                # Gone, guessed, or one's own: counted, so that nobody guesses at length.
                await self._gate.write_refusals("approve", [(found, entry.verdict.but(Number.REFUSED))])
                raise Refused
            step = Approving(self._shelf.standing_key(handle), basis, self._clock.now(), request.question, people)
            entry.change.steps.append(step)
            await self._writer.submit(entry.change)
        return Approved(approvals=step.approvals)

    async def _live(self, handle: bytes, basis: Basis) -> list[OpenQuestion]:
        key = self._shelf.standing_key(handle)
        await self._counters.load((self._counters.standing, [key]))
        return self._counters.standing.value(key).live(basis, self._clock.now())


def _shown(asked: OpenQuestion, quorum: int) -> Question:
    """By the names on which a quorum agrees: else one Authenticator could show an approver somebody else's name."""
    return Question(
        question=asked.question,
        action=asked.action,
        person=agreed(asked.people, quorum),
        key=fingerprint(asked.key),
        asked_at=asked.asked_at,
        expires_at=asked.expires_at,
        approvals=[agreed(one.people, quorum) for one in asked.approvals],
    )
