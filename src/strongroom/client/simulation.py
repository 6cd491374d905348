"""Who would get in, before anything is stored: `strongroom policy simulate`.

People are described as their sign-ins would be (`people.toml`); what decides is the evaluation that the Authenticator
runs (`protocol.evaluation`), errors and all. What can't be foretold is whether somebody can sign in as they say.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from strongroom.attestation.toml_text import parse_toml
from strongroom.client.errors import BadInput
from strongroom.client.rules_addresses import gives_claims, listed_groups, listed_names, may_give
from strongroom.client.rules_explanation import Methods
from strongroom.protocol.authenticator_messages import RecordFacts
from strongroom.protocol.errors import Refused
from strongroom.protocol.evaluation import ParsedRules, evaluate, parse_rules, principal_of, verify_permitted
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import Action, Kind, Method, OidcMethod, WorkloadMethod
from strongroom.protocol.limits import MAX_APPROVERS, MAX_SIGN_INS

MAX_PEOPLE_FILE: Final = 256 * 1024
_HINT: Final = "docs/howto/rules.md shows what may be said of people"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PRINCIPAL: Final = re.compile(r"[0-9a-f]{64}:.+", re.DOTALL)
_UNKNOWN: Final = bytes(32)
_CHANNELS: Final[dict[str, Literal["native", "web", "direct"]]] = {"oidc": "native", "passkey": "web"}

Texts = Annotated[list[str], Meta(max_length=256)]


class SignIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What one sign-in of one person proves."""

    name: str
    method: int | str | None = None
    """Number in the instructions, or digest in hex; not needed where there is one."""
    subject: str = ""
    """Empty: the name."""
    email: str = ""
    groups: Texts = msgspec.field(default_factory=list)
    claims: Texts = msgspec.field(default_factory=list)
    hd: str = ""
    tid: str = ""
    oid: str = ""
    acr: str = ""
    amr: Texts = msgspec.field(default_factory=list)
    signed_in_ago: Annotated[int, Meta(ge=0)] | None = None
    """Seconds since the provider saw them prove who they are; None: it does not say."""
    channel: Literal["native", "web", "device", "direct"] | None = None
    phishable: bool | None = None
    """None: by device flow and by a code alone."""
    kind: Kind | None = None
    """Only where the method is not known."""
    issuer: str = ""
    """Likewise."""
    beside: Annotated[list[str], Meta(max_length=MAX_SIGN_INS - 1)] = msgspec.field(default_factory=list)
    """Names of others whose sign-ins stand on the same ticket."""


