"""Who stores or updates a record must be able to change it again.

A depositor is recognised by `METHOD:SUBJECT`, and METHOD is the digest of a whole definition: one more key in it, a
renewed certificate or a new SMTP password makes another method, and everybody whom it signs in another person. Rules
that let only the depositor update or delete would then let nobody, for ever, and no Vault could say so: whoever it is
comes back with a principal that the record has never seen. This client knows as whom it is signed in, and looks before
it sends. What the Vault or an Authenticator finds wrong with the instructions is theirs to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from strongroom.client.errors import InOwnWords
from strongroom.client.policy import only_phishable
from strongroom.client.results import Person
from strongroom.client.rules_explanation import Methods
from strongroom.client.rules_review import methods_of
from strongroom.client.rules_tree import (
    actions_of,
    conjuncts,
    flat,
    path_of,
    permitted_to_phishable,
)
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import Method, parse_instructions
from strongroom.protocol.rules import verify_rules

_CHANGES: Final = ("update", "delete")
_DEPOSITOR: Final = frozenset({"context.record.depositor", "context.identity.principal"})


class LockedOut(InOwnWords, Misuse):
    """These instructions would lock out whoever is about to store them."""

    def __init__(self, error: str, hint: str) -> None:
        super().__init__(Number.LOCKS_OUT, error, hint)


def verify_changeable(instructions: bytes, people: Sequence[Person]) -> None:
    """Raises `LockedOut` where only the depositor may update or delete, and none of `people`, as whom this client is
    signed in, could ever be taken for the depositor again. Permanent instructions mean it."""
    try:
        parsed = parse_instructions(instructions)
        policies = _policies_of(parsed.rules)
    except Misuse:
        return
    if parsed.permanent or not people:
        return
    own = {person.principal.partition(":")[0] for person in people}
    methods = Methods(parsed.methods)
    kept = [method for digest, method in methods.by_digest.items() if digest in own]
    lost = [action for action in _CHANGES if _is_lost(action, policies, methods, kept)]
    if not lost:
        return
    nobody = f"nobody could {' or '.join(lost)} this record again"
    if not kept:
        raise LockedOut(
            f"you signed in by a method that these instructions do not have: {nobody}",
            "keep that [[method]] unchanged, add a second one for the others, or name somebody in rules",
        )
    raise LockedOut(
        f"the rules do not count the way in which you signed in: {nobody}",
        "sign in by another method, allow this one to the depositor, or name somebody in rules",
    )


@lru_cache(maxsize=64)
def _policies_of(rules: str) -> list[dict[str, Any]]:
    """Who stores much stores it under the same few rules, and Cedar takes milliseconds over them."""
    return verify_rules(rules).policies


def _is_lost(action: str, policies: Sequence[dict[str, Any]], methods: Methods, kept: Sequence[Method]) -> bool:
    """Whether it is for the depositor alone, and none of the methods `kept` makes anybody that."""
    permits = [one for one in policies if one["effect"] == "permit" and action in actions_of(one)]
    if not permits or not all(any(map(_is_depositor, conjuncts(one))) for one in permits):
        return False
    tricked = permitted_to_phishable(policies)
    return not any(
        method in kept and (action in tricked or not only_phishable([method]))
        for one in permits
        for method in methods_of(one, methods)
    )


def _is_depositor(expression: Any) -> bool:
    """Whether this holds for nobody but the depositor."""
    match expression:
        case {"==": {"left": left, "right": right}}:
            return {path_of(left), path_of(right)} == _DEPOSITOR
        case {"&&": _}:
            return any(map(_is_depositor, flat(expression, "&&")))
        case {"||": _}:
            return all(map(_is_depositor, flat(expression, "||")))
    return False
