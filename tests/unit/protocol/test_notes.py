"""What a reader of checkpoints must not let through, beyond what the vectors say."""

import dataclasses
import secrets
from base64 import b64encode

import pytest

from strongroom.protocol.errors import Misuse, Untrusted
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.limits import MAX_CHECKPOINT, MAX_WITNESSES
from strongroom.protocol.notes import (
    COSIGNATURE,
    ED25519,
    MAX_FOREIGN_NOTE,
    Checkpoint,
    SignedCheckpoint,
    Verifier,
    cosign,
    cosignatures,
    parse_checkpoint,
    parse_checkpoint_of_others,
    parse_signature_lines,
    parse_verifier,
    sign_checkpoint,
    verify_checkpoint,
    verify_log_of_others,
)
from strongroom.protocol.primitives import NoteKey

KEY = NoteKey(bytes(32))
ORIGIN = "example.com/behind-the-sofa"
LOG = Verifier(ORIGIN, ED25519, KEY.public)
CHECKPOINT = Checkpoint(ORIGIN, 20852163, bytes(32))

GO_SUM = (
    "go.sum database tree\n21025312\nVQq2aYPwy2JPVGtyNg9ZyUbBoz+m8ZWPVUQGEGzgWtY=\n\n"
    "— sum.golang.org Az3grkCLkZQq/JrqQjRM6VEJXiY9OhKOpPPHo9yMVLsyJTLJxe9b5sYPBJnRhEPEfnGbR0LTJrLcPMVJ4tyLqBVHcwQ=\n"
)
"""The shape of a real one; its key's name is not its origin."""


def extended(*lines):
    return sign_checkpoint(KEY, dataclasses.replace(CHECKPOINT, extensions=lines)).note


def other_key():
    return NoteKey(secrets.token_bytes(32))


def test_other_peoples_logs_may_say_more_and_a_vaults_never():
    note = extended("a word", "another")
    signed = parse_checkpoint_of_others(note)
    assert signed.checkpoint.extensions == ("a word", "another")
    assert signed.note == note
    assert verify_log_of_others(signed, [LOG]) == signed
    with pytest.raises(Untrusted, match="says more"):
        parse_checkpoint(note)
    with pytest.raises(Untrusted, match="says more"):
        verify_checkpoint(note, LOG)


def test_an_extension_line_is_signed_like_the_rest():
    note = extended("a word").replace(b"a word", b"a lie!")
    with pytest.raises(Untrusted):
        verify_log_of_others(parse_checkpoint_of_others(note), [LOG])


def test_an_empty_extension_line_is_none():
    with pytest.raises(Untrusted):
        parse_checkpoint_of_others(extended("a word", ""))
    with pytest.raises(Untrusted):
        parse_checkpoint_of_others(extended("", "a word"))


@pytest.mark.parametrize("control", [chr(code) for code in range(32) if code != 10])
def test_no_control_character_passes_in_any_log(control):
    for origin in (f"{ORIGIN}{control}", f"{control}{ORIGIN}"):
        note = sign_checkpoint(KEY, dataclasses.replace(CHECKPOINT, origin=origin)).note
        with pytest.raises(Untrusted, match="control character"):
            parse_checkpoint_of_others(note)
    with pytest.raises(Untrusted, match="control character"):
        parse_checkpoint_of_others(extended(f"a{control}b"))


def test_a_real_checkpoint_whose_key_has_another_name_is_read():
    assert parse_checkpoint_of_others(GO_SUM.encode()).checkpoint.size == 21025312


def test_of_two_keys_of_one_log_one_line_is_enough_and_a_wrong_line_is_too_much():
    turned = other_key()
    both = [LOG, Verifier(ORIGIN, ED25519, turned.public)]
    old, new = (sign_checkpoint(key, CHECKPOINT).lines[0] for key in (KEY, turned))
    for lines in ((old,), (new,), (old, new)):
        assert verify_log_of_others(SignedCheckpoint(CHECKPOINT, lines), both).lines == lines
    elsewhere = dataclasses.replace(CHECKPOINT, size=1)
    wrong = sign_checkpoint(turned, elsewhere).lines[0]
    with pytest.raises(Untrusted):
        verify_log_of_others(SignedCheckpoint(CHECKPOINT, (old, wrong)), both)


