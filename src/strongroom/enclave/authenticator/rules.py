"""Evaluation of rules with Cedar: OK only when one fact is permitted and nothing went wrong (RULES 16)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import cedarpy

from strongroom.enclave.authenticator.tickets import Fact
from strongroom.protocol.errors import Refused
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import Identity, RecordFacts
from strongroom.protocol.rules import verify_rules

SCHEMA_VERSION: Final = 1
MAX_CACHED: Final = 4 * 1024 * 1024
"""Bytes of rule text whose parsed form is kept. What is kept is the parsed rules, never a decision."""

_NO_ENTITIES: Final = cedarpy.Entities.from_json_str("[]")


class RuleBook:
    """Parsed rules by their digest, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[bytes, tuple[int, cedarpy.PolicySet]] = OrderedDict()
        self._size = 0

    def decide(self, digest: bytes, rules: str, action: Action, record: RecordFacts, facts: Sequence[Fact]) -> Identity:
        """Whom the rules (of this digest, verified by the caller) permit `action`.

        Raises `Refused` when they permit nobody among `facts`, and whenever any evaluation had any error: Cedar
        skips a policy that errors, and a `forbid` would vanish. `Misuse` for rules that are not valid.
        """
        policies = self._parse(digest, rules)
        requests = [_request(action, record, fact) for fact in facts]
        results = cedarpy.is_authorized_batch(requests, policies, _NO_ENTITIES)
        if any(result.diagnostics.errors for result in results):
            raise Refused(reason="an evaluation error")
        for fact, result in zip(facts, results, strict=True):
            if result.decision is cedarpy.Decision.Allow:
                return identity_of(fact)
        raise Refused(reason="no policy permits it, or one forbids it")

    def _parse(self, digest: bytes, rules: str) -> cedarpy.PolicySet:
        found = self._parsed.get(digest)
        if found is not None:
            self._parsed.move_to_end(digest)
            return found[1]
        verify_rules(rules)
        policies = cedarpy.PolicySet.from_str(rules)
        self._parsed[digest] = (len(rules), policies)
        self._size += len(rules)
        while self._size > MAX_CACHED:
            self._size -= self._parsed.popitem(last=False)[1][0]
        return policies


def identity_of(fact: Fact) -> Identity:
    return Identity(method=fact.method, subject=fact.subject)


def _request(action: Action, record: RecordFacts, fact: Fact) -> dict[str, Any]:
    principal = identity_of(fact).principal
    identity: dict[str, Any] = {
        "principal": principal,
        "method": fact.method.hex(),
        "issuer": fact.issuer,
        "subject": fact.subject,
        "groups": fact.groups,
        "amr": fact.amr,
        "channel": fact.channel,
        "phishable": fact.phishable,
    }
    optional = {
        "email": fact.email,
        "domain": fact.email.rpartition("@")[2],
        "hd": fact.hd,
        "tid": fact.tid,
        "oid": fact.oid,
        "acr": fact.acr,
    }
    identity.update((name, value) for name, value in optional.items() if value)
    if fact.auth_time is not None:
        identity["auth_time"] = fact.auth_time
    context = {"identity": identity, "record": {"kind": record.kind, "depositor": record.depositor}}
    return {
        "principal": {"type": "Person", "id": principal},
        "action": {"type": "Action", "id": action},
        # Rules can't name a record (protocol.rules), so one evaluation holds for every record of the request.
        "resource": {"type": "Record", "id": "requested"},
        "context": json.dumps(context),
    }
