"""The attested session: handshake and frames, pure bytes on both sides (`spec/session.md`, RULES 1 to 3).

Attacks that shaped it:

1. The host replays a hello. The server's seed and session id are fresh each time, so keys differ, and nothing is
   served until the binding key signs *this* transcript. The answer's key is salted, so answering one hello twice
   never seals two answers under one key and nonce.
2. The host replays, reorders or duplicates frames. A window of 64 accepts each counter once, after its tag
   verified and before any effect.
3. The host moves a frame to another session or direction. Both are in the associated data.
4. A thief of a token opens a session of his own. Everything counts only for the binding key that signed.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Bytes16, Bytes32, KemPublicKey, Role, SigningPublicKey
from strongroom.protocol.limits import MAX_FRAME, MAX_HELLO, WINDOW
from strongroom.protocol.primitives import (
    TAG,
    Domain,
    FrameCipher,
    KemKey,
    derive_key,
    digest,
    kem_seal,
    open_once,
    pad,
    seal_once,
    unpad,
)

KEY_ID: Final = 8
SESSION_ID: Final = 16
COUNTER: Final = 8
SALT: Final = 32
SEED: Final = 32
TO_SERVER: Final = b"client to server"
TO_CLIENT: Final = b"server to client"


class Hello(Message):
    """What the client seals to the attested key. No request rides in it: it can be replayed."""

    version: Literal[1]
    seed: Bytes32
    kem_key: KemPublicKey
    binding_key: SigningPublicKey
    evidence: Bytes32
    """Digest of the evidence that the client accepted."""


class Answer(Message):
    """What only the owner of the attested key can seal."""

    session_id: Bytes16
    sealed_seed: bytes
    """The server's 32-byte seed, HPKE-sealed to the client's KEM key."""


def key_id(kem_public: bytes) -> bytes:
    """First 8 bytes of SHA-256 of an HPKE public key: which of the turning keys a message is sealed to."""
    return hashlib.sha256(kem_public).digest()[:KEY_ID]


def seal_hello(server_kem_key: bytes, hello: Hello) -> bytes:
    """key id (8) ‖ HPKE enc (1120) ‖ ciphertext."""
    prefix = key_id(server_kem_key)
    return prefix + kem_seal(server_kem_key, encode(hello), Domain.HELLO, prefix)


def open_hello(kem_key: KemKey, sealed: bytes) -> Hello:
    """Raises `Untrusted` INTEGRITY, `Misuse` MALFORMED or TOO_LARGE."""
    plaintext = kem_key.open(sealed[KEY_ID:], Domain.HELLO, sealed[:KEY_ID])
    return decode(plaintext, Hello, limit=MAX_HELLO)


def transcript_digest(role: Role, evidence: bytes, hello: bytes, answer: bytes) -> bytes:
    """What keys are salted with and the binding key signs: nothing of the handshake is left out."""
    return digest(Domain.TRANSCRIPT, role.encode(), evidence, hello, answer)


def _answer_key(client_seed: bytes, hello: bytes, salt: bytes) -> bytes:
    return derive_key(client_seed, Domain.ANSWER, hashlib.sha256(hello).digest(), salt=salt)


class Channel:
    """One end of an established session: seals what it sends, opens what it receives, each counter once."""

    def __init__(self, session_id: bytes, seeds: bytes, transcript: bytes, *, sends: bytes, receives: bytes) -> None:
        self.session_id: Final = session_id
        self.transcript: Final = transcript
        self._sender = self._cipher(seeds, sends)
        self._receiver = self._cipher(seeds, receives)
        self._next = 0
        self._highest = -1
        self._seen = 0

    def _cipher(self, seeds: bytes, direction: bytes) -> FrameCipher:
        key = derive_key(seeds, Domain.TRAFFIC, direction, salt=self.transcript)
        return FrameCipher(key, self.session_id, direction)

    def seal(self, message: bytes) -> tuple[int, bytes]:
        """The counter used, and the frame: session id (16) ‖ counter (8) ‖ ciphertext of the padded message."""
        counter = self._next
        self._next += 1
        return counter, self.session_id + counter.to_bytes(COUNTER, "big") + self._sender.seal(counter, pad(message))

    def open(self, frame: bytes) -> tuple[int, bytes]:
        """Counter and message of a frame received.

        Raises `Misuse` MALFORMED, TOO_LARGE, REPLAYED (seen, or more than 63 below the highest seen) and
        `Untrusted` INTEGRITY. A frame that fails leaves the window as it was, or forged counters would shut out
        genuine ones.
        """
        if len(frame) > MAX_FRAME:
            raise Misuse(Number.TOO_LARGE)
        if len(frame) < SESSION_ID + COUNTER + TAG or frame[:SESSION_ID] != self.session_id:
            raise Misuse(Number.MALFORMED)
        counter = int.from_bytes(frame[SESSION_ID : SESSION_ID + COUNTER], "big")
        behind = self._highest - counter
        if behind >= WINDOW or (behind >= 0 and self._seen >> behind & 1):
            raise Misuse(Number.REPLAYED)
        message = unpad(self._receiver.open(counter, frame[SESSION_ID + COUNTER :]))
        if behind < 0:
            self._seen = (self._seen << min(-behind, WINDOW) | 1) & (1 << WINDOW) - 1
            self._highest = counter
        else:
            self._seen |= 1 << behind
        return counter, message

    def __repr__(self) -> str:
        return "Channel(redacted)"


def reply_message(request: int, message: bytes) -> bytes:
    """A server's message: counter of the request it answers (8) ‖ encoded message."""
    return request.to_bytes(COUNTER, "big") + message


