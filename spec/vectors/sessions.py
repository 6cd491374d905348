"""Vectors of the handshake and of frames."""

from __future__ import annotations

import hashlib
from typing import Any

from basics import BINDING
from case import Case, Cases, accepted, fixed, flipped, kept, refused, sign
from wire import kinds

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import Role
from strongroom.protocol.primitives import (
    Domain,
    FrameCipher,
    KemKey,
    derive_key,
    expand_key,
    kem_seal,
    open_once,
    pad,
    seal_once,
)
from strongroom.protocol.session import (
    TO_CLIENT,
    TO_SERVER,
    Answer,
    Hello,
    key_id,
    open_hello,
    reply_message,
    seal_hello,
    transcript_digest,
)

RATCHET = fixed("server ratchet")
SERVER_SEED_OF_KEM = expand_key(RATCHET, Domain.RATCHET_KEY)
SERVER = KemKey(SERVER_SEED_OF_KEM)
EVIDENCE = fixed("evidence digest")
ROLE: Role = "vault"
SESSION = fixed("session id", 16)
SERVER_SEED = fixed("server seed")
SALT = fixed("answer salt")


class Client:
    """The secrets of one client and what it sends."""

    def __init__(self, name: str) -> None:
        self.seed = fixed(f"{name} seed")
        self.kem_seed = fixed(f"{name} kem seed")
        self.kem = KemKey(self.kem_seed)
        self.message = Hello(
            version=1, seed=self.seed, kem_key=self.kem.public, binding_key=BINDING.public, evidence=EVIDENCE
        )

    def hello(self, vector: str) -> bytes:
        """The hello that stands in a vector, or a new one."""

        def verify(hello: bytes) -> bool:
            return open_hello(SERVER, hello) == self.message and hello[:8] == key_id(SERVER.public)

        return kept(vector, "hello", verify, lambda: seal_hello(SERVER.public, self.message))

    def answer_key(self, hello: bytes) -> bytes:
        return derive_key(self.seed, Domain.ANSWER, hashlib.sha256(hello).digest(), salt=SALT)

    def answer(self, vector: str, hello: bytes, *, seed: bytes = SERVER_SEED, bound_to: bytes = SESSION) -> bytes:
        """The answer that stands in a vector, or a new one; `seed` and `bound_to` bend what is sealed."""
        bound = hashlib.sha256(hello).digest()

        def verify(answer: bytes) -> bool:
            plaintext = open_once(self.answer_key(hello), answer[32:], bound)
            sealed = plaintext[-len(seed) - 1136 :]
            fits = encode(Answer(session_id=SESSION, sealed_seed=sealed)) == plaintext and answer[:32] == SALT
            return fits and self.kem.open(sealed, Domain.SERVER_SEED, bound_to) == seed

        def make() -> bytes:
            sealed = kem_seal(self.kem.public, seed, Domain.SERVER_SEED, bound_to)
            plaintext = encode(Answer(session_id=SESSION, sealed_seed=sealed))
            return SALT + seal_once(self.answer_key(hello), plaintext, bound)

        return kept(vector, "answer", verify, make)

    def inputs(self, hello: bytes, answer: bytes) -> dict[str, Any]:
        return {
            "role": ROLE,
            "evidence": EVIDENCE,
            "client_seed": self.seed,
            "client_kem_seed": self.kem_seed,
            "hello": hello,
            "answer": answer,
        }


CLIENT, OTHER = Client("client"), Client("other client")


def frame(seeds: bytes, transcript: bytes, session: bytes, direction: bytes, counter: int, padded: bytes) -> bytes:
    """A frame around bytes that are padded already, rightly or not."""
    key = derive_key(seeds, Domain.TRAFFIC, direction, salt=transcript)
    sealed = FrameCipher(key, session, direction).seal(counter, padded)
    return session + counter.to_bytes(8, "big") + sealed


