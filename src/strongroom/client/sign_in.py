"""Signing in with Authenticators, and the tickets that come of it (RULES 9 to 14).

Each Authenticator is appraised under the client's *own* policy before anything is sent: what a depositor's
instructions say of it binds the Vault only, or a "share" would be a way to fish for sign-ins. The session uses the
Vault session's binding key, so that the ticket counts there and nowhere else.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import webbrowser
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.loopback import Expected, RedirectListener
from strongroom.client.results import Description, Method, Person, Place
from strongroom.client.session import AttestedServer
from strongroom.client.transport import is_loopback
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.instructions import Audience, Channel, bound_nonce
from strongroom.protocol.limits import MAX_TICKET_LIFE, MAX_TICKETS
from strongroom.protocol.messages import Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Begin, Begun, DeviceBegin, DeviceBegun, DevicePoll, Redeem, SignedIn

BROWSER_SECONDS: Final = 300.0
"""For the user to finish in the browser."""
MARGIN: Final = 30
"""Seconds before its expiry at which a ticket is no longer used."""

_NATIVE_REDIRECT: Final = re.compile(r"http://127\.0\.0\.1(/[A-Za-z0-9/._~-]*)")


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the user types in on another device (RFC 8628)."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    """With the code in it; may be empty."""
    expires_at: int


@runtime_checkable
class SignIn(Protocol):
    """Sign-in in a browser on this machine, which ends with a redirect to a loopback address."""

    async def authorize(self, url: str) -> None:
        """Bring the user to `url`; may return before the user is done."""


@runtime_checkable
class DeviceSignIn(Protocol):
    """Sign-in on another device. Phishable, so ordinary rules deny what was signed in this way."""

    async def show_code(self, code: DeviceCode) -> None:
        """Show the code and where to type it in; return at once."""


Approve = Callable[[str], Awaitable[None]]
"""Is given the issuer of a provider that somebody else chose, and raises if the user is not to be brought there."""


class BrowserSignIn:
    """Opens the user's browser, or prints the address where there is none."""

    async def authorize(self, url: str) -> None:
        print(f"Sign in at {_place_of(url)}: a page opens in your browser.", file=sys.stderr)
        if not await asyncio.to_thread(webbrowser.open, url):
            await PrintingSignIn().authorize(url)


class PrintingSignIn:
    """Prints the address on stderr."""

    async def authorize(self, url: str) -> None:
        print(f"To sign in, open this address in a browser on this machine:\n\n  {url}\n", file=sys.stderr, flush=True)


class PrintingDeviceSignIn:
    """Prints code and address on stderr."""

    async def show_code(self, code: DeviceCode) -> None:
        print(
            f"To sign in, open {code.verification_uri} on any device and type in: {code.user_code}\n",
            file=sys.stderr,
            flush=True,
        )


@dataclass(frozen=True, slots=True)
class Ways:
    """What tickets fit a record: (Authenticator's cluster id, method digest), and how many Authenticators."""

    pairs: frozenset[tuple[bytes, bytes]]
    quorum: int


@dataclass(frozen=True, slots=True)
class _Held:
    ticket: Ticket
    until: float
    person: Person


@dataclass(frozen=True, slots=True)
class _Also:
    """The ticket that a further sign-in joins, the method that it is kept under, and with whom to sign in."""

    method: bytes
    held: _Held
    issuer: str | None


