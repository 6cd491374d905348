"""The SDK signs in at a certified provider: in a browser, with pushed requests, and on another device."""

import asyncio

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

    async def authorize(self, url):
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
