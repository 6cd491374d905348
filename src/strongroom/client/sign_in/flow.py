"""One sign-in, and what a way to sign in is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from strongroom.client.results import Method, Place
from strongroom.client.session import AttestedServer
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.instructions import sign_in_challenge
from strongroom.protocol.messages import Ticket


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A challenge that waits for its answer."""

    handle: bytes = field(repr=False)
    challenge: bytes
    """32 bytes, to be signed or quoted."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in with one Authenticator, which the client has appraised under its own policy, by one method."""

    server: AttestedServer
    place: Place
    method: Method
    vault_cluster: bytes
    binding_key: bytes
    now: Callable[[], float]
    verify_page: Callable[[str], Awaitable[None]]
    """Raises unless the user may be sent to this page to sign in."""
    with_ticket: Ticket | None = None
    """What this sign-in joins: somebody else's, as a rule."""

    async def begin_ceremony(self) -> Ceremony:
        """A fresh challenge, computed here: what a server chose is never signed, and what is signed counts in this
        session alone (RULES 10)."""
        challenged = await self.server.ask(
            wire.Challenge(vault_cluster=self.vault_cluster, capsule=self.place.capsule, method=self.method.digest),
            wire.Challenged,
        )
        challenge = sign_in_challenge(self.method.kind, self.method.digest, self.binding_key, challenged.salt)
        return Ceremony(challenged.handle, challenge)


@runtime_checkable
class Way(Protocol):
    """One way in which the user, or this program, can sign in."""

    def fits(self, method: Method) -> bool:
        """Whether it is one for this method."""

    async def run(self, flow: Flow) -> wire.SignedIn:
        """Sign in. Raises `StrongroomError`."""
