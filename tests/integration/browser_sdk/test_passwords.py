"""Passwords of directories, typed into pages: only of those that were approved of, by users who see for whom."""

import pytest

from strongroom import Untrusted
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.methods import directory_method
from strongroom.client.policy import Policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.link import Operation
from tests.idp.slapd import BASE, PASSWORD, USER_DN, Slapd, group
from tests.support.in_front import SECRET, number_of, page, stored_by


@pytest.fixture(scope="module")
def directory():
    with Slapd() as server:
        yield directory_method(
            "directory.example.test",
            [server.ldaps],
            base=BASE,
            flavour="ldap",
            user_dn=USER_DN,
            groups=[group("staff")],
            email_domains=["example.test"],
            certificates=server.ca,
        )


class AtTheKeyboard:
    """A user who types these user names and passwords, one after the other, and then gives up."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, event):
        self.asked.append(event)
        return dict(zip(("user", "password"), self.answers.pop(0), strict=True)) if self.answers else None


@pytest.mark.needs("slapd")
async def test_an_approved_directory_lets_people_in_by_their_password(served, directory):
    alice = Policy.anyone_with_email("alice@example.test", method=directory).may("collect")
    address = await stored_by(served, alice, directory)
    digest = method_digest(encode(directory)).hex()
    user = AtTheKeyboard(("alice", "wrong"), ("alice", PASSWORD))
    async with page(served, password=user, directories=[digest]) as somebody:
        (shown,) = [one for one in (await somebody.call("describe", address))["methods"] if one["kind"] == "directory"]
        person = await somebody.call("signIn", address, {"method": shown})
        assert (person["email"], person["provider"]) == ("alice@example.test", "directory.example.test")
        assert (await somebody.call("collect", address))["secret"] == SECRET
    asked = [(one["name"], one["authenticator"], one["problem"]) for one in user.asked]
    place = served.authenticator.url
    assert asked == [
        ("directory.example.test", place, None),
        ("directory.example.test", place, Number.SIGN_IN_REFUSED),
    ]


@pytest.mark.needs("slapd")
async def test_who_gives_up_typing_is_not_signed_in(served, directory):
    address = await stored_by(served, Policy.members_of(group("staff"), method=directory).may("collect"), directory)
    digest = method_digest(encode(directory)).hex()
    async with page(served, password=AtTheKeyboard(), directories=[digest]) as somebody:
        (shown,) = [one for one in (await somebody.call("describe", address))["methods"] if one["kind"] == "directory"]
        assert await number_of(somebody.call("signIn", address, {"method": shown})) == Number.SIGN_IN_PENDING
        assert await somebody.call("signedIn") == []


async def test_no_password_is_typed_where_the_user_does_not_trust_the_authenticator(alone):
    """RULES 14: approval of a directory is none of whoever else would see the password."""
    method = directory_method("ad.example.com", ["ldaps://ad.example.com"], base="dc=example,dc=com")
    address = await stored_by(alone, Policy.anyone_signed_in(method=method).may("collect"), method)
    trust = alone.trust
    stranger = TrustPolicy(
        version=1,
        name=trust.name,
        vault=trust.vault,
        authenticator=alone.world.policy("vault"),
        witnesses=[],
        cosignatures=0,
    )
    user = AtTheKeyboard(("alice", PASSWORD))
    digest = method_digest(encode(method)).hex()
    async with page(alone, password=user, directories=[digest], trust=stranger) as bob:
        (shown,) = [one for one in (await bob.call("describe", address))["methods"] if one["kind"] == "directory"]
        with pytest.raises(Untrusted):
            await bob.call("signIn", address, {"method": shown})
    assert user.asked == []


async def test_no_password_is_asked_for_a_directory_that_nobody_approved_whatever_its_name(served):
    """RULES 14: a share is no way to fish for passwords of the directory that it calls itself after."""
    method = directory_method("ad.example.com", ["ldaps://ldap.mallory.example"], base="dc=example,dc=com")
    rules = Policy.anyone_signed_in(method=method).may("collect")
    address = await stored_by(served, rules, method)
    user = AtTheKeyboard(("alice", PASSWORD))
    async with page(served, password=user) as bob:
        (shown,) = [one for one in (await bob.call("describe", address))["methods"] if one["kind"] == "directory"]
        assert shown["name"] == "ad.example.com"
        sent = served.authenticator.count(Operation.FRAME)
        assert await number_of(bob.call("signIn", address, {"method": shown})) == Number.TOKEN_UNTRUSTED
        assert served.authenticator.count(Operation.FRAME) == sent
    assert user.asked == []
