"""Rules: Cedar policies over the actions of a record, and the one check of them (`spec/rules.md`).

The client checks with this very function before it sends, the Authenticator before it accepts or evaluates, so a
mistake is a clear error while somebody is there to correct it, not a key that nobody can collect.

Attacks stopped here:

1. Cedar's parser recurses without a bound: a few hundred brackets overflow its stack and end the process, a long
   `has a.a.a…` takes gigabytes, `1+1+1…` half a second of everybody's time. So structure and length are bounded by a
   lexer of our own before Cedar sees the text.
2. Cedar types some conditions as false without an error, and a `forbid` with one would never fire: `has` of an
   attribute that exactly this type does not have, tags, `principal in` (people are in nothing), things of two types
   compared. So each of these is refused, whatever the attribute is called elsewhere.
3. A policy that names a record would be evaluated for another record of the same batch: records can't be named.
4. A Vault looks for the names of some attributes in the text, to load what they need or to refuse rules that depend on
   a time which nobody witnesses. A name written with escapes would hide from it, so names stand as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast, get_args

import cedarpy
import msgspec

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import Action
from strongroom.protocol.limits import MAX_POLICIES, MAX_RULES

RULES_SCHEMA_V1: Final = """\
// Schema 1 of the rules in instructions. A published schema keeps its exact meaning for ever.
// Time here is witnessed (k of n parties said so), never the host's word alone. Where nobody witnesses it, a Vault
// refuses rules that look at it, and these attributes are absent.

// A principal's id is "METHOD:SUBJECT": hex digest of the complete sign-in method, and the provider's stable subject.
entity Person;

// The record asked for. Rules can't name one: they stand in it.
entity Record;

type Identity = {
  principal: String,  // the same id as the principal's, to compare with record.depositor
  kind: String,       // oidc, passkey, workload, directory, keys, enclave or email-code
  method: String,     // 64 hex digits: digest of the complete method definition
  issuer: String,     // oidc and workload; empty otherwise
  subject: String,
  email?: String,     // verified, lower case, ASCII; absent otherwise
  domain?: String,    // what follows the @ of email
  groups: Set<String>,
  claims: Set<String>,  // of a workload: "NAME=VALUE" of the claims that its method names
  hd?: String,
  tid?: String,
  oid?: String,
  acr?: String,
  amr: Set<String>,
  auth_time?: Long,   // unix seconds at which the provider last saw the user prove who it is
  auth_age?: Long,    // seconds since auth_time, by the Authenticator's clock
  channel: String,    // native, web, device or direct (at the Authenticator itself, with no provider's page)
  phishable: Bool,    // true: the user may have signed in for somebody else (device flow)
  others: Set<String>,       // principals of further sign-ins on the same ticket that are not phishable
  other_emails: Set<String>, // their verified addresses, each as "METHOD ADDRESS"
  sign_ins: Long,     // how many principals signed in on this ticket, phishable sign-ins not counted
};

type RecordFacts = {
  kind: String,       // secret or namespace
  depositor: String,  // principal id of who stored it
  approvals: Set<String>, // principals who approved exactly this action of exactly this client; never who asked
  approval_count: Long,   // how many they are
  idle_days?: Long,   // whole days since the depositor was last permitted anything
  unix_time?: Long,
  minute_of_day?: Long,   // of unix_time in UTC: 0 to 1439
  weekday?: Long,         // of unix_time in UTC: 1 is Monday, 7 is Sunday
};

action create, describe, collect, update, delete, fill, audit, ask, approve, "set-quota", admin
  appliesTo {
    principal: Person,
    resource: Record,
    context: { identity: Identity, record: RecordFacts },
  };
"""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
MAX_NESTING: Final = 20
"""Brackets inside brackets. Cedar's parser needs about 12 KiB of stack for each."""
MAX_PATH: Final = 8
"""Attributes in one dotted path."""
MAX_CONDITIONALS: Final = 64
"""`if … then … else` expressions in one text."""
MAX_TOKENS: Final = 4_000
"""Words, strings, numbers and signs of one text. The heaviest text found that fits takes 60 ms to verify."""
MAX_POLICY_TOKENS: Final = 1_000
"""The same, of one policy."""

