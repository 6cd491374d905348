"""The Authenticator signs people in with a real, certified OpenID Connect provider."""

import base64
import hashlib
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator.jwks import REFETCH_INTERVAL
from strongroom.protocol.errors import Number, Refused, StrongroomError
from strongroom.protocol.instructions import bound_nonce
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import DeviceBegin, DevicePoll, Push, Pushed, Redeem, SignedIn
from tests.idp.provider import MFA_ACR, NATIVE, PASSWORD_ACR, WEB, WEB_SECRET, Provider
from tests.support.evidence import changed
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


CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


async def redemption(desk, provider, user="bob", channel="native", redirect=REDIRECT, **asked):
    """Sign in as a browser would; the request that redeems the code. `asked`: what else the browser asks for."""
    begun = await desk.begin(channel=channel)
    query = {
        "client_id": begun.client_id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": begun.scope,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "nonce": bound_nonce(desk.digest, desk.binding_key, desk.salt),
        **asked,
    }
    end = provider.sign_in(f"{begun.authorization_endpoint}?{urlencode(query)}", user)
    return redeem(desk, begun, end, channel=channel, redirect=redirect)


def redeem(desk, begun, end, *, channel="native", redirect=REDIRECT):
    """The request that redeems what the URL at the browser's end says."""
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


def fact_of(desk, signed_in):
    (fact,) = desk.sealer.verify_ticket(
        signed_in.ticket, binding_key=desk.binding_key, vault_cluster=VAULT, now=desk.clock.now()
    )
    return fact


async def refusal(desk, request, number):
    with pytest.raises(StrongroomError) as caught:
        await desk.service.handle(desk.caller(), request)
    assert caught.value.number is number
    return caught.value.reason


async def pushed_url(desk, begun, *, channel="native", redirect=REDIRECT, anew=False):
    """The authorization URL after the request was pushed: it holds nothing but a reference."""
    pushed = await desk.service.handle(
        desk.caller(),
        Push(
            vault_cluster=VAULT, capsule=desk.capsule(), method=desk.digest, channel=channel, redirect_uri=redirect,
            state="state", salt=desk.salt, code_challenge=CHALLENGE, anew=anew,
        ),
    )  # fmt: skip
    assert isinstance(pushed, Pushed)
    query = {"client_id": begun.client_id, "request_uri": pushed.request_uri}
    return f"{begun.authorization_endpoint}?{urlencode(query)}"


@pytest.mark.parametrize("anew", [False, True])
async def test_a_pushed_sign_in(desk, provider, anew):
    desk.method = changed(desk.method, pushed=True, acr_values=[PASSWORD_ACR], max_age=60)
    begun = await desk.begin()
    assert begun.pushed
    end = provider.sign_in(await pushed_url(desk, begun, anew=anew), "bob")
    assert parse_qs(urlsplit(end).query)["state"] == ["state"]
    fact = fact_of(desk, await desk.service.handle(desk.caller(), redeem(desk, begun, end)))
    assert (fact.email, fact.acr, fact.amr) == ("bob@example.com", PASSWORD_ACR, ["pwd"])
    assert desk.clock.now() - fact.auth_time < 60


async def test_a_pushed_sign_in_of_a_page_whose_client_has_a_secret(desk, provider):
    desk.method = oidc_method(
        provider.issuer, web_client_id=WEB, web_redirect_uri=WEB_REDIRECT, client_secret=WEB_SECRET
    )
    begun = await desk.begin(channel="web")
    url = await pushed_url(desk, begun, channel="web", redirect=WEB_REDIRECT)
    request = redeem(desk, begun, provider.sign_in(url, "bob"), channel="web", redirect=WEB_REDIRECT)
    assert (await desk.service.handle(desk.caller(), request)).email == "bob@example.com"


async def test_a_pushed_request_counts_for_the_session_that_pushed_it(desk, provider):
    begun = await desk.begin()
    end = provider.sign_in(await pushed_url(desk, begun), "bob")
    desk.binding_key = SigningKey.generate().public
    assert "nonce" in await refusal(desk, redeem(desk, begun, end), Number.TOKEN_UNTRUSTED)


async def test_a_provider_that_wants_requests_pushed_has_them_pushed():
    with Provider(algs="ES256", pushed_only=True) as provider, tempfile.TemporaryDirectory() as machine:
        desk = Desk(Platform("authenticator", Path(machine) / "machine"))
        desk.method = oidc_method(provider.issuer, NATIVE)
        begun = await desk.begin()
        assert begun.pushed
        end = provider.sign_in(await pushed_url(desk, begun), "bob")
        signed_in = await desk.service.handle(desk.caller(), redeem(desk, begun, end))
        assert isinstance(signed_in, SignedIn)
        assert signed_in.email == "bob@example.com"


async def test_who_signs_in_more_weakly_than_the_method_asks_is_refused(desk, provider):
    desk.method = changed(desk.method, acr_values=[MFA_ACR])
    begun = await desk.begin()
    assert begun.acr_values == MFA_ACR
    fact = fact_of(
        desk,
        await desk.service.handle(
            desk.caller(), await redemption(desk, provider, "alice", acr_values=begun.acr_values)
        ),
    )
    assert (fact.acr, fact.amr) == (MFA_ACR, ["mfa", "otp", "pwd"])
    weak = await redemption(desk, provider, "bob", acr_values=begun.acr_values)
    assert "acr" in await refusal(desk, weak, Number.TOKEN_UNTRUSTED)


async def test_a_browser_that_leaves_out_what_the_method_asks_for_gets_nowhere(desk, provider):
    desk.method = changed(desk.method, acr_values=[MFA_ACR])
    assert "acr" in await refusal(desk, await redemption(desk, provider, "alice"), Number.TOKEN_UNTRUSTED)
    desk.method = changed(desk.method, acr_values=[], max_age=60)
    assert "auth_time" in await refusal(desk, await redemption(desk, provider, "alice"), Number.TOKEN_UNTRUSTED)
    begun = await desk.begin()
    assert begun.max_age == 60
    request = await redemption(desk, provider, "alice", max_age=str(begun.max_age))
    assert (await desk.service.handle(desk.caller(), request)).email == "alice@example.com"


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
