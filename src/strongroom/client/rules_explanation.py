"""Rules in plain words: who may do what, under which conditions (`strongroom policy explain`).

What stands in instructions is Cedar; few people read that as fast as they sign. The words follow the policies one by
one and leave nothing out: what has no words of its own is shown as Cedar writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from strongroom.client.policy import WEEKDAYS
from strongroom.client.rules_tree import actions_of, conjuncts, flat, path_of, values_of
from strongroom.protocol.instructions import (
    CodeMethod,
    DirectoryMethod,
    Method,
    OidcMethod,
    WorkloadMethod,
    method_digest,
    parse_method,
)
from strongroom.protocol.rules import verify_rules

_NAMES: Final = {
    "context.identity.principal": "the person",
    "context.identity.kind": "the kind of sign-in",
    "context.identity.method": "the sign-in method",
    "context.identity.issuer": "the provider",
    "context.identity.subject": "the subject",
    "context.identity.email": "the verified address",
    "context.identity.domain": "the domain of the verified address",
    "context.identity.groups": "the groups",
    "context.identity.claims": "the claims of the workload",
    "context.identity.hd": "the Google Workspace domain",
    "context.identity.tid": "the Entra tenant",
    "context.identity.oid": "the Entra object id",
    "context.identity.acr": "the class of the sign-in (acr)",
    "context.identity.amr": "the factors of the sign-in (amr)",
    "context.identity.auth_time": "the time of the sign-in at the provider",
    "context.identity.auth_age": "the age of the sign-in at the provider",
    "context.identity.channel": "the channel of the sign-in",
    "context.identity.phishable": "that the sign-in may be for somebody else",
    "context.identity.others": "the others who signed in on the same ticket",
    "context.identity.other_emails": "the addresses of the others on the same ticket",
    "context.identity.sign_ins": "the number of people on the ticket",
    "context.record.kind": "the kind of record",
    "context.record.depositor": "whoever stored it",
    "context.record.approvals": "the people who approved of exactly this",
    "context.record.approval_count": "the number of people who approved of exactly this",
    "context.record.idle_days": "the days since whoever stored it was last permitted anything",
    "context.record.unix_time": "the time",
    "context.record.minute_of_day": "the time of day (UTC)",
    "context.record.weekday": "the day of the week (UTC)",
    "principal": "the person",
    "action": "the action",
}
_PLURAL: Final = frozenset(
    f"context.{name}" for name in (
        "identity.groups", "identity.claims", "identity.amr", "identity.others", "identity.other_emails",
        "record.approvals", "record.idle_days",
    )
)  # fmt: skip
_UNITS: Final = {"context.identity.auth_age": " seconds"}
_ORDERS: Final = {"==": "", "!=": "not ", "<": "under ", "<=": "at most ", ">": "over ", ">=": "at least "}
_CLOCK: Final = {"<": "before ", ">=": "from "}
_CALLS: Final = ("contains", "containsAny", "containsAll")
_OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Clause(NamedTuple):
    """A condition in words; `parts` are those that it is made of."""

    text: str
    parts: tuple[Clause, ...] = ()

    def lines(self, indent: int = 0) -> Iterator[tuple[int, str]]:
        """(depth, text) of it and its parts."""
        yield indent, self.text
        for part in self.parts:
            yield from part.lines(indent + 1)


class PolicyWords(NamedTuple):
    """One policy in words."""

    number: int
    """In the text, from 0."""
    permits: bool
    """False: it forbids, whatever the others say."""
    actions: tuple[str, ...]
    who: tuple[Clause, ...]
    """All of these hold; none: for anybody who signed in."""


class Methods:
    """The sign-in methods of instructions, as words call them."""

    def __init__(self, definitions: Sequence[bytes] = ()) -> None:
        self.by_digest: dict[str, Method] = {method_digest(one).hex(): parse_method(one) for one in definitions}
        self._labels = {
            digest: f"method {at} ({_label(method)})" for at, (digest, method) in enumerate(self.by_digest.items())
        }

    def name(self, digest: str) -> str:
        """By number, as the file has them, kind and provider."""
        if digest in self._labels:
            return self._labels[digest]
        return f"method {digest[:8]}…" if not self._labels else f"a method that is NOT LISTED ({digest[:8]}…)"

    def person(self, principal: str) -> str:
        """A principal id in words."""
        digest, colon, subject = principal.partition(":")
        return f"{subject} by {self.name(digest)}" if colon and len(digest) == 64 else principal


def provider_of(method: Method) -> str:
    """Whose word a sign-in rests on, beside the Authenticator's; empty where a key or a quote proves it."""
    match method:
        case OidcMethod() | WorkloadMethod():
            return method.public.issuer
        case DirectoryMethod():
            return method.public.name
        case CodeMethod():
            return method.secret.server
        case _:
            return ""