_TYPES: Final = {
    name: frozenset(re.findall(r"^  (\w+)\??:", members, re.MULTILINE))
    for name, members in re.findall(r"^type (\w+) = \{\n(.*?)^\};", RULES_SCHEMA_V1, re.MULTILINE | re.DOTALL)
}
_ATTRIBUTES: Final = {
    "context": frozenset({"identity", "record"}),
    "context.identity": _TYPES["Identity"],
    "context.record": _TYPES["RecordFacts"],
}
"""What may stand after `.` or `has`, by what stands before it. Nothing else has attributes."""
_ENTITIES: Final = {"principal": "Person", "action": "Action", "resource": "Record"}
_COMPARISONS: Final = ("==", "!=", "contains", "containsAll", "containsAny")

# The lexer agrees with Cedar's on every text that it accepts: outside strings and comments only ASCII, a comment
# ends at either newline character, control characters must be escaped.
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\r\n]*)
    |(?P<string>"(?:\\[ -~]|[^"\\\x00-\x1f\x7f])*")
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<dot>\.)|(?P<end>;)
    |(?P<other>[0-9]+|[-,:@=!<>&|+*?/%])""",
    re.VERBOSE,
)

_WORD: Final = re.compile(r"\w+", re.ASCII)


@cache
def schema() -> cedarpy.Schema:
    """The parsed schema."""
    return cedarpy.Schema.from_str(RULES_SCHEMA_V1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is known of rules that are valid."""

    permitted: list[Action]
    """Sorted: actions that some policy permits to somebody."""
    attributes: frozenset[str]
    """Names of all attributes that the policies look at; no other can change a decision."""
    policies: list[dict[str, Any]]
    """Cedar's JSON form of each policy, in the order of the text: for whoever explains them."""


def verify_rules(rules: str) -> Rules:
    """Raises `Misuse` RULES_INVALID with the index of the policy that is wrong, or TOO_LARGE.

    In `permitted`, "somebody" is a guess from above: a `permit` counts unless its condition is the literal `false`
    or an unconditional `forbid` covers the action. Conditions that no identity can ever meet are not recognised.
    """
    if len(rules.encode("utf-8", "replace")) > MAX_RULES:
        raise Misuse(Number.TOO_LARGE)
    texts = _split(rules)
    if not texts:
        raise _invalid("there are no policies: nobody could ever be permitted anything")
    if len(texts) > MAX_POLICIES:
        raise _invalid(f"more than {MAX_POLICIES} policies", MAX_POLICIES)
    policies = _parse(rules, texts)
    attributes: set[str] = set()
    permitted: set[Action] = set()
    forbidden: set[Action] = set()
    for index, policy in enumerate(policies):
        named = _verify_names(policy, index)
        if not named <= set(_WORD.findall(texts[index])):
            raise _invalid("the name of an attribute is written with escapes", index)
        attributes |= named
        if _is_never(policy):
            continue
        if policy["effect"] == "permit":
            permitted |= _actions(policy)
        elif not policy["conditions"] and _is_any(policy["principal"]) and _is_any(policy["resource"]):
            forbidden |= _actions(policy)
    _verify_types(rules)
    if not permitted - forbidden:
        raise _invalid("no policy permits anything to anybody")
    return Rules(sorted(permitted - forbidden), frozenset(attributes), policies)


def _invalid(reason: str, index: int = 0) -> Misuse:
    return Misuse(Number.RULES_INVALID, f"policy {index}: {reason}", place=index)


def _split(rules: str) -> list[str]:
    """The text of each policy; bounds structure and length on the way."""
    texts: list[str] = []
    at = start = nesting = path = conditionals = tokens = total = 0
    previous: str | None = None
    while at < len(rules):
        found = _TOKEN.match(rules, at)
        if found is None:
            line = rules.count("\n", 0, at) + 1
            raise _invalid(f"line {line}: a character or a string that rules can't hold", len(texts))
        at = found.end()
        if found.lastgroup == "space":
            continue
        tokens += 1
        total += 1
        if tokens > MAX_POLICY_TOKENS or total > MAX_TOKENS:
            raise _invalid("too long", len(texts))
        path = path + 1 if found.lastgroup == "dot" else path if found.lastgroup == "word" != previous else 0
        previous = found.lastgroup
        nesting += (found.lastgroup == "open") - (found.lastgroup == "close")
        conditionals += found.group() == "if"
        if nesting > MAX_NESTING or path > MAX_PATH or conditionals > MAX_CONDITIONALS:
            raise _invalid("nested too deeply", len(texts))
        if found.lastgroup == "end":
            texts.append(rules[start:at])
            start, tokens = at, 0
    return [*texts, rules[start:]] if tokens else texts


