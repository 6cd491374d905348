"""ID tokens and providers that lie, over real sockets: refused with the number that says who is to blame."""

import asyncio
import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator.jwks import REFETCH_INTERVAL
from strongroom.enclave.authenticator.tickets import CapsuleContents, Sealer
from strongroom.protocol.authenticator_messages import Enclose
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.instructions import bound_nonce
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.sign_in_messages import DevicePoll
from strongroom.protocol.vault_messages import SignInAt
from tests.support.issuer import (
    AUTHENTICATOR,
    CLIENT_ID,
    EC,
    ED,
    RSA,
    VAULT,
    Desk,
    answer,
    base64url,
    desk_at_issuer,
    public,
    refusal,
    sign,
)
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import VAULT_PEER, peer


@pytest.fixture
def platform(tmp_path):
    return Platform("authenticator", tmp_path / "machine")


@pytest.fixture
async def place(platform):
    async with desk_at_issuer(platform) as found:
        yield found


@pytest.mark.parametrize(("alg", "kid", "key"), [("RS256", "rsa", RSA), ("ES256", "ec", EC), ("EdDSA", "ed", ED)])
async def test_an_honest_token_of_each_algorithm_is_accepted(place, alg, kid, key):
    desk, issuer = place
    issuer.header, issuer.key = {"alg": alg, "kid": kid}, key
    signed_in = await desk.sign_in()
    assert (signed_in.subject, signed_in.email) == ("bob", "bob@example.com")


async def test_begin_tells_where_to_go(place):
    desk, issuer = place
    issuer.metadata = {"authorization_response_iss_parameter_supported": True}
    begun = await desk.begin()
    assert (begun.authorization_endpoint, begun.client_id) == (f"{issuer.url}/auth", CLIENT_ID)
    assert begun.scope == "openid email"
    assert begun.iss_in_redirect is True


async def test_the_secret_goes_to_the_provider_as_basic_and_only_there(place):
    desk, issuer = place
    desk.method = oidc_method(issuer.url, CLIENT_ID, client_secret="pass:word/é")
    await desk.sign_in()
    assert [headers.get("authorization", "").split(" ")[0] for headers in issuer.headers] == ["", "basic", ""]
    assert not any("client_id" in form for form in issuer.forms)


