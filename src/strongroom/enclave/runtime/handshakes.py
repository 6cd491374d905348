"""One session of this enclave, as a client, with another (RULES 4): hello, proof, and requests one by one.

The host's courier carries the bytes; nothing it does matters beyond availability. Whom this enclave talks to, and what
it makes of the answers, is decided elsewhere: `peers` for Authenticators, `joining` for the member that gives the ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from strongroom.attestation.appraisal import Genuine
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.identity import Identity
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.evidence import Purpose
from strongroom.protocol.limits import MAX_EVIDENCE
from strongroom.protocol.messages import Prove
from strongroom.protocol.primitives import Domain, KemKey, SigningKey
from strongroom.protocol.session import Channel, ClientHandshake, split_reply

Post = Callable[[str, bytes | None], Awaitable[bytes]]
"""Carry opaque bytes to a URL (GET when None) and bring the answer back."""

TIMEOUT: Final = 10.0
"""Seconds for one round trip to another enclave."""


class LostSession(Unavailable):
    """The host says that the peer no longer knows the session or key. A new session mends it, if it is true."""

    default = Number.AUTHENTICATOR_UNAVAILABLE


class PeerChannel:
    """The way to one enclave, as it was appraised."""

    def __init__(self, url: str, post: Post, channel: Channel, seconds: float) -> None:
        self._url = url
        self._post = post
        self._channel = channel
        self._seconds = seconds

    async def exchange(self, request: Message) -> bytes:
        """One request; the bytes of its reply, which the peer said.

        Raises `Untrusted` INTEGRITY, `Unavailable` AUTHENTICATOR_UNAVAILABLE, and `LostSession`.
        """
        counter, frame = self._channel.seal(encode(request))
        try:
            async with asyncio.timeout(self._seconds):
                answer = await carry(self._post, f"{self._url}/v1/frame", frame)
        except TimeoutError:
            raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE, "no answer in time") from None
        try:
            _, plaintext = self._channel.open(answer)
        except Misuse as error:
            # The host's doing, not a mistake of our own caller.
            raise Untrusted(Number.INTEGRITY, f"answer refused: {error.error}") from None
        replies_to, message = split_reply(plaintext)
        if replies_to != counter:
            # The host swapped two genuine answers of this session.
            raise Untrusted(Number.INTEGRITY, "answer to another request")
        return message


async def shake_hands(
    platform: Platform,
    identity: Identity,
    post: Post,
    url: str,
    genuine: Genuine,
    *,
    purpose: Purpose = "decide",
    own: KemKey | None = None,
    seconds: float = TIMEOUT,
) -> tuple[PeerChannel, Prove]:
    """A session with the enclave at `url` whose evidence is `genuine`, and what proves it, to be said first.

    Our own evidence in that is good for this handshake and no other; `own` is as in `Identity.peer_evidence`, `seconds`
    are for each later request. Raises `Misuse` for an answer that is not that enclave's, and as `carry`.
    """
    binding = SigningKey.generate()
    handshake = ClientHandshake(
        genuine.role,
        genuine.evidence_digest,
        genuine.claims.kem_key,
        binding.public,
        seed=platform.random(32),
        kem_seed=platform.random(32),
    )
    channel = handshake.finish(await carry(post, f"{url}/v1/session", handshake.hello))
    evidence = await identity.peer_evidence(
        handshake.kem_public, binding.public, genuine.evidence_digest, purpose=purpose, own=own
    )
    proof = Prove(signature=binding.sign(Domain.PROOF, channel.transcript), evidence=evidence)
    return PeerChannel(url, post, channel, seconds), proof


async def fetch_evidence(post: Post, url: str) -> bytes:
    """What the enclave at `url` shows, appraised by nobody yet. Raises `Untrusted` EVIDENCE, and as `carry`."""
    evidence = await carry(post, f"{url}/v1/evidence", None)
    if len(evidence) > MAX_EVIDENCE:
        raise Untrusted(Number.EVIDENCE, "evidence too large")
    return evidence


async def carry(post: Post, url: str, body: bytes | None) -> bytes:
    """Numbers that come in clear are the host's word: at most a reason for a new session, never an answer. Raises
    `Unavailable` AUTHENTICATOR_UNAVAILABLE, and `LostSession`."""
    try:
        return await post(url, body)
    except StrongroomError as error:
        if error.number in (Number.UNKNOWN_SESSION, Number.STALE_KEY):
            raise LostSession(reason="the session is lost, says the host") from None
        raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE) from None
