"""The provider that the other tests lean on behaves as a real one: code + PKCE, device flow, rotation."""

import base64
import hashlib
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.idp.provider import NATIVE, USERS, WEB, WEB_SECRET, Provider

pytestmark = pytest.mark.needs("oidc")
LOOPBACK = "http://127.0.0.1:49152/callback"


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


def discovered(provider):
    return httpx.get(f"{provider.issuer}/.well-known/openid-configuration").json()


def claims_of(provider, id_token, alg="RS256"):
    keys = KeySet.import_key_set(httpx.get(discovered(provider)["jwks_uri"]).json())
    return jwt.decode(id_token, keys, algorithms=[alg]).claims


def authorize(provider, user, *, client=NATIVE, redirect=LOOPBACK, **more):
    """Sign in; (query of the final redirect, PKCE verifier)."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": client,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": "openid email profile",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **more,
    }
    url = provider.sign_in(f"{discovered(provider)['authorization_endpoint']}?{urlencode(query)}", user)
    assert url.startswith(redirect + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}, verifier


def redeem(provider, code, verifier, *, client=NATIVE, redirect=LOOPBACK, auth=None):
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": redirect}
    if auth is None:
        form["client_id"] = client
    return httpx.post(discovered(provider)["token_endpoint"], data=form, auth=auth)


@pytest.mark.parametrize("user", USERS)
def test_code_and_pkce_give_an_id_token_with_our_nonce_and_a_verified_email(provider, user):
    answer, verifier = authorize(provider, user, nonce="bound-to-a-key", state="s")
    assert answer["state"] == "s"
    assert answer["iss"] == provider.issuer
    tokens = redeem(provider, answer["code"], verifier)
    assert tokens.status_code == 200, tokens.text
    claims = claims_of(provider, tokens.json()["id_token"])
    assert claims["iss"] == provider.issuer
    assert claims["aud"] == NATIVE
    assert claims["sub"] == user
    assert claims["nonce"] == "bound-to-a-key"
    assert claims["email"] == f"{user}@example.com"
    assert claims["email_verified"] is True
    assert ("staff" in claims["groups"]) == (user != "mallory")


def test_a_confidential_client_redeems_with_its_secret(provider):
    redirect = "https://strongroom.example/callback"
    answer, verifier = authorize(provider, "bob", client=WEB, redirect=redirect)
    tokens = redeem(provider, answer["code"], verifier, client=WEB, redirect=redirect, auth=(WEB, WEB_SECRET))
    assert claims_of(provider, tokens.json()["id_token"])["aud"] == WEB


def test_a_code_is_worth_nothing_without_its_verifier_or_twice(provider):
    answer, verifier = authorize(provider, "alice")
    assert redeem(provider, answer["code"], "x" * 43).json()["error"] == "invalid_grant"
    answer, verifier = authorize(provider, "alice")
    assert redeem(provider, answer["code"], verifier).status_code == 200
    assert redeem(provider, answer["code"], verifier).json()["error"] == "invalid_grant"


def test_a_wrong_password_signs_nobody_in(provider):
    with pytest.raises(AssertionError, match="401"):
        authorize(provider, "eve")


def test_device_flow(provider):
    urls = discovered(provider)
    scope = {"client_id": NATIVE, "scope": "openid email"}
    device = httpx.post(urls["device_authorization_endpoint"], data=scope).json()
    ask = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device["device_code"],
        "client_id": NATIVE,
    }
    assert httpx.post(urls["token_endpoint"], data=ask).json()["error"] == "authorization_pending"
    provider.approve_device(device["verification_uri_complete"], "bob")
    tokens = httpx.post(urls["token_endpoint"], data=ask).json()
    assert claims_of(provider, tokens["id_token"])["email"] == "bob@example.com"


def test_rotation_keeps_the_old_keys_until_they_are_dropped(provider):
    def kids():
        return [key["kid"] for key in httpx.get(discovered(provider)["jwks_uri"]).json()["keys"]]

    before = kids()
    assert provider.rotate()[3:] == before
    after = provider.rotate(drop_old=True)
    assert kids() == after
    assert not set(after) & set(before)
    answer, verifier = authorize(provider, "alice")
    assert claims_of(provider, redeem(provider, answer["code"], verifier).json()["id_token"])["sub"] == "alice"


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_the_first_algorithm_named_signs(alg):
    with Provider(algs=alg) as provider:
        answer, verifier = authorize(provider, "alice")
        id_token = redeem(provider, answer["code"], verifier).json()["id_token"]
        assert claims_of(provider, id_token, alg)["sub"] == "alice"
