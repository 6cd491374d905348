"""Builders of rules by which several people decide together (RULES 17).

>>> from strongroom.client.methods import oidc_method
>>> method = oidc_method("https://login.example.com", "strongroom")
>>> bob, carol, dave = ([(method, name)] for name in ("bob", "carol", "dave"))
>>> two_of([bob, carol, dave]).together().may("collect").check()
['collect']
>>> two_of([bob, carol, dave]).may_when_approved("collect").check()
['approve', 'ask', 'collect']

A person is a list of sign-ins, each a method and the stable subject that it gives. People are as distinct as these
lists say: who is listed as two is two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.client.policy import People, Policy, cedar_set, invalid_rules, principal_id
from strongroom.protocol.instructions import Action, Method
from strongroom.protocol.limits import MAX_APPROVERS, MAX_SIGN_INS

Someone = Sequence[tuple[Method | bytes, str]]
"""One person: each way in which they may sign in, by method and stable subject."""

MAX_SIGN_INS_LISTED: Final = 48
"""Sign-ins of all people of a quorum together: what one policy has room for (`MAX_POLICY_TOKENS`)."""

_ME: Final = "context.identity.principal"
_OTHERS: Final = "context.identity.others"
_APPROVALS: Final = "context.record.approvals"


def _same(people: People) -> People:
    return people


@dataclass(frozen=True, slots=True)
class Quorum:
    """`needed` of these people. Made by `quorum_of`."""

    needed: int
    people: tuple[tuple[str, ...], ...]
    """Principal ids of each."""

    def together(self) -> People:
        """Whoever holds a ticket on which `needed` of them have signed in, one after the other on one machine: see
        `AsyncVault.sign_in_also`.

        What is demanded besides (`native_only` …) is demanded of the one whom the decision names; of the others only
        that nobody can have tricked them. Where it is to hold for everybody, let them approve.
        """
        if self.needed > MAX_SIGN_INS:
            raise invalid_rules(f"a ticket holds {MAX_SIGN_INS} sign-ins; let {self.needed} people approve instead")
        signed_in = [f"{_OTHERS}.containsAny({listed}) || {listed}.contains({_ME})" for listed in self._listed()]
        return self._anyone().who(_at_least(self.needed, signed_in))

    def may_when_approved(self, *actions: Action, each: Callable[[People], People] = _same) -> Policy:
        """Each of them may ask, and do it once so many others have approved that they are `needed` with whoever asks.

        `each`: what else is demanded of everybody who asks, approves or acts: `People.native_only`. Nobody approves
        of their own question, by whichever of their sign-ins.
        """
        if self.needed < 2:
            raise invalid_rules("one person needs nobody's approval")
        return self._approved(each(self._anyone()), self.needed - 1, actions, each)

    def may_approve(self, asking: People, *actions: Action, each: Callable[[People], People] = _same) -> Policy:
        """The people `asking` may ask, and do it once `needed` of the quorum have approved. Who is among the quorum,
        too, doesn't count for themselves."""
        return self._approved(asking, self.needed, actions, each)

    def _approved(
        self, asking: People, approvals: int, actions: Sequence[Action], each: Callable[[People], People]
    ) -> Policy:
        # The Vault knows whoever asks by one principal; here the same person may have approved by another.
        others = [f"{_APPROVALS}.containsAny({listed}) && !{listed}.contains({_ME})" for listed in self._listed()]
        approved = asking.who(_at_least(approvals, others))
        return asking.may("ask") | each(self._anyone()).may("approve") | approved.may(*actions)

    def _anyone(self) -> People:
        principals = [principal for person in self.people for principal in person]
        return People(f"{cedar_set(principals)}.contains({_ME})")

    def _listed(self) -> list[str]:
        return [cedar_set(person) for person in self.people]


def quorum_of(needed: int, people: Sequence[Someone]) -> Quorum:
    """So many of these people. Raises `Misuse` RULES_INVALID when somebody is listed as two, or there are too few."""
    if not 1 <= needed <= len(people):
        raise invalid_rules(f"{needed} of {len(people)} people can't be")
    if len(people) > MAX_APPROVERS:
        raise invalid_rules(f"a quorum is of at most {MAX_APPROVERS} people")
    listed = tuple(tuple(principal_id(method, subject) for method, subject in person) for person in people)
    seen: set[str] = set()
    for at, person in enumerate(listed):
        if not person:
            raise invalid_rules(f"person {at} has no sign-in")
        twice = seen & set(person)
        if twice:
            raise invalid_rules(f"{min(twice)} is listed as two people")
        seen |= set(person)
    if len(seen) > MAX_SIGN_INS_LISTED:
        raise invalid_rules(f"{len(seen)} sign-ins; rules name at most {MAX_SIGN_INS_LISTED} for a quorum")
    return Quorum(needed, listed)


def two_of(people: Sequence[Someone]) -> Quorum:
    """Any two of these people."""
    return quorum_of(2, people)


def _at_least(count: int, conditions: Sequence[str]) -> str:
    """That so many of the conditions hold. Counted rather than spelled out: 8 of 16 people are 12,870 combinations."""
    if len(conditions) == 1:
        return conditions[0]
    terms = [f"(if {condition} then 1 else 0)" for condition in conditions]
    return f"{' + '.join(terms)} >= {count}"
