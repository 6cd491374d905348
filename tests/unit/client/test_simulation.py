"""What is foretold is what the Authenticator decides, errors and all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client.errors import BadInput
from strongroom.client.policy import Policy
from strongroom.client.quorum import two_of
from strongroom.client.rules_explanation import Methods
from strongroom.client.simulation import People, Record, SignIn, parse_people, parse_person, simulate
from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Refused
from strongroom.protocol.instructions import rules_digest
from strongroom.protocol.rules import ACTIONS
from tests.support.people import (
    CODES,
    DIRECTORY,
    ENCLAVES,
    GROUP,
    KEYS,
    NOW,
    OIDC,
    PASSKEYS,
    WEB,
    WORKLOADS,
    principal,
    record,
    signed_in,
)

METHODS = Methods([encode(method) for method in (OIDC, KEYS, PASSKEYS, CODES)])
RULES = (
    Policy.anyone_with_email("bob@example.com", method=OIDC).with_mfa().may("collect")
    | Policy.depositor_may("update", "delete")
    | two_of([[(OIDC, "bob")], [(OIDC, "carol")]]).may_when_approved("audit")
    | Policy.person(OIDC, "dave").between("08:00", "18:00").may("fill")
).cedar
BOB = SignIn(name="bob", method=0, email="bob@example.com", amr=["mfa"])
CAROL = SignIn(name="carol", method=0, email="carol@example.com")


def answers(*people, rules=RULES, actions=("collect",), methods=METHODS, **about):
    asked = People(person=list(people), record=Record(**about))
    return {(one.person, one.action): one for one in simulate(rules, methods, asked, actions, NOW)}


def yes(*people, **about):
    return [one.allowed for one in answers(*people, **about).values()]


def test_it_says_who_gets_in_and_which_policy_says_so():
    found = answers(BOB, CAROL)
    assert found["bob", "collect"][2:] == (True, [0], "")
    assert found["carol", "collect"][2:] == (False, [], "no policy permits it")


def test_it_says_which_policy_forbids_it():
    forbid = 'forbid (principal, action, resource) when { context.identity.subject == "bob" };'
    assert answers(BOB, rules=f"permit (principal, action, resource);{forbid}")["bob", "collect"][2:] == (
        False, [1], "forbidden by policy 1",
    )  # fmt: skip


def test_an_evaluation_error_is_a_refusal():
    overflow = "context.identity has auth_time && context.identity.auth_time + 9223372036854775807 > 0"
    rules = f"permit (principal, action, resource); forbid (principal, action, resource) when {{ {overflow} }};"
    errs = SignIn(name="eve", method=0, signed_in_ago=5)
    found = answers(BOB, errs, rules=rules)
    assert found["bob", "collect"].allowed
    assert found["eve", "collect"][2:] == (False, [], "an evaluation error, which refuses whatever the rest says")
    beside = SignIn(name="bob", method=0, beside=["eve"])
    assert yes(beside, errs, rules=rules) == [False, False]


def test_records_depositors_and_times_count():
    dave = SignIn(name="dave", method=0)
    assert yes(BOB, actions=["update"], depositor="bob") == [True]
    assert yes(BOB, actions=["update"], depositor=principal(OIDC, "bob")) == [True]
    assert yes(BOB, actions=["update"], depositor="") == [False]
    (time,) = (parse_people("[record]\ntime = 2026-11-26T09:30:59Z", as_json=False).record.time,)
    assert time is not None
    assert yes(dave, actions=["fill"], time=time) == [True]
    assert yes(dave, actions=["fill"], time=time.replace(hour=18)) == [False]
    assert yes(dave, actions=["fill"]) == [False]


def test_nobody_is_foretold_to_approve_of_themselves():
    assert yes(BOB, CAROL, actions=["audit"], approvals=["carol"]) == [True, False]
    assert yes(BOB, CAROL, actions=["audit"], approvals=["bob", "carol"]) == [True, True]
    same_address = SignIn(name="carol", method=0, email="BOB@example.com")
    assert yes(BOB, same_address, actions=["audit"], approvals=["carol"])[0] is False
    phished = SignIn(name="carol", method=0, channel="device")
    assert yes(BOB, phished, actions=["audit"], approvals=["carol"])[0] is False


def test_approvals_are_counted_without_whoever_asks():
    rules = "permit (principal, action, resource) when { context.record.approval_count >= 1 };"
    eve, zoe = SignIn(name="eve", method=0), SignIn(name="zoe", method=0)
    assert yes(eve, zoe, rules=rules, approvals=["eve"]) == [False, True]


def test_people_beside_each_other_are_on_one_ticket():
    rules = two_of([[(OIDC, "bob")], [(KEYS, "carol")]]).together().may("collect").cedar
    carol = SignIn(name="carol", method=1)
    assert yes(BOB, carol, rules=rules) == [False, False]
    beside = SignIn(name="bob", method=0, beside=["carol"])
    assert yes(beside, carol, rules=rules) == [True, False]


@pytest.mark.parametrize(
    ("method", "channel", "phishable"),
    [(0, "native", False), (1, "direct", False), (2, "web", False), (3, "direct", True)],
)
def test_what_is_not_said_is_as_the_method_has_it(method, channel, phishable):
    condition = f'context.identity.channel == "{channel}" && context.identity.phishable == {str(phishable).lower()}'
    rules = f"permit (principal, action, resource) when {{ {condition} }};"
    assert yes(SignIn(name="bob", method=method), rules=rules) == [True]


TOML = """
[record]
depositor = "alice"
approvals = ["carol"]
idle_days = 3

