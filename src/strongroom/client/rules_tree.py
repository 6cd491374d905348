"""Cedar's JSON form of rules: what a policy is about, and what must hold for it to count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom.protocol.rules import ACTIONS


def actions_of(policy: dict[str, Any]) -> tuple[str, ...]:
    """The actions that a policy is about, in the schema's order."""
    scope = policy["action"]
    if scope["op"] == "All":
        return tuple(ACTIONS)
    named = {entity["id"] for entity in (scope["entities"] if "entities" in scope else [scope["entity"]])}
    return tuple(action for action in ACTIONS if action in named)


def conjuncts(policy: dict[str, Any]) -> list[Any]:
    """What all must hold for the policy to count, in Cedar's JSON form; `unless` as its negation."""
    found: list[Any] = []
    for condition in policy["conditions"]:
        body = condition["body"]
        found += flat(body, "&&") if condition["kind"] == "when" else [{"!": {"arg": body}}]
    return found


def flat(expression: Any, operator: str) -> list[Any]:
    """`a && b && c` as a list, however it is bracketed. Without recursion: such chains are long."""
    found: list[Any] = []
    waiting = [expression]
    while waiting:
        match waiting.pop():
            case dict(node) if operator in node:
                waiting += [node[operator]["right"], node[operator]["left"]]
            case other:
                found.append(other)
    return found


def path_of(expression: Any) -> str:
    """A dotted path from a variable; empty for anything else."""
    match expression:
        case {"Var": str(name)}:
            return name
        case {".": {"left": left, "attr": str(name)}}:
            return f"{path_of(left)}.{name}"
    return ""


def values_of(expression: Any) -> list[Any] | None:
    """The values of a set that is written out; None for anything else."""
    match expression:
        case {"Value": list(items)}:
            return items
        case {"Set": list(items)} if all("Value" in item for item in items):
            return [item["Value"] for item in items]
    return None


def denies_phishable(expression: Any) -> bool:
    """Whether this holds for nobody who may have been tricked into the sign-in."""
    match expression:
        case {"!": {"arg": inner}}:
            return path_of(inner) == "context.identity.phishable"
        case {"==": {"left": left, "right": {"Value": False}}}:
            return path_of(left) == "context.identity.phishable"
    return False


def forbids_phishable(policy: dict[str, Any]) -> bool:
    """Whether a policy is there to deny such sign-ins its actions, whatever others permit."""
    every = conjuncts(policy)
    return (
        policy["effect"] == "forbid"
        and policy["principal"]["op"] == "All"
        and len(every) == 1
        and path_of(every[0]) == "context.identity.phishable"
    )


def permitted_to_phishable(policies: Sequence[dict[str, Any]]) -> frozenset[str]:
    """The actions that a sign-in might be permitted which its user may have been tricked into."""
    forbidden = {action for policy in policies if forbids_phishable(policy) for action in actions_of(policy)}
    permitted = {
        action
        for policy in policies
        if policy["effect"] == "permit" and not any(map(denies_phishable, conjuncts(policy)))
        for action in actions_of(policy)
    }
    return frozenset(permitted - forbidden)
