"""Providers that lie: each lie is refused, for a reason of its own that the operator reads."""

import asyncio
from urllib.parse import parse_qs

import pytest

from strongroom.client.methods import oidc_method
from strongroom.enclave.runtime import egress
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable
from strongroom.protocol.instructions import bound_nonce
from strongroom.protocol.sign_in_messages import Push, Pushed
from tests.support.evidence import changed
from tests.support.issuer import CLIENT_ID, REDIRECT, RSA, VAULT, answer, desk_at_issuer, public, refusal
from tests.support.world import Platform


@pytest.fixture
def platform(tmp_path):
    return Platform("authenticator", tmp_path / "machine")


@pytest.fixture
async def place(platform):
    async with desk_at_issuer(platform) as found:
        yield found


async def test_a_redirecting_token_endpoint_is_not_followed(place):
    desk, issuer = place

    async def redirect(writer, headers):
        await answer(writer, {}, 307, f"location: {issuer.url}/elsewhere")

    issuer.routes["/token"] = redirect
    assert "redirects" in await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_UNAVAILABLE)
    assert issuer.calls["/elsewhere"] == 0


@pytest.mark.parametrize(
    "body", [b"x" * 300_000, b"[" * 100_000, b'{"keys": 7}', b"\xff\xfe", b"", b'{"keys": [' + b"{}," * 99 + b"{}]}"]
)
@pytest.mark.parametrize("path", ["/jwks", "/token", "/.well-known/openid-configuration"])
async def test_nonsense_from_a_provider_is_unavailable(place, path, body):
    desk, issuer = place

    async def nonsense(writer, headers):
        await answer(writer, body)

    issuer.routes[path] = nonsense
    await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_UNAVAILABLE)


async def test_html_is_not_json(place):
    desk, issuer = place

    async def page(writer, headers):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    issuer.routes["/jwks"] = page
    await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_UNAVAILABLE)


@pytest.mark.parametrize("path", ["/jwks", "/token", "/.well-known/openid-configuration"])
@pytest.mark.parametrize("manner", ["silent", "dripping body", "dripping headers"])
async def test_a_slow_or_dripping_provider_is_given_up(place, monkeypatch, path, manner):
    desk, issuer = place
    monkeypatch.setattr(egress, "PROVIDER_TIMEOUT", 0.3)

    async def drip(writer, headers):
        if manner == "dripping body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n")
        while True:
            if manner != "silent":
                writer.write(b" " if manner == "dripping body" else b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
            await asyncio.sleep(0.02)

    issuer.routes[path] = drip
    started = asyncio.get_running_loop().time()
    await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_SLOW)
    assert asyncio.get_running_loop().time() - started < 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": 7},
    ],
)
async def test_a_discovery_document_that_is_not_the_issuers_is_refused(place, metadata):
    desk, issuer = place
    issuer.metadata = metadata
    await refusal(desk.begin(), Unavailable, Number.PROVIDER_UNAVAILABLE)