def explain_rules(rules: str, methods: Methods) -> list[PolicyWords]:
    """Each policy in words. Raises `Misuse` for rules that are not valid."""
    return [_explain(index, policy, methods) for index, policy in enumerate(verify_rules(rules).policies)]


def _label(method: Method) -> str:
    provider = provider_of(method)
    return f"{method.kind} {provider}" if provider else method.kind


def _explain(index: int, policy: dict[str, Any], methods: Methods) -> PolicyWords:
    found = conjuncts(policy)
    scope = policy["principal"]
    if scope["op"] == "==":
        person = {"Value": {"__entity": scope["entity"]}}
        found.insert(0, {"==": {"left": {"Var": "principal"}, "right": person}})
    try:
        who = tuple(_all(found, methods))
    except RecursionError:
        who = (Clause("a condition too long for words"),)
    return PolicyWords(index, policy["effect"] == "permit", actions_of(policy), who)


def _all(expressions: Sequence[Any], methods: Methods) -> Iterator[Clause]:
    """Without the `has` that Cedar wants before what may be absent: the rest says it."""
    used = repr([one for one in expressions if "has" not in one])
    for one in expressions:
        operator, operands = _node(one)
        if operator == "has" and f"'attr': {operands['attr']!r}" in used:
            continue
        if one == {"Value": True} and len(expressions) > 1:
            continue
        yield _clause(one, methods)


def _clause(expression: Any, methods: Methods) -> Clause:
    match expression:
        case {"&&": _}:
            parts = tuple(_all(flat(expression, "&&"), methods))
            return parts[0] if len(parts) == 1 else Clause("all of:", parts)
        case {"||": _}:
            return Clause("any of:", tuple(_clause(one, methods) for one in flat(expression, "||")))
        case {"!": {"arg": inner}}:
            return _negated(inner, methods)
        case {"if-then-else": {"if": test, "then": then, "else": otherwise}}:
            three = (_clause(test, methods), _clause(then, methods), _clause(otherwise, methods))
            return Clause("if the first of these holds the second, else the third:", three)
        case {">=": {"left": {"+": _} as total, "right": {"Value": int(count)}}} if counted := _counted(total):
            return Clause(f"at least {count} of:", tuple(_clause(one, methods) for one in counted))
        case {"Value": True}:
            return Clause("anybody who signed in")
        case {"Value": False}:
            return Clause("nobody")
        case {".": _} if path_of(expression) == "context.identity.phishable":
            return Clause("the sign-in MAY BE FOR SOMEBODY ELSE (device flow, code)")
    return Clause(_comparison(expression, methods) or _cedar(expression, methods))


def _negated(inner: Any, methods: Methods) -> Clause:
    if path_of(inner) == "context.identity.phishable":
        return Clause("nobody can have tricked them into the sign-in")
    match inner:
        case {"!": {"arg": twice}}:
            return _clause(twice, methods)
        case {"has": {"left": left, "attr": attribute}}:
            return Clause(f"not known: {_named(f'{path_of(left)}.{attribute}')}")
        case {**rest} if len(rest) == 1 and (operator := next(iter(rest))) in _OPPOSITE:
            return _clause({_OPPOSITE[operator]: rest[operator]}, methods)
        case {"contains": {"left": left, "right": right}} if values_of(left) is not None and _named(path_of(right)):
            values = [_value(path_of(right), one, methods) for one in values_of(left) or []]
            return Clause(f"{_named(path_of(right))} is not {_listed(values, 'or')}")
    clause = _clause(inner, methods)
    return Clause("not:", (clause,)) if clause.parts else Clause(f"not: {clause.text}")


def _counted(total: Any) -> list[Any]:
    """Of `(if a then 1 else 0) + (if b then 1 else 0)`: a and b."""
    found = []
    for term in flat(total, "+"):
        match term:
            case {"if-then-else": {"if": test, "then": {"Value": 1}, "else": {"Value": 0}}}:
                found.append(test)
            case _:
                return []
    return found


def _node(expression: dict[str, Any]) -> tuple[str, Any]:
    """Operator and operands."""
    ((operator, operands),) = expression.items()
    return operator, operands


