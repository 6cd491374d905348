"""Sessions of this enclave, as a client, to other enclaves (RULES 4 and 5).

The host's courier carries the bytes; nothing it does matters beyond availability. A session is kept under the
complete policy that it was appraised under: a lax policy of one tenant never serves another's key.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from strongroom.attestation.appraisal import Genuine, appraise
from strongroom.attestation.policy import RolePolicy
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, Untrusted, from_number
from strongroom.protocol.evidence import evidence_digest
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_MESSAGE
from strongroom.protocol.messages import Error, Prove, Proved
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import Channel, ClientHandshake, split_reply

Post = Callable[[str, bytes | None], Awaitable[bytes]]
"""Carry opaque bytes to a URL (GET when None) and bring the answer back."""

MAX_PEERS: Final = 256
APPRAISAL_LIFE: Final = 600
"""Seconds after which a peer's evidence is fetched and appraised again."""
TIMEOUT: Final = 10.0
"""Seconds for one round trip to a peer."""


class Peer:
    """A proved session to one enclave, accepted under one policy."""

    def __init__(self, url: str, post: Post, channel: Channel, genuine: Genuine, until: int) -> None:
        self.genuine: Final = genuine
        self.until: Final = until
        self._url = url
        self._post = post
        self._channel = channel

    @property
    def cluster_id(self) -> bytes:
        return self.genuine.claims.cluster_id

    async def ask(self, request: Message) -> Message:
        """One request, one reply. Raises the error that the peer answered."""
        counter, frame = self._channel.seal(encode(request))
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await _carry(self._post, f"{self._url}/v1/frame", frame)
        except TimeoutError:
            raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE, "no answer in time") from None
        _, plaintext = self._channel.open(answer)
        replies_to, message = split_reply(plaintext)
        if replies_to != counter:
            # The host swapped two genuine answers of this session.
            raise Untrusted(Number.INTEGRITY, "answer to another request")
        reply: Message = decode(message, AuthenticatorReply, limit=MAX_MESSAGE)
        if isinstance(reply, Error):
            raise from_number(reply.number, place=reply.place)
        return reply


class Peers:
    """Pool of sessions to Authenticators."""

    def __init__(self, platform: Platform, clock: Clock, identity: Identity, post: Post) -> None:
        self._platform = platform
        self._clock = clock
        self._identity = identity
        self._post = post
        self._pool: OrderedDict[tuple[str, bytes], asyncio.Task[Peer]] = OrderedDict()

    async def get(self, url: str, policy: bytes) -> Peer:
        """A session to the Authenticator at `url`, accepted under the encoded `RolePolicy` `policy`.

        Raises `Untrusted` AUTHENTICATOR_UNTRUSTED, or `Unavailable`. Failures are not remembered.
        """
        name = (url, policy)
        task = self._pool.get(name)
        if task is not None and task.done():
            if not task.exception() and task.result().until > self._clock.now():
                return task.result()
            task = None
        if task is None:
            task = self._pool[name] = asyncio.create_task(self._connect(url, policy))
            self._pool.move_to_end(name)
            while len(self._pool) > MAX_PEERS:
                self._pool.popitem(last=False)
        # Shielded: one caller's time-out must not tear the handshake away from the others who wait for it.
        return await asyncio.shield(task)

    def drop(self, peer: Peer) -> None:
        """Forget a session that the peer no longer knows."""
        for name, task in list(self._pool.items()):
            if task.done() and not task.exception() and task.result() is peer:
                del self._pool[name]

    async def _connect(self, url: str, policy: bytes) -> Peer:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._handshake(url, policy)
        except TimeoutError:
            raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE, "no answer in time") from None

    async def _handshake(self, url: str, policy: bytes) -> Peer:
        now = self._clock.now()
        evidence = await _carry(self._post, f"{url}/v1/evidence", None)
        if len(evidence) > MAX_EVIDENCE:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "evidence too large")
        try:
            accepted = decode(policy, RolePolicy, limit=MAX_EVIDENCE)
            genuine = appraise(evidence, role="authenticator", policy=accepted, now=now).genuine
        except Untrusted as error:
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, error.reason) from None
        if genuine.kind == "insecure-software" and self._platform.kind != "insecure-software":
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "software evidence is refused by a Vault on hardware")
        binding = SigningKey.generate()
        shown = evidence_digest(evidence)
        handshake = ClientHandshake(
            "authenticator",
            shown,
            genuine.claims.kem_key,
            binding.public,
            seed=self._platform.random(32),
            kem_seed=self._platform.random(32),
        )
        channel = handshake.finish(await _carry(self._post, f"{url}/v1/session", handshake.hello))
        until = min(genuine.claims.expires_at, now + APPRAISAL_LIFE)
        peer = Peer(url, self._post, channel, genuine, until)
        proof = Prove(
            signature=binding.sign(Domain.PROOF, channel.transcript),
            evidence=self._identity.peer_evidence(handshake.kem_public, binding.public, shown),
        )
        if not isinstance(await peer.ask(proof), Proved):
            raise Untrusted(Number.AUTHENTICATOR_UNTRUSTED, "the Authenticator answered nonsense")
        return peer


async def _carry(post: Post, url: str, body: bytes | None) -> bytes:
    """Numbers that come in clear are the host's word: at most a reason for a new session, never an answer."""
    try:
        return await post(url, body)
    except StrongroomError as error:
        if is_lost_session(error):
            raise
        raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE) from None


def is_lost_session(error: StrongroomError) -> bool:
    """True when a new session mends it: the peer restarted or its key turned over."""
    return isinstance(error, Misuse) and error.number in (Number.UNKNOWN_SESSION, Number.STALE_KEY)
