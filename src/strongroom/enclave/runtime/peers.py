"""Sessions of this enclave, as a client, to other enclaves (RULES 4 and 5).

The host's courier carries the bytes; nothing it does matters beyond availability. A session is kept under the
complete policy that it was appraised under: a lax policy of one tenant never serves another's key.

Tenants name the Authenticators, so one tenant can name new ones without end:

1. New sessions would push out those that others use. The pool has two segments (segmented LRU): a session that was
   asked for again gives way only to others that were asked for again, never to one that just came.
2. Authenticators that never answer would hold every place for a handshake. The oldest handshake gives way, so an
   honest one that takes a moment comes through.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, TypeVar

from strongroom.attestation.appraisal import Genuine, appraise
from strongroom.attestation.floors import EvaluationFloors
from strongroom.attestation.policy import RolePolicy
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock, lasts
from strongroom.enclave.runtime.handshakes import TIMEOUT, LostSession, PeerChannel, Post, fetch_evidence, shake_hands
from strongroom.enclave.runtime.identity import Identity, peer_platforms
from strongroom.protocol.authenticator_messages import AuthenticatorReply, Validate
from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, Untrusted, from_number
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_MESSAGE
from strongroom.protocol.messages import Error, Proved

T = TypeVar("T", bound=Message)

MAX_NEW: Final = 64
"""Sessions kept that nobody asked for again since their handshake."""
MAX_USED: Final = 192
"""Sessions kept that somebody asked for again."""
MAX_HANDSHAKES: Final = 32
"""Handshakes under way."""
APPRAISAL_LIFE: Final = 600
"""Seconds after which a peer's evidence is fetched and appraised again."""

Name = tuple[str, bytes]
"""URL and encoded policy: what a session is kept under."""

OF_ITSELF: Final = frozenset({Number.PEER_REFUSED, Number.CLOCK, Number.BUSY, Number.INTERNAL})
OF_INSTRUCTIONS: Final = frozenset(
    {
        Number.TOO_LARGE,
        Number.UNSUPPORTED,
        Number.INSTRUCTIONS_INVALID,
        Number.RULES_INVALID,
        Number.METHOD_INVALID,
    }
)
"""Errors that the Vault repeats as an Authenticator's answer. Any other would speak for the Vault itself: CONFLICT or
REFUSED about a record, UNKNOWN_SESSION about the client's session."""


class Peer:
    """A proved session to one enclave, accepted under one policy."""

    def __init__(self, name: Name, channel: PeerChannel, genuine: Genuine, until: int) -> None:
        self.name: Final = name
        self.genuine: Final = genuine
        self.until: Final = until
        self._channel = channel

    @property
    def cluster_id(self) -> bytes:
        return self.genuine.claims.cluster_id

    async def ask(self, request: Message) -> Message:
        """One request, one reply.

        Raises the error that the peer answered if it may say so, `Untrusted` AUTHENTICATOR_UNTRUSTED if not or if
        the reply is none, `Untrusted` INTEGRITY, `Unavailable` AUTHENTICATOR_UNAVAILABLE, and `LostSession`.
        """
        message = await self._channel.exchange(request)
        reply = _decode_reply(message)
        if isinstance(reply, Error):
            if reply.number not in (OF_ITSELF | OF_INSTRUCTIONS if isinstance(request, Validate) else OF_ITSELF):
                raise _untrusted(f"it answered {reply.number}")
            raise from_number(reply.number, place=reply.place)
        return reply


