"""Who is let in by a page, by which sign-ins, and what redirects that lie come to."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from strongroom import Refused
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import method_digest
from tests.idp.provider import MFA_ACR, PAGE, Provider
from tests.support.in_front import CALLBACK, SECRET, InFront, number_of, page, python, stored, web_method
from tests.support.page import Page
from tests.support.passkeys import SoftwarePasskey, method_of


async def test_an_outsider_is_refused_and_asked_to_sign_in_once(served):
    receipt = await stored(served, "bob")
    user = InFront(served, "mallory")
    async with page(served, user=user) as mallory:
        with pytest.raises(Refused):
            await mallory.call("collect", receipt.address.id.hex())
    assert len(user.queries) == 1


async def test_a_provider_that_shows_the_page_of_another_one_as_its_own_gets_nobody_sent_there(alone):
    receipt = await stored(alone, "bob")
    alone.issuer.metadata["authorization_endpoint"] = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    await alone.world.authenticator.start()
    user = InFront(alone, "bob")
    async with page(alone, user=user) as bob:
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.TOKEN_UNTRUSTED
    assert user.queries == []


async def test_after_signing_out_the_provider_asks_anew(served):
    receipt = await stored(served, "bob")
    user = InFront(served, "mallory", "bob")
    async with page(served, user=user) as somebody:
        address = receipt.address.id.hex()
        assert await number_of(somebody.call("collect", address)) == Number.REFUSED
        await somebody.call("signOut")
        assert (await somebody.call("collect", address))["secret"] == SECRET
    assert [query.get("prompt") for query in user.queries] == [None, "login"]


async def test_a_second_person_joins_on_the_same_page(served):
    bob = Policy.anyone_with_email("bob@example.com", method=served.method)
    rules = bob.with_second_person("carol@example.com", served.method).may("collect")
    instructions = served.instructions(rules | Policy.depositor_may("update", "delete"))
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    user = InFront(served, "bob", "carol")
    async with page(served, user=user) as both:
        assert await number_of(both.call("collect", address)) == Number.REFUSED
        assert (await both.call("signIn", address, {"joining": "joined"}))["email"] == "carol@example.com"
        assert (await both.call("collect", address))["secret"] == SECRET
        assert [one["subject"] for one in await both.call("signedIn")] == ["bob", "carol"]
    assert user.queries[1]["prompt"] == "login"


async def test_a_passkey_joins_an_account(served):
    passkey = SoftwarePasskey("bob@example.com")
    passkeys = method_of(passkey, rp_id="localhost", origin="http://localhost:4173")
    rules = Policy.anyone_with_email("bob@example.com", method=served.method).with_passkey(passkeys).may("collect")
    instructions = served.instructions(
        rules | Policy.depositor_may("update", "delete"), methods=[served.method, passkeys]
    )
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    async with page(served, "bob", passkey=passkey) as bob:
        assert await number_of(bob.call("collect", address)) == Number.REFUSED
        methods = (await bob.call("describe", address))["methods"]
        (method,) = (one for one in methods if one["kind"] == "passkey")
        person = await bob.call("signIn", address, {"joining": "joined", "method": method})
        assert person["principal"] == f"{method_digest(encode(passkeys)).hex()}:bob@example.com"
        assert (await bob.call("collect", address))["secret"] == SECRET


@pytest.mark.needs("oidc")
async def test_a_real_provider_signs_the_user_of_a_page_in(served):
    with Provider(page_redirect=CALLBACK) as provider:
        served.method = oidc_method(provider.issuer, web_client_id=PAGE, web_redirect_uri=CALLBACK)
        await served.namespace("real")
        walk = []

        async def authorize(event):
            end = await asyncio.to_thread(provider.sign_in, event["url"], "alice")
            walk.append(end)
            return {"untrustedQuery": urlsplit(end).query}

        async with Page.open(served.vault.url, served.trust, {"authorize": authorize}) as alice:
            item = {"secret": SECRET, "instructions": served.for_("alice")}
            receipt = await alice.call("store", item, {"namespace": "real"})
            assert (await alice.call("collect", receipt["address"]))["secret"] == SECRET
        assert len(walk) == 1


@pytest.mark.needs("oidc")
async def test_a_pushed_request_leaves_the_browser_nothing_that_could_be_changed(served):
    """RFC 9126: what the provider is asked for, the Authenticator has told it."""
    with Provider(page_redirect=CALLBACK, pushed_only=True) as provider:
        served.method = oidc_method(
            provider.issuer,
            web_client_id=PAGE,
            web_redirect_uri=CALLBACK,
            pushed=True,
            acr_values=[MFA_ACR],
            max_age=60,
        )
        await served.namespace("pushed")
        queries = []

        async def authorize(event):
            queries.append(dict(parse_qsl(urlsplit(event["url"]).query)))
            return {"untrustedQuery": urlsplit(await asyncio.to_thread(provider.sign_in, event["url"], "alice")).query}

        async with Page.open(served.vault.url, served.trust, {"authorize": authorize}) as alice:
            item = {"secret": SECRET, "instructions": served.for_("alice")}
            receipt = await alice.call("store", item, {"namespace": "pushed"})
            await alice.call("signOut")
            assert (await alice.call("collect", receipt["address"]))["secret"] == SECRET
        assert [set(query) for query in queries] == 2 * [{"client_id", "request_uri"}]
        assert queries[0]["request_uri"] != queries[1]["request_uri"]


async def test_the_provider_is_asked_for_the_strength_and_age_that_a_method_wants(served):
    served.method = web_method(served, acr_values=["silver", "gold"], max_age=300)
    await served.namespace("strong")
    served.issuer.claims |= {"acr": "gold", "auth_time": int(served.now())}
    user = InFront(served, "alice")
    async with page(served, user=user) as alice:
        item = {"secret": SECRET, "instructions": served.for_("alice")}
        receipt = await alice.call("store", item, {"namespace": "strong"})
        assert (await alice.call("collect", receipt["address"]))["secret"] == SECRET
    assert (user.queries[0]["acr_values"], user.queries[0]["max_age"]) == ("silver gold", "300")


# --- a page that the user leaves ------------------------------------------------------------------------------

SHARE = "http://127.0.0.1:4173/#/s/0123"


class Leaving(InFront):
    """A user whose page is gone while they are at the provider."""

    def __init__(self, served, *people):
        super().__init__(served, *people)
        self.left: asyncio.Queue[Any] = asyncio.Queue()

    async def authorize(self, event):
        self.left.put_nowait((await super().authorize(event))["untrustedQuery"])


async def test_a_page_goes_on_when_the_user_comes_back_from_the_provider(served):
    receipt = await stored(served, "bob")
    user, address = Leaving(served, "bob"), receipt.address.id.hex()
    async with page(served, user=user, return_to=SHARE) as bob:
        asking = asyncio.create_task(bob.call("collect", address))
        query = await user.left.get()
        asking.cancel()
        assert await bob.call("deliver", query) == {"to": "page", "url": SHARE}
        await bob.load()
        assert (await bob.call("resumeSignIn"))["email"] == "bob@example.com"
        assert (await bob.call("collect", address))["secret"] == SECRET
        # It counted once, whoever brings it again.
        assert await bob.call("deliver", query) == {"to": "nobody"}
        assert await bob.call("resumeSignIn") is None


async def test_a_second_person_joins_though_the_page_is_left_for_each(served):
    bob = Policy.anyone_with_email("bob@example.com", method=served.method)
    rules = bob.with_second_person("carol@example.com", served.method).may("collect")
    instructions = served.instructions(rules | Policy.depositor_may("update", "delete"))
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    user = Leaving(served, "bob", "carol")
    async with page(served, user=user, return_to=SHARE) as both:
        for how in ({}, {"joining": "joined"}):
            asking = asyncio.create_task(both.call("signIn", address, how))
            await both.call("deliver", await user.left.get())
            asking.cancel()
            await both.load()
            await both.call("resumeSignIn")
        assert [one["subject"] for one in await both.call("signedIn")] == ["bob", "carol"]
        assert (await both.call("collect", address))["secret"] == SECRET


async def test_a_redirect_that_nobody_here_began_is_kept_for_nobody(served):
    user = Leaving(served, "bob")
    receipt = await stored(served, "bob")
    async with page(served, user=user, return_to=SHARE) as bob:
        assert await bob.call("deliver", "?code=of-mallory&state=AAAA") == {"to": "nobody"}
        asking = asyncio.create_task(bob.call("collect", receipt.address.id.hex()))
        query = await user.left.get()
        asking.cancel()
        assert await bob.call("deliver", query + "&code=of-mallory") == {"to": "nobody"}
        mixed_up = query.replace("iss=", "iss=https%3A%2F%2Fevil.example&was=")
        assert await bob.call("deliver", mixed_up) == {"to": "page", "url": SHARE}
        await bob.load()
        assert await number_of(bob.call("resumeSignIn")) == Number.TOKEN_UNTRUSTED


async def test_a_sign_in_of_another_binding_key_is_not_gone_on_with(served):
    user = Leaving(served, "bob")
    receipt = await stored(served, "bob")
    async with page(served, user=user, return_to=SHARE) as bob:
        asking = asyncio.create_task(bob.call("collect", receipt.address.id.hex()))
        query = await user.left.get()
        asking.cancel()
        await bob.call("deliver", query)
        await bob.call("forgetKey")
        await bob.load()
        assert await bob.call("resumeSignIn") is None
        assert await bob.call("signedIn") == []


# --- redirects that lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("back", "number"),
    [
        ({"state": "another"}, Number.TOKEN_UNTRUSTED),
        ({"iss": "https://evil.example"}, Number.TOKEN_UNTRUSTED),
        ({"code": ""}, Number.TOKEN_UNTRUSTED),
        ({"error": "access_denied"}, Number.SIGN_IN_REFUSED),
    ],
)
async def test_a_redirect_that_is_not_the_providers_answer_to_this_page_is_refused(alone, back, number):
    receipt = await stored(alone, "bob")
    user = InFront(alone, "bob")
    user.back = back
    async with page(alone, user=user) as bob:
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == number
    assert "/token" not in alone.issuer.calls or alone.issuer.calls["/token"] == 1  # alice's
