"""Signing in with Authenticators, and the tickets that come of it (RULES 9 to 14).

Each Authenticator is appraised under the client's *own* policy before anything is sent: what a depositor's
instructions say of it binds the Vault only, or a "share" would be a way to fish for sign-ins. The session uses the
Vault session's binding key, so that the ticket counts there and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput, SpentToken
from strongroom.client.results import Description, Method, Person, Place
from strongroom.client.session import AttestedServer
from strongroom.client.sign_in.browser import InBrowser, SignIn
from strongroom.client.sign_in.device import DeviceSignIn, OnAnotherDevice
from strongroom.client.sign_in.flow import Flow, Way
from strongroom.client.sign_in.keys import KeySignIn
from strongroom.client.standings import Standings
from strongroom.client.urls import origin_of
from strongroom.protocol.errors import Number, Refused, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.instructions import Kind, WorkloadPublic
from strongroom.protocol.limits import MAX_TICKET_LIFE, MAX_TICKETS
from strongroom.protocol.messages import Ticket
from strongroom.protocol.primitives import SigningKey

MARGIN: Final = 30
"""Seconds before its expiry at which a ticket is no longer used."""

AnyWay = SignIn | DeviceSignIn | Way
"""How the user, or this program, can sign in."""
Approve = Callable[[Method], Awaitable[None]]
"""Is given a method that somebody else chose, and raises if the user is not to sign in by it; of a provider also one
with a `page`, and raises if its users are not to be sent there."""

_NEVER_UNSEEN: Final[tuple[Kind, ...]] = ("directory", "email-code")
"""What the user types in here goes where the definition says: each needs a yes of its own (RULES 14)."""
_WITHOUT_HARM: Final[tuple[Kind, ...]] = ("workload", "keys", "enclave")
"""What these bring counts in one session, with one Authenticator, and tells nobody else anything."""


class NoWay(BadInput):
    """None of the client's ways to sign in is one that the record takes."""

    def __init__(self, error: str, hint: str, offered: Sequence[Method]) -> None:
        self.offered = tuple(offered)
        """What it does take."""
        super().__init__(error, hint)


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
    is_bearer: bool = False
    """By a token that counts once, for whoever brings it first."""


@dataclass(frozen=True, slots=True)
class _Also:
    """The ticket that a further sign-in joins, the method that it is kept under, and with whom to sign in."""

    method: bytes
    held: _Held
    name: str | None