def _comparison(expression: Any, methods: Methods) -> str:
    """Of an attribute with something written out; empty for anything else."""
    operator, operands = _node(expression)
    match operator, operands:
        case "has", {"left": left, "attr": str(attribute)}:
            return f"known: {_named(f'{path_of(left)}.{attribute}')}"
        case (("contains" | "containsAny" | "containsAll"), {"left": left, "right": right}):
            return _membership(operator, left, right, methods)
        case "==", {"left": left, "right": right} if {path_of(left), path_of(right)} == {
            "context.identity.principal",
            "context.record.depositor",
        }:
            return "it is whoever stored the record"
        case "like", {"left": left, "pattern": list(pattern)} if _named(path_of(left)):
            text = "".join("*" if part == "Wildcard" else part["Literal"].replace("*", "\\*") for part in pattern)
            return f"{_named(path_of(left))} has the form {text}"
        case _, {"left": left, "right": {"Value": value}} if operator in _OPPOSITE and _named(path_of(left)):
            path = path_of(left)
            verb = "are" if path in _PLURAL else "is"
            return f"{_named(path)} {verb} {_order(path, operator)}{_value(path, value, methods)}{_UNITS.get(path, '')}"
    return ""


def _membership(operator: str, left: Any, right: Any, methods: Methods) -> str:
    written, path = values_of(left), path_of(right)
    if operator == "contains" and written is not None and _named(path):
        return f"{_named(path)} is {_listed([_value(path, one, methods) for one in written], 'or')}"
    path = path_of(left)
    if not _named(path):
        return ""
    if operator == "contains" and "Value" in right:
        return f"{_named(path)} include {_value(path, right['Value'], methods)}"
    written = values_of(right)
    if written is None or operator == "contains":
        return ""
    listed = _listed([_value(path, one, methods) for one in written], "or" if operator == "containsAny" else "and")
    return f"{_named(path)} include {listed}"


def _named(path: str) -> str:
    return _NAMES.get(path, "")


def _order(path: str, operator: str) -> str:
    if path == "context.record.minute_of_day" and operator in _CLOCK:
        return _CLOCK[operator]
    return _ORDERS[operator]


def _listed(values: Sequence[str], word: str) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} {word} {values[-1]}"


def _value(path: str, value: Any, methods: Methods) -> str:
    match path.rpartition(".")[2], value:
        case "method", str():
            return methods.name(value)
        case (("principal" | "others" | "approvals" | "depositor"), str()):
            return methods.person(value)
        case "principal", {"__entity": {"id": str(principal)}}:
            return methods.person(principal)
        case "other_emails", str():
            digest, _, address = value.partition(" ")
            return f"{address} by {methods.name(digest)}"
        case "minute_of_day", int():
            return f"{value // 60:02}:{value % 60:02}"
        case "weekday", int() if 1 <= value <= len(WEEKDAYS):
            return WEEKDAYS[value - 1]
        case _, {"__entity": {"id": str(name)}}:
            return name
    return _literal(value)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return str(value)


def _cedar(expression: Any, methods: Methods) -> str:
    """What has no words, as Cedar would write it."""
    if path := path_of(expression):
        return path
    written = values_of(expression)
    if written is not None:
        return f"[{', '.join(_value('', one, methods) for one in written)}]"
    operator, operands = _node(expression)
    match operator, operands:
        case "Value", value:
            return _value("", value, methods)
        case "Set", list(items):
            return f"[{', '.join(_cedar(one, methods) for one in items)}]"
        case "is", {"left": left, "entity_type": str(name)}:
            return f"{_cedar(left, methods)} is {name}"
        case "has", {"left": left, "attr": str(name)}:
            return f"{_cedar(left, methods)} has {name}"
        case "if-then-else", {"if": test, "then": then, "else": otherwise}:
            return f"(if {_cedar(test, methods)} then {_cedar(then, methods)} else {_cedar(otherwise, methods)})"
        case "isEmpty", {"arg": arg}:
            return f"{_cedar(arg, methods)}.isEmpty()"
        case _, {"arg": arg}:
            return f"{'-' if operator == 'neg' else operator}{_cedar(arg, methods)}"
        case _, {"left": left, "right": right} if operator in _CALLS:
            return f"{_cedar(left, methods)}.{operator}({_cedar(right, methods)})"
        case _, {"left": left, "right": right}:
            return f"({_cedar(left, methods)} {operator} {_cedar(right, methods)})"
    return f"{expression}"
