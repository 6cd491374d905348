"""The handshake and its frames, as bytes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.limits import WINDOW
from strongroom.protocol.primitives import KemKey, SigningKey, pad, unpad
from strongroom.protocol.session import ClientHandshake, answer_hello, key_id, open_hello, seal_hello

KEM = KemKey(bytes(range(32)))
BINDING = SigningKey.from_scalar(bytes(31) + b"\x05")


def client(role="vault", evidence=bytes(32)):
    return ClientHandshake(role, evidence, KEM.public, BINDING.public, seed=os.urandom(32), kem_seed=os.urandom(32))


def serve(handshake, role="vault"):
    hello = open_hello(KEM, handshake.hello)
    return answer_hello(
        role, handshake.hello, hello, session_id=os.urandom(16), server_seed=os.urandom(32), salt=os.urandom(32)
    )


def channels():
    handshake = client()
    answer, server = serve(handshake)
    return handshake.finish(answer), server


def test_both_ends_agree_and_frames_pass_both_ways():
    user, server = channels()
    assert user.transcript == server.transcript
    assert server.open(user.seal(b"request")[1]) == (0, b"request")
    assert user.open(server.seal(b"reply")[1]) == (0, b"reply")


def test_a_replayed_hello_never_gives_the_same_keys():
    handshake = client()
    (first, one), (second, two) = serve(handshake), serve(handshake)
    assert first[:32] != second[:32]
    frame = one.seal(b"secret")[1]
    with pytest.raises(StrongroomError):
        two.open(two.session_id + frame[16:])
    assert one.transcript != two.transcript


def test_an_answer_to_another_hello_is_refused():
    answer, _ = serve(client())
    with pytest.raises(Untrusted):
        client().finish(answer)


def test_a_hello_for_another_evidence_digest_gives_another_transcript():
    handshake = client(evidence=b"\x01" * 32)
    hello = open_hello(KEM, handshake.hello)
    assert hello.evidence == b"\x01" * 32


@pytest.mark.parametrize("position", [0, 8, 1127, 1128, -1])
def test_a_flipped_hello_does_not_open(position):
    bent = bytearray(client().hello)
    bent[position] ^= 1
    with pytest.raises(StrongroomError):
        open_hello(KEM, bytes(bent))


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_flipped_frame_is_refused_and_does_no_harm(position, bit):
    user, server = channels()
    frame = user.seal(b"request")[1]
    bent = bytearray(frame)
    bent[position % len(frame)] ^= 1 << bit
    with pytest.raises(StrongroomError):
        server.open(bytes(bent))
    assert server.open(frame) == (0, b"request")


def test_each_frame_is_accepted_once_in_any_order_within_the_window():
    user, server = channels()
    frames = [user.seal(bytes([n]))[1] for n in range(WINDOW)]
    for frame in reversed(frames):
        server.open(frame)
    for frame in frames:
        with pytest.raises(Misuse) as caught:
            server.open(frame)
        assert caught.value.number is Number.REPLAYED


def test_a_frame_behind_the_window_is_refused():
    user, server = channels()
    frames = [user.seal(b"")[1] for _ in range(WINDOW + 1)]
    server.open(frames[-1])
    with pytest.raises(Misuse) as caught:
        server.open(frames[0])
    assert caught.value.number is Number.REPLAYED
    server.open(frames[1])


@given(st.lists(st.integers(min_value=0, max_value=200), max_size=300))
def test_the_window_never_accepts_twice(order):
    user, server = channels()
    frames = [user.seal(b"")[1] for _ in range(201)]
    seen: set[int] = set()
    for n in order:
        try:
            assert server.open(frames[n])[0] == n
        except Misuse:
            assert n in seen or max(seen) - n >= WINDOW
        else:
            assert n not in seen
            seen.add(n)


def test_a_frame_of_another_session_or_direction_is_refused():
    (one_user, one_server), (_, other_server) = channels(), channels()
    frame = one_user.seal(b"request")[1]
    with pytest.raises(Misuse):
        other_server.open(frame)
    with pytest.raises(Untrusted):
        other_server.open(other_server.session_id + frame[16:])
    with pytest.raises(Untrusted):
        one_user.open(frame)  # reflected to its sender
    assert one_server.open(frame)[1] == b"request"


@given(st.binary(max_size=3000))
def test_any_bytes_as_hello_answer_or_frame_give_declared_errors(data):
    user, _ = channels()
    for attempt in (lambda: open_hello(KEM, data), lambda: client().finish(data), lambda: user.open(data)):
        with pytest.raises(StrongroomError):
            attempt()


@given(st.binary(max_size=3000))
def test_a_hello_sealed_to_the_key_but_of_other_content_is_refused(content):
    from strongroom.protocol.primitives import Domain, kem_seal

    prefix = key_id(KEM.public)
    with pytest.raises(Misuse):
        open_hello(KEM, prefix + kem_seal(KEM.public, content, Domain.HELLO, prefix))


@given(st.binary(max_size=2000))
def test_padding_returns_the_message_and_shows_only_a_bucket(message):
    padded = pad(message)
    assert unpad(padded) == message
    assert len(padded) >= 256
    assert len(padded).bit_count() == 1
    assert len(padded) <= max(256, 2 * (len(message) + 1))


@given(st.binary(max_size=600))
def test_any_other_padding_is_refused(padded):
    try:
        message = unpad(padded)
    except Untrusted:
        return
    assert pad(message) == padded


def test_seal_hello_needs_a_genuine_public_key():
    with pytest.raises(Untrusted):
        seal_hello(b"\xff" * 1216, open_hello(KEM, client().hello))