class SignInDesk:
    """Tickets of one binding key for one Vault, in memory only, and the sign-ins that renew them."""

    def __init__(
        self,
        trust: TrustPolicy,
        binding_key: SigningKey,
        *,
        sign_in: SignIn | DeviceSignIn | None,
        issuer: str | None,
        signed_in: Callable[[Person], None],
        now: Callable[[], float],
        approve: Approve | None = None,
    ) -> None:
        self._trust = trust
        self._key = binding_key
        self._sign_in = sign_in
        self._issuer = issuer
        self._approve = approve
        self._approved: set[str] = set()
        self._signed_in = signed_in
        self._now = now
        self._held: dict[tuple[bytes, bytes], _Held] = {}
        self._servers: dict[str, AttestedServer] = {}
        self._one_at_a_time = asyncio.Lock()

    # --- tickets ----------------------------------------------------------------------------------------------

    def ways(self, description: Description) -> Ways:
        """What fits what was described, of the providers that the user wants to sign in with."""
        methods = [m for m in description.methods if self._issuer in (None, m.issuer)]
        pairs = ((place.cluster_id, method.digest) for place in description.authenticators for method in methods)
        return Ways(frozenset(pairs), description.quorum)

    def find(self, ways: Ways) -> list[Ticket]:
        """Live tickets that fit; none if they are of fewer Authenticators than the quorum."""
        fitting = {pair: held.ticket for pair, held in self._live().items() if pair in ways.pairs}
        enough = len({cluster for cluster, _ in fitting}) >= ways.quorum
        return list(fitting.values())[:MAX_TICKETS] if enough else []

    def people(self, ways: Ways) -> list[Person]:
        """Whom the live tickets that fit name."""
        return [held.person for pair, held in self._live().items() if pair in ways.pairs]

    def ordered(self, tickets: Sequence[Ticket], principal: str) -> list[Ticket]:
        """Those of one principal first: what is stored is put down to the first one whom the rules permit."""
        mine = {held.ticket for held in self._live().values() if held.person.principal == principal}
        return sorted(tickets, key=lambda ticket: ticket not in mine)

    def all(self) -> list[Ticket]:
        """All live tickets, newest first."""
        return [held.ticket for held in reversed(self._live().values())]

    def discard(self, tickets: Sequence[Ticket]) -> None:
        """Forget tickets that were refused."""
        self._held = {pair: held for pair, held in self._held.items() if held.ticket not in tickets}

    def _live(self) -> dict[tuple[bytes, bytes], _Held]:
        self._held = {pair: held for pair, held in self._held.items() if held.until > self._now()}
        return self._held

    async def aclose(self) -> None:
        for server in self._servers.values():
            await server.aclose()

    # --- signing in -------------------------------------------------------------------------------------------

    async def sign_in(self, description: Description, vault_cluster: bytes) -> list[Ticket]:
        """Tickets that fit, after as many sign-ins as are missing.

        Raises `BadInput` when no method suits this client, `Untrusted` when no Authenticator does, `Refused`
        SIGN_IN_REFUSED or SIGN_IN_PENDING when the user did not get through, `Misuse` STALE_KEY when the capsules
        have aged: describe again.
        """
        ways = self.ways(description)
        # One at a time: parallel requests must not open a browser window each.
        async with self._one_at_a_time:
            problem: StrongroomError | None = None
            for place in description.authenticators:
                if tickets := self.find(ways):
                    return tickets
                if any(
                    cluster == place.cluster_id for cluster, method in self._live() if (cluster, method) in ways.pairs
                ):
                    continue
                try:
                    server = await self._appraised(place)
                except (Untrusted, Unavailable) as error:
                    problem = error  # another Authenticator may do
                    continue
                await self._sign_in_at(server, place, description, vault_cluster)
            if tickets := self.find(ways):
                return tickets
        raise problem or Refused(Number.SIGN_IN_REFUSED, "fewer Authenticators than the quorum can be used")

    async def sign_in_also(self, description: Description, vault_cluster: bytes, *, issuer: str | None) -> None:
        """One more sign-in on the ticket that is held at each Authenticator, of which there is one.

        The new ticket takes the place of the old: alone that one would be refused, which counts against its owner.
        Raises as `sign_in` does.
        """
        ways = self.ways(description)
        async with self._one_at_a_time:
            for place in description.authenticators:
                for pair, held in self._live().items():
                    if pair in ways.pairs and pair[0] == place.cluster_id:
                        also = _Also(pair[1], held, issuer or self._issuer)
                        await self._sign_in_at(await self._appraised(place), place, description, vault_cluster, also)
                        break

    def approved(self, description: Description) -> None:
        """What was described is of the user's own choice: its providers need no further approval."""
        self._approved.update(method.issuer for method in description.methods)

    async def _verify_approved(self, issuer: str) -> None:
        """Raises what `approve` raises."""
        if self._approve is not None and issuer not in self._approved:
            await self._approve(issuer)
            self._approved.add(issuer)

    async def _appraised(self, place: Place) -> AttestedServer:
        """A session to the Authenticator that the Vault named, accepted under the client's own policy."""
        server = self._servers.get(place.url)
        if server is None:
            server = self._servers[place.url] = AttestedServer(
                place.url,
                role="authenticator",
                policy=self._trust.authenticator,
                binding_key=self._key,
                now=self._now,
            )
        try:
            appraisal = await server.appraisal()
        except Untrusted as error:
            raise Untrusted(error.number, f"Authenticator at {place.url}: {error.reason}") from None
        if appraisal.genuine.claims.cluster_id != place.cluster_id:
            raise Untrusted(
                Number.AUTHENTICATOR_UNTRUSTED, f"{place.url} is of another cluster here than the Vault sees there"
            )
        return server

    async def _sign_in_at(
        self,
        server: AttestedServer,
        place: Place,
        description: Description,
        vault_cluster: bytes,
        also: _Also | None = None,
    ) -> None:
        if self._sign_in is None:
            raise BadInput("this needs a sign-in, and the client has no way to do one", "pass sign_in=BrowserSignIn()")
        device = isinstance(self._sign_in, DeviceSignIn)
        issuer = also.issuer if also else self._issuer
        method, audience = _choose(description.methods, "device" if device else "native", issuer)
        if method.issuer != issuer:
            await self._verify_approved(method.issuer)
        earlier = also.held.ticket if also else None
        flow = Flow(server, place, method, audience, vault_cluster, self._key.public, self._now, earlier)
        if isinstance(self._sign_in, DeviceSignIn):
            signed_in = await flow.on_another_device(self._sign_in)
        else:
            signed_in = await flow.in_a_browser(self._sign_in)
        if signed_in.ticket.authenticator != place.cluster_id:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "a ticket of another Authenticator")
        until = min(signed_in.expires_at, self._now() + MAX_TICKET_LIFE) - MARGIN
        pair = (place.cluster_id, also.method if also else method.digest)
        self._held.pop(pair, None)
        principal = f"{method.digest.hex()}:{signed_in.subject}"
        person = Person(method.issuer, signed_in.subject, signed_in.email, principal)
        self._held[pair] = _Held(signed_in.ticket, until, also.held.person if also else person)
        self._signed_in(person)


