"""What rules say about sign-ins: the one evaluation, for the Authenticator that decides and for `strongroom policy
simulate`, which foretells what it will decide (`spec/rules.md`; RULES 9, 16 and 17).

Attacks stopped here:

1. Cedar skips a policy that errs, and a `forbid` would vanish: any error with any sign-in is a refusal.
2. Somebody tricked into a device flow would be the second pair of eyes: a phishable sign-in is never among the
   others of a ticket, and approves of nothing, whatever the rules say.
3. One person who signs in twice by one method would be two: others are other principals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import cedarpy
import msgspec

from strongroom.protocol.authenticator_messages import Identity, RecordFacts
from strongroom.protocol.errors import Refused
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Action
from strongroom.protocol.rules import verify_rules

CLOCK_SKEW: Final = 60
"""Seconds by which a provider's clock may be ahead. What it says of a later time is no age at all."""

_NO_ENTITIES: Final = cedarpy.Entities.from_json_str("[]")
_MINUTE, _DAY = 60, 24 * 3600

_Of = Callable[[Fact, Sequence[Fact], int], Any]
"""A fact, the others of its ticket that count, and the time, to the value of an attribute; None: absent."""

IDENTITY: Final[dict[str, _Of]] = {
    "principal": lambda fact, others, now: principal_of(fact),
    "kind": lambda fact, others, now: fact.kind,
    "method": lambda fact, others, now: fact.method.hex(),
    "issuer": lambda fact, others, now: fact.issuer,
    "subject": lambda fact, others, now: fact.subject,
    "email": lambda fact, others, now: fact.email or None,
    "domain": lambda fact, others, now: fact.email.rpartition("@")[2] or None,
    "groups": lambda fact, others, now: fact.groups,
    "claims": lambda fact, others, now: fact.claims,
    "hd": lambda fact, others, now: fact.hd or None,
    "tid": lambda fact, others, now: fact.tid or None,
    "oid": lambda fact, others, now: fact.oid or None,
    "acr": lambda fact, others, now: fact.acr or None,
    "amr": lambda fact, others, now: fact.amr,
    "auth_time": lambda fact, others, now: fact.auth_time,
    "auth_age": lambda fact, others, now: _age(fact.auth_time, now),
    "channel": lambda fact, others, now: fact.channel,
    "phishable": lambda fact, others, now: fact.phishable,
    "others": lambda fact, others, now: [principal_of(other) for other in others],
    "other_emails": lambda fact, others, now: [
        f"{other.method.hex()} {other.email}" for other in others if other.email
    ],
    "sign_ins": lambda fact, others, now: len({principal_of(one) for one in [fact, *others] if not one.phishable}),
}
"""`context.identity`, attribute by attribute."""
RECORD: Final[dict[str, Callable[[RecordFacts], Any]]] = {
    "kind": lambda record: record.kind,
    "depositor": lambda record: record.depositor,
    "approvals": lambda record: record.approvals,
    "approval_count": lambda record: len(set(record.approvals)),
    "idle_days": lambda record: record.idle_days,
    "unix_time": lambda record: record.time,
    "minute_of_day": lambda record: None if record.time is None else record.time % _DAY // _MINUTE,
    # 1 January 1970 was a Thursday.
    "weekday": lambda record: None if record.time is None else (record.time // _DAY + 3) % 7 + 1,
}
"""`context.record`, attribute by attribute."""
_OTHERS: Final = frozenset({"others", "other_emails", "sign_ins"})


class ParsedRules(NamedTuple):
    """Rules that were verified, ready to be evaluated."""

    policies: cedarpy.PolicySet
    identity: tuple[tuple[str, _Of], ...]
    record: tuple[tuple[str, Callable[[RecordFacts], Any]], ...]
    joined: bool
    """Whether a sign-in's others can change a decision."""


class Outcome(NamedTuple):
    """What the rules say about one sign-in."""

    fact: Fact
    counted: Sequence[Fact]
    """The sign-ins on which it rests: this one and, if the rules look at them, the others of its ticket."""
    allowed: bool
    policies: list[int]
    """Of the text: those that permit it, or those that forbid it."""
    errors: list[str]


def parse_rules(rules: str) -> ParsedRules:
    """Raises `Misuse` as `verify_rules`."""
    attributes = verify_rules(rules).attributes
    return ParsedRules(
        cedarpy.PolicySet.from_str(rules),
        # Most of a decision's time goes into the context, so it holds only what the rules look at.
        tuple((name, of) for name, of in IDENTITY.items() if name in attributes),
        tuple((name, of) for name, of in RECORD.items() if name in attributes),
        bool(_OTHERS & attributes),
    )


def evaluate(rules: ParsedRules, action: Action, record: RecordFacts, facts: Sequence[Fact], now: int) -> list[Outcome]:
    """One outcome for each of `facts`, which are of one ticket and by methods of the record's instructions."""
    said = _present((name, of(record)) for name, of in rules.record)
    others = [_others(fact, facts) if rules.joined else [] for fact in facts]
    requests = [_request(rules, action, said, fact, beside, now) for fact, beside in zip(facts, others, strict=True)]
    results = cedarpy.is_authorized_batch(requests, rules.policies, _NO_ENTITIES)
    return [_outcome(action, fact, beside, result) for fact, beside, result in zip(facts, others, results, strict=True)]


def _outcome(action: Action, fact: Fact, others: Sequence[Fact], result: cedarpy.AuthzResult) -> Outcome:
    errors = result.diagnostics.errors
    if action == "approve" and fact.phishable:
        return Outcome(fact, [fact], False, [], errors)
    policies = sorted(int(name.removeprefix("policy") or 0) for name in result.diagnostics.reasons)
    return Outcome(fact, [fact, *others], result.allowed, policies, errors)


def verify_permitted(outcomes: Sequence[Outcome]) -> Outcome:
    """The first sign-in that is permitted. Raises `Refused` when there is none, and when any evaluation had any error:
    whoever asks chooses what is on the ticket, but not that a rule be left out."""
    if any(outcome.errors for outcome in outcomes):
        raise Refused(reason="an evaluation error")
    for outcome in outcomes:
        if outcome.allowed:
            return outcome
    raise Refused(reason="no policy permits it, or one forbids it")


def identity_of(fact: Fact) -> Identity:
    """Whom a sign-in names."""
    return Identity(method=fact.method, subject=fact.subject, email=fact.email)


def principal_of(fact: Fact) -> str:
    """Principal id of whom a sign-in names."""
    return f"{fact.method.hex()}:{fact.subject}"


def _others(fact: Fact, facts: Sequence[Fact]) -> list[Fact]:
    principal = principal_of(fact)
    return [other for other in facts if not other.phishable and principal_of(other) != principal]


def _age(auth_time: int | None, now: int) -> int | None:
    if auth_time is None or auth_time > now + CLOCK_SKEW:
        return None
    return max(0, now - auth_time)


def _present(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in values if value is not None}


def _request(
    rules: ParsedRules, action: Action, said: dict[str, Any], fact: Fact, others: Sequence[Fact], now: int
) -> dict[str, Any]:
    identity = _present((name, of(fact, others, now)) for name, of in rules.identity)
    return {
        "principal": {"type": "Person", "id": principal_of(fact)},
        "action": {"type": "Action", "id": action},
        # Rules can't name a record (protocol.rules), so one evaluation holds for every record of the request.
        "resource": {"type": "Record", "id": "requested"},
        "context": msgspec.json.encode({"identity": identity, "record": said}).decode(),
    }