def test_only_lines_of_the_logs_keys_are_handed_on():
    line = sign_checkpoint(KEY, CHECKPOINT).lines[0]
    stranger = sign_checkpoint(other_key(), CHECKPOINT).lines[0]
    signed = SignedCheckpoint(CHECKPOINT, (stranger, line, line))
    assert verify_log_of_others(signed, [LOG]).lines == (line,)


def test_a_note_of_the_bound_is_read_and_one_beyond_is_not():
    line = "— a.example " + b64encode(bytes(600)).decode()
    for limit, parse in ((MAX_CHECKPOINT, parse_checkpoint), (MAX_FOREIGN_NOTE, parse_checkpoint_of_others)):
        note = sign_checkpoint(KEY, CHECKPOINT).note
        while len(note) + len(line.encode()) + 1 <= limit:
            note += f"{line}\n".encode()
        rest = limit - len(note)
        if rest > 40:
            note += f"— {'n' * (rest - 13)} AAAAAAA=\n".encode() if rest < 255 else b""
        parse(note)
        with pytest.raises(Untrusted, match="too long"):
            parse(note + b"\n" * (limit - len(note) + 1))


def test_a_checkpoint_by_as_many_witnesses_as_there_may_be_fits():
    """With the longest names: else a Vault of many witnesses could show its clients nothing."""
    origin = log_origin(bytes(32))
    checkpoint = Checkpoint(origin, 2**63 - 1, bytes(32))
    names = [f"{n:02}.".ljust(128, "w") for n in range(MAX_WITNESSES)]
    keys = [NoteKey(bytes([n]) * 32) for n in range(MAX_WITNESSES)]
    vkeys = [str(Verifier(name, COSIGNATURE, key.public)) for name, key in zip(names, keys, strict=True)]
    witnesses = [parse_verifier(vkey, COSIGNATURE) for vkey in vkeys]
    lines = [cosign(key, name, checkpoint, 2**40) for key, name in zip(keys, names, strict=True)]
    note = sign_checkpoint(KEY, checkpoint).with_lines(lines).note
    assert len(cosignatures(parse_checkpoint(note), witnesses)) == MAX_WITNESSES
    with pytest.raises(Misuse, match="128 bytes"):
        parse_verifier(str(Verifier("ä" * 65, COSIGNATURE, bytes(32))), COSIGNATURE)


def test_a_witness_that_answers_what_is_no_line_is_refused_whole():
    line = cosign(KEY, "w.example", CHECKPOINT, 1)
    assert parse_signature_lines(f"{line}\n{line}\n".encode()) == [line, line]
    for text in (
        "",
        "\n",
        line,
        f"{line}\n\n",
        f"{line}\nhello\n",
        f"{line}\n— \n",
        f"{line}\n— name\n",
        f"{line}\n— name AAAAAA==\n",  # no byte after the key id
        f"{line}\n— name AAAAAAB=\n",  # bits after the end
        f"{line}\n— a name AAAAAAA=\n",
        f"{line}\n— name AAAAAAA= \n",
        f"{line}\r\n",
    ):
        with pytest.raises(Untrusted):
            parse_signature_lines(text.encode())
    with pytest.raises(Untrusted):
        parse_signature_lines(b"\xff\n")


def test_a_cosignature_is_of_exactly_one_checkpoint_time_and_key():
    line = cosign(KEY, "w.example", CHECKPOINT, 1_790_000_000)
    witness = Verifier("w.example", COSIGNATURE, KEY.public)
    (found,) = cosignatures(SignedCheckpoint(CHECKPOINT, (line,)), [witness])
    assert (found.time, found.witness, found.line) == (1_790_000_000, witness, line)
    for other in (
        dataclasses.replace(CHECKPOINT, size=1),
        dataclasses.replace(CHECKPOINT, root=bytes(31) + b"\x01"),
        dataclasses.replace(CHECKPOINT, origin="example.com/another"),
        dataclasses.replace(CHECKPOINT, extensions=("more",)),
    ):
        assert not cosignatures(SignedCheckpoint(other, (line,)), [witness])
    for stranger in (
        Verifier("w.example", COSIGNATURE, other_key().public),
        Verifier("W.example", COSIGNATURE, KEY.public),
        Verifier("w.example", ED25519, KEY.public),
    ):
        assert not cosignatures(SignedCheckpoint(CHECKPOINT, (line,)), [stranger])


def test_a_key_says_no_private_half():
    assert str(KEY) == repr(KEY) == "NoteKey(redacted)"