class Record(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the Vault would say about the record."""

    kind: Literal["secret", "namespace"] = "secret"
    depositor: str = ""
    """Name of somebody, or a principal id."""
    approvals: Annotated[list[str], Meta(max_length=MAX_APPROVERS)] = msgspec.field(default_factory=list)
    """Likewise, of those who approved."""
    idle_days: Annotated[int, Meta(ge=0)] | None = None
    time: datetime | None = None
    """Witnessed time; None: nobody witnesses it."""


class People(msgspec.Struct, forbid_unknown_fields=True):
    """`people.toml`, or the same as JSON."""

    person: Annotated[list[SignIn], Meta(max_length=256)] = msgspec.field(default_factory=list)
    record: Record = msgspec.field(default_factory=Record)


class Foretold(NamedTuple):
    """What would be decided."""

    person: str
    action: Action
    allowed: bool
    policies: list[int]
    """Those that permit it, or those that forbid it."""
    why: str
    """Empty when it is allowed."""


def parse_people(text: str, *, as_json: bool) -> People:
    """Raises `BadInput` with the place."""
    try:
        untyped = msgspec.json.decode(text) if as_json else parse_toml(text)
        return msgspec.convert(untyped, People)
    except msgspec.ValidationError as error:
        raise BadInput(f"the people are not right: {error}", _HINT) from None
    except (ValueError, msgspec.DecodeError) as error:
        raise BadInput(f"the people are not {'JSON' if as_json else 'TOML'}: {error}", _HINT) from None


def parse_person(text: str) -> SignIn:
    """Of `name=bob email=bob@example.com groups=admins groups=staff`, quoted as in a shell. Raises `BadInput`."""
    found: dict[str, str | int | list[str]] = {}
    lists: dict[str, list[str]] = {"groups": [], "claims": [], "amr": [], "beside": []}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}", _HINT) from None
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadInput(f"{word!r} is not NAME=VALUE", _HINT)
        if name in lists:
            lists[name].append(value)
            found[name] = lists[name]
        elif name in found:
            raise BadInput(f"{name} is said twice", _HINT)
        else:
            found[name] = int(value) if name == "method" and re.fullmatch("[0-9]{1,2}", value) else value
    try:
        return msgspec.convert(found, SignIn, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"{text!r}: {error}", _HINT) from None


def simulate(rules: str, methods: Methods, people: People, actions: Sequence[Action], now: int) -> list[Foretold]:
    """For each of the people and each action. `now`: unix seconds, by which sign-ins are so and so old. Raises
    `Misuse` for rules that are not valid and `BadInput` for people who can't be."""
    facts = _facts(people, methods, now)
    parsed = parse_rules(rules)
    return [
        _foretell(parsed, person, [facts[name] for name in (person.name, *person.beside)], action, record, now)
        for person in people.person
        for record in [_record(people.record, facts, facts[person.name])]
        for action in actions
    ]


def _foretell(
    rules: ParsedRules, person: SignIn, facts: Sequence[Fact], action: Action, record: RecordFacts, now: int
) -> Foretold:
    outcomes = evaluate(rules, action, record, facts, now)
    try:
        permitted = verify_permitted(outcomes)
    except Refused:
        forbidding = sorted({policy for outcome in outcomes for policy in outcome.policies if not outcome.allowed})
        why = "no policy permits it"
        if any(outcome.errors for outcome in outcomes):
            why = "an evaluation error, which refuses whatever the rest says"
        elif forbidding:
            why = f"forbidden by policy {', '.join(map(str, forbidding))}"
        return Foretold(person.name, action, False, forbidding, why)
    return Foretold(person.name, action, True, permitted.policies, "")


def _facts(people: People, methods: Methods, now: int) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for person in people.person:
        if person.name in facts:
            raise BadInput(f"two people are called {person.name}", "give each a name of their own")
        facts[person.name] = _fact(person, methods, now)
    for person in people.person:
        for name in person.beside:
            if name not in facts or name == person.name:
                raise BadInput(f"beside {person.name} is {name}, who is nobody else described", _HINT)
    return facts


def _fact(person: SignIn, methods: Methods, now: int) -> Fact:
    digest, kind, issuer = _method(person, methods)
    if method := methods.by_digest.get(digest.hex()):
        _verify_provable(person, method, methods.name(digest.hex()))
    channel = person.channel or _CHANNELS.get(kind, "direct")
    phishable = person.phishable
    if phishable is None:
        phishable = channel == "device" or kind == "email-code"
    return msgspec.structs.replace(
        fact(digest, kind, person.subject or person.name),
        issuer=issuer,
        email=person.email.lower(),
        groups=person.groups,
        claims=person.claims,
        hd=person.hd,
        tid=person.tid,
        oid=person.oid,
        acr=person.acr,
        amr=person.amr,
        auth_time=None if person.signed_in_ago is None else now - person.signed_in_ago,
        channel=channel,
        phishable=phishable,
    )


def _verify_provable(person: SignIn, method: Method, name: str) -> None:
    """What no sign-in by this method proves would be foretold of somebody whom nobody will ever see."""
    subject = person.subject or person.name
    names, groups = listed_names(method), listed_groups(method)
    if names is not None and subject not in names:
        raise BadInput(f"{name} lists no {subject}", f"it lists {', '.join(sorted(names))}: say subject=NAME")
    if person.email and not may_give(method, person.email.lower()):
        raise BadInput(
            f"{person.name}: {name} proves no address {person.email}", "leave it out, or name another method"
        )
    unknown = sorted(set(person.groups) - groups) if groups is not None else []
    if unknown:
        raise BadInput(f"{person.name}: {name} tells of no group {unknown[0]}", "a directory's are listed in groups")
    if not gives_claims(method, [claim.partition("=")[0] for claim in person.claims]):
        raise BadInput(f"{person.name}: {name} proves no such claims", "a workload's are listed in claims, NAME=VALUE")
    if not isinstance(method, OidcMethod) and (person.hd or person.tid or person.oid or person.acr):
        raise BadInput(f"{person.name}: {name} proves no hd, tid, oid or acr", "only a provider's tokens have those")


def _method(person: SignIn, methods: Methods) -> tuple[bytes, Kind, str]:
    """Digest, kind and issuer."""
    listed = list(methods.by_digest.items())
    wanted = person.method
    if not listed:
        if isinstance(wanted, int) or (wanted is not None and not _DIGEST.fullmatch(wanted)):
            raise BadInput(f"{person.name}: the method is a digest of 64 hex digits", "name the instructions, too")
        return bytes.fromhex(wanted) if wanted else _UNKNOWN, person.kind or "oidc", person.issuer
    if person.kind is not None or person.issuer:
        raise BadInput(f"{person.name}: kind and issuer stand in the instructions", "name the method instead")
    if wanted is None and len(listed) == 1:
        wanted = 0
    if isinstance(wanted, int) and 0 <= wanted < len(listed):
        digest, method = listed[wanted]
    elif isinstance(wanted, str) and wanted in methods.by_digest:
        digest, method = wanted, methods.by_digest[wanted]
    else:
        names = "; ".join(methods.name(digest) for digest in methods.by_digest)
        raise BadInput(f"{person.name}: which method? The instructions have {names}", "name it by its number")
    issuer = method.public.issuer if isinstance(method, OidcMethod | WorkloadMethod) else ""
    return bytes.fromhex(digest), method.kind, issuer


def _record(record: Record, facts: dict[str, Fact], asking: Fact) -> RecordFacts:
    """As the Vault has it for whoever asks: nobody approves of their own question, by no other sign-in with the same
    address, and nobody by a sign-in that may be for somebody else."""
    approvals = set()
    for name in record.approvals:
        approver = facts.get(name)
        own = approver is not None and approver.email != "" and approver.email == asking.email
        if not own and not (approver and approver.phishable):
            approvals.add(_principal(name, facts))
    time = record.time
    if time is not None and time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return RecordFacts(
        kind=record.kind,
        depositor=_principal(record.depositor, facts) if record.depositor else "",
        approvals=sorted(approvals - {principal_of(asking)}),
        idle_days=record.idle_days,
        time=None if time is None else int(time.timestamp()),
    )


def _principal(name: str, facts: dict[str, Fact]) -> str:
    if name in facts:
        return principal_of(facts[name])
    if not _PRINCIPAL.fullmatch(name):
        raise BadInput(f"{name} is nobody described, and no principal id", "describe them, or write METHOD:SUBJECT")
    return name
