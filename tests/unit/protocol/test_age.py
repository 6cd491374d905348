"""age as an enclave writes it: one recipient, one chunk."""

import os

import pyrage
import pytest

from strongroom.client.share.age import Opener, generate_identity, parse_identity
from strongroom.protocol.age import CHUNK, parse_recipient, seal_age
from strongroom.protocol.bech32 import encode_bech32
from strongroom.protocol.errors import Misuse, Number

FRESH = {"file_key": bytes(range(16)), "nonce": bytes(range(16, 32))}
P = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]
"""Coordinates on Curve25519 of points of low order, canonical or not (RFC 7748 §6.1; cr.yp.to/ecdh.html#validate)."""


def unseal(identity, file):
    opener = Opener(parse_identity(identity))
    return opener.open(file) + opener.finish()


@pytest.mark.parametrize("size", [0, 1, 1700, CHUNK])
def test_each_kind_of_identity_opens_what_was_sealed(size):
    content = os.urandom(size)
    x25519 = pyrage.x25519.Identity.generate()
    hybrid = generate_identity()
    file = seal_age(parse_recipient(str(x25519.to_public())), content, **FRESH)
    assert pyrage.decrypt(file, [x25519]) == content
    assert unseal(str(x25519), file) == content
    assert unseal(hybrid, seal_age(parse_identity(hybrid).recipient, content, **FRESH)) == content


def test_more_than_a_chunk_and_short_keys_are_not_sealed():
    recipient = parse_identity(generate_identity()).recipient
    with pytest.raises(ValueError, match="small"):
        seal_age(recipient, bytes(CHUNK + 1), **FRESH)
    for short in ({"file_key": bytes(15)}, {"nonce": bytes(12)}):
        with pytest.raises(ValueError, match="16 bytes"):
            seal_age(recipient, b"", **FRESH | short)


def hybrid_recipient(lattice=b"\x01" * 1184, curve=b"\x09" + bytes(31)):
    return encode_bech32("age1pq", lattice + curve)


@pytest.mark.parametrize("point", LOW_ORDER, ids=hex)
def test_a_recipient_of_low_order_is_none(point):
    raw = point.to_bytes(32, "little")
    for text in (encode_bech32("age", raw), hybrid_recipient(curve=raw)):
        with pytest.raises(Misuse) as caught:
            parse_recipient(text)
        assert caught.value.number is Number.COUNCIL_INVALID


SECRET = encode_bech32("age-secret-key-", bytes(range(32))).upper()
GOOD = parse_identity(SECRET).recipient.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + " ",
        f" {GOOD}",
        GOOD[:20] + ("q" if GOOD[20] != "q" else "p") + GOOD[21:],
        encode_bech32("age", bytes(31)),
        encode_bech32("age1pq", bytes(32)),
        encode_bech32("age1tag", b"\x02" + bytes(32)),
        hybrid_recipient(lattice=b"\xff" * 1184),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAb",
        SECRET,
    ],
)
def test_what_is_no_recipient_is_refused_and_not_repeated(text):
    with pytest.raises(Misuse) as caught:
        parse_recipient(text)
    assert caught.value.number is Number.COUNCIL_INVALID
    assert len(text) < 5 or text.strip() not in str(caught.value)


def test_a_recipient_is_written_in_one_way():
    assert parse_recipient(GOOD).text == GOOD
    assert parse_recipient(hybrid_recipient()).text == hybrid_recipient()