def handshakes() -> Cases:
    here = "handshake/"
    hello = CLIENT.hello(here + "complete")
    answer = CLIENT.answer(here + "complete", hello)
    transcript = transcript_digest(ROLE, EVIDENCE, hello, answer)
    seeds = CLIENT.seed + SERVER_SEED
    proof = sign(BINDING.scalar, Domain.PROOF, transcript)
    plaintext = open_once(CLIENT.answer_key(hello), answer[32:], hashlib.sha256(hello).digest())
    prove, proved = encode(kinds.Prove(signature=proof, evidence=None)), reply_message(0, encode(kinds.Proved()))
    first = frame(seeds, transcript, SESSION, TO_SERVER, 0, pad(prove))
    reply = frame(seeds, transcript, SESSION, TO_CLIENT, 0, pad(proved))
    fitting = CLIENT.inputs(hello, answer)
    yield accepted(
        here + "complete",
        "a complete run with every secret of both sides, up to the proof and its reply",
        "handshake",
        fitting
        | {
            "server_kem_seed": SERVER_SEED_OF_KEM,
            "binding_scalar": BINDING.scalar,
            "session_id": SESSION,
            "server_seed": SERVER_SEED,
            "salt": SALT,
        },
        server_kem_key=SERVER.public,
        key_id=key_id(SERVER.public),
        client_kem_key=CLIENT.kem.public,
        binding_key=BINDING.public,
        hello_message=encode(CLIENT.message),
        answer_key=CLIENT.answer_key(hello),
        answer_message=plaintext,
        transcript=transcript,
        key_to_server=derive_key(seeds, Domain.TRAFFIC, TO_SERVER, salt=transcript),
        key_to_client=derive_key(seeds, Domain.TRAFFIC, TO_CLIENT, salt=transcript),
        proof=proof,
        prove_message=prove,
        first_frame=first,
        proved_message=proved,
        reply_frame=reply,
    )
    yield from _server(hello)
    yield from _client(fitting, hello, answer, reply)
    base = {"binding_key": BINDING.public, "transcript": transcript, "signature": proof}
    yield accepted(here + "proof", "signature by the binding key over the transcript", "proof", base)
    elsewhere = transcript_digest(ROLE, EVIDENCE, hello, flipped(answer, 0))
    bad = {
        "proof-by-another-key": ("a thief of a token signs", sign(fixed("other scalar"), Domain.PROOF, transcript)),
        "proof-of-another-transcript": (
            "moved here from another session",
            sign(BINDING.scalar, Domain.PROOF, elsewhere),
        ),
        "proof-of-another-role": (
            "made for a session with an Authenticator",
            sign(BINDING.scalar, Domain.PROOF, transcript_digest("authenticator", EVIDENCE, hello, answer)),
        ),
        "proof-of-other-evidence": (
            "made for other evidence",
            sign(BINDING.scalar, Domain.PROOF, transcript_digest(ROLE, fixed("other evidence"), hello, answer)),
        ),
    }
    for name, (what, signature) in bad.items():
        yield refused(here + name, what, "proof", base | {"signature": signature}, Number.INTEGRITY, "proof")


def _server(hello: bytes) -> Cases:
    """What a server refuses at `POST /v1/session`. `shown`: the digest of the evidence that it showed."""
    here = "handshake/"
    base = {"ratchet": RATCHET, "server_kem_seed": SERVER_SEED_OF_KEM, "shown": EVIDENCE, "hello": hello}
    yield accepted(here + "hello", "a hello that a server answers", "hello", base, message=encode(CLIENT.message))
    version_2 = encode(CLIENT.message).replace(b"\xa7version\x01", b"\xa7version\x02")

    def sealed(vector: str, plaintext: bytes) -> bytes:
        prefix = key_id(SERVER.public)

        def verify(hello: bytes) -> bool:
            return hello[:8] == prefix and SERVER.open(hello[8:], Domain.HELLO, prefix) == plaintext

        return kept(vector, "hello", verify, lambda: prefix + kem_seal(SERVER.public, plaintext, Domain.HELLO, prefix))

    bad: dict[str, tuple[str, dict[str, Any], Number, str]] = {
        "hello-flipped": ("a bit of the ciphertext flipped", {"hello": flipped(hello, -1)}, Number.INTEGRITY, "HPKE"),
        "hello-flipped-encapsulation": (
            "a bit of the encapsulated key flipped",
            {"hello": flipped(hello, 8)},
            Number.INTEGRITY,
            "HPKE",
        ),
        "hello-to-another-key": (
            "names a key that the server does not have, or no longer",
            {"hello": flipped(hello, 0)},
            Number.STALE_KEY,
            "key id",
        ),
        "hello-of-other-evidence": (
            "accepts evidence that this server did not show",
            {"shown": fixed("other evidence")},
            Number.STALE_KEY,
            "evidence digest",
        ),
        "hello-cut-short": ("nothing but a key id", {"hello": hello[:8]}, Number.INTEGRITY, "HPKE"),
        "hello-too-large": (
            "larger than MAX_HELLO",
            {"hello": hello + bytes(8193 - len(hello))},
            Number.TOO_LARGE,
            "size",
        ),
        "hello-of-another-version": (
            "protocol version 2",
            {"hello": sealed(here + "hello-of-another-version", version_2)},
            Number.MALFORMED,
            "encoding",
        ),
        "hello-with-trailing-byte": (
            "a byte after the message",
            {"hello": sealed(here + "hello-with-trailing-byte", encode(CLIENT.message) + b"\x00")},
            Number.MALFORMED,
            "encoding",
        ),
    }
    for name, (what, change, number, layer) in bad.items():
        yield refused(here + name, what, "hello", base | change, number, layer)