CLAIMS: dict[str, tuple[dict[str, Any], str | None]] = {
    "wrong iss": ({"iss": "https://evil.example"}, "iss"),
    "iss with a slash more": ({"iss": "SLASH"}, "iss"),
    "wrong aud": ({"aud": "somebody-else"}, "aud"),
    "aud list without us": ({"aud": ["a", "b"]}, "aud"),
    "several audiences without azp": ({"aud": [CLIENT_ID, "b"]}, "azp"),
    "azp of another": ({"aud": [CLIENT_ID, "b"], "azp": "b"}, "azp"),
    "azp of another with one audience": ({"azp": "b"}, "azp"),
    "aud null": ({"aud": None}, "claims"),
    "aud number": ({"aud": 7}, "claims"),
    "nonce missing": ({"nonce": None}, "nonce"),
    "nonce of another session": ({"nonce": "OTHER"}, "nonce"),
    "nonce not text": ({"nonce": 7}, "claims"),
    "expired": ({"exp": -120}, "expired"),
    "exp missing": ({"exp": None}, "claims"),
    "exp as text": ({"exp": "2999999999"}, "claims"),
    "nbf in the future": ({"nbf": +120}, "not valid yet"),
    "iat long ago": ({"iat": -1000}, "not issued just now"),
    "iat in the future": ({"iat": +120}, "issued in the future"),
    "sub empty": ({"sub": ""}, "sub"),
    "sub too long": ({"sub": "x" * 256}, "sub"),
    "sub missing": ({"sub": None}, "claims"),
    "sub with a newline": ({"sub": "bob\nalice"}, "sub"),
    "groups left out by the provider": ({"_claim_names": {"groups": "src1"}}, "groups"),
    "more groups than a ticket holds": ({"groups": [f"group {n:0100}" for n in range(200)]}, "too many groups"),
    "groups that are no texts": ({"groups": [1]}, "claims"),
    "deep nesting": ({"email": json.loads("[" * 500 + "]" * 500)}, None),
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_claims_that_do_not_hold_are_refused(place, name):
    desk, issuer = place
    claims, reason = CLAIMS[name]
    claims = dict(claims)
    if claims.get("iss") == "SLASH":
        claims["iss"] = issuer.url + "/"
    if claims.get("nonce") == "OTHER":
        claims["nonce"] = bound_nonce(desk.digest, SigningKey.generate().public, desk.salt)
    for time in ("exp", "nbf", "iat"):
        if isinstance(claims.get(time), int):
            claims[time] += issuer.clock.now()
    issuer.claims = claims
    if reason is None:
        assert (await desk.sign_in()).email == ""
    else:
        assert reason in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize("claims", [{"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "b"], "azp": CLIENT_ID}])
async def test_an_audience_list_that_names_us_is_accepted(place, claims):
    desk, issuer = place
    issuer.claims = claims
    assert (await desk.sign_in()).subject == "bob"


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email_verified": "true"}, ""),
        ({"email_verified": 1}, ""),
        ({"email_verified": False}, ""),
        ({"email_verified": None}, ""),
        ({"email_verified": None, "email": "b@corp.example"}, "b@corp.example"),
        ({"email_verified": None, "email": "b@sub.corp.example"}, ""),
        ({"email_verified": None, "email": "b@x@corp.example"}, ""),
        ({"email_verified": False, "email": "b@corp.example"}, ""),
        ({"email": "b\u043eb@example.com"}, ""),
        ({"email": "\u212aate@example.com"}, ""),
        ({"email": ["bob@example.com"]}, ""),
        ({"email": "bob@example.com\n"}, ""),
    ],
)
async def test_only_verified_ascii_addresses_become_facts(place, claims, email):
    desk, issuer = place
    desk.method = oidc_method(issuer.url, CLIENT_ID, email_domains=["corp.example"])
    issuer.claims = claims
    assert (await desk.sign_in()).email == email


PEM = RSA.as_pem(private=False)
HEADERS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "alg none": ({"alg": "none"}, None, "algorithm"),
    "alg none with a key id": ({"alg": "none", "kid": "rsa"}, None, "algorithm"),
    "alg NONE": ({"alg": "NONE", "kid": "rsa"}, None, "algorithm"),
    "HS256 with the public key as secret": (
        {"alg": "HS256", "kid": "rsa"},
        PEM,
        "algorithm",
    ),
    "RS512": ({"alg": "RS512", "kid": "rsa"}, RSA, "algorithm"),
    "ES256 by the RSA key's id": ({"alg": "ES256", "kid": "rsa"}, EC, "no such key"),
    "unknown kid": ({"alg": "RS256", "kid": "new"}, RSA, "no such key"),
    "another key under a known id": ({"alg": "RS256", "kid": "rsa"}, RSAKey.generate_key(2048), "signature"),
    "another EC key": ({"alg": "ES256", "kid": "ec"}, ECKey.generate_key("P-256"), "signature"),
    "own key in the header": ({"alg": "ES256", "kid": "x", "jwk": public(EC)}, EC, "no such key"),
    "critical extension": ({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": True}, RSA, "critical"),
}


@pytest.mark.parametrize("name", HEADERS)
async def test_signatures_that_do_not_hold_are_refused(place, name):
    desk, issuer = place
    header, key, reason = HEADERS[name]

    def make() -> str:
        now = issuer.clock.now()
        claims = {"iss": issuer.url, "sub": "bob", "aud": CLIENT_ID, "iat": now, "exp": now + 60, "nonce": issuer.nonce}
        if key is None:
            parts = [base64url(json.dumps(part).encode()) for part in (header, claims)]
            return ".".join([*parts, ""])
        return sign(header, claims, key)

    issuer.make_token = make
    assert reason in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_an_algorithm_that_the_method_does_not_list_is_refused(place):
    desk, issuer = place
    desk.method = oidc_method(issuer.url, CLIENT_ID, algorithms=["ES256"])
    assert "algorithm" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize(
    "members", [{"alg": "RS512"}, {"use": "enc"}, {"key_ops": ["sign"]}, {"e": "Ag"}, {"n": "AQAB"}]
)
async def test_a_key_for_another_use_does_not_verify(place, members):
    desk, issuer = place
    issuer.keys = [public(RSA, **{"kid": "rsa", **members})]
    assert "no such key" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_a_flipped_bit_anywhere_is_refused(place):
    desk, issuer = place
    for position in range(0, 3):

        def bend(position=position) -> str:
            parts = issuer.token().split(".")
            middle = len(parts[position]) // 2
            letter = "A" if parts[position][middle] != "A" else "B"
            parts[position] = parts[position][:middle] + letter + parts[position][middle + 1 :]
            return ".".join(parts)

        issuer.make_token = bend
        await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_a_token_of_another_sessions_binding_key_is_refused(place):
    desk, issuer = place
    await desk.sign_in()
    stolen = issuer.token()
    issuer.make_token = lambda: stolen
    desk.binding_key = SigningKey.generate().public
    assert "nonce" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_a_token_for_another_definition_of_the_same_issuer_is_refused(place):
    desk, issuer = place
    await desk.sign_in()
    stolen = issuer.token()
    issuer.make_token = lambda: stolen
    desk.method = oidc_method(issuer.url, CLIENT_ID, scopes=["openid"])
    assert "nonce" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_two_definitions_of_one_issuer_share_nothing(place):
    desk, issuer = place
    await desk.sign_in()
    desk.method = oidc_method(issuer.url, CLIENT_ID, scopes=["openid"])
    await desk.sign_in()
    assert issuer.calls["/jwks"] == issuer.calls["/.well-known/openid-configuration"] == 2


async def test_rotated_keys_are_fetched_once_and_only_every_30_seconds(place, platform):
    desk, issuer = place
    await desk.sign_in()
    new = RSAKey.generate_key(2048)
    issuer.keys, issuer.key, issuer.header = [public(new, kid="new")], new, {"alg": "RS256", "kid": "new"}
    await desk.sign_in()
    assert issuer.calls["/jwks"] == 2
    issuer.header = {"alg": "RS256", "kid": "invented"}
    for _ in range(3):
        await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)
    assert issuer.calls["/jwks"] == 2
    platform.ahead = REFETCH_INTERVAL + 1
    await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)
    assert issuer.calls["/jwks"] == 3


async def test_a_withdrawn_key_is_refused_after_an_hour(place, platform):
    desk, issuer = place
    await desk.sign_in()
    issuer.keys = []
    platform.ahead = 3601
    await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize("ahead", [3601, -10])
async def test_keys_older_than_an_hour_deny_when_they_cannot_be_fetched(place, platform, ahead):
    desk, issuer = place
    await desk.sign_in()

    async def fail(writer, headers):
        await answer(writer, {}, 500)

    issuer.routes["/jwks"] = fail
    platform.ahead = ahead
    await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_UNAVAILABLE)


