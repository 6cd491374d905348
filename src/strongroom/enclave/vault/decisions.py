"""Asking Authenticators, and what their answers cover (RULES 4, 5, 9 and 15).

Attacks stopped here:

1. An OK for key A used for key B, or for another action or version: the answer repeats the digest of exactly one
   request, which names them.
2. An old OK replayed: the request holds a fresh random id, the answer counts in this session only, for 30 seconds.
3. An OK of an Authenticator that the depositor did not name: asked are only peers appraised under the policy that
   stands in this record's sealed instructions.
4. One Authenticator asked twice to fill a quorum: distinct clusters are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.peers import Peer, Peers, is_lost_session
from strongroom.protocol.authenticator_messages import (
    Decide,
    DecideItem,
    Decision,
    DecisionRequest,
    Decisions,
    RecordRef,
    context_digest,
    decision_digest,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.instructions import (
    Action,
    AuthenticatorRef,
    Instructions,
    instructions_digest,
    method_digest,
    parse_instructions,
    rules_digest,
)
from strongroom.protocol.limits import DECISION_LIFE, MAX_BATCH, MAX_MESSAGE
from strongroom.protocol.messages import Ticket

T = TypeVar("T")

IN_FLIGHT: Final = 2
"""Round trips under way to one Authenticator; what comes meanwhile shares the next one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Instructions and the digests that decisions on them name."""

    instructions: Instructions
    digest: bytes
    rules: bytes
    methods: list[bytes]


@lru_cache(maxsize=256)
def plan_of(data: bytes) -> Plan:
    """Parsed once for exactly these bytes (RULES 5). Raises `Misuse`."""
    instructions = parse_instructions(data)
    return Plan(
        instructions,
        instructions_digest(data),
        rules_digest(instructions.rules),
        [method_digest(method) for method in instructions.methods],
    )


@dataclass(frozen=True, slots=True)
class Question:
    """May whoever holds these tickets do `action` on these records, by these instructions?"""

    action: Action
    binding_key: bytes
    tickets: Sequence[Ticket]
    instructions: bytes
    facts: bytes
    """Encoded `RecordFacts`, the same for all records: others are decided apart."""
    records: tuple[RecordRef, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`number` 0 is OK. `identity` is the principal recognised, "" when no ticket was accepted."""

    number: int
    identity: str

    @property
    def allowed(self) -> bool:
        return self.number == 0


async def at_once(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """`asyncio.gather`, without a task where there is nothing to gather."""
    if len(work) == 1:
        return [await work[0]]
    return list(await asyncio.gather(*work))


class _Line:
    """Decision requests to one peer, several in a frame."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._waiting: list[tuple[DecideItem, asyncio.Future[Decision]]] = []
        self._trips: set[asyncio.Task[None]] = set()

    async def ask(self, item: DecideItem) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._trips) < IN_FLIGHT:
            trip = asyncio.create_task(self._run())
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                reply = await self._peer.ask(Decide(items=[item for item, _ in batch]))
                if not isinstance(reply, Decisions) or len(reply.decisions) != len(batch):
                    raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "not an answer to these requests")
            except StrongroomError as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(type(error)(error.number, error.reason))
            else:
                for (_, answer), decision in zip(batch, reply.decisions, strict=True):
                    if not answer.done():
                        answer.set_result(decision)

    def _take(self) -> list[tuple[DecideItem, asyncio.Future[Decision]]]:
        size = taken = 0
        for item, _ in self._waiting[:MAX_BATCH]:
            size += len(item.request) + len(item.rules) * 4 + len(item.facts) + len(item.ticket.sealed) + 1024
            if taken and size > MAX_MESSAGE // 2:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch


class Decider:
    """Puts questions to the Authenticators that a record's instructions name."""

    def __init__(self, platform: Platform, clock: Clock, peers: Peers, cluster_id: bytes) -> None:
        self._platform = platform
        self._clock = clock
        self._peers = peers
        self._cluster_id = cluster_id
        self._lines: dict[Peer, _Line] = {}

    async def decide(self, question: Question) -> Verdict:
        """The verdict of the quorum. Errors of single Authenticators become its number; nothing is raised but
        `Misuse` for instructions that do not parse. No OK is remembered."""
        plan = plan_of(question.instructions)
        pairs = [(reference, ticket) for ticket in question.tickets for reference in plan.instructions.authenticators]
        answers = await at_once([self._ask(question, plan, *pair) for pair in pairs])
        agreed: set[bytes] = set()
        identity, refusal = "", int(Number.TICKET_MISSING)
        for answer in answers:
            if answer is None:
                continue
            cluster, decision = answer
            if decision.identity is not None:
                identity = identity or decision.identity.principal
            if decision.number == 0:
                agreed.add(cluster)
            else:
                refusal = decision.number
        if len(agreed) >= plan.instructions.quorum and identity:
            return Verdict(0, identity)
        return Verdict(refusal, identity)

    async def _ask(
        self, question: Question, plan: Plan, reference: AuthenticatorRef, ticket: Ticket
    ) -> tuple[bytes, Decision] | None:
        """(cluster id, decision), or None when the ticket is another Authenticator's."""
        for attempt in (1, 2):
            peer: Peer | None = None
            try:
                peer = await self._peers.get(reference.url, reference.policy)
                if peer.cluster_id != ticket.authenticator:
                    return None
                return peer.cluster_id, await self._round_trip(peer, question, plan, ticket)
            except StrongroomError as error:
                if peer is not None and is_lost_session(error):
                    self._forget(peer)
                    if attempt == 1:
                        continue
                return b"", Decision(request_digest=bytes(32), number=int(error.number), identity=None)
        return None

    async def _round_trip(self, peer: Peer, question: Question, plan: Plan, ticket: Ticket) -> Decision:
        request = encode(
            DecisionRequest(
                request_id=self._platform.random(16),
                vault_cluster=self._cluster_id,
                binding_key=question.binding_key,
                action=question.action,
                rules_digest=plan.rules,
                instructions_digest=plan.digest,
                context_digest=context_digest(question.facts),
                records=list(question.records),
            )
        )
        item = DecideItem(
            request=request,
            schema_version=plan.instructions.schema_version,
            rules=plan.instructions.rules,
            methods=plan.methods,
            facts=question.facts,
            ticket=ticket,
        )
        asked_at = self._clock.now()
        line = self._lines.get(peer)
        if line is None:
            self._lines = {known: line for known, line in self._lines.items() if known.until > asked_at}
            line = self._lines[peer] = _Line(peer)
        decision = await line.ask(item)
        if decision.request_digest != decision_digest(request):
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "an answer to another request")
        if self._clock.now() > asked_at + DECISION_LIFE:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "a decision older than it may be")
        if decision.number == 0 and (decision.identity is None or decision.identity.method not in item.methods):
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "an OK that names nobody of these instructions")
        return decision

    def _forget(self, peer: Peer) -> None:
        self._lines.pop(peer, None)
        self._peers.drop(peer)
