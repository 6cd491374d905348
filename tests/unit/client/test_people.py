"""Builders of people: each lets in whom it names and nobody else, whatever they signed in with."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client.policy import WEEKDAYS, People, Policy, instructions
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import AuthenticatorRef
from tests.support.evidence import changed
from tests.support.people import (
    CODES,
    DIRECTORY,
    ENCLAVES,
    GROUP,
    KEYS,
    NOW,
    OBJECT,
    OIDC,
    OTHER,
    PASSKEYS,
    TENANT,
    WORKLOADS,
    allowed,
    signed_in,
)

BOB = signed_in(OIDC, "bob", email="bob@example.com", amr=["pwd"])
CLAIMS = {"repository": "org/repo", "ref": "refs/heads/main"}
JOB = signed_in(WORKLOADS, "repo:org/repo", claims=["repository=org/repo", "ref=refs/heads/main"])
ENTRA = signed_in(OIDC, "pairwise", tid=TENANT, oid=OBJECT, groups=[OBJECT])

BUILT: dict[str, Any] = {
    "a member of a directory's group": (
        Policy.members_of(GROUP, method=DIRECTORY), signed_in(DIRECTORY, "guid", groups=[GROUP]), {"groups": []}),
    "a key": (Policy.listed(KEYS, "bob"), signed_in(KEYS, "bob"), {"subject": "carol"}),
    "one of two keys": (Policy.listed(KEYS, "bob", "carol"), signed_in(KEYS, "carol"), {"subject": "dave"}),
    "a passkey": (Policy.listed(PASSKEYS, "bob"), signed_in(PASSKEYS, "bob"), {"method": bytes(32)}),
    "an enclave": (Policy.listed(ENCLAVES, "signer"), signed_in(ENCLAVES, "signer"), {"subject": "other"}),
    "a workload": (Policy.workload(WORKLOADS, CLAIMS), JOB, {"claims": ["repository=org/repo", "ref=refs/heads/x"]}),
    "a workload of another repository": (
        Policy.workload(WORKLOADS, CLAIMS), JOB, {"claims": ["repository=org/repo2", "ref=refs/heads/main"]}),
    "a workload by its subject": (
        Policy.workload(WORKLOADS, {}, subject="repo:org/repo"), JOB, {"subject": "repo:evil/repo"}),
    "a workload of another platform": (Policy.workload(WORKLOADS, CLAIMS), JOB, {"method": bytes(32)}),
    "a user of Entra ID": (Policy.entra_user(OIDC, tid=TENANT, oid=OBJECT), ENTRA, {"tid": TENANT.replace("1", "2")}),
    "another user of Entra ID": (Policy.entra_user(OIDC, tid=TENANT, oid=OBJECT), ENTRA, {"oid": ""}),
    "a group of Entra ID": (Policy.entra_group(OIDC, OBJECT, tid=TENANT), ENTRA, {"groups": [TENANT]}),
    "a group of another tenant": (Policy.entra_group(OIDC, OBJECT, tid=TENANT), ENTRA, {"tid": OBJECT}),
    "a mailbox": (
        Policy.mailbox(CODES, "Bob@example.com", "x@dom.org"), signed_in(CODES, "bob", email="bob@example.com"),
        {"email": "bob@example.org"}),
    "native": (Policy.person(OIDC, "bob").native_only(), BOB, {"channel": "web"}),
    "two factors by amr": (Policy.person(OIDC, "bob").with_mfa(), changed(BOB, amr=["pwd", "mfa"]), {"amr": ["pwd"]}),
    "two factors of AD FS": (
        Policy.person(OIDC, "bob").with_mfa(),
        changed(BOB, amr=["http://schemas.microsoft.com/claims/multipleauthn"]), {"amr": []}),
    "two factors by acr": (
        Policy.person(OIDC, "bob").with_mfa(acr=["2"]), changed(BOB, acr="2"), {"acr": "1"}),
    "two factors, and nothing is said": (
        Policy.person(OIDC, "bob").with_mfa(), changed(BOB, amr=["mfa"]), {"amr": [], "acr": ""}),
    "a fresh sign-in": (
        Policy.person(OIDC, "bob").signed_in_within(300), changed(BOB, auth_time=NOW - 299), {"auth_time": NOW - 300}),
    "a sign-in of unknown age": (
        Policy.person(OIDC, "bob").signed_in_within(300), changed(BOB, auth_time=NOW), {"auth_time": None}),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_whoever_is_named_gets_in_and_others_do_not(name):
    people, who, other = BUILT[name]
    policy = people.may("collect")
    assert policy.check() == ["collect"]
    assert allowed(policy, who)
    assert not allowed(policy, changed(who, **other))
    assert not allowed(policy, who, action="update")


@pytest.mark.parametrize("name", BUILT)
def test_a_phishable_sign_in_counts_only_where_it_is_allowed_by_name(name):
    people, who, _ = BUILT[name]
    phished = changed(who, phishable=True)
    assert not allowed(people.may("collect"), phished)
    assert allowed(people.allow_phishable().may("collect"), phished)


def test_people_who_trust_no_page_are_not_let_in_by_a_passkey_either():
    """It is used on a page: whoever serves that page has it sign what he likes (RULES 11)."""
    anyone = People("true").native_only().may("collect")
    assert allowed(anyone, BOB)
    assert allowed(anyone, signed_in(KEYS, "bob"))
    for channel in ("web", "device"):
        assert not allowed(anyone, changed(BOB, channel=channel))
    assert not allowed(anyone, signed_in(PASSKEYS, "bob"))


@pytest.mark.parametrize("method", [DIRECTORY, CODES])
def test_people_who_trust_no_page_are_not_let_in_by_what_was_typed_into_one(method):
    """A page can ask for passwords and codes, and take them to the Authenticator itself."""
    typed = signed_in(method, "bob", email="bob@example.com")
    assert allowed(People("true").may("collect"), changed(typed, phishable=False))
    assert not allowed(People("true").native_only().may("collect"), changed(typed, phishable=False))
    assert not allowed(People("true").allow_phishable().native_only().may("collect"), typed)


def test_an_alternative_that_is_demanded_besides_lets_nobody_else_in():
    """`a && b || c` would let in c."""
    policy = Policy.person(OIDC, "bob").who("context.identity.sign_ins > 7 || true").may("collect")
    assert allowed(policy, BOB)
    assert not allowed(policy, signed_in(OIDC, "eve"))


@pytest.mark.parametrize(
    ("start", "end", "weekdays", "inside"),
    [
        ("09:30", "09:31", WEEKDAYS, True),
        ("09:31", "18:00", WEEKDAYS, False),
        ("08:00", "09:30", WEEKDAYS, False),
        ("00:00", "24:00", ["thu"], True),
        ("00:00", "24:00", ["mon", "tue", "wed", "fri", "sat", "sun"], False),
        ("22:00", "09:31", WEEKDAYS, True),
        ("22:00", "09:30", WEEKDAYS, False),
        ("09:30", "06:00", ["thu"], True),
    ],
)
def test_times_of_day_are_utc_and_end_before_their_end(start, end, weekdays, inside):
    policy = Policy.person(OIDC, "bob").between(start, end, weekdays=weekdays).may("collect")
    policy.check()
    assert allowed(policy, BOB, time=NOW) is inside
    assert not allowed(policy, BOB), "and nobody says what time it is"


def test_a_deputy_waits_until_the_depositor_was_away_for_so_long():
    policy = Policy.depositor_may("collect") | Policy.deputy_after(30, Policy.person(OTHER, "dep")).may("collect")
    deputy = signed_in(OTHER, "dep")
    assert [allowed(policy, deputy, idle_days=days) for days in (None, 0, 29, 30, 400)] == [False] * 3 + [True] * 2
    assert not allowed(policy, BOB, idle_days=400)
    assert allowed(policy, BOB, depositor=f"{BOB.method.hex()}:bob", idle_days=0)


WRONG = {
    "a group that the directory method does not ask for": (
        lambda: Policy.members_of("CN=Other", method=DIRECTORY), "does not ask for the group CN=Other"),
    "a key that is not listed": (lambda: Policy.listed(KEYS, "bob", "eve"), "does not list eve"),
    "nobody of those listed": (lambda: Policy.listed(KEYS), "name whom you mean"),
    "a claim that the method does not ask for": (
        lambda: Policy.workload(WORKLOADS, {"actor": "bob"}), "does not ask for the claims actor"),
    "every workload there is": (lambda: Policy.workload(WORKLOADS, {}), "every program of that platform"),
    "a tenant by name": (lambda: Policy.entra_user(OIDC, tid="contoso.com", oid=OBJECT), "not an id of Entra ID"),
    "an object in capitals": (lambda: Policy.entra_group(OIDC, OBJECT.upper(), tid=TENANT), "not an id of Entra ID"),
    "an address that gets no mail": (lambda: Policy.mailbox(CODES, "eve@example.com"), "sends no codes to"),
    "no way of two factors": (lambda: People("true").with_mfa(amr=[], acr=[]), "name at least one"),
    "no age": (lambda: People("true").signed_in_within(0), "at least a second"),
    "no time of day": (lambda: People("true").between("8:00", "18:00"), "not a time of day"),
    "no minute": (lambda: People("true").between("08:00", "08:00"), "no time at all"),
    "no day": (lambda: People("true").between("08:00", "18:00", weekdays=[]), "no such day"),
    "another day": (lambda: People("true").between("08:00", "18:00", weekdays=["monday"]), "no such day: monday"),
    "an impatient deputy": (lambda: Policy.deputy_after(0, People("true")), "at least a day"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_named_at_once(name):
    build, words = WRONG[name]
    with pytest.raises(Misuse, match=words) as caught:
        build()
    assert caught.value.number is Number.RULES_INVALID


@pytest.mark.parametrize("people", [Policy.person(KEYS, "bob"), Policy.listed(KEYS, "bob", "carol")])
def test_a_person_of_a_method_that_the_instructions_do_not_list_is_refused(people):
    where = [AuthenticatorRef(url="https://a.test", policy=b"")]
    rules = people.may("collect", "update", "delete")
    assert instructions(authenticators=where, methods=[OIDC, KEYS], rules=rules)
    with pytest.raises(Misuse, match="by which a rule names somebody"):
        instructions(authenticators=where, methods=[OIDC], rules=rules)


MODIFIED = st.sampled_from(
    [
        lambda people: people,
        People.native_only,
        People.with_mfa,
        People.allow_phishable,
        lambda people: people.signed_in_within(60),
        lambda people: people.between("22:00", "06:00", weekdays=["sat"]),
        lambda people: people.after_idle(3),
        lambda people: people.with_passkey(PASSKEYS),
        lambda people: people.with_second_person("carol@example.com", OIDC),
    ]
)
TEXT = st.text(min_size=1, max_size=30).filter(lambda text: not any(0xD800 <= ord(one) < 0xE000 for one in text))


@settings(max_examples=40, deadline=None)
@given(TEXT, st.lists(MODIFIED, max_size=5))
def test_what_builders_write_always_verifies(text, modified):
    for people in (
        Policy.person(OIDC, text),
        Policy.members_of(text, method=OIDC),
        Policy.workload(WORKLOADS, {"ref": text}, subject=text),
    ):
        for modify in modified:
            people = modify(people)
        assert people.may("collect", "ask").check() == ["ask", "collect"]
