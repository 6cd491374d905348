"""Rules in words: everything that they say, in the order in which they say it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client.policy import Policy
from strongroom.client.quorum import two_of
from strongroom.client.rules_explanation import Methods, explain_rules
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.rules import _TYPES
from tests.support.people import DIRECTORY, GROUP, KEYS, OIDC, WORKLOADS

METHODS = Methods([encode(method) for method in (OIDC, KEYS, DIRECTORY, WORKLOADS)])
NOT_TRICKED = "nobody can have tricked them into the sign-in"


def words(policy, methods=METHODS):
    (only,) = explain_rules(policy if isinstance(policy, str) else policy.cedar, methods)
    return ["  " * depth + text for clause in only.who for depth, text in clause.lines()]


def when(condition, effect="permit"):
    return f"{effect} (principal, action, resource) when {{ {condition} }};"


def test_a_policy_says_who_by_which_method_and_how():
    policy = Policy.anyone_with_email("bob@example.com", "carol@example.com", method=OIDC).signed_in_within(300)
    assert words(policy.may("collect")) == [
        "the sign-in method is method 0 (oidc https://login.example.com)",
        "the verified address is bob@example.com or carol@example.com",
        "the age of the sign-in at the provider is under 300 seconds",
        NOT_TRICKED,
    ]
    assert words(Policy.members_of(GROUP, method=DIRECTORY).may("collect"))[:2] == [
        "the sign-in method is method 2 (directory ad.example.com)",
        f"the groups include {GROUP}",
    ]
    assert words(Policy.listed(KEYS, "bob").may("collect"))[0] == "the person is bob by method 1 (keys)"
    assert words(Policy.workload(WORKLOADS, {"repository": "a/b"}).may("collect"))[1] == (
        "the claims of the workload include repository=a/b"
    )
    assert words(Policy.depositor_may("collect"))[0] == "it is whoever stored the record"


def test_times_are_times_of_day():
    policy = Policy.person(OIDC, "bob").between("08:00", "18:30", weekdays=["mon", "fri"]).may("collect")
    assert words(policy)[1:4] == [
        "the time of day (UTC) is from 08:00",
        "the time of day (UTC) is before 18:30",
        "the day of the week (UTC) is mon or fri",
    ]


def test_a_quorum_is_counted():
    *_, collect = explain_rules(two_of([[(OIDC, "bob")], [(OIDC, "eve")]]).may_when_approved("collect").cedar, METHODS)
    lines = [(depth, text) for clause in collect.who for depth, text in clause.lines()]
    by = "by method 0 (oidc https://login.example.com)"
    assert lines[1:-1] == [
        (0, "at least 1 of:"),
        (1, "all of:"),
        (2, f"the people who approved of exactly this include bob {by}"),
        (2, f"the person is not bob {by}"),
        (1, "all of:"),
        (2, f"the people who approved of exactly this include eve {by}"),
        (2, f"the person is not eve {by}"),
    ]


def test_what_may_be_phished_stands_out():
    rules = "permit (principal, action, resource);" + when("context.identity.phishable", "forbid")
    assert [clause.text for clause in explain_rules(rules, METHODS)[1].who] == [
        "the sign-in MAY BE FOR SOMEBODY ELSE (device flow, code)"
    ]


def test_a_method_that_is_not_listed_stands_out():
    policy = Policy.anyone_signed_in(b"x" * 32).may("collect")
    assert "NOT LISTED" in words(policy)[0]
    assert words(policy, Methods())[0] == "the sign-in method is method 78787878…"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("true", ["anybody who signed in"]),
        ("context.identity has email", ["known: the verified address"]),
        ("!(context.identity has email)", ["not known: the verified address"]),
        ('!(context.identity.subject == "a b")', ['the subject is not "a b"']),
        ("!(context.identity.sign_ins < 2)", ["the number of people on the ticket is at least 2"]),
        ('context.identity.channel like "na*\\*"', [r"the channel of the sign-in has the form na*\*"]),
        ("!(true && context.identity.sign_ins > 1 && context.record.approval_count >= 2)",
         ["not:", "  all of:", "    the number of people on the ticket is over 1",
          "    the number of people who approved of exactly this is at least 2"]),
        ("!(context.identity.amr.isEmpty())", ["not: context.identity.amr.isEmpty()"]),
        ("context.identity.sign_ins + 1 > 2 - 3 * -1", ["((context.identity.sign_ins + 1) > (2 - (3 * -1)))"]),
        ('if context.identity.phishable then false else principal == Person::"x"',
         ["if the first of these holds the second, else the third:",
          "  the sign-in MAY BE FOR SOMEBODY ELSE (device flow, code)", "  nobody", "  the person is x"]),
        ('action in [Action::"collect"] || principal is Person',
         ["any of:", "  (action in [collect])", "  principal is Person"]),
        ('["a", "b"].containsAny(context.identity.amr)', ["[a, b].containsAny(context.identity.amr)"]),
    ],
)  # fmt: skip
def test_whatever_cedar_can_say_is_said(condition, expected):
    assert words(when(condition)) == expected


def test_unless_is_a_negation_and_a_named_principal_is_said():
    digest = method_digest(encode(OIDC)).hex()
    text = f'forbid (principal == Person::"{digest}:bob", action == Action::"collect", resource) unless {{ true }};'
    (policy,) = explain_rules("permit (principal, action, resource);" + text, METHODS)[1:]
    assert (policy.number, policy.permits, policy.actions) == (1, False, ("collect",))
    assert [clause.text for clause in policy.who] == [
        "the person is bob by method 0 (oidc https://login.example.com)", "not: anybody who signed in"
    ]  # fmt: skip


def test_the_longest_conditions_are_said_too():
    total = " + ".join(["context.identity.sign_ins"] * 120)
    (line,) = words(when(f"{total} > 7"))
    assert line.count("context.identity.sign_ins") == 120
    either = " || ".join(f'context.identity.subject == "p{at}"' for at in range(90))
    assert len(words(when(either))) == 91


@pytest.mark.parametrize("name", sorted(_TYPES["Identity"] | _TYPES["RecordFacts"]))
def test_every_attribute_has_a_name(name):
    place = "identity" if name in _TYPES["Identity"] else "record"
    (line,) = words(when(f"context.{place} has {name}"))
    assert not line.endswith("known: ")


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.isascii()))
def test_no_value_is_left_out(text):
    group = words(Policy.members_of(text, method=OIDC).may("collect"))[1]
    assert group.removeprefix("the groups include ").strip('"') == text.strip('"')