class Peers:
    """Pool of sessions to Authenticators."""

    def __init__(self, platform: Platform, clock: Clock, identity: Identity, post: Post) -> None:
        self._platform = platform
        self._clock = clock
        self._identity = identity
        self._post = post
        self._floors = EvaluationFloors()
        self._new: OrderedDict[Name, Peer] = OrderedDict()
        """Least recently made first."""
        self._used: OrderedDict[Name, Peer] = OrderedDict()
        """Least recently asked for first."""
        self._handshakes: OrderedDict[Name, asyncio.Task[Peer]] = OrderedDict()
        """Under way, oldest first."""

    async def get(self, url: str, policy: bytes) -> Peer:
        """A session to the Authenticator at `url`, accepted under the encoded `RolePolicy` `policy`.

        Raises `Untrusted` AUTHENTICATOR_UNTRUSTED or INTEGRITY, `Misuse` MALFORMED for a policy that is none,
        `Unavailable` BUSY when too many other handshakes came after this one, and AUTHENTICATOR_UNAVAILABLE. Failures
        are not remembered.
        """
        name = (url, policy)
        peer = self._find(name)
        if peer is not None:
            return peer
        task = self._handshakes.get(name) or self._begin(name)
        try:
            # Shielded: one caller's time-out must not tear the handshake away from the others who wait for it.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Unavailable(Number.BUSY, "too many handshakes with Authenticators") from None
            raise

    async def ask(self, url: str, policy: bytes, request: Message, kind: type[T]) -> tuple[bytes, T]:
        """One request to the Authenticator at `url`, its cluster id and the reply, a `kind`; once more in a new session
        when it had lost ours. Raises as `get` and `Peer.ask`."""
        peer = await self.get(url, policy)
        try:
            reply = await peer.ask(request)
        except LostSession:
            self.drop(peer)
            peer = await self.get(url, policy)
            reply = await peer.ask(request)
        if not isinstance(reply, kind):
            raise _untrusted("not an answer to this request")
        return peer.cluster_id, reply

    def drop(self, peer: Peer) -> None:
        """Forget a session that the peer no longer knows."""
        for segment in (self._new, self._used):
            if segment.get(peer.name) is peer:
                del segment[peer.name]

    def _find(self, name: Name) -> Peer | None:
        peer = self._used.pop(name, None) or self._new.pop(name, None)
        if peer is None or not lasts(peer.until, self._clock.now(), APPRAISAL_LIFE):
            return None
        self._used[name] = peer
        if len(self._used) > MAX_USED:
            self._keep(self._used.popitem(last=False)[1])
        return peer

    def _keep(self, peer: Peer) -> None:
        self._new[peer.name] = peer
        if len(self._new) > MAX_NEW:
            self._new.popitem(last=False)

    def _begin(self, name: Name) -> asyncio.Task[Peer]:
        if len(self._handshakes) >= MAX_HANDSHAKES:
            self._handshakes.popitem(last=False)[1].cancel()
        task = self._handshakes[name] = asyncio.create_task(self._connect(name))
        task.add_done_callback(lambda task: self._ended(name, task))
        return task

    def _ended(self, name: Name, task: asyncio.Task[Peer]) -> None:
        if self._handshakes.get(name) is task:
            del self._handshakes[name]
        # The exception is taken note of here: all who waited for it may have gone.
        if not task.cancelled() and task.exception() is None:
            self._keep(task.result())

    async def _connect(self, name: Name) -> Peer:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._handshake(*name)
        except TimeoutError:
            raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE, "no answer in time") from None

    async def _handshake(self, url: str, policy: bytes) -> Peer:
        now = self._clock.now()
        try:
            evidence = await fetch_evidence(self._post, url)
            accepted = decode(policy, RolePolicy, limit=MAX_EVIDENCE)
            genuine = appraise(evidence, role="authenticator", policy=accepted, now=now).genuine
        except Untrusted as error:
            raise _untrusted(error.reason) from None
        if genuine.kind not in peer_platforms(self._platform.kind):
            raise _untrusted("software evidence is refused by a Vault on hardware")
        try:
            self._floors.verify(genuine.report, genuine.claims.cluster_id)
        except Untrusted as error:
            raise _untrusted(error.reason) from None
        try:
            channel, proof = await shake_hands(self._platform, self._identity, self._post, url, genuine)
        except Misuse as error:
            raise _untrusted(f"its answer to the hello: {error.error}") from None
        until = min(genuine.claims.expires_at, now + APPRAISAL_LIFE)
        peer = Peer((url, policy), channel, genuine, until)
        if not isinstance(await peer.ask(proof), Proved):
            raise _untrusted("the Authenticator answered nonsense")
        self._floors.note(genuine.report, genuine.claims.cluster_id)
        return peer


def is_lost_session(error: StrongroomError) -> bool:
    """True when a new session may mend it: the peer restarted or its key turned over. No answer of a peer says so."""
    return isinstance(error, LostSession)


def _decode_reply(message: bytes) -> Message:
    try:
        reply: Message = decode(message, AuthenticatorReply, limit=MAX_MESSAGE)
    except Misuse as error:
        raise _untrusted(f"its answer: {error.error}") from None
    return reply


def _untrusted(reason: str) -> Untrusted:
    return Untrusted(Number.AUTHENTICATOR_UNTRUSTED, reason)
