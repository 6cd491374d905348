"""Several people who decide together: nobody is two, nobody approves of themselves."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client.policy import People, Policy
from strongroom.client.quorum import quorum_of, two_of
from strongroom.protocol.errors import Misuse, Number
from tests.support.evidence import changed
from tests.support.people import KEYS, OIDC, OTHER, allowed, principal, signed_in

NAMES = ("bob", "carol", "dave")
PEOPLE: Any = [[(OIDC, name), (KEYS, name)] for name in NAMES]
BOB, CAROL, DAVE = (signed_in(OIDC, name) for name in NAMES)
BOBS_KEY = signed_in(KEYS, "bob")
EVE = signed_in(OIDC, "eve")
TWO = two_of(PEOPLE)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((BOB, CAROL), True),
        ((DAVE, BOB), True),
        ((CAROL, EVE, DAVE), True),
        ((CAROL, BOBS_KEY), True),
        ((BOB,), False),
        ((BOB, BOBS_KEY), False),
        ((BOB, EVE), False),
        ((EVE,), False),
        ((BOB, changed(CAROL, phishable=True)), False),
        ((BOB, changed(CAROL, method=bytes(32))), False),
    ],
)
def test_two_on_one_ticket_are_two_people(facts, expected):
    policy = TWO.together().may("collect")
    assert policy.check() == ["collect"]
    assert allowed(policy, *facts) is expected
    assert allowed(policy, *reversed(facts)) is expected


def test_what_is_asked_besides_is_asked_of_whoever_is_named():
    policy = TWO.together().native_only().may("collect")
    assert allowed(policy, BOB, changed(CAROL, channel="web")), "the decision names bob, who is at his own machine"
    assert not allowed(policy, changed(BOB, channel="web"), changed(CAROL, channel="web"))


WHEN_APPROVED = TWO.may_when_approved("collect")


@pytest.mark.parametrize(
    ("who", "approvals", "expected"),
    [
        (BOB, [(OIDC, "carol")], True),
        (BOB, [(KEYS, "dave")], True),
        (BOBS_KEY, [(OIDC, "carol")], True),
        (BOB, [], False),
        (BOB, [(OIDC, "bob")], False),
        (BOB, [(KEYS, "bob")], False),
        (BOBS_KEY, [(OIDC, "bob")], False),
        (BOB, [(OIDC, "eve")], False),
        (BOB, [(OTHER, "carol")], False),
        (EVE, [(OIDC, "bob"), (OIDC, "carol")], False),
    ],
)
def test_nobody_approves_of_themselves_by_whichever_sign_in(who, approvals, expected):
    given_by = [principal(method, subject) for method, subject in approvals]
    assert allowed(WHEN_APPROVED, who, approvals=given_by) is expected


def test_each_of_them_may_ask_and_approve_and_nobody_else():
    assert WHEN_APPROVED.check() == ["approve", "ask", "collect"]
    for action in ("ask", "approve"):
        assert allowed(WHEN_APPROVED, BOB, action=action)
        assert not allowed(WHEN_APPROVED, EVE, action=action)
        assert not allowed(WHEN_APPROVED, changed(BOB, phishable=True), action=action)


def test_what_is_demanded_of_each_is_demanded_of_askers_approvers_and_actors():
    policy = TWO.may_when_approved("collect", each=People.native_only)
    on_a_page = changed(BOB, channel="web")
    by_carol = [principal(OIDC, "carol")]
    for action in ("ask", "approve", "collect"):
        assert allowed(policy, BOB, action=action, approvals=by_carol)
        assert not allowed(policy, on_a_page, action=action, approvals=by_carol)


def test_others_may_ask_and_the_quorum_approves():
    policy = quorum_of(2, PEOPLE).may_approve(Policy.person(OIDC, "eve"), "collect")
    both = [principal(OIDC, "bob"), principal(KEYS, "carol")]
    assert allowed(policy, EVE, approvals=both)
    assert not allowed(policy, EVE, approvals=[principal(OIDC, "bob"), principal(KEYS, "bob")])
    assert not allowed(policy, BOB, approvals=both)
    assert allowed(policy, EVE, action="ask")
    assert not allowed(policy, BOB, action="ask")
    assert not allowed(policy, EVE, action="approve")


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(2, 4), st.data())
def test_so_many_of_so_many(size, needed, data):
    if needed > size:
        return
    names = [f"p{at}" for at in range(size)]
    quorum = quorum_of(needed, [[(OIDC, name)] for name in names])
    here = data.draw(st.lists(st.sampled_from(names), unique=True))
    asks = data.draw(st.sampled_from(names))
    tickets = [signed_in(OIDC, name) for name in here]
    if tickets:
        assert allowed(quorum.together().may("collect"), *tickets) is (len(here) >= needed)
    approvals = [principal(OIDC, name) for name in here]
    expected = len(set(here) - {asks}) >= needed - 1
    assert allowed(quorum.may_when_approved("collect"), signed_in(OIDC, asks), approvals=approvals) is expected


def test_sixteen_people_fit_with_three_sign_ins_each():
    people = [[(method, f"p{at}") for method in (OIDC, OTHER, KEYS)] for at in range(16)]
    for needed in (2, 8, 16):
        quorum = quorum_of(needed, people)
        each = quorum.may_when_approved("collect", each=lambda one: one.native_only().with_mfa().signed_in_within(60))
        assert each.check() == ["approve", "ask", "collect"]
    everybody = [principal(OIDC, f"p{at}") for at in range(16)]
    policy = quorum_of(16, people).may_when_approved("collect")
    assert allowed(policy, signed_in(OIDC, "p3"), approvals=everybody)
    assert not allowed(policy, signed_in(OIDC, "p3"), approvals=everybody[:-1])


@pytest.mark.parametrize(
    ("needed", "people", "words"),
    [
        (0, PEOPLE, "can't be"),
        (4, PEOPLE, "can't be"),
        (1, [[]], "has no sign-in"),
        (2, [[(OIDC, "bob")], [(OIDC, "bob")]], "listed as two people"),
        (2, [[(OIDC, "bob"), (KEYS, "bob")], [(KEYS, "bob")]], "listed as two people"),
        (2, [[(OIDC, f"p{at}")] for at in range(17)], "at most 16"),
        (2, [[(OIDC, f"p{at}.{way}") for way in range(4)] for at in range(13)], "at most 48"),
    ],
)
def test_quorums_that_can_not_be_are_refused(needed, people, words):
    with pytest.raises(Misuse, match=words) as caught:
        quorum_of(needed, people)
    assert caught.value.number is Number.RULES_INVALID


def test_a_ticket_holds_four():
    five = quorum_of(5, [[(OIDC, f"p{at}")] for at in range(5)])
    with pytest.raises(Misuse, match="approve instead"):
        five.together()
    with pytest.raises(Misuse, match="nobody's approval"):
        quorum_of(1, PEOPLE).may_when_approved("collect")
