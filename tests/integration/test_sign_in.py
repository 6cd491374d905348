"""The Authenticator signs people in with a real, certified OpenID Connect provider."""

import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator.jwks import REFETCH_INTERVAL
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.instructions import bound_nonce
from strongroom.protocol.sign_in_messages import DeviceBegin, DevicePoll, Redeem
from tests.idp.provider import NATIVE, WEB, WEB_SECRET, Provider
from tests.support.issuer import REDIRECT, VAULT, Desk
from tests.support.world import Platform

pytestmark = pytest.mark.needs("oidc")
WEB_REDIRECT = "https://strongroom.example/callback"
VERIFIER = "v" * 43


@pytest.fixture(scope="module", params=["RS256", "ES256", "EdDSA"])
def provider(request):
    with Provider(algs=request.param) as running:
        yield running


@pytest.fixture
def desk(provider, tmp_path):
    desk = Desk(Platform("authenticator", tmp_path / "machine"))
    desk.method = oidc_method(provider.issuer, NATIVE, device_client_id="", scopes=["openid", "email", "profile"])
    return desk


async def redemption(desk, provider, user="bob", channel="native", redirect=REDIRECT):
    """Sign in as a browser would; the request that redeems the code."""
    begun = await desk.begin(channel=channel)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": begun.client_id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": begun.scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "nonce": bound_nonce(desk.digest, desk.binding_key, desk.salt),
    }
    end = provider.sign_in(f"{begun.authorization_endpoint}?{urlencode(query)}", user)
    answer = {name: values[0] for name, values in parse_qs(urlsplit(end).query).items()}
    assert not begun.iss_in_redirect or answer["iss"] == begun.issuer
    return Redeem(
        vault_cluster=VAULT,
        capsule=desk.capsule(),
        method=desk.digest,
        channel=channel,
        redirect_uri=redirect,
        code=answer["code"],
        code_verifier=VERIFIER,
        salt=desk.salt,
        with_ticket=None,
    )


@pytest.mark.parametrize("user", ["alice", "bob"])
async def test_a_native_sign_in(desk, provider, user):
    signed_in = await desk.service.handle(desk.caller(), await redemption(desk, provider, user))
    assert signed_in.email.startswith(f"{user}@")
    facts = desk.service._sealer.verify_ticket(
        signed_in.ticket, binding_key=desk.binding_key, vault_cluster=VAULT, now=desk.clock.now()
    )
    assert [(fact.subject, fact.channel, fact.phishable) for fact in facts] == [(signed_in.subject, "native", False)]


async def test_a_sign_in_of_a_page_whose_client_has_a_secret(desk, provider):
    desk.method = oidc_method(
        provider.issuer, web_client_id=WEB, web_redirect_uri=WEB_REDIRECT, client_secret=WEB_SECRET
    )
    request = await redemption(desk, provider, channel="web", redirect=WEB_REDIRECT)
    assert (await desk.service.handle(desk.caller(), request)).email.startswith("bob@")


async def test_a_code_is_redeemed_once(desk, provider):
    request = await redemption(desk, provider)
    await desk.service.handle(desk.caller(), request)
    with pytest.raises(Refused) as caught:
        await desk.service.handle(desk.caller(), request)
    assert caught.value.number is Number.SIGN_IN_REFUSED


async def test_keys_that_the_provider_rotated_are_fetched(desk, provider):
    await desk.service.handle(desk.caller(), await redemption(desk, provider))
    provider.rotate(drop_old=True)
    assert (await desk.service.handle(desk.caller(), await redemption(desk, provider))).email
    provider.rotate(drop_old=True)
    desk.platform.ahead = REFETCH_INTERVAL + 1
    assert (await desk.service.handle(desk.caller(), await redemption(desk, provider))).email


async def test_a_device_flow(desk, provider):
    desk.method = oidc_method(provider.issuer, device_client_id=NATIVE)
    begun = await desk.service.handle(
        desk.caller(), DeviceBegin(vault_cluster=VAULT, capsule=desk.capsule(), method=desk.digest)
    )
    poll = DevicePoll(capsule=desk.capsule(), handle=begun.handle)
    with pytest.raises(Refused) as caught:
        await desk.service.handle(desk.caller(), poll)
    assert caught.value.number is Number.SIGN_IN_PENDING
    provider.approve_device(begun.verification_uri_complete, "bob")
    desk.platform.ahead = begun.interval
    assert (await desk.service.handle(desk.caller(), poll)).email.startswith("bob@")
