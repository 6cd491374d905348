"""Evaluation of rules with Cedar: OK only when one fact is permitted and nothing went wrong (RULES 16)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cedarpy

from strongroom.protocol.authenticator_messages import Identity, RecordFacts
from strongroom.protocol.errors import Refused
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Action
from strongroom.protocol.rules import verify_rules

SCHEMA_VERSION: Final = 1
MAX_CACHED: Final = 1024 * 1024
"""Bytes of rule text whose parsed form, about 25 times as large, is kept. What is kept is rules, never a decision."""

_NO_ENTITIES: Final = cedarpy.Entities.from_json_str("[]")


class _Parsed(NamedTuple):
    size: int
    policies: cedarpy.PolicySet
    attributes: frozenset[str]


class RuleBook:
    """Parsed rules by their digest, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[bytes, _Parsed] = OrderedDict()
        self._size = 0
        self.parsed = 0
        """How often rules that were not at hand had to be read, valid or not: the costly part."""

    def decide(self, digest: bytes, rules: str, action: Action, record: RecordFacts, facts: Sequence[Fact]) -> Identity:
        """Whom the rules (of this digest, verified by the caller) permit `action`.

        Raises `Refused` when they permit nobody among `facts`, and whenever any evaluation had any error: Cedar
        skips a policy that errors, and a `forbid` would vanish. `Misuse` for rules that are not valid.
        """
        parsed = self._parse(digest, rules)
        requests = [_request(action, record, fact, facts, parsed.attributes) for fact in facts]
        results = cedarpy.is_authorized_batch(requests, parsed.policies, _NO_ENTITIES)
        if any(result.diagnostics.errors for result in results):
            raise Refused(reason="an evaluation error")
        for fact, result in zip(facts, results, strict=True):
            if result.decision is cedarpy.Decision.Allow:
                return identity_of(fact)
        raise Refused(reason="no policy permits it, or one forbids it")

    def _parse(self, digest: bytes, rules: str) -> _Parsed:
        parsed = self._parsed.get(digest)
        if parsed is not None:
            self._parsed.move_to_end(digest)
            return parsed
        self.parsed += 1
        attributes = verify_rules(rules).attributes
        parsed = self._parsed[digest] = _Parsed(len(rules), cedarpy.PolicySet.from_str(rules), attributes)
        self._size += parsed.size
        while self._size > MAX_CACHED:
            self._size -= self._parsed.popitem(last=False)[1].size
        return parsed


def identity_of(fact: Fact) -> Identity:
    return Identity(method=fact.method, subject=fact.subject, email=fact.email)


def _request(
    action: Action, record: RecordFacts, fact: Fact, facts: Sequence[Fact], attributes: frozenset[str]
) -> dict[str, Any]:
    """Most of a decision's time goes into reading the context, so it holds only what the rules look at."""
    # Somebody may have been tricked into a phishable sign-in, and here it would be the second pair of eyes.
    others = [other for other in facts if other is not fact and not other.phishable]
    principal = identity_of(fact).principal
    required: dict[str, Any] = {
        "principal": principal,
        "method": fact.method.hex(),
        "issuer": fact.issuer,
        "subject": fact.subject,
        "groups": fact.groups,
        "amr": fact.amr,
        "channel": fact.channel,
        "phishable": fact.phishable,
        "others": [identity_of(other).principal for other in others],
        "other_emails": [f"{other.method.hex()} {other.email}" for other in others if other.email],
    }
    optional = {
        "email": fact.email,
        "domain": fact.email.rpartition("@")[2],
        "hd": fact.hd,
        "tid": fact.tid,
        "oid": fact.oid,
        "acr": fact.acr,
        "auth_time": fact.auth_time,
    }
    known = required | {name: value for name, value in optional.items() if value not in ("", None)}
    said = {"kind": record.kind, "depositor": record.depositor}
    context = {
        "identity": {name: value for name, value in known.items() if name in attributes},
        "record": {name: value for name, value in said.items() if name in attributes},
    }
    return {
        "principal": {"type": "Person", "id": principal},
        "action": {"type": "Action", "id": action},
        # Rules can't name a record (protocol.rules), so one evaluation holds for every record of the request.
        "resource": {"type": "Record", "id": "requested"},
        "context": json.dumps(context),
    }
