"""Any bytes into what reads checkpoints, requests and policies give a declared error, or what was written."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.host.share.answers import Problem
from strongroom.host.witness.policy import BadPolicy, parse_policy
from strongroom.host.witness.server import parse_addition
from strongroom.protocol.errors import Misuse, Untrusted
from strongroom.protocol.notes import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    Verifier,
    cosign,
    cosignatures,
    parse_checkpoint,
    parse_checkpoint_of_others,
    parse_signature_lines,
    parse_verifier,
    sign_checkpoint,
    verify_checkpoint,
)
from strongroom.protocol.primitives import NoteKey
from tests.support.witnesses import addition

KEY = NoteKey(bytes(32))
LOG = Verifier("example.com/log", ED25519, KEY.public)
WITNESS = Verifier("w.example", COSIGNATURE, KEY.public)
CHECKPOINT = Checkpoint("example.com/log", 300, bytes(32))
SIGNED = sign_checkpoint(KEY, CHECKPOINT).with_lines([cosign(KEY, "w.example", CHECKPOINT, 1_790_000_000)])
EXTENDED = sign_checkpoint(KEY, Checkpoint("example.com/log", 300, bytes(32), ("one", "two")))
REQUEST = addition(255, [bytes(32), b"\xff" * 32], SIGNED.note)
POLICY = f"log {LOG}\nwitness A {WITNESS} https://a.example/\ngroup G all A # no comment\nquorum G\n".encode()
ONES = (SIGNED.note, EXTENDED.note, REQUEST, POLICY, b"\n\n", "—".encode(), b"\r", b"old 0\n")

bent = st.builds(
    lambda data, at, cut, new: data[: at % (len(data) + 1)] + new + data[at % (len(data) + 1) + cut :],
    st.sampled_from(ONES), st.integers(0, 5000), st.integers(0, 3), st.binary(max_size=2) | st.sampled_from(ONES),
)  # fmt: skip
anything = st.binary(max_size=300) | bent


@settings(max_examples=400, deadline=None)
@given(anything)
def test_a_note_is_what_was_written_or_refused(data):
    for parse in (parse_checkpoint, parse_checkpoint_of_others):
        with suppress(Untrusted):
            signed = parse(data)
            assert signed.note == data, "there is one spelling"
            cosignatures(signed, [WITNESS])
    with suppress(Untrusted):
        assert verify_checkpoint(data, LOG).checkpoint == CHECKPOINT, "signed once, of one log"
    with suppress(Untrusted):
        lines = parse_signature_lines(data)
        assert "".join(f"{line}\n" for line in lines).encode() == data


@settings(max_examples=300, deadline=None)
@given(anything)
def test_a_request_to_a_witness_is_what_was_written_or_refused(data):
    with suppress(Problem):
        old, proof, signed = parse_addition(data)
        assert addition(old, proof, signed.note) == data


@settings(max_examples=300, deadline=None)
@given(anything)
def test_a_policy_is_read_or_refused(data):
    with suppress(BadPolicy):
        policy = parse_policy(data)
        assert len(policy.witnesses) < 2 * policy.cosignatures <= 2 * len(policy.witnesses)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=100) | st.sampled_from([str(LOG), str(WITNESS)]).flatmap(lambda text: st.just(text[::-1])))
def test_a_verifier_key_is_what_was_written_or_refused(text):
    for kind in (ED25519, COSIGNATURE):
        with suppress(Misuse):
            assert str(parse_verifier(text, kind)) == text