def _parse(rules: str, texts: list[str]) -> list[dict[str, Any]]:
    """Cedar's JSON form of each policy, in the order of the text."""
    try:
        document = _document(rules)
    except (ValueError, RecursionError):
        raise _parse_error(texts) from None
    if document["templates"]:
        raise _invalid("templates are not supported", min(map(_index, document["templates"])))
    policies = document["staticPolicies"]
    return [policies[name] for name in sorted(policies, key=_index)]


def _document(rules: str) -> Any:
    """Raises ValueError or RecursionError."""
    return msgspec.json.decode(cedarpy.policies_to_json_str(rules))


def _parse_error(texts: list[str]) -> Misuse:
    for index, text in enumerate(texts):
        try:
            _document(text)
        except ValueError as error:
            return _invalid(f"does not parse: {error}", index)
        except RecursionError:
            return _invalid("an expression is too long", index)
    return _invalid("the policies do not parse together")


def _index(policy_id: str) -> int:
    """Cedar numbers policies in the order of the text: policy0, policy1 …"""
    return int(policy_id.removeprefix("policy") or 0)


def _verify_types(rules: str) -> None:
    """Strict validation: also refuses what could fail at evaluation, such as an unguarded optional attribute."""
    result = cedarpy.validate_policies(rules, schema())
    if not result.validation_passed:
        error = min(result.errors, key=lambda error: _index(error.policy_id))
        raise _invalid(error.error, _index(error.policy_id))


def _verify_names(policy: dict[str, Any], index: int) -> set[str]:
    """The attributes that a policy looks at."""
    attributes: set[str] = set()
    for key, value in _nodes([policy["principal"], policy["action"], policy["resource"], policy["conditions"]]):
        if key in (".", "has"):
            place, attribute = _place(value["left"]), value["attr"]
            if place not in _ATTRIBUTES:
                raise _invalid(f"{attribute!r} of something other than context, its identity or its record", index)
            if attribute not in _ATTRIBUTES[place]:
                raise _invalid(f"unknown attribute {attribute!r} of {place}", index)
            attributes.add(attribute)
        elif key in ("entity", "__entity") and value["type"] == "Record":
            raise _invalid("names a record", index)
        elif key == "Record":
            # Compared with a whole record of the context it would look at attributes without naming them.
            raise _invalid("record literals are not supported", index)
        elif key in ("hasTag", "getTag"):
            raise _invalid("nothing has tags", index)
        elif (key == "in" and _place(value.get("left")) != "action") or (key == "is" and "in" in value):
            raise _invalid("only an action is in something", index)
        elif (key == "is" and _entities(value["left"]) != {value["entity_type"]}) or (
            key in _COMPARISONS and len(_entities(value["left"]) | _entities(value["right"])) > 1
        ):
            raise _invalid("compares things of different types", index)
    for scope in (policy["principal"], policy["resource"]):
        if scope["op"] == "in":
            raise _invalid("only an action is in something", index)
    return attributes


def _place(expression: Any) -> str:
    """An expression as a dotted path from a variable; empty when it is anything else."""
    match expression:
        case {"Var": str(name)}:
            return name
        case {".": {"left": left, "attr": str(name)}}:
            return f"{_place(left)}.{name}"
    return ""


def _entities(expression: Any) -> set[str]:
    """Types of the entities that an expression, or a set written out, is or names."""
    match expression:
        case {"Var": str(name)} if name in _ENTITIES:
            return {_ENTITIES[name]}
        case {"Value": {"__entity": {"type": str(name)}}}:
            return {name}
        case {"Set": list(items)}:
            return {name for item in items for name in _entities(item)}
    return set()


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of every map inside, without recursion."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from node.items()
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _is_any(scope: dict[str, Any]) -> bool:
    return scope["op"] in ("All", "is") and "in" not in scope


def _is_never(policy: dict[str, Any]) -> bool:
    return any(condition["body"] == {"Value": condition["kind"] == "unless"} for condition in policy["conditions"])


def _actions(policy: dict[str, Any]) -> set[Action]:
    scope = policy["action"]
    if scope["op"] == "All":
        return set(ACTIONS)
    entities = scope["entities"] if "entities" in scope else [scope["entity"]]
    return {cast(Action, entity["id"]) for entity in entities} & set(ACTIONS)