async def test_the_providers_no_is_a_refusal_that_repeats_none_of_its_text(place):
    desk, issuer = place

    async def deny(writer, headers):
        await answer(writer, {"error": "invalid_grant", "error_description": "code SECRET is used"}, 400)

    issuer.routes["/token"] = deny
    assert await refusal(desk.sign_in(), Refused, Number.SIGN_IN_REFUSED) == "invalid_grant"


@pytest.mark.parametrize(
    "redirect",
    ["http://127.0.0.1/callback", "http://127.0.0.1:1/other", "http://127.0.0.1:80@evil.example/callback",
     "http://localhost:1/callback", "https://evil.example/callback", "http://127.0.0.1:1/callback?x=1"],
)  # fmt: skip
async def test_a_native_redirect_is_the_audiences_own_on_loopback(place, redirect):
    desk, _ = place
    await refusal(desk.sign_in(redirect_uri=redirect), Misuse, Number.MALFORMED)


async def test_a_channel_that_the_method_lacks_is_refused(place):
    desk, _ = place
    for channel in ("web", "device"):
        await refusal(desk.begin(channel=channel), Misuse, Number.UNKNOWN_METHOD)


async def test_a_method_that_stands_in_no_capsule_is_refused(place):
    desk, _ = place
    await refusal(desk.begin(method=b"x" * 32), Misuse, Number.UNKNOWN_METHOD)