@pytest.mark.parametrize(
    "address",
    [
        "https://10.0.0.1/token",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "http://example.com/token",
        "file:///etc/passwd",
        "https://user@127.0.0.1/",
        "https://127.0.0.1/#f",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri"])
async def test_endpoints_inside_the_network_are_not_called(place, endpoint, address, monkeypatch):
    desk, issuer = place
    calls = []

    async def resolve(host, port):
        return ["192.168.1.1" if host == "example.com" else host]

    async def connect(host, port, original=desk.platform.connect):
        calls.append(host)
        return await original(host, port)

    monkeypatch.setattr(desk.platform, "resolve", resolve)
    monkeypatch.setattr(desk.platform, "connect", connect)
    issuer.metadata = {endpoint: address}
    await refusal(desk.sign_in(), Refused, Number.DESTINATION_REFUSED)
    assert set(calls) <= {"127.0.0.1"}


async def test_an_authorization_endpoint_that_is_no_https_address_is_not_shown(place):
    desk, issuer = place
    issuer.metadata = {"authorization_endpoint": "javascript:alert(1)"}
    await refusal(desk.begin(), Refused, Number.DESTINATION_REFUSED)


def giving(body, status=200, *headers):
    async def route(writer, _):
        await answer(writer, body, status, *headers)

    return route


async def page(writer, _):
    """What a captive portal or an error page of a proxy says."""
    body = b"<!doctype html><title>SECRET</title>"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()


DISCOVERY, JWKS, TOKEN = "/.well-known/openid-configuration", "/jwks", "/token"
LARGE = giving(b'{"SECRET": "' + b"x" * 10_000_000 + b'"}')
TO_HTTP = giving({}, 302, "location: http://evil.example/SECRET")
METADATA = {
    "issuer": "https://issuer.example", "authorization_endpoint": "https://issuer.example/a",
    "token_endpoint": "https://issuer.example/t", "jwks_uri": "https://issuer.example/j",
}  # fmt: skip
LIES = {
    "10 MB of discovery": ({DISCOVERY: LARGE}, {}, "discovery: the answer is too large"),
    "10 MB of keys": ({JWKS: LARGE}, {}, "JWKS: the answer is too large"),
    "10 MB of token": ({TOKEN: LARGE}, {}, "token endpoint: the answer is too large"),
    "discovery redirected to http": ({DISCOVERY: TO_HTTP}, {}, "discovery: redirects are not followed"),
    "keys redirected to http": ({JWKS: TO_HTTP}, {}, "JWKS: redirects are not followed"),
    "token redirected to http": ({TOKEN: TO_HTTP}, {}, "token endpoint: redirects are not followed"),
    "a page as discovery": ({DISCOVERY: page}, {}, "discovery: status 200, and the answer is not JSON"),
    "a page as keys": ({JWKS: page}, {}, "JWKS: status 200, and the answer is not JSON"),
    "a page as token": ({TOKEN: page}, {}, "token endpoint: status 200, and the answer is not JSON"),
    "another issuer's discovery": ({DISCOVERY: giving(METADATA)}, {}, "discovery: the document is another issuer's"),
    "half a discovery": ({DISCOVERY: giving({"issuer": "x"})}, {}, "discovery: the answer is not the JSON expected"),
    "discovery that fails": ({DISCOVERY: giving({}, 500)}, {}, "discovery: status 500"),
    "keys that fail": ({JWKS: giving({}, 404)}, {}, "JWKS: status 404"),
    "a token endpoint that fails": ({TOKEN: giving({}, 503)}, {}, "token endpoint: status 503"),
    "too many keys": ({JWKS: giving({"keys": [{}] * 33})}, {}, "JWKS: the provider has more than 32 keys"),
    "two keys of one id": (
        {JWKS: giving({"keys": [public(RSA, kid="a")] * 2})}, {}, "JWKS: two keys of the provider have one id"),
    "no keys": ({JWKS: giving({"keys": []})}, {}, "the provider has no such key for this algorithm"),
    "a token endpoint over http": ({}, {"token_endpoint": "http://9.9.9.9/"}, "token endpoint: not a loopback address"),
    "keys at a private address": ({}, {"jwks_uri": "https://10.0.0.1/SECRET"}, "JWKS: "),
    "a page to sign in at that is none": (
        {}, {"authorization_endpoint": "javascript:alert('SECRET')"}, "authorization endpoint: not a plain URL"),
    "a refusal in words of its own": (
        {TOKEN: giving({"error": "SECRET", "error_description": "SECRET"}, 400)}, {}, "an error of its own"),
}  # fmt: skip


async def attempt(desk):
    await desk.begin()
    await desk.sign_in()


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_of_a_provider_is_refused_and_told_to_the_operator(place, name, capsys):
    desk, issuer = place
    routes, metadata, reason = LIES[name]
    issuer.routes |= routes
    issuer.metadata = metadata
    with pytest.raises(StrongroomError) as caught:
        await attempt(desk)
    assert caught.value.reason.startswith(reason)
    line = capsys.readouterr().err
    assert f"[{int(caught.value.number)}] {caught.value.reason}\n" in line
    assert "SECRET" not in line
    assert "evil.example" not in line


def test_every_lie_has_a_reason_of_its_own():
    reasons = [reason for _, _, reason in LIES.values()]
    assert len(set(reasons)) == len(reasons)


async def push(desk, **changes):
    request = {
        "vault_cluster": VAULT, "capsule": desk.capsule(), "method": desk.digest, "channel": "native",
        "redirect_uri": REDIRECT, "state": "state", "salt": desk.salt, "code_challenge": "c" * 43, "anew": False,
    }  # fmt: skip
    return await desk.service.handle(desk.caller(), Push(**{**request, **changes}))


@pytest.fixture
async def pushing(place):
    """At a provider that takes pushed requests."""
    desk, issuer = place
    issuer.metadata = {"pushed_authorization_request_endpoint": f"{issuer.url}/par"}
    issuer.routes["/par"] = giving({"request_uri": "urn:ietf:params:oauth:request_uri:1", "expires_in": 60}, 201)
    desk.method = changed(oidc_method(issuer.url, CLIENT_ID), pushed=True, acr_values=["a", "b"], max_age=5)
    return desk, issuer


async def test_a_pushed_request_holds_everything_and_the_browser_nothing(pushing):
    desk, issuer = pushing
    assert (await desk.begin()).pushed
    assert await push(desk, anew=True) == Pushed(request_uri="urn:ietf:params:oauth:request_uri:1")
    form = parse_qs(issuer.forms[-1])
    assert form == {
        "client_id": [CLIENT_ID], "response_type": ["code"], "redirect_uri": [REDIRECT], "scope": ["openid email"],
        "state": ["state"], "nonce": [bound_nonce(desk.digest, desk.binding_key, desk.salt)],
        "code_challenge": ["c" * 43], "code_challenge_method": ["S256"], "acr_values": ["a b"], "max_age": ["5"],
        "prompt": ["login"],
    }  # fmt: skip


async def test_a_pushed_request_is_authenticated_as_a_token_request_is(pushing):
    desk, issuer = pushing
    desk.method = oidc_method(issuer.url, CLIENT_ID, client_secret="secret")
    await push(desk)
    assert issuer.headers[-1]["authorization"].startswith("basic ")
    assert parse_qs(issuer.forms[-1])["client_id"] == [CLIENT_ID]
    assert "prompt" not in parse_qs(issuer.forms[-1])
    assert "secret" not in issuer.forms[-1]


@pytest.mark.parametrize("asked", [True, False])
async def test_a_provider_without_pushed_requests_is_told_so(place, asked):
    """Never by falling back to a request that the browser carries."""
    desk, issuer = place
    desk.method = changed(desk.method, pushed=asked)
    issuer.metadata = {} if asked else {"require_pushed_authorization_requests": True}
    for action in (desk.begin, lambda: push(desk)):
        assert "pushed requests" in await refusal(action(), Misuse, Number.UNKNOWN_METHOD)


@pytest.mark.parametrize("required", ["true", 1, None, False])
async def test_a_requirement_that_is_not_true_is_none(place, required):
    desk, issuer = place
    issuer.metadata = {"require_pushed_authorization_requests": required}
    assert not (await desk.begin()).pushed


@pytest.mark.parametrize("redirect", ["http://127.0.0.1:1/other", "https://evil.example/callback"])
async def test_no_request_is_pushed_for_another_redirect(pushing, redirect):
    desk, issuer = pushing
    await refusal(push(desk, redirect_uri=redirect), Misuse, Number.MALFORMED)
    assert issuer.calls["/par"] == 0


async def test_no_request_is_pushed_for_a_device(pushing):
    desk, _ = pushing
    await refusal(push(desk, channel="device", redirect_uri=""), Misuse, Number.MALFORMED)


@pytest.mark.parametrize("reference", ["", "two words", "urn:x\n", "x" * 513, 7, "urn:\u00e9"])
async def test_a_reference_that_is_none_is_not_handed_to_a_browser(pushing, reference):
    desk, issuer = pushing
    issuer.routes["/par"] = giving({"request_uri": reference, "expires_in": 60}, 201)
    await refusal(push(desk), Unavailable, Number.PROVIDER_UNAVAILABLE)


async def test_a_refused_pushed_request_is_a_refusal(pushing):
    desk, issuer = pushing
    issuer.routes["/par"] = giving({"error": "invalid_request", "error_description": "SECRET"}, 400)
    assert await refusal(push(desk), Refused, Number.SIGN_IN_REFUSED) == "invalid_request"


async def test_pushed_requests_go_to_no_address_inside_the_network(pushing):
    desk, issuer = pushing
    issuer.metadata = {"pushed_authorization_request_endpoint": "https://169.254.169.254/"}
    reason = await refusal(push(desk), Refused, Number.DESTINATION_REFUSED)
    assert reason.startswith("pushed request: ")
