"""Builders of rules: what they permit is what their name says, whatever text they are given."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client.methods import oidc_method, passkey_method
from strongroom.client.policy import People, Policy, cedar_string, instructions
from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.instructions import (
    AuthenticatorRef,
    method_digest,
    parse_instructions,
    parse_method,
    rules_digest,
)
from tests.support.evidence import changed
from tests.support.passkeys import SoftwarePasskey
from tests.support.people import CODES
from tests.unit.authenticator.test_rules import ALICES, BOB, NOW

METHOD = oidc_method("https://login.test", "c")
FACT = changed(BOB, method=method_digest(encode(METHOD)))


def allows(policy, fact=FACT, action="collect", record=ALICES):
    policy.check()
    try:
        RuleBook().decide(rules_digest(policy.cedar), policy.cedar, action, record, [fact], NOW)
    except Refused:
        return False
    return True


PEOPLE: dict[str, tuple[People, dict[str, Any]]] = {
    "email": (Policy.anyone_with_email("Bob@Example.com", "x@y.z", method=METHOD), {"email": "bob@example.org"}),
    "no email": (Policy.anyone_with_email("bob@example.com", issuer="https://login.test"), {"email": ""}),
    "issuer": (Policy.anyone_with_email("bob@example.com", issuer="https://login.test"), {"issuer": "https://x"}),
    "method": (Policy.anyone_with_email("bob@example.com", method=METHOD), {"method": b"x" * 32}),
    "domain": (Policy.anyone_in_domain("example.com", method=METHOD), {"email": "bob@sub.example.com"}),
    "group": (Policy.members_of("keys", "others", method=METHOD), {"groups": ["Keys", "key"]}),
    "person": (Policy.person(METHOD, "bob"), {"subject": "Bob"}),
    "person by another method": (Policy.person(METHOD, "bob"), {"method": b"x" * 32}),
    "signed in": (Policy.anyone_signed_in(METHOD), {"method": b"x" * 32}),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_each_builder_permits_whom_it_names_and_nobody_else(name):
    people, other = PEOPLE[name]
    policy = people.may("collect")
    assert allows(policy)
    assert not allows(policy, changed(FACT, **other))
    assert not allows(policy, action="update")


@pytest.mark.parametrize("name", PEOPLE)
def test_phishable_sign_ins_are_denied_unless_asked_for_by_name(name):
    phished = changed(FACT, channel="device", phishable=True)
    assert not allows(PEOPLE[name][0].may("collect"), phished)
    assert allows(PEOPLE[name][0].allow_phishable().may("collect"), phished)


def test_the_depositor_is_method_and_subject():
    policy = Policy.depositor_may("update", "delete")
    own = changed(ALICES, depositor=f"{FACT.method.hex()}:bob")
    assert allows(policy, action="update", record=own)
    assert not allows(policy, action="collect", record=own)
    assert not allows(policy, changed(FACT, subject="eve"), "update", own)
    assert not allows(policy, changed(FACT, method=b"x" * 32), "update", own)
    assert not allows(policy, changed(FACT, phishable=True), "update", own)


def test_policies_join():
    policy = Policy.person(METHOD, "bob").may("collect") | Policy.person(METHOD, "eve").may("audit")
    assert policy.check() == ["audit", "collect"]
    assert not allows(policy, action="audit")
    assert (Policy("// a comment without an end") | policy).check() == ["audit", "collect"]


def test_a_namespace_has_rules_for_its_own_actions():
    rules = Policy.namespace(create=Policy.anyone_signed_in(METHOD), admin=Policy.person(METHOD, "bob"))
    assert rules.check() == ["admin", "create", "delete", "describe", "set-quota", "update"]
    assert allows(rules, action="create")
    assert not allows(rules, changed(FACT, subject="eve"), "admin")


INJECTIONS = [
    '"', '"]) || true || ["', '\\"]) || true || [\\"', "\\", '\\u{22}', '" }; permit (principal, action, resource); //',
    "\n}; permit (principal, action, resource);", "\r", "\x00", "\u2028", "*", "\u202e", "\U0001f511", "{}", "//",
    "?principal",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_never_becomes_policy(text):
    for people in (Policy.person(METHOD, text), Policy.members_of(text, method=METHOD)):
        policy = people.may("collect")
        assert policy.check() == ["collect"]
        assert not allows(policy)
        assert allows(policy, changed(FACT, subject=text, groups=[text]))
    if text.isascii():
        policy = Policy.anyone_with_email(text, method=METHOD).may("collect")
        assert policy.check() == ["collect"]
        assert not allows(policy)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_a_literal_is_exactly_its_text(text):
    policy = Policy.members_of(text, method=METHOD).may("collect")
    assert allows(policy, changed(FACT, groups=[text]))
    assert not allows(policy, changed(FACT, groups=[text + "x", text[:-1]]))
    assert cedar_string(text).isascii()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Policy.anyone_with_email(method=METHOD),
        lambda: Policy.anyone_with_email("a@b.c"),
        lambda: Policy.anyone_with_email("a@b.c", issuer="https://x", method=METHOD),
        lambda: Policy.anyone_with_email("b\u043eb@b.c", method=METHOD),
        lambda: Policy.anyone_in_domain("", method=METHOD),
        lambda: Policy.members_of(method=METHOD),
        lambda: Policy.person(METHOD, "bob").may(),
        lambda: Policy.person(METHOD, "bob").may(cast(Any, "fly")),
        lambda: Policy.person(METHOD, "\ud800"),
        lambda: Policy("permit (").check(),
        lambda: Policy("").check(),
    ],
)
def test_mistakes_are_named_at_once(wrong):
    with pytest.raises(Misuse) as caught:
        wrong()
    assert caught.value.number is Number.RULES_INVALID
    assert caught.value.reason


def test_instructions_hold_the_methods_that_the_rules_mean():
    where = [AuthenticatorRef(url="https://a.test", policy=b"")]
    rules = Policy.anyone_with_email("b@c.d", method=METHOD).may("collect") | Policy.depositor_may("update", "delete")
    parsed = parse_instructions(instructions(authenticators=where, methods=[METHOD], rules=rules))
    assert method_digest(parsed.methods[0]).hex() in parsed.rules
    with pytest.raises(Misuse) as caught:
        instructions(authenticators=where, methods=[METHOD], rules=Policy.anyone_signed_in(METHOD).may("collect"))
    assert caught.value.number is Number.LOCKS_OUT
    with pytest.raises(Misuse) as caught:
        instructions(authenticators=where, methods=[METHOD], rules=rules, quorum=2)
    assert caught.value.number is Number.INSTRUCTIONS_INVALID


@pytest.mark.parametrize("method", [CODES, oidc_method("https://login.test", device_client_id="tv")])
def test_who_can_only_sign_in_as_they_may_be_tricked_into_is_not_locked_out_unawares(method):
    """`!context.identity.phishable` never holds for them: what they stored would stay as it is for ever."""
    where = [AuthenticatorRef(url="https://a.test", policy=b"")]
    collect = Policy.anyone_signed_in(method).allow_phishable().may("collect")
    for rules in (
        collect | Policy.depositor_may("update", "delete"),
        collect | Policy.depositor().allow_phishable().may("update") | Policy.depositor_may("delete"),
        collect | Policy("permit (principal, action, resource) unless { context.identity.phishable };"),
        collect
        | Policy.depositor().allow_phishable().may("update", "delete")
        | Policy('forbid (principal, action == Action::"delete", resource) when { context.identity.phishable };'),
    ):
        with pytest.raises(Misuse, match="allow_phishable") as caught:
            instructions(authenticators=where, methods=[method], rules=rules)
        assert caught.value.number is Number.LOCKS_OUT
        assert instructions(authenticators=where, methods=[method], rules=rules, permanent=True)
        assert instructions(authenticators=where, methods=[method, METHOD], rules=rules)
    theirs = collect | Policy.depositor().allow_phishable().may("update", "delete")
    assert instructions(authenticators=where, methods=[method], rules=theirs)


def test_a_method_needs_a_client_id():
    with pytest.raises(Misuse) as caught:
        oidc_method("https://login.test")
    assert caught.value.number is Number.METHOD_INVALID


CARD = SoftwarePasskey("bob@example.com")


def test_a_passkey_method_lists_its_credentials_for_the_browser():
    other = SoftwarePasskey("bob@example.com", "EdDSA")
    method = passkey_method("share.test", ["https://share.test"], [CARD.public, other.public])
    assert method.public.credential_ids == [CARD.credential_id, other.credential_id]
    assert parse_method(encode(method)) == method
    for passkeys, origins in (([], ["https://share.test"]), ([CARD.public], []), ([CARD.public] * 33, ["https://a.b"])):
        with pytest.raises(Misuse) as caught:
            passkey_method("share.test", origins, passkeys)
        assert caught.value.number is Number.METHOD_INVALID


@pytest.mark.parametrize("forgotten", ["passkey", "second person"])
def test_a_rule_that_asks_for_a_sign_in_which_no_method_offers_is_refused(forgotten):
    passkeys = passkey_method("share.test", ["https://share.test"], [CARD.public])
    theirs = oidc_method("https://other.test", "c")
    people = Policy.anyone_with_email("b@c.d", method=METHOD)
    people = people.with_passkey(passkeys) if forgotten == "passkey" else people.with_second_person("c@c.d", theirs)
    rules = people.may("collect", "update", "delete")
    reference = AuthenticatorRef(url="https://authenticator.example.com", policy=b"")
    assert instructions(authenticators=[reference], methods=[METHOD, passkeys, theirs], rules=rules)
    with pytest.raises(Misuse) as caught:
        instructions(authenticators=[reference], methods=[METHOD], rules=rules)
    assert "which a rule asks of another sign-in" in caught.value.reason


@pytest.mark.parametrize("named", [{"issuer": "https://typo.example.com"}, {"method": bytes(32)}])
def test_a_rule_for_a_provider_that_no_method_signs_in_with_is_refused(named):
    method = oidc_method("https://login.example.com", "client")
    rules = Policy.anyone_with_email("bob@example.com", **named).may("collect", "update", "delete")
    reference = AuthenticatorRef(url="https://authenticator.example.com", policy=b"")
    with pytest.raises(Misuse) as caught:
        instructions(authenticators=[reference], methods=[method], rules=rules)
    assert caught.value.number is Number.RULES_INVALID
    assert "no sign-in method has" in caught.value.reason