def _client(fitting: dict[str, Any], hello: bytes, answer: bytes, reply: bytes) -> Cases:
    """What a client refuses in an answer, or in the first frame when one is given."""
    here = "handshake/"
    source = here + "answer-to-another-client"
    theirs = OTHER.hello(source)
    foreign = OTHER.answer(source, theirs)
    yield accepted(
        source,
        "a second client's handshake with the same server values",
        "answer",
        OTHER.inputs(theirs, foreign),
        session_id=SESSION,
    )
    short = here + "answer-short-seed"
    moved = here + "answer-seed-of-another-session"
    bad = {
        "answer-flipped": ("a bit of the ciphertext flipped", {"answer": flipped(answer, 40)}),
        "answer-flipped-salt": ("a bit of the salt flipped", {"answer": flipped(answer, 0)}),
        "answer-cut-short": ("only a salt", {"answer": answer[:32]}),
        "answer-empty": ("no bytes", {"answer": b""}),
        "answer-to-another-hello": ("the answer to another client's hello", {"answer": foreign}),
        "answer-to-a-flipped-hello": ("the host changed the hello on its way", {"hello": flipped(hello, -1)}),
        "answer-short-seed": (
            "a server seed of 31 bytes",
            {"answer": CLIENT.answer(short, hello, seed=SERVER_SEED[:31])},
        ),
        "answer-seed-of-another-session": (
            "a server seed sealed for another session id",
            {"answer": CLIENT.answer(moved, hello, bound_to=bytes(16))},
        ),
        "other-role": (
            "a client that expects an Authenticator: the first frame does not open",
            {"role": "authenticator", "frame": reply},
        ),
        "other-evidence": (
            "a client that accepted other evidence: the first frame does not open",
            {"evidence": fixed("other evidence"), "frame": reply},
        ),
    }
    for name, (what, change) in bad.items():
        layer = "frame" if "frame" in change else "answer"
        yield refused(here + name, what, "answer", fitting | change, Number.INTEGRITY, layer)


