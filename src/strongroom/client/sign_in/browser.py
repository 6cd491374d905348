"""Sign-in at an OpenID Connect provider, in a browser on this machine (RFC 8252)."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import webbrowser
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from strongroom.client.loopback import Expected, RedirectListener
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.client.urls import is_loopback
from strongroom.protocol.errors import Misuse, Number, Refused, Untrusted
from strongroom.protocol.instructions import Audience, bound_nonce
from strongroom.protocol.sign_in_messages import Begin, Begun, Push, Pushed, Redeem, SignedIn

BROWSER_SECONDS: Final = 300.0
"""For the user to finish in the browser."""

_NATIVE_REDIRECT: Final = re.compile(r"http://127\.0\.0\.1(/[A-Za-z0-9/._~-]*)")


@runtime_checkable
class SignIn(Protocol):
    """Sign-in in a browser on this machine, which ends with a redirect to a loopback address."""

    async def authorize(self, url: str) -> None:
        """Bring the user to `url`; may return before the user is done."""


class BrowserSignIn:
    """Opens the user's browser, or prints the address where there is none."""

    async def authorize(self, url: str) -> None:
        print(f"Sign in at {urlsplit(url).netloc}: a page opens in your browser.", file=sys.stderr)
        if not await asyncio.to_thread(webbrowser.open, url):
            await PrintingSignIn().authorize(url)


class PrintingSignIn:
    """Prints the address on stderr."""

    async def authorize(self, url: str) -> None:
        print(f"To sign in, open this address in a browser on this machine:\n\n  {url}\n", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Request:
    """What this client draws for one authorization request, and proves afterwards to have drawn."""

    redirect_uri: str
    state: str
    salt: bytes
    """Of the nonce (RULES 10)."""
    verifier: str
    """Never leaves the client before the code has come back (RFC 7636)."""

    @property
    def code_challenge(self) -> str:
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class InBrowser:
    """Authorization code with PKCE and bound nonce, over a loopback redirect."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in: Final = sign_in

    def fits(self, method: Method) -> bool:
        return "native" in method.channels

    async def run(self, flow: Flow) -> SignedIn:
        audience = next(one for one in flow.method.audiences if one.channel == "native")
        path = _NATIVE_REDIRECT.fullmatch(audience.redirect_uri)
        if path is None:
            raise Misuse(Number.METHOD_INVALID, "the native redirect URI is not on 127.0.0.1")
        begun = await flow.server.ask(
            Begin(
                vault_cluster=flow.vault_cluster,
                capsule=flow.place.capsule,
                method=flow.method.digest,
                channel="native",
            ),
            Begun,
        )
        _verify_begun(begun, flow.method, audience)
        await flow.verify_page(begun.authorization_endpoint)
        state, salt, verifier = secrets.token_urlsafe(32), secrets.token_bytes(32), secrets.token_urlsafe(32)
        async with RedirectListener(Expected(path[1], state, begun.issuer, begun.iss_in_redirect)) as listener:
            request = Request(listener.redirect_uri, state, salt, verifier)
            url = await _url(flow, begun, request)
            try:
                async with asyncio.timeout(BROWSER_SECONDS):
                    _, code = await asyncio.gather(self._sign_in.authorize(url), listener.code())
            except TimeoutError:
                raise Refused(Number.SIGN_IN_PENDING, "not finished in time") from None
        return await flow.server.ask(
            Redeem(
                vault_cluster=flow.vault_cluster,
                capsule=flow.place.capsule,
                method=flow.method.digest,
                channel="native",
                redirect_uri=request.redirect_uri,
                code=code,
                code_verifier=request.verifier,
                salt=request.salt,
                with_ticket=flow.with_ticket,
            ),
            SignedIn,
        )


def _verify_begun(begun: Begun, method: Method, audience: Audience) -> None:
    """What the Authenticator says must be what the Vault described, and nothing but a web page may be opened."""
    described = (method.issuer, audience.client_id, audience.redirect_uri)
    if (begun.issuer, begun.client_id, begun.redirect_uri) != described:
        raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "it would sign in by another method than the Vault named")
    verify_browser_url(begun.authorization_endpoint)


async def _url(flow: Flow, begun: Begun, request: Request) -> str:
    # Else the provider's own session would say once more who has signed in already.
    anew = flow.with_ticket is not None
    if not begun.pushed:
        nonce = bound_nonce(flow.method.digest, flow.binding_key, request.salt)
        return authorization_url(begun, request, nonce=nonce, prompt="login" if anew else "")
    pushed = await flow.server.ask(
        Push(
            vault_cluster=flow.vault_cluster,
            capsule=flow.place.capsule,
            method=flow.method.digest,
            channel="native",
            redirect_uri=request.redirect_uri,
            state=request.state,
            salt=request.salt,
            code_challenge=request.code_challenge,
            anew=anew,
        ),
        Pushed,
    )
    return pushed_url(begun, pushed)


def authorization_url(begun: Begun, request: Request, *, nonce: str, prompt: str = "") -> str:
    """Where to send the user (RFC 6749 §4.1.1, RFC 7636)."""
    return _with_query(
        begun.authorization_endpoint,
        {
            "response_type": "code",
            "client_id": begun.client_id,
            "redirect_uri": request.redirect_uri,
            "scope": begun.scope,
            "state": request.state,
            "nonce": nonce,
            "code_challenge": request.code_challenge,
            "code_challenge_method": "S256",
            "acr_values": begun.acr_values,
            "max_age": str(begun.max_age or ""),
            "prompt": prompt,
        },
    )


def pushed_url(begun: Begun, pushed: Pushed) -> str:
    """The same where the provider has the request already, and the browser carries nothing of it (RFC 9126 §4)."""
    query = {"client_id": begun.client_id, "request_uri": pushed.request_uri}
    return _with_query(begun.authorization_endpoint, query)


def _with_query(endpoint: str, parameters: dict[str, str]) -> str:
    """Parameters that are empty are left out."""
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"


def verify_browser_url(url: str) -> None:
    """Raises `Untrusted` unless this is a page on the web, or on this machine: not a file, not a program.

    The provider is a depositor's choice. Handing its words to the system's "open" must not start anything else.
    """
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}#')
    try:
        parts = urlsplit(url if plain else "")
    except ValueError:
        parts = urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))
    if not secure or not parts.hostname or "@" in parts.netloc:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "the sign-in provider names an address that is no web page")
