"""What is worth a second thought: found where it is, and not where it isn't."""

import pytest

from strongroom.attestation.policy import RolePolicy
from strongroom.client.methods import directory_method, oidc_method
from strongroom.client.policy import Policy
from strongroom.client.quorum import two_of
from strongroom.client.rules_review import review, review_rules
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef, Instructions
from tests.support.people import CODES, DIRECTORY, KEYS, OIDC, OTHER, PASSKEYS, WEB

OWNER = Policy.depositor_may("update", "delete")
NATIVE = oidc_method("https://native.example.com", "native")


def reference(url, clusters=1):
    policy = RolePolicy(
        clusters=[bytes([at]) * 32 for at in range(clusters)], config=[], sgx=None, tdx=None, snp=None, nitro=None,
        insecure_software=None, releases=None,
    )  # fmt: skip
    return AuthenticatorRef(url=url, policy=encode(policy))


def found(rules, *methods, quorum=1, permanent=False, where=None):
    instructions = Instructions(
        schema_version=1,
        authenticators=where or [reference("https://a.test", 2), reference("https://b.test", 2)],
        quorum=quorum,
        methods=[encode(method) for method in methods],
        rules=rules if isinstance(rules, str) else rules.cedar,
        permanent=permanent,
    )
    return {(finding.name, finding.policy): finding.text for finding in review(instructions)}


def collect(people):
    return people.may("collect") | OWNER


def test_ordinary_rules_give_no_cause():
    assert found(collect(Policy.person(NATIVE, "bob").native_only()), NATIVE) == {}
    assert found(collect(Policy.listed(KEYS, "bob")), KEYS) == {}


def test_what_nobody_may_change_is_found_unless_it_is_permanent():
    rules = Policy.listed(KEYS, "bob").may("collect", "delete")
    assert "nobody may update, so" in found(rules, KEYS)["locks-out", None]
    assert found(rules, KEYS, permanent=True) == {}
    assert ("nobody-collects", None) in found(OWNER, KEYS)


def test_a_depositor_who_can_only_sign_in_by_code_is_found_to_be_locked_out():
    rules = Policy.anyone_signed_in(CODES).allow_phishable().may("collect") | OWNER
    assert "nobody may update or delete, so" in found(rules, CODES)["locks-out", None]
    assert ("locks-out", None) not in found(rules, CODES, KEYS)
    theirs = rules | Policy.depositor().allow_phishable().may("update", "delete")
    assert ("locks-out", None) not in found(theirs, CODES)


@pytest.mark.parametrize(("method", "phishable"), [(OIDC, True), (NATIVE, False), (KEYS, False)])
def test_a_sign_in_that_can_be_phished_is_found_where_a_method_has_one(method, phishable):
    rules = collect(Policy.person(method, "bob").allow_phishable())
    assert (("phishable", 0) in found(rules, method, CODES)) is phishable
    assert ("phishable", 0) in {(one.name, one.policy) for one in review_rules(rules.cedar)}
    assert ("phishable", 0) not in found(collect(Policy.person(method, "bob")), method, CODES)


def test_a_forbid_for_all_that_can_be_phished_is_enough():
    rules = collect(Policy.person(OIDC, "bob").allow_phishable()).cedar
    forbid = "forbid (principal, action, resource) when { context.identity.phishable };"
    assert ("phishable", 0) not in found(rules + forbid, OIDC)
    other = 'forbid (principal, action == Action::"update", resource) when { context.identity.phishable };'
    assert ("phishable", 0) in found(rules + other, OIDC)


def test_pages_that_could_act_as_their_visitors_are_named():
    assert "https://share.example.com/back" in found(collect(Policy.person(WEB, "bob")), WEB)["web-channel", 0]
    assert "https://share.example.com" in found(collect(Policy.listed(PASSKEYS, "bob")), PASSKEYS)["web-channel", 0]
    assert ("web-channel", 0) not in found(collect(Policy.person(WEB, "bob").native_only()), WEB)
    assert ("web-channel", 0) not in found(collect(Policy.person(NATIVE, "bob")), NATIVE, WEB)


@pytest.mark.parametrize(
    ("condition", "warned"),
    [
        ('context.identity.channel == "native" || context.identity.channel == "direct"', False),
        ('context.identity.channel == "native" || context.identity.sign_ins > 1', True),
        ('["native", "web"].contains(context.identity.channel)', True),
    ],
)
def test_only_what_holds_in_every_case_rules_a_page_out(condition, warned):
    rules = collect(Policy.person(WEB, "bob").who(condition))
    assert (("web-channel", 0) in found(rules, WEB)) is warned


def test_addresses_that_nobody_verified_are_found_where_rules_look_at_them():
    believed = oidc_method("https://believed.example.com", "n", email_domains=["example.com"])
    mail = collect(Policy.anyone_with_email("bob@example.com", method=believed))
    assert "example.com are believed WITHOUT" in found(mail, believed)["unverified-email", None]
    assert ("unverified-email", None) not in found(collect(Policy.person(believed, "bob")), believed)
    assert ("mailbox", None) in found(collect(Policy.mailbox(CODES, "bob@example.com")), CODES)