def _choose(methods: Sequence[Method], channel: Channel, issuer: str | None) -> tuple[Method, Audience]:
    for method in methods:
        for audience in method.audiences:
            if audience.channel == channel and issuer in (None, method.issuer):
                return method, audience
    providers = sorted({f"{m.issuer} ({'/'.join(m.channels)})" for m in methods if m.channels})
    if not providers:
        raise BadInput("this takes a passkey, and only a browser has those", "open it on the page of its sender's site")
    raise BadInput(
        f"no sign-in method suits this client (channel {channel}, issuer {issuer or 'any'})",
        f"offered are: {', '.join(providers)}",
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in with one Authenticator by one method."""

    server: AttestedServer
    place: Place
    method: Method
    audience: Audience
    vault_cluster: bytes
    binding_key: bytes
    now: Callable[[], float]
    with_ticket: Ticket | None = None
    """What this sign-in joins: somebody else's, as a rule."""

    async def in_a_browser(self, sign_in: SignIn) -> SignedIn:
        """Authorization code with PKCE and bound nonce, over a loopback redirect."""
        path = _NATIVE_REDIRECT.fullmatch(self.audience.redirect_uri)
        if path is None:
            raise Misuse(Number.METHOD_INVALID, "the native redirect URI is not on 127.0.0.1")
        begun = await self.server.ask(
            Begin(
                vault_cluster=self.vault_cluster,
                capsule=self.place.capsule,
                method=self.method.digest,
                channel="native",
            ),
            Begun,
        )
        self._verify_begun(begun)
        salt, state, verifier = secrets.token_bytes(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        expected = Expected(path[1], state, begun.issuer, begun.iss_in_redirect)
        async with RedirectListener(expected) as listener:
            nonce = bound_nonce(self.method.digest, self.binding_key, salt)
            url = authorization_url(begun, listener.redirect_uri, state=state, nonce=nonce, verifier=verifier)
            if self.with_ticket is not None:
                # Else the provider's own session would say once more who has signed in already.
                url += "&prompt=login"
            try:
                async with asyncio.timeout(BROWSER_SECONDS):
                    _, code = await asyncio.gather(sign_in.authorize(url), listener.code())
            except TimeoutError:
                raise Refused(Number.SIGN_IN_PENDING, "not finished in time") from None
            redirect_uri = listener.redirect_uri
        return await self.server.ask(
            Redeem(
                vault_cluster=self.vault_cluster,
                capsule=self.place.capsule,
                method=self.method.digest,
                channel="native",
                redirect_uri=redirect_uri,
                code=code,
                code_verifier=verifier,
                salt=salt,
                with_ticket=self.with_ticket,
            ),
            SignedIn,
        )

    async def on_another_device(self, sign_in: DeviceSignIn) -> SignedIn:
        """Device flow (RFC 8628), run by the Authenticator."""
        if self.with_ticket is not None:
            raise BadInput(
                "a sign-in on another device is nobody's second pair of eyes", "sign in in a browser on this device"
            )
        begun = await self.server.ask(
            DeviceBegin(vault_cluster=self.vault_cluster, capsule=self.place.capsule, method=self.method.digest),
            DeviceBegun,
        )
        verify_browser_url(begun.verification_uri)
        if begun.verification_uri_complete:
            verify_browser_url(begun.verification_uri_complete)
        await sign_in.show_code(
            DeviceCode(begun.user_code, begun.verification_uri, begun.verification_uri_complete, begun.expires_at)
        )
        interval = max(begun.interval, 1)
        while self.now() + interval < begun.expires_at:
            await asyncio.sleep(interval)
            try:
                return await self.server.ask(DevicePoll(capsule=self.place.capsule, handle=begun.handle), SignedIn)
            except Refused as error:
                if error.number is not Number.SIGN_IN_PENDING:
                    raise
            except Unavailable:
                interval *= 2  # RFC 8628 §3.5: back off when the provider does not keep up
        raise Refused(Number.SIGN_IN_PENDING, "not finished in time")

    def _verify_begun(self, begun: Begun) -> None:
        """What the Authenticator says must be what the Vault described, and nothing but a web page may be opened."""
        described = (self.method.issuer, self.audience.client_id, self.audience.redirect_uri)
        if (begun.issuer, begun.client_id, begun.redirect_uri) != described:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "it would sign in by another method than the Vault named")
        verify_browser_url(begun.authorization_endpoint)


def authorization_url(begun: Begun, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
    """Where to send the user (RFC 6749 §4.1.1, RFC 7636)."""
    query = urlencode(
        {
            "response_type": "code",
            "client_id": begun.client_id,
            "redirect_uri": redirect_uri,
            "scope": begun.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
    )
    separator = "&" if urlsplit(begun.authorization_endpoint).query else "?"
    return f"{begun.authorization_endpoint}{separator}{query}"


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


def _place_of(url: str) -> str:
    return urlsplit(url).netloc