async def test_a_capsule_for_another_vault_is_refused(place):
    desk, _ = place
    await refusal(desk.begin(vault_cluster=b"W" * 32), Refused, Number.REFUSED)
    await refusal(desk.begin(capsule=desk.capsule(vault=b"W" * 32)), Refused, Number.REFUSED)


async def test_a_provider_that_is_down_is_unavailable(platform):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        desk = Desk(platform)
        desk.method = oidc_method(f"http://127.0.0.1:{unused.getsockname()[1]}", CLIENT_ID)
        await refusal(desk.begin(), Unavailable, Number.PROVIDER_UNAVAILABLE)


async def test_the_sign_in_works_at_localhost_too(place):
    desk, issuer = place
    issuer.url = issuer.url.replace("127.0.0.1", "localhost")
    desk.method = oidc_method(issuer.url, CLIENT_ID)
    assert (await desk.sign_in()).subject == "bob"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.binary().map(base64url), st.tuples(*[st.binary().map(base64url)] * 3).map(".".join)))
def test_any_text_as_id_token_gives_only_declared_errors(platform, text):
    async def attempt():
        async with desk_at_issuer(platform) as (desk, issuer):
            issuer.make_token = lambda: text
            await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)

    asyncio.run(attempt())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_any_bytes_as_capsule_or_handle_give_only_declared_errors(platform, data):
    desk = Desk(platform)
    with pytest.raises(StrongroomError):
        asyncio.run(desk.begin(capsule=data))
    with pytest.raises(StrongroomError):
        asyncio.run(desk.service.handle(desk.caller(), DevicePoll(capsule=desk.capsule(), handle=data)))


async def test_nobody_but_this_authenticator_makes_its_capsules(place):
    """A stranger's capsule would make the enclave call issuers and client ids of his choice."""
    desk, issuer = place
    methods, now = [encode(desk.method)], desk.clock.now()
    contents = CapsuleContents(vault_cluster=VAULT, methods=methods, expires_at=now + 60)
    genuine = desk.capsule()
    for capsule in (
        encode(contents),
        Sealer(desk.platform, b"B" * 32, lambda: desk.ticket_key).seal_capsule(methods, VAULT, now),
        Sealer(desk.platform, AUTHENTICATOR, lambda: b"u" * 32).seal_capsule(methods, VAULT, now),
        desk.sealer.seal(Domain.TICKET, contents),
        genuine[:-1] + bytes([genuine[-1] ^ 1]),
    ):
        await refusal(desk.begin(capsule=capsule), Refused, Number.REFUSED)
    assert not issuer.calls
    assert (await desk.begin(capsule=genuine)).issuer == issuer.url


async def test_a_capsule_ends_after_an_hour_or_when_the_clock_is_wound_back(place):
    desk, _ = place
    capsule = desk.capsule()
    for ahead in (3600, -60):
        desk.platform.ahead = ahead
        await refusal(desk.begin(capsule=capsule), Misuse, Number.STALE_KEY)


async def test_only_an_appraised_vault_gets_a_capsule_and_it_names_that_vault(place):
    desk, issuer = place
    request = Enclose(methods=[encode(desk.method)])
    for caller in (None, peer("authenticator")):
        await refusal(desk.service.handle(desk.caller(caller), request), Refused, Number.PEER_REFUSED)
    enclosed = await desk.service.handle(desk.caller(VAULT_PEER), request)
    await refusal(desk.begin(capsule=enclosed.capsule), Refused, Number.REFUSED)
    begun = await desk.begin(capsule=enclosed.capsule, vault_cluster=VAULT_PEER.claims.cluster_id)
    assert begun.issuer == issuer.url


async def test_the_largest_definitions_fit_into_a_capsule(platform):
    desk = Desk(platform)
    request = Enclose(methods=[b"m" * 16_384] * 3 + [b"n" * 16_000])
    enclosed: Any = await desk.service.handle(desk.caller(VAULT_PEER), request)
    capsule = enclosed.capsule
    assert len(decode(encode(SignInAt(url="", cluster_id=VAULT, capsule=capsule)), SignInAt, limit=10**6).capsule)
    begin = desk.begin(capsule=capsule, vault_cluster=VAULT_PEER.claims.cluster_id)
    await refusal(begin, Misuse, Number.UNKNOWN_METHOD)
