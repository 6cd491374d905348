"""Good input bent by chance: bytes and bits, lengths, numbers, dates, nesting, and pieces of other input."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tests.fuzz.subjects import LIMIT, Parts

_NUMBER: Final = re.compile(rb"-?[0-9]+")
_STRING: Final = re.compile(rb'"[^"]{0,80}"')
_LENGTHS: Final = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for value in (0, 1, (1 << (8 * size - 1)) - 1, 1 << (8 * size - 1), (1 << (8 * size)) - 1, 1 << (4 * size))
    for order in ("little", "big")
)
_VALUES: Final = (
    b"NaN", b"-Infinity", b"1e999", b"-0", b"1" * 5000, b"18446744073709551616", b"-9223372036854775809", b"0.1",
    b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b'"\\u0000"', b'"\x1b[2J"', b'"\xff"',
    b'"0000-01-01T00:00:00Z"', b'"0001-01-01T00:00:00+14:00"', b'"9999-12-31T23:59:59-14:00"',
)  # fmt: skip
"""In place of a number or a string in JSON, and of numbers in TOML."""
_PIECES: Final = (
    b"\x00", b"\x00" * 4096, b"\xff" * 256, b"[" * 20000, b'{"a":' * 8000, b"a." * 200, b"\x81" * 20000,
    b"\xa1\x01" * 8000, b"\x9f" * 8000, b"\xd8\x40" * 50, b"\xc2\x5b" + b"\xff" * 8, b"\x9b" + b"\xff" * 8,
    b"\xbb\x00\x00\x00\x00\x7f\xff\xff\xff", b"\x5b\x7f" + b"\xff" * 7, b"\xf9\x7e\x00", b"\x30\x80" * 8000,
    b"\x30\x84\xff\xff\xff\xff", b"\x02\x82\x20\x00", b"-----BEGIN CERTIFICATE-----\n" * 2000,
    b"-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n", b"00000101000000Z", b"99991231235959Z", b"\n" * 4096,
    b"\x91" * 20000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\\", b'"', b"'''",
)  # fmt: skip
"""Nesting, lengths, times and tags of JSON, TOML, CBOR, MessagePack, DER and PEM."""

Bend = Callable[[Random, bytes, bytes], bytes]
"""Of a part and the same part of another seed."""


def _flip(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part))
    return part[:at] + bytes((part[at] ^ 1 << rng.randrange(8),)) + part[at + 1 :]


def _set(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part))
    return part[:at] + rng.randbytes(1) + part[at + 1 :]


def _delete(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part))
    return part[:at] + part[at + rng.choice((1, 2, 4, 16, 256, len(part))) :]


def _insert(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + rng.randbytes(rng.choice((1, 2, 8, 64))) + part[at:]


def _repeat(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part))
    size = rng.choice((1, 4, 64, 1024))
    return part[:at] + part[at : at + size] * rng.choice((2, 3, 100)) + part[at + size :]


def _length(rng: Random, part: bytes, _: bytes) -> bytes:
    at, length = rng.randrange(len(part)), rng.choice(_LENGTHS)
    return part[:at] + length + part[at + len(length) :]


def _splice(rng: Random, part: bytes, other: bytes) -> bytes:
    if rng.random() < 0.5:
        return part[: rng.randrange(len(part) + 1)] + other[rng.randrange(len(other) + 1) :]
    at = rng.randrange(len(part))
    size = rng.choice((1, 16, 48, 256))
    return part[:at] + other[at : at + size] + part[at + size :]


def _swap(rng: Random, part: bytes, _: bytes) -> bytes:
    first, second, third = sorted(rng.randrange(len(part) + 1) for _ in range(3))
    return part[:first] + part[second:third] + part[first:second] + part[third:]


def _value(rng: Random, part: bytes, _: bytes) -> bytes:
    found = list(rng.choice((_NUMBER, _STRING)).finditer(part))
    if not found:
        return part
    one = rng.choice(found)
    return part[: one.start()] + rng.choice(_VALUES) + part[one.end() :]


def _piece(rng: Random, part: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + rng.choice(_PIECES) + part[at:]


_BENDS: Final[tuple[Bend, ...]] = (
    _flip, _set, _delete, _insert, _repeat, _length, _splice, _swap, _value, _piece,
)  # fmt: skip


def mutant(rng: Random, seeds: Sequence[Parts]) -> Parts:
    """A seed with one to four changes, seldom a part exchanged for that of another seed."""
    parts, other = list(rng.choice(seeds)), rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(parts))
        if rng.random() < 0.05:
            parts[at] = other[at]
        elif parts[at]:
            parts[at] = rng.choice(_BENDS)(rng, parts[at], other[at])[:LIMIT]
        else:
            parts[at] = rng.choice(_PIECES)[:LIMIT]
    return tuple(parts)