class SignInDesk:
    """Tickets of one binding key for one Vault, in memory only, and the sign-ins that renew them."""

    def __init__(
        self,
        trust: TrustPolicy,
        binding_key: SigningKey,
        *,
        sign_in: AnyWay | Sequence[AnyWay] | None,
        issuer: str | None,
        signed_in: Callable[[Person], None],
        now: Callable[[], float],
        approve: Approve | None = None,
        standings: Standings | None = None,
    ) -> None:
        self._trust = trust
        self._standings = standings
        self._key = binding_key
        given = () if sign_in is None else sign_in if isinstance(sign_in, Sequence) else (sign_in,)
        self._own_ways: Final = tuple(_as_way(one) for one in given)
        self._name = issuer
        self._approve = approve
        self._approved: set[str | bytes | tuple[str, str]] = set()
        self._signed_in = signed_in
        self._now = now
        self._held: dict[tuple[bytes, bytes], _Held] = {}
        self._servers: dict[str, AttestedServer] = {}
        self._one_at_a_time = asyncio.Lock()

    # --- tickets ----------------------------------------------------------------------------------------------

    def ways(self, description: Description) -> Ways:
        """What fits what was described, of the providers that the user wants to sign in with."""
        methods = [method for method in description.methods if self._name in (None, method.name)]
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

    def holders(self, tickets: Sequence[Ticket]) -> list[Person]:
        """Whom these tickets name."""
        return [held.person for held in self._live().values() if held.ticket in tickets]

    def ordered(self, tickets: Sequence[Ticket], principal: str) -> list[Ticket]:
        """Those of one principal first: what is stored is put down to the first one whom the rules permit."""
        mine = {held.ticket for held in self._live().values() if held.person.principal == principal}
        return sorted(tickets, key=lambda ticket: ticket not in mine)

    def all(self) -> list[Ticket]:
        """All live tickets, newest first."""
        return [held.ticket for held in reversed(self._live().values())]

    def explained(self, error: Untrusted, tickets: Sequence[Ticket]) -> Untrusted:
        """Why a Vault does not take these, right after the sign-in."""
        spent = error.number is Number.TOKEN_UNTRUSTED
        if spent and any(held.is_bearer and held.ticket in tickets for held in self._live().values()):
            return SpentToken()
        return error

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
        """One more sign-in on the ticket that is held at each Authenticator, of which there is one. `issuer` is the
        name of the method for it.

        The new ticket takes the place of the old: alone that one would be refused, which counts against its owner.
        Raises as `sign_in` does.
        """
        ways = self.ways(description)
        async with self._one_at_a_time:
            for place in description.authenticators:
                for pair, held in self._live().items():
                    if pair in ways.pairs and pair[0] == place.cluster_id:
                        also = _Also(pair[1], held, issuer or self._name)
                        await self._sign_in_at(await self._appraised(place), place, description, vault_cluster, also)
                        break

    def approved(self, description: Description) -> None:
        """What was described is of the user's own choice: its providers need no further approval. Its directories do:
        a page shows where it is, but a name beside a question for a password shows nothing."""
        self._approved.update(_identity(method) for method in description.methods if method.kind not in _NEVER_UNSEEN)

    async def _verify_approved(self, method: Method) -> None:
        """Raises what `approve` raises."""
        if method.kind in _WITHOUT_HARM or _identity(method) in self._approved:
            return
        if self._approve is not None:
            await self._approve(method)
        elif method.kind in _NEVER_UNSEEN:
            raise BadInput(f"nobody has approved of {method.title}", "pass approve=, which asks the user about it")
        self._approved.add(_identity(method))

    async def _verify_page(self, method: Method, url: str) -> None:
        """A provider may name anybody's page as its own. Its user then signs in with Microsoft, say, whose page is
        genuine, and the code goes with its verifier to whoever runs the issuer (mix-up, RFC 9700 §4.4). The
        Authenticator can't know better, so the user is asked. Raises what `approve` raises."""
        page = origin_of(url)
        if page == origin_of(method.issuer) or (method.issuer, page) in self._approved:
            return
        if self._approve is None:
            error = f"{method.issuer} has its users sign in at {page}, and nobody has approved of that"
            raise BadInput(error, "pass approve=, which asks the user about it")
        await self._approve(replace(method, page=page))
        self._approved.add((method.issuer, page))

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
                standings=self._standings,
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
        name = also.name if also else self._name
        way, method = _choose(self._own_ways, description.methods, name)
        if method.name != name or method.kind in _NEVER_UNSEEN:
            await self._verify_approved(method)
        earlier = also.held.ticket if also else None
        verify_page = partial(self._verify_page, method)
        flow = Flow(server, place, method, vault_cluster, self._key.public, self._now, verify_page, earlier)
        signed_in = await way.run(flow)
        if signed_in.ticket.authenticator != place.cluster_id:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "a ticket of another Authenticator")
        until = min(signed_in.expires_at, self._now() + MAX_TICKET_LIFE) - MARGIN
        pair = (place.cluster_id, also.method if also else method.digest)
        self._held.pop(pair, None)
        principal = f"{method.digest.hex()}:{signed_in.subject}"
        person = Person(method.name, signed_in.subject, signed_in.email, principal)
        is_bearer = isinstance(method.public, WorkloadPublic) and method.public.audience != ""
        self._held[pair] = _Held(signed_in.ticket, until, also.held.person if also else person, is_bearer)
        self._signed_in(person)


def _as_way(given: AnyWay) -> Way:
    if isinstance(given, DeviceSignIn):
        return OnAnotherDevice(given)
    return InBrowser(given) if isinstance(given, SignIn) else given


def _identity(method: Method) -> str | bytes:
    """What an approval holds for: a provider, whatever else the definition says; else that definition alone, since a
    depositor may write any name over any server."""
    return method.issuer or method.digest


def _choose(ways: Sequence[Way], methods: Sequence[Method], name: str | None) -> tuple[Way, Method]:
    """The first of the user's ways that fits, and the first method that it fits. Raises `NoWay`."""
    for way in ways:
        for method in methods:
            if name in (None, method.name) and way.fits(method):
                return way, method
    offered = "; ".join(dict.fromkeys(method.title for method in methods))
    if not ways:
        raise NoWay(
            "this needs a sign-in, and the client has no way to do one",
            f"pass sign_in=BrowserSignIn() or what else fits; offered are: {offered}",
            methods,
        )
    if all(method.kind == "passkey" for method in methods):
        hint = "open it on the page of its sender's site"
        raise NoWay("this takes a passkey, and only a browser has those", hint, methods)
    keys = [f"{way.title}, none of these" for way in ways if isinstance(way, KeySignIn)]
    at = f" at {name}" if name else ""
    raise NoWay("; ".join([f"no sign-in method suits this client{at}", *keys]), f"offered are: {offered}", methods)
