"""The redirect of a native sign-in, as programs and pages of this machine may call it."""

from urllib.parse import urlsplit

import httpx
import pytest

from strongroom.client.loopback import Expected, RedirectListener
from strongroom.protocol.errors import Number
from tests.support.served import number_of

WAITING = Expected("/callback", "the-state", "https://login.example.com", iss_required=True)
GOOD = {"state": "the-state", "iss": "https://login.example.com", "code": "a-code"}


async def call(url, query, **options):
    async with httpx.AsyncClient(trust_env=False) as browser:
        return await browser.request(options.pop("method", "GET"), url, params=query, **options)


async def test_the_redirect_brings_the_code_and_answers_a_page_without_scripts():
    async with RedirectListener(WAITING) as listener:
        page = await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "a-code" not in page.text
    assert urlsplit(listener.redirect_uri).hostname == "127.0.0.1"


@pytest.mark.parametrize(
    "query",
    [
        GOOD | {"state": "another"},
        {"code": "a-code", "iss": GOOD["iss"]},
        {},
        [*GOOD.items(), ("state", "the-state")],
        [*GOOD.items(), ("code", "another")],
        GOOD | {"state": "another", "error": "access_denied"},
    ],
)
async def test_a_redirect_without_the_state_changes_nothing(query):
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri, query)).status_code == 404
        await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"


async def test_other_calls_of_this_machine_change_nothing():
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri.replace("/callback", "/favicon.ico"), GOOD)).status_code == 404
        assert (await call(listener.redirect_uri, GOOD, method="POST")).status_code == 404
        rebound = {"host": "strongroom.attacker.example"}
        assert (await call(listener.redirect_uri, GOOD, headers=rebound)).status_code == 404
        with pytest.raises(httpx.TransportError):
            await call(listener.redirect_uri, GOOD | {"padding": "x" * 20_000})
        await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"state": "the-state", "code": "a-code"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"iss": "https://login.attacker.example"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"iss": "https://login.example.com/"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"code": ""}, Number.TOKEN_UNTRUSTED),
        ({"state": "the-state", "iss": GOOD["iss"], "error": "access_denied"}, Number.SIGN_IN_REFUSED),
        ({"state": "the-state", "error": "access_denied"}, Number.TOKEN_UNTRUSTED),
    ],
)
async def test_a_redirect_of_another_provider_or_with_an_error_ends_the_sign_in(query, number):
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri, query)).status_code == 400
        await call(listener.redirect_uri, GOOD)  # too late
        assert await number_of(listener.code()) is number
