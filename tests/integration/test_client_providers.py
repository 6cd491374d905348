"""The SDK signs in at a certified provider: in a browser, with pushed requests, and on another device."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.protocol.errors import Number
from tests.idp.provider import NATIVE, Provider
from tests.support.served import SECRET, ServedWorld, number_of


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


class InABrowser:
    """Walks the provider's login and consent pages, then follows the redirect."""

    def __init__(self, provider, who):
        self.provider = provider
        self.who = who
        self.urls = []

    async def authorize(self, url):
        self.urls.append(url)
        back = await asyncio.to_thread(self.provider.sign_in, url, self.who)
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(back)).status_code == 200


class OnAPhone:
    def __init__(self, provider, who):
        self.provider = provider
        self.who = who

    async def show_code(self, code):
        await asyncio.to_thread(self.provider.approve_device, code.verification_uri_complete, self.who)


@pytest.mark.needs("oidc")
async def test_a_certified_provider_signs_in_by_browser(served, provider):
    served.method = oidc_method(provider.issuer, NATIVE)
    await served.namespace("theirs")
    async with served.sdk(sign_in=InABrowser(provider, "alice")) as alice:
        receipt = await alice.store(SECRET, namespace="theirs", instructions=served.for_("bob"), name="key")
    async with served.sdk(sign_in=InABrowser(provider, "bob")) as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
    async with served.sdk(sign_in=InABrowser(provider, "mallory")) as mallory:
        assert await number_of(mallory.collect("theirs/key")) is Number.REFUSED


@pytest.mark.needs("oidc")
async def test_a_certified_provider_signs_in_by_device_flow(served, provider):
    served.method = oidc_method(provider.issuer, "another-native", device_client_id=NATIVE)
    await served.namespace("devices")
    collectors = Policy.anyone_with_email("bob@example.com", method=served.method).allow_phishable().may("collect")
    creators = Policy.anyone_signed_in(served.method).allow_phishable()
    async with served.sdk(binding_key=served.world.owner) as owner:
        rules = Policy.namespace(create=creators)
        limits = dict.fromkeys(("max_records", "max_bytes", "max_records_per_identity", "max_bytes_per_identity"), 9999)
        await owner.create_namespace(
            "devices", instructions=served.instructions(rules, permanent=True), replaces=1, **limits
        )
    async with served.sdk(sign_in=OnAPhone(provider, "bob")) as bob:
        instructions = served.instructions(collectors, permanent=True)
        receipt = await bob.store(SECRET, namespace="devices", instructions=instructions)
        assert (await bob.collect(receipt.address)).secret == SECRET


@pytest.fixture(scope="module")
def strict():
    """Takes no authorization request from a browser."""
    with Provider(pushed_only=True) as running:
        yield running


@pytest.mark.needs("oidc")
async def test_the_browser_carries_nothing_of_a_pushed_request(served, strict):
    served.method = oidc_method(strict.issuer, NATIVE, pushed=True)
    await served.namespace("theirs")
    alice = InABrowser(strict, "alice")
    async with served.sdk(sign_in=alice) as vault:
        await vault.store(SECRET, namespace="theirs", instructions=served.for_("alice"), name="key")
        assert (await vault.collect("theirs/key")).secret == SECRET
        await vault.sign_in_also("theirs/key")
    for url in alice.urls:
        query = parse_qs(urlsplit(url).query)
        assert query.keys() == {"client_id", "request_uri"}
        assert query["client_id"] == [NATIVE]
        assert query["request_uri"][0].startswith("urn:ietf:params:oauth:request_uri:")
    assert len(set(alice.urls)) == 2


@pytest.mark.needs("oidc")
@pytest.mark.parametrize("pushed", [False, True])
async def test_a_second_factor_and_a_fresh_sign_in_are_asked_for_and_proven(served, provider, pushed):
    served.method = oidc_method(provider.issuer, NATIVE, acr_values=["urn:test:mfa"], max_age=600, pushed=pushed)
    await served.namespace("strong")
    alice = InABrowser(provider, "alice")
    async with served.sdk(sign_in=alice) as vault:
        await vault.store(SECRET, namespace="strong", instructions=served.for_("alice"), name="key")
    (url,) = alice.urls
    query = parse_qs(urlsplit(url).query)
    asked = None if pushed else ["urn:test:mfa"]
    assert (query.get("acr_values"), query.get("max_age")) == (asked, None if pushed else ["600"])
    async with served.sdk(sign_in=InABrowser(provider, "bob")) as vault:  # who has no second factor
        assert await number_of(vault.collect("strong/key")) in (Number.SIGN_IN_REFUSED, Number.TOKEN_UNTRUSTED)
