"""Asking Authenticators, and what their answers cover (RULES 4, 5, 9 and 15).

Attacks stopped here:

1. An OK for key A used for key B, or for another action or version: the answer repeats the digest of exactly one
   request, which names them.
2. An old OK replayed: the request holds a fresh random id, the answer counts in this session only, for 30 seconds.
3. An OK of an Authenticator that the depositor did not name: asked are only peers appraised under the policy that
   stands in this record's sealed instructions.
4. One Authenticator asked twice to fill a quorum: distinct clusters are counted.
5. One Authenticator that names people for the others: see `people`.
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
from strongroom.enclave.vault.people import NOBODY, Named, agreed, named
from strongroom.enclave.vault.plans import Plan, plan_of
from strongroom.enclave.vault.standing import Approvers, Using
from strongroom.protocol.authenticator_messages import (
    Decide,
    DecideItem,
    Decision,
    DecisionRequest,
    Decisions,
    Mark,
    RecordFacts,
    RecordRef,
    context_digest,
    decision_digest,
)
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.instructions import Action, AuthenticatorRef
from strongroom.protocol.limits import DECISION_LIFE, MAX_AUTHENTICATORS, MAX_BATCH, MAX_MESSAGE
from strongroom.protocol.messages import Person, Ticket
from strongroom.protocol.subjects import is_subject

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
    """Encoded `RecordFacts` without approvals, the same for all records: others are decided apart."""
    approvers: Approvers
    """The same for all records, too."""
    records: tuple[RecordRef, ...]

    def facts_for(self, cluster: bytes) -> bytes:
        """Encoded `RecordFacts` as this Authenticator is told them: with the approvers whom it named itself."""
        names = next((names for by, names in self.approvers if by == cluster), ())
        if not names:
            return self.facts
        facts = decode(self.facts, RecordFacts, limit=MAX_MESSAGE)
        return encode(msgspec.structs.replace(facts, approvals=list(names)))


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
    people: tuple[Named, ...] = ()
    quorum: int = MAX_AUTHENTICATORS
    """Authenticators on whose word a name counts."""
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
        """Whom log, journal and quotas name; nobody when no ticket was accepted.

        Where the Authenticators of a quorum differ, as the first one says: no right may rest on this name.
        """
        if not self.people:
            return NOBODY
        known = self.agreed
        return known if known.principal else self.people[0].person

    @property
    def agreed(self) -> Person:
        """Whom as many as the quorum name so; parts are empty on which they do not agree."""
        return agreed(self.people, self.quorum)

    def but(self, number: Number) -> Verdict:
        """On the same people, with another answer."""
        return Verdict(int(number), self.people, self.quorum)


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
        quorum = plan.instructions.quorum
        permitted: dict[bytes, Named] = {}
        marked: list[Marked] = []
        refused: dict[tuple[bytes, str], Named] = {}
        number = int(Number.TICKET_MISSING)
        for decisions in await at_once(asked):
            for cluster, decision in decisions:
                if decision.identity is None:
                    continue
                one = named(cluster, decision.identity)
                if decision.number == 0:
                    permitted.setdefault(cluster, one)
                    marked += [Marked(cluster, counted.person, counted.mark) for counted in decision.marks]
                else:
                    refused.setdefault((cluster, one.principal), one)
            # What those say who do not permit it. Where all who were asked do, a ticket of others is missing.
            number = decisions[-1][1].number or number
        if len(permitted) >= quorum:
            return Verdict(0, tuple(permitted.values()), quorum, tuple(marked))
        return Verdict(number, tuple(refused.values()), quorum)

    async def _ask(
        self, question: Question, plan: Plan, reference: AuthenticatorRef, tickets: Sequence[Ticket]
    ) -> list[tuple[bytes, Decision]]:
        """Its decisions by ticket up to the first OK, each with the cluster that made it."""
        decisions: list[tuple[bytes, Decision]] = []
        for ticket in tickets:
            decisions.append(await self._ask_once(question, plan, reference, ticket))
            if decisions[-1][1].number == 0:
                break
        return decisions

    async def _ask_once(
        self, question: Question, plan: Plan, reference: AuthenticatorRef, ticket: Ticket
    ) -> tuple[bytes, Decision]:
        for attempt in (1, 2):
            peer: Peer | None = None
            try:
                peer = await self._peers.get(reference.url, reference.policy)
                if peer.cluster_id != ticket.authenticator:
                    return peer.cluster_id, _refusal(Number.TICKET_MISSING)
                decision = await self._round_trip(peer, question, plan, ticket)
                if decision.identity is not None and not is_subject(decision.identity.subject):
                    # No genuine Authenticator calls anybody so; in the log it would be a leaf that nobody can read.
                    return peer.cluster_id, _refusal(Number.AUTHENTICATOR_UNTRUSTED)
                return peer.cluster_id, decision
            except StrongroomError as error:
                if peer is not None and is_lost_session(error):
                    self._forget(peer)
                    if attempt == 1:
                        continue
                return b"", _refusal(error.number)
        return b"", _refusal(Number.AUTHENTICATOR_UNAVAILABLE)

    async def _round_trip(self, peer: Peer, question: Question, plan: Plan, ticket: Ticket) -> Decision:
        facts = question.facts_for(peer.cluster_id)
        request = encode(
            DecisionRequest(
                request_id=self._platform.random(16),
                vault_cluster=self._cluster_id,
                binding_key=question.binding_key,
                action=question.action,
                rules_digest=plan.rules,
                instructions_digest=plan.digest,
                context_digest=context_digest(facts),
                records=list(question.records),
            )
        )
        item = DecideItem(
            request=request,
            schema_version=plan.instructions.schema_version,
            rules=plan.instructions.rules,
            methods=plan.methods,
            facts=facts,
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