def test_rules_for_crowds_say_so():
    assert (
        "example.com"
        in found(collect(Policy.anyone_in_domain("example.com", method=NATIVE)), NATIVE)["whole-domain", 0]
    )
    assert "the whole world" in found(collect(Policy.anyone_signed_in(NATIVE)), NATIVE)["anybody", 0]
    assert "the whole world" in found("permit (principal, action, resource);", NATIVE)["anybody", 0]
    assert ("anybody", 0) not in found(collect(Policy.members_of("g", method=NATIVE)), NATIVE)


def test_time_wants_witnesses():
    for people in (
        Policy.person(NATIVE, "bob").between("08:00", "18:00"),
        Policy.deputy_after(3, Policy.person(NATIVE, "bob")),
    ):
        assert "WITHOUT WITNESSES" in found(collect(people), NATIVE)["unwitnessed-time", None]
    assert ("unwitnessed-time", None) not in found(collect(Policy.person(NATIVE, "bob").signed_in_within(5)), NATIVE)


def test_approvals_that_nobody_may_ask_for_or_give():
    rules = two_of([[(KEYS, "bob")], [(KEYS, "carol")]]).may_when_approved("collect") | OWNER
    assert found(rules, KEYS) == {}
    for action in ("ask", "approve"):
        without = rules.cedar.replace(f'[Action::"{action}"]', '[Action::"audit"]')
        assert (f"nobody-{action}s", None) in found(without, KEYS)


def test_a_forbid_about_others_binds_nobody():
    forbid = "forbid (principal, action, resource) when { context.identity.sign_ins < 2 };"
    assert "BINDS NOBODY" in found(collect(Policy.listed(KEYS, "bob")).cedar + forbid, KEYS)["forbid-beside", 2]


def test_people_for_whom_one_provider_vouches_are_as_many_as_it_says():
    alone = two_of([[(NATIVE, "bob")], [(NATIVE, "carol")]])
    for rules in (alone.together().may("collect"), alone.may_when_approved("collect")):
        texts = [text for (name, _), text in found(rules | OWNER, NATIVE).items() if name == "shared-issuer"]
        assert texts
        assert all("https://native.example.com" in text for text in texts)
    both = two_of([[(NATIVE, "bob")], [(OTHER, "carol")]])
    for rules in (both.together().may("collect"), both.may_when_approved("collect")):
        assert found(rules | OWNER, NATIVE, OTHER) == {}
    directory = two_of([[(DIRECTORY, "bob")], [(DIRECTORY, "carol")]]).together().may("collect") | OWNER
    assert any(name == "shared-issuer" for name, _ in found(directory, DIRECTORY))


def test_a_quorum_of_authenticators_that_believe_one_provider_is_no_quorum_against_it():
    rules = collect(Policy.person(NATIVE, "bob"))
    assert "ALONE IS ENOUGH" in found(rules, NATIVE, quorum=2)["shared-issuer", 0]
    assert found(rules, NATIVE) == {}
    both = two_of([[(NATIVE, "bob")], [(OTHER, "bob")]]).together().may("collect", "update", "delete")
    assert found(both, NATIVE, OTHER, quorum=2) == {}


def test_a_quorum_that_can_not_be_reached_is_found():
    rules = collect(Policy.listed(KEYS, "bob"))
    twice = [reference("https://a.test"), reference("https://a.test")]
    names = set(found(rules, KEYS, quorum=2, where=twice))
    assert names == {("same-authenticator", None), ("quorum-unreachable", None)}


def test_an_address_that_no_method_gives_is_asked_of_nobody():
    def asking(condition):
        return f'permit (principal, action == Action::"collect", resource) when {{ {condition} }};{OWNER.cedar}'

    mine = 'context.identity has email && context.identity.email == "bob@example.com"'
    assert "NONE OF THE METHODS gives one" in found(asking(mine), KEYS, PASSKEYS)["no-address", 0]
    assert ("no-address", 0) in found(asking(mine), DIRECTORY)
    assert ("no-address", 0) not in found(asking(mine), KEYS, NATIVE)
    either = f'({mine}) || context.identity.subject == "bob"'
    assert ("no-address", 0) not in found(asking(either), KEYS)
    believed = directory_method("ad", ["ldaps://dc"], base="DC=example,DC=com", email_domains=["example.com"])
    assert ("no-address", 0) not in found(asking(mine), believed)


@pytest.mark.parametrize(
    "condition",
    [
        'context.identity.email == "Bob@example.com"',
        '"Bob@example.com" == context.identity.email',
        '["a@example.com", "Bob@example.com"].contains(context.identity.email)',
    ],
)
def test_an_address_with_capitals_is_nobodys(condition):
    condition = f"context.identity has email && {condition}"
    rules = f'permit (principal, action == Action::"collect", resource) when {{ {condition} }};'
    assert found(f"{rules}{OWNER.cedar}", NATIVE)["upper-case", 0].startswith("Bob@example.com: ")
    assert ("upper-case", 0) not in found(f"{rules}{OWNER.cedar}".replace("Bob@", "bob@"), NATIVE)
