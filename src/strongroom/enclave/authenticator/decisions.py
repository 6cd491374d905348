"""Decisions: OK or not, for exactly one request of an appraised Vault (RULES 4 and 15).

Attacks stopped here: a request relayed for another Vault's cluster; rules, facts or methods that are not the ones
the request digests; somebody else's ticket; a sign-in by a method that this record's instructions do not list. No
OK is kept: each answer is made anew.
"""

from __future__ import annotations

import asyncio

from strongroom.enclave.authenticator.rules import SCHEMA_VERSION, RuleBook
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.authenticator_messages import (
    Decide,
    DecideItem,
    Decision,
    DecisionRequest,
    Decisions,
    Identity,
    PersonMark,
    RecordFacts,
    context_digest,
    decision_digest,
)
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.evaluation import identity_of, principal_of
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import rules_digest

MAX_REQUEST = 64 * 1024
MAX_FACTS = 4 * 1024
OK = 0


def verify_vault(caller: Caller) -> bytes:
    """Cluster id of the Vault that asks. Raises `Refused` PEER_REFUSED when the caller is not an appraised Vault."""
    if caller.peer is None or caller.peer.role != "vault":
        raise Refused(Number.PEER_REFUSED)
    return caller.peer.claims.cluster_id


class Judge:
    """Answers `decide`."""

    def __init__(self, clock: Clock, sealer: Sealer) -> None:
        self._clock = clock
        self._sealer = sealer
        self._rules = RuleBook()

    async def decide(self, vault_cluster: bytes, request: Decide) -> Decisions:
        """One decision an item; an item's error is its number."""
        decisions: list[Decision] = []
        for item in request.items:
            parsed = self._rules.parsed
            decisions.append(self._decide(item, vault_cluster))
            if self._rules.parsed != parsed:
                # A depositor chose the rules: a batch of the heaviest may take long, but nobody else's turn.
                await asyncio.sleep(0)
        return Decisions(decisions=decisions)

    def _decide(self, item: DecideItem, vault_cluster: bytes) -> Decision:
        digest = decision_digest(item.request)
        identity: Identity | None = None
        try:
            now = self._clock.now()
            request = _verify_request(item, vault_cluster)
            facts = self._facts(item, request, now)
            identity = identity_of(facts[0])
            record = decode(item.facts, RecordFacts, limit=MAX_FACTS)
            permitted = self._rules.decide(request.rules_digest, item.rules, request.action, record, facts, now)
        except StrongroomError as error:
            return Decision(request_digest=digest, number=int(error.number), identity=identity, marks=[])
        # Of the sign-ins on which it rests: what somebody else did with another one is no reason to refuse this.
        marks = [
            PersonMark(person=fact.marked_as or principal_of(fact), mark=fact.mark)
            for fact in permitted.counted
            if fact.mark is not None
        ]
        return Decision(request_digest=digest, number=OK, identity=identity_of(permitted.fact), marks=marks)

    def _facts(self, item: DecideItem, request: DecisionRequest, now: int) -> list[Fact]:
        """Facts of the ticket by methods of these instructions. Raises as `verify_ticket`, and `Refused`."""
        facts = self._sealer.verify_ticket(
            item.ticket,
            binding_key=request.binding_key,
            vault_cluster=request.vault_cluster,
            now=now,
        )
        listed = [fact for fact in facts if fact.method in item.methods]
        if not listed:
            raise Refused(reason="signed in by a method that the instructions do not list")
        return listed


def _verify_request(item: DecideItem, vault_cluster: bytes) -> DecisionRequest:
    """The decision request, if what came with it is what it digests. Raises `StrongroomError`."""
    request = decode(item.request, DecisionRequest, limit=MAX_REQUEST)
    if request.vault_cluster != vault_cluster:
        raise Refused(Number.PEER_REFUSED, "the request names another Vault")
    if item.schema_version != SCHEMA_VERSION:
        raise Misuse(Number.UNSUPPORTED)
    if rules_digest(item.rules) != request.rules_digest or context_digest(item.facts) != request.context_digest:
        raise Misuse(Number.MALFORMED, "rules or facts are not what the request digests")
    return request