def split_reply(plaintext: bytes) -> tuple[int, bytes]:
    """Counter of the request answered, and the encoded message. Raises `Untrusted` INTEGRITY when too short."""
    if len(plaintext) < COUNTER:
        raise Untrusted(Number.INTEGRITY, "reply without a request counter")
    return int.from_bytes(plaintext[:COUNTER], "big"), plaintext[COUNTER:]


class ClientHandshake:
    """The client's side: `hello` to send, then `finish` with the answer.

    `seed` and `kem_seed` are 32 fresh random bytes each; `evidence` is the digest of accepted evidence.
    """

    def __init__(
        self, role: Role, evidence: bytes, server_kem_key: bytes, binding_key: bytes, *, seed: bytes, kem_seed: bytes
    ) -> None:
        self._role: Role = role
        self._evidence = evidence
        self._seed = seed
        self._kem = KemKey(kem_seed)
        self.kem_public: Final = self._kem.public
        self.hello: Final = seal_hello(
            server_kem_key,
            Hello(version=1, seed=seed, kem_key=self._kem.public, binding_key=binding_key, evidence=evidence),
        )

    def finish(self, answer: bytes) -> Channel:
        """The established channel. Raises `Untrusted` INTEGRITY unless the attested enclave answered this hello."""
        key = _answer_key(self._seed, self.hello, answer[:SALT])
        plaintext = open_once(key, answer[SALT:], hashlib.sha256(self.hello).digest())
        message = decode(plaintext, Answer, limit=MAX_HELLO)
        server_seed = self._kem.open(message.sealed_seed, Domain.SERVER_SEED, message.session_id)
        if len(server_seed) != SEED:
            raise Untrusted(Number.INTEGRITY, "the server's seed has another length")
        transcript = transcript_digest(self._role, self._evidence, self.hello, answer)
        return Channel(message.session_id, self._seed + server_seed, transcript, sends=TO_SERVER, receives=TO_CLIENT)


def answer_hello(
    role: Role, sealed_hello: bytes, hello: Hello, *, session_id: bytes, server_seed: bytes, salt: bytes
) -> tuple[bytes, Channel]:
    """The server's side: the answer to send, and the channel. The three keyword arguments are fresh and random."""
    sealed_seed = kem_seal(hello.kem_key, server_seed, Domain.SERVER_SEED, session_id)
    key = _answer_key(hello.seed, sealed_hello, salt)
    plaintext = encode(Answer(session_id=session_id, sealed_seed=sealed_seed))
    answer = salt + seal_once(key, plaintext, hashlib.sha256(sealed_hello).digest())
    transcript = transcript_digest(role, hello.evidence, sealed_hello, answer)
    return answer, Channel(session_id, hello.seed + server_seed, transcript, sends=TO_CLIENT, receives=TO_SERVER)
