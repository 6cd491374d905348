"""Records that take two sign-ins at once, against a real Vault and a real Authenticator."""

from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom import Misuse, Refused
from strongroom.client import results
from strongroom.client.errors import BadInput
from strongroom.client.policy import Policy
from strongroom.client.sign_in import DeviceCode
from strongroom.client.sign_in.device import OnAnotherDevice
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import method_digest, sign_in_challenge
from strongroom.protocol.sign_in_messages import Challenge, PasskeySignIn
from strongroom.protocol.vault_messages import Item
from tests.support.passkeys import SoftwarePasskey, method_of
from tests.support.served import AtTheIssuer, ServedWorld
from tests.support.world import Person, RawClient

SECRET = b"a report of what is wrong"


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


def for_two(served, **changes):
    recipient = Policy.anyone_with_email("bob@example.com", method=served.method)
    together = recipient.with_second_person("carol@example.com", served.method)
    return served.instructions(together.may("collect") | Policy.depositor_may("update", "delete"), **changes)


async def put(served, instructions):
    async with served.sdk("alice") as alice:
        return (await alice.store(SECRET, namespace="team", instructions=instructions)).address


async def test_two_people_on_one_device_open_what_neither_opens_alone(served):
    address = await put(served, for_two(served))
    for alone in ("bob", "carol"):
        async with served.sdk(alone) as person:
            with pytest.raises(Refused):
                await person.collect(address)
    browser = AtTheIssuer(served.issuer, "bob")
    people: list[results.Person] = []
    async with served.sdk(sign_in=browser, signed_in=people.append) as vault:
        with pytest.raises(Refused):
            await vault.collect(address)
        browser.who = "carol"
        await vault.sign_in_also(address)
        assert (await vault.collect(address)).secret == SECRET
    assert [person.subject for person in people] == ["bob", "carol"]
    # The provider's session in this browser is bob's: it must not answer for carol.
    prompts = [parse_qs(urlsplit(url).query).get("prompt") for url in browser.urls]
    assert prompts == [None, ["login"]]


async def test_the_same_person_twice_is_not_two(served):
    address = await put(served, for_two(served))
    async with served.sdk("bob") as bob:
        await bob.sign_in_also(address)
        with pytest.raises(Refused):
            await bob.collect(address)


async def test_a_joined_sign_in_lasts_no_longer_than_the_first(served):
    address = await put(served, for_two(served))
    browser = AtTheIssuer(served.issuer, "bob")
    async with served.sdk(sign_in=browser) as vault:
        with pytest.raises(Refused):
            await vault.collect(address)
        served.world.vault.platform.ahead = served.world.authenticator.platform.ahead = 540
        browser.who = "carol"
        await vault.sign_in_also(address)
        assert (await vault.collect(address)).secret == SECRET
        served.world.vault.platform.ahead = served.world.authenticator.platform.ahead = 610
        with pytest.raises(Refused):
            await vault.collect(address)
    assert len(browser.urls) == 3


async def test_a_device_flow_is_nobodys_second_pair_of_eyes(served):
    class Code:
        async def show_code(self, code: DeviceCode) -> None:
            raise AssertionError("a code was asked for")

    address = await put(served, for_two(served))
    async with served.sdk("bob") as bob:
        with pytest.raises(Refused):
            await bob.collect(address)
        bob._desk._own_ways = (OnAnotherDevice(Code()),)
        with pytest.raises(BadInput):
            await bob.sign_in_also(address)


PASSKEY = SoftwarePasskey("bob@example.com")


async def passkey_ticket(served, person, address, method, *, with_ticket=None):
    """What a browser does, by hand: describe, begin, assert, sign in."""
    place = (await person.describe(address)).authenticators[0]
    desk = await RawClient(served.world.authenticator, person.binding).open()
    digest = method_digest(encode(method))
    begun = await desk.ask(Challenge(vault_cluster=served.world.vault_cluster, capsule=place.capsule, method=digest))
    assertion = PASSKEY.sign_in(sign_in_challenge("passkey", digest, person.binding.public, begun.salt))
    signed_in = await desk.ask(
        PasskeySignIn(capsule=place.capsule, handle=begun.handle, with_ticket=with_ticket, **vars(assertion))
    )
    return signed_in.ticket


async def test_a_passkey_alone_opens_what_names_its_person(served):
    method = method_of(PASSKEY)
    rules = Policy.person(method, "bob@example.com").may("collect") | Policy.depositor_may("update", "delete")
    address = await put(served, served.instructions(rules, methods=[served.method, method]))
    bob = Person(served.world.vault)
    await bob.open()
    described = await bob.describe(address)
    assert [one.kind for one in described.methods] == ["oidc", "passkey"]
    bob.tickets = [await passkey_ticket(served, bob, address, method)]
    (found,) = await bob.collect(address)
    assert isinstance(found, Item)
    assert found.secret == SECRET


async def test_a_passkey_beside_an_account_opens_what_neither_opens_alone(served):
    method = method_of(PASSKEY)
    rules = Policy.anyone_with_email("bob@example.com", method=served.method).with_passkey(method, "bob@example.com")
    both = rules.may("collect") | Policy.depositor_may("update", "delete")
    address = await put(served, served.instructions(both, methods=[served.method, method]))
    async with served.sdk("bob") as sdk:
        with pytest.raises(Refused):
            await sdk.collect(address)
        bob = Person(served.world.vault, sdk._desk._key)
        await bob.open()
        (account,) = sdk._desk.all()
    alone = await passkey_ticket(served, bob, address, method)
    joined = await passkey_ticket(served, bob, address, method, with_ticket=account)
    for tickets, opens in (([account], False), ([alone], False), ([account, alone], False), ([joined], True)):
        bob.tickets = tickets
        (found,) = await bob.collect(address)
        assert isinstance(found, Item) is opens


async def test_the_sdk_says_that_passkeys_take_a_browser(served):
    method = method_of(PASSKEY)
    rules = Policy.person(method, "bob@example.com").may("collect", "update", "delete")
    address = await put(served, served.instructions(rules, methods=[method]))
    async with served.sdk("bob") as bob:
        description = await bob.describe(address)
        assert [(one.kind, one.name, one.channels) for one in description.methods] == [("passkey", "share.test", ())]
        with pytest.raises(BadInput, match="passkey"):
            await bob.collect(address)


async def test_a_passkey_method_that_is_not_valid_is_refused_at_store(served):
    method = method_of(PASSKEY, origin="https://evil.example")
    rules = Policy.person(method, "bob@example.com").may("collect", "update", "delete")
    with pytest.raises(Misuse) as caught:
        await put(served, served.instructions(rules, methods=[served.method, method]))
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 1)
