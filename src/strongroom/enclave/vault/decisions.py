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
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock, lasts
from strongroom.enclave.runtime.peers import APPRAISAL_LIFE, Peer, Peers, is_lost_session
from strongroom.enclave.vault.plans import Plan, plan_of
from strongroom.enclave.vault.standing import Using
from strongroom.protocol.authenticator_messages import (
    Decide,
    DecideItem,
    Decision,
    DecisionRequest,
    Decisions,
    Mark,
    RecordRef,
    context_digest,
    decision_digest,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.instructions import Action, AuthenticatorRef
from strongroom.protocol.limits import DECISION_LIFE, MAX_BATCH, MAX_MESSAGE
from strongroom.protocol.messages import Person, Ticket

T = TypeVar("T")

SAYABLE: Final = frozenset(
    {0}
    | {
        int(number)
        for number in (
            Number.REFUSED,
            Number.TICKET_MISSING,
            Number.TICKET_EXPIRED,
            Number.UNSUPPORTED,
            Number.RULES_INVALID,
            Number.CLOCK,
        )
    }
)
"""What an Authenticator may decide."""
IN_FLIGHT: Final = 2
"""Round trips under way to one Authenticator; what comes meanwhile shares the next one."""


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


NOBODY: Final = Person(principal="", email="")


@dataclass(frozen=True, slots=True)
class Marked:
    """What one Authenticator says of one sign-in on which its OK rests."""

    cluster: bytes
    principal: str
    """Whose sign-in it was."""
    mark: Mark


@dataclass(frozen=True, slots=True)
class Verdict:
    """`number` 0 is OK. `people`: when OK, whom the rules permitted, by Authenticator in the instructions' order;
    else whoever was recognised and refused. Never mixed: what somebody was permitted is never put down to another
    identity that was merely shown along with it."""

    number: int
    people: tuple[Person, ...] = ()
    cluster: bytes = b""
    """When OK, the Authenticator cluster on whose word `person` stands."""
    marked: tuple[Marked, ...] = ()
    """When OK: to be durable before anything is done about it."""
    using: Using | None = None
    """When OK: the approvals that it is owed to, which can be used once."""
    is_awaited: bool = False
    """When refused: whoever was refused waits for approvals, so it is no guess."""

    @property
    def allowed(self) -> bool:
        return self.number == 0

    @property
    def person(self) -> Person:
        """Whom log, journal and quotas name; nobody when no ticket was accepted."""
        return self.people[0] if self.people else NOBODY


REFUSED: Final = Verdict(int(Number.REFUSED))


async def at_once(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """`asyncio.gather`, without a task where there is nothing to gather."""
    if len(work) == 1:
        return [await work[0]]
    return list(await asyncio.gather(*work))


Asked = tuple[DecideItem, "asyncio.Future[Decision]"]


class _Line:
    """Decision requests to one peer, several in a frame, taken in turn from those who wait: one client with hundreds
    of questions holds up nobody else's one."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._waiting: OrderedDict[bytes, deque[Asked]] = OrderedDict()
        self._trips = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, client: bytes, item: DecideItem) -> Decision:
        """`client` is the binding key on whose behalf this is asked."""
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((item, answer))
        if self._trips < IN_FLIGHT:
            # Counted here and in `_run`, not by a call-back a turn later: a question in between would wait for ever.
            self._trips += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._trip(self._take())
        finally:
            self._trips -= 1

    async def _trip(self, batch: list[Asked]) -> None:
        problem: StrongroomError = Unavailable(Number.INTERNAL)
        try:
            reply = await self._peer.ask(Decide(items=[item for item, _ in batch]))
            if not isinstance(reply, Decisions) or len(reply.decisions) != len(batch):
                raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "not an answer to these requests")
            for (_, answer), decision in zip(batch, reply.decisions, strict=True):
                if not answer.done():
                    answer.set_result(decision)
        except StrongroomError as error:
            problem = error
        finally:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(type(problem)(problem.number, problem.reason))

    def _take(self) -> list[Asked]:
        batch: list[Asked] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH:
            client, queue = self._waiting.popitem(last=False)
            item = queue[0][0]
            size += len(item.request) + len(item.rules) * 4 + len(item.facts) + len(item.ticket.sealed) + 1024
            if batch and size > MAX_MESSAGE // 2:
                self._waiting[client] = queue
                self._waiting.move_to_end(client, last=False)
                break
            batch.append(queue.popleft())
            if queue:
                self._waiting[client] = queue
        return batch


def _refusal(number: Number) -> Decision:
    return Decision(request_digest=bytes(32), number=int(number), identity=None, marks=[])


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
        asked = [
            self._ask(question, plan, reference, tickets)
            for reference, clusters in zip(plan.instructions.authenticators, plan.clusters, strict=True)
            if (tickets := [ticket for ticket in dict.fromkeys(question.tickets) if ticket.authenticator in clusters])
        ]
        permitted: dict[bytes, Person] = {}
        marked: list[Marked] = []
        refused: dict[str, Person] = {}
        number = int(Number.TICKET_MISSING)
        for cluster, decisions in await at_once(asked):
            for decision in decisions:
                identity = decision.identity
                if decision.number == 0 and identity is not None:
                    permitted.setdefault(cluster, Person(principal=identity.principal, email=identity.email))
                    marked += [Marked(cluster, one.person, one.mark) for one in decision.marks]
                    continue
                number = decision.number
                if identity is not None:
                    person = Person(principal=identity.principal, email=identity.email)
                    refused.setdefault(person.principal, person)
        if len(permitted) >= plan.instructions.quorum:
            return Verdict(0, tuple(permitted.values()), next(iter(permitted), b""), tuple(marked))
        if permitted and not refused:
            number = int(Number.TICKET_MISSING)  # some of the quorum agreed, the others were not asked
        return Verdict(number, tuple(refused.values()))

    async def _ask(
        self, question: Question, plan: Plan, reference: AuthenticatorRef, tickets: Sequence[Ticket]
    ) -> tuple[bytes, list[Decision]]:
        """The Authenticator's cluster, and its decisions by ticket up to the first OK."""
        decisions: list[Decision] = []
        cluster = b""
        for ticket in tickets:
            cluster, decision = await self._ask_once(question, plan, reference, ticket)
            decisions.append(decision)
            if decision.number == 0:
                break
        return cluster, decisions

    async def _ask_once(
        self, question: Question, plan: Plan, reference: AuthenticatorRef, ticket: Ticket
    ) -> tuple[bytes, Decision]:
        for attempt in (1, 2):
            peer: Peer | None = None
            try:
                peer = await self._peers.get(reference.url, reference.policy)
                if peer.cluster_id != ticket.authenticator:
                    return peer.cluster_id, _refusal(Number.TICKET_MISSING)
                return peer.cluster_id, await self._round_trip(peer, question, plan, ticket)
            except StrongroomError as error:
                if peer is not None and is_lost_session(error):
                    self._forget(peer)
                    if attempt == 1:
                        continue
                return b"", _refusal(error.number)
        return b"", _refusal(Number.AUTHENTICATOR_UNAVAILABLE)

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
            self._lines = {
                known: line for known, line in self._lines.items() if lasts(known.until, asked_at, APPRAISAL_LIFE)
            }
            line = self._lines[peer] = _Line(peer)
        decision = await line.ask(question.binding_key, item)
        if decision.request_digest != decision_digest(request):
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "an answer to another request")
        if self._clock.now() > asked_at + DECISION_LIFE:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "a decision older than it may be")
        if decision.number == 0 and (decision.identity is None or decision.identity.method not in item.methods):
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "an OK that names nobody of these instructions")
        if decision.number not in SAYABLE:
            # Else a depositor's own Authenticator would put any error into the Vault's mouth.
            return msgspec.structs.replace(decision, number=int(Number.REFUSED))
        return decision

    def _forget(self, peer: Peer) -> None:
        self._lines.pop(peer, None)
        self._peers.drop(peer)