def frames() -> Cases:
    """`before` are frames received earlier, in order, of which some may have been refused."""
    here = "frames/"
    seeds, transcript = CLIENT.seed + SERVER_SEED, fixed("transcript of frames")

    def made(
        counter: int, padded: bytes | None = None, *, session: bytes = SESSION, direction: bytes = TO_SERVER
    ) -> bytes:
        message = pad(f"request {counter}".encode()) if padded is None else padded
        return frame(seeds, transcript, session, direction, counter, message)

    def inputs(received: bytes, *before: bytes, direction: bytes = TO_SERVER) -> dict[str, Any]:
        return {
            "seeds": seeds,
            "transcript": transcript,
            "session_id": SESSION,
            "direction": direction.decode(),
            "before": list(before),
            "frame": received,
        }

    def good(name: str, what: str, given: dict[str, Any], counter: int, message: bytes) -> Case:
        return accepted(here + name, what, "frame", given, counter=str(counter), message=message)

    first, forged = made(0), flipped(made(1000), -1)
    for name, what, counter, before in (
        ("first", "the first frame", 0, []),
        ("counters-need-not-be-in-a-row", "counter 1000 after 0", 1000, [first]),
        ("out-of-order", "counter 1 after 2", 1, [first, made(2)]),
        ("oldest-in-window", "63 below the highest", 1, [made(64)]),
        ("window-moved-by-one", "the second highest, after the window moved", 63, [made(0), made(62), made(64)]),
        ("after-a-forged-frame", "a forged counter did not move the window", 1, [first, forged]),
        ("after-a-forged-twin", "a forged frame of the same counter did not use it up", 0, [flipped(first, -1)]),
        ("largest-counter", "counter 2^64 − 1", 2**64 - 1, [first]),
    ):
        given = inputs(made(counter), *before)
        yield good(name, what, given, counter, f"request {counter}".encode())
    yield good("empty-message", "a message of no bytes", inputs(made(5, pad(b""))), 5, b"")
    reply = made(3, pad(reply_message(7, b"reply")), direction=TO_CLIENT)
    yield accepted(
        here + "reply",
        "a server's frame: counter of the request, then the message",
        "reply",
        inputs(reply, direction=TO_CLIENT) | {"request": 7},
        counter="3",
        message=b"reply",
    )
    bad: dict[str, tuple[str, dict[str, Any], Number, str]] = {
        "replayed": ("the same frame again", inputs(first, first), Number.REPLAYED, "window"),
        "replayed-later": (
            "again after others",
            inputs(made(1), made(0), made(1), made(40)),
            Number.REPLAYED,
            "window",
        ),
        "replayed-same-counter": (
            "another message under a used counter",
            inputs(made(1, pad(b"other")), made(1)),
            Number.REPLAYED,
            "window",
        ),
        "too-old": ("64 below the highest, never seen", inputs(made(0), made(64)), Number.REPLAYED, "window"),
        "too-old-after-a-leap": ("far below the highest", inputs(made(5), made(2**63)), Number.REPLAYED, "window"),
        "other-session": (
            "the id of another session",
            inputs(made(0, session=fixed("other session", 16))),
            Number.MALFORMED,
            "session id",
        ),
        "moved-from-another-session": (
            "this session's id written over another's",
            inputs(SESSION + made(0, session=fixed("other session", 16))[16:]),
            Number.INTEGRITY,
            "AES-GCM",
        ),
        "other-direction": (
            "a frame sent back to who sent it",
            inputs(made(0, direction=TO_CLIENT)),
            Number.INTEGRITY,
            "AES-GCM",
        ),
        "flipped-tag": ("a bit of the tag flipped", inputs(flipped(first, -1)), Number.INTEGRITY, "AES-GCM"),
        "flipped-ciphertext": (
            "a bit of the ciphertext flipped",
            inputs(flipped(first, 24)),
            Number.INTEGRITY,
            "AES-GCM",
        ),
        "flipped-counter": ("a bit of the counter flipped", inputs(flipped(first, 23)), Number.INTEGRITY, "AES-GCM"),
        "cut-short": ("shorter than session id, counter and tag", inputs(first[:39]), Number.MALFORMED, "size"),
        "header-only": ("no ciphertext", inputs(first[:24]), Number.MALFORMED, "size"),
        "unpadded": ("no padding", inputs(made(0, b"request")), Number.INTEGRITY, "padding"),
        "padding-too-long": (
            "padded to 512 where 256 suffices",
            inputs(made(0, b"request\x80" + bytes(504))),
            Number.INTEGRITY,
            "padding",
        ),
    }
    for name, (what, given, number, layer) in bad.items():
        yield refused(here + name, what, "frame", given, number, layer)
    swapped = inputs(reply, direction=TO_CLIENT) | {"request": 8}
    yield refused(
        here + "reply-to-another-request", "the host swapped two answers", "reply", swapped, Number.INTEGRITY, "reply"
    )
    short = inputs(made(0, pad(bytes(7)), direction=TO_CLIENT), direction=TO_CLIENT) | {"request": 0}
    yield refused(here + "reply-without-counter", "seven bytes", "reply", short, Number.INTEGRITY, "reply")


def every() -> list[Case]:
    return [*handshakes(), *frames()]