[[person]]
name = "alice"
method = 0
groups = ["a", "b"]
"""


def test_people_are_read_from_toml_json_and_options():
    people = parse_people(TOML, as_json=False)
    as_json = '{"record": {"depositor": "alice", "approvals": ["carol"], "idle_days": 3}, "person": [%s]}'
    same = parse_people(as_json % '{"name": "alice", "method": 0, "groups": ["a", "b"]}', as_json=True)
    assert people == same
    assert parse_person("name=alice method=0 groups=a groups=b") == people.person[0]
    assert parse_person("name=x 'groups=CN=a b,DC=c' signed_in_ago=5").groups == ["CN=a b,DC=c"]


@pytest.mark.parametrize(
    ("text", "as_json", "words"),
    [
        ("[[person]]\nname = 'a'\nfoo = 1", False, "foo"),
        ("[[person]]\nsubject = 'a'", False, "name"),
        ("[[person", False, "not TOML"),
        ("{", True, "not JSON"),
        ('{"person": [{"name": "a", "channel": "post"}]}', True, "channel"),
    ],
)
def test_people_that_can_not_be_read_are_named(text, as_json, words):
    with pytest.raises(BadInput, match=words):
        parse_people(text, as_json=as_json)


@pytest.mark.parametrize(
    "text", ["bob", "name=a name=b", "name='a", "method=0", "name=a foo=b", "name=a signed_in_ago=x"]
)
def test_options_that_can_not_be_read_are_named(text):
    with pytest.raises(BadInput):
        parse_person(text)


@pytest.mark.parametrize(
    ("people", "about", "words"),
    [
        ([BOB, BOB], {}, "two people are called bob"),
        ([SignIn(name="x")], {}, "which method"),
        ([SignIn(name="x", method=4)], {}, "which method"),
        ([SignIn(name="x", method="f" * 64)], {}, "which method"),
        ([SignIn(name="x", method=0, issuer="https://x")], {}, "stand in the instructions"),
        ([SignIn(name="x", method=0, beside=["y"])], {}, "beside x is y"),
        ([SignIn(name="x", method=0, beside=["x"])], {}, "beside x is x"),
        ([BOB], {"depositor": "y"}, "y is nobody described"),
        ([BOB], {"approvals": ["y"]}, "y is nobody described"),
    ],
)  # fmt: skip
def test_people_who_can_not_be_are_named(people, about, words):
    with pytest.raises(BadInput, match=words):
        answers(*people, **about)


def test_without_instructions_methods_are_digests():
    digest = principal(WEB, "").removesuffix(":")
    rules = Policy.person(WEB, "bob").may("collect").cedar
    nothing = Methods()
    assert yes(SignIn(name="bob", method=digest), rules=rules, methods=nothing) == [True]
    assert yes(SignIn(name="bob"), rules=rules, methods=nothing) == [False]
    with pytest.raises(BadInput, match="64 hex digits"):
        answers(SignIn(name="bob", method=0), rules=rules, methods=nothing)
    issuer = 'permit (principal, action, resource) when { context.identity.issuer == "https://x.test" };'
    assert yes(SignIn(name="bob", issuer="https://x.test"), rules=issuer, methods=nothing) == [True]


NAMES = st.sampled_from(["bob", "carol", "dave", "eve"])
PERSON = st.builds(
    SignIn,
    name=NAMES,
    method=st.just(0),
    email=st.sampled_from(["", "bob@example.com", "eve@example.com"]),
    amr=st.lists(st.sampled_from(["pwd", "mfa"]), max_size=2),
    signed_in_ago=st.none() | st.integers(0, 1000),
    channel=st.sampled_from(["native", "web", "device"]),
)


@settings(max_examples=40, deadline=None)
@given(PERSON, st.sampled_from(ACTIONS), st.none() | st.integers(0, 2**33), st.sampled_from(["", "bob", "eve"]))
def test_what_is_foretold_is_what_is_decided(person, action, idle, depositor):
    fact = signed_in(
        OIDC, person.name, email=person.email, amr=person.amr, channel=person.channel,
        phishable=person.channel == "device",
        auth_time=None if person.signed_in_ago is None else NOW - person.signed_in_ago,
    )  # fmt: skip
    stored_by = principal(OIDC, depositor) if depositor else ""
    said = record(depositor=stored_by, approvals=[principal(OIDC, "zoe")], idle_days=idle)
    try:
        RuleBook().decide(rules_digest(RULES), RULES, action, said, [fact], NOW)
        decided = True
    except Refused:
        decided = False
    about = {"depositor": stored_by, "approvals": [principal(OIDC, "zoe")], "idle_days": idle}
    assert yes(person, actions=[action], **about) == [decided]


EVERY = Methods([encode(method) for method in (OIDC, KEYS, PASSKEYS, CODES, DIRECTORY, WORKLOADS, ENCLAVES)])


@pytest.mark.parametrize(
    ("person", "words"),
    [
        (SignIn(name="eve", method=1), "lists no eve"),
        (SignIn(name="eve", method=2), "lists no eve"),
        (SignIn(name="eve", method=6), "lists no eve"),
        (SignIn(name="bob", method=1, email="bob@example.com"), "proves no address"),
        (SignIn(name="bob", method=4, email="bob@example.com"), "proves no address"),
        (SignIn(name="bob", method=5, email="bob@example.com"), "proves no address"),
        (SignIn(name="eve", method=3, email="eve@example.com"), "proves no address"),
        (SignIn(name="bob", method=1, groups=["admins"]), "tells of no group admins"),
        (SignIn(name="bob", method=4, groups=["CN=Others"]), "tells of no group CN=Others"),
        (SignIn(name="bob", method=0, claims=["ref=main"]), "no such claims"),
        (SignIn(name="bob", method=5, claims=["environment=x"]), "no such claims"),
        (SignIn(name="bob", method=1, tid="x"), "no hd, tid, oid or acr"),
    ],
)
def test_what_a_method_can_not_prove_is_not_foretold(person, words):
    with pytest.raises(BadInput, match=words):
        answers(person, methods=EVERY)


@pytest.mark.parametrize(
    "person",
    [
        SignIn(name="x", method=1, subject="bob"),
        SignIn(name="signer", method=6, claims=["measurement=00"]),
        SignIn(name="x", method=3, email="Bob@example.com"),
        SignIn(name="x", method=3, email="eve@dom.org"),
        SignIn(name="x", method=4, groups=[GROUP]),
        SignIn(name="x", method=5, claims=["ref=refs/heads/main"]),
        SignIn(name="x", method=0, email="x@y.test", groups=["g"], tid="t"),
    ],
)
def test_what_a_method_can_prove_is_foretold(person):
    assert yes(person, methods=EVERY) == [False]
