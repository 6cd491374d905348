"""How the index of a Vault's database is written (`spec/log.md`): where rows lie, and what buckets say of them.

One place for the Vault, which keeps the index, and for whoever audits a copy of the database without any key.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from strongroom.protocol.primitives import Domain, digest

SHARD: Final = (0).to_bytes(8, "big")
"""This Vault keeps everything in one shard."""
RING_KEY: Final = digest(Domain.RING_HANDLE)
"""Row key of the sealed ring, with the genesis statement in clear: fixed, since nothing is known before it is open."""
HEAD_KEY: Final = digest(Domain.HEAD_HANDLE, SHARD)
"""Row key of the head, which every commit replaces."""
KEY: Final = 32
LISTING: Final = 88
"""Bytes of a listing: row key (32), version (8), digest (32), entries (8), last (8), big-endian."""


class Listing(NamedTuple):
    """What the index knows of a row."""

    version: int
    """0: there is no row."""
    digest: bytes
    """Of its sealed bytes; see `row_digest`."""
    entries: int
    """Entries of the log that are about it."""
    last: int
    """Index + 1 of the leaf of the last of those; 0: none."""


ABSENT: Final = Listing(0, bytes(32), 0, 0)


def row_digest(sealed: bytes) -> bytes:
    """Digest (32 bytes) of a row as the host keeps it."""
    return digest(Domain.ROW, sealed)


def bucket_key(number: int) -> bytes:
    """Row key of a bucket."""
    return digest(Domain.BUCKET_HANDLE, SHARD, number.to_bytes(8, "big"))


def bucket_digest(number: int, version: int, content: bytes) -> bytes:
    """Digest (32 bytes) of a bucket: a leaf of the index's tree. One that was never written is empty, at version 0."""
    return digest(Domain.BUCKET, number.to_bytes(8, "big"), version.to_bytes(8, "big"), content)


def bucket_of(key: bytes, buckets: int) -> int:
    """Which of so many buckets lists the row `key` (linear hashing)."""
    low = 1 << (buckets.bit_length() - 1)
    number = int.from_bytes(key[:8], "big") & (2 * low - 1)
    return number if number < buckets else number - low


def read_listing(content: bytes, at: int) -> Listing:
    """The listing that begins there, behind its key."""
    number = int.from_bytes
    return Listing(
        number(content[at + 32 : at + 40], "big"),
        content[at + 40 : at + 72],
        number(content[at + 72 : at + 80], "big"),
        number(content[at + 80 : at + 88], "big"),
    )


def write_listing(key: bytes, listing: Listing) -> bytes:
    """As a bucket has it."""
    version, row, entries, last = listing
    return key + version.to_bytes(8, "big") + row + entries.to_bytes(8, "big") + last.to_bytes(8, "big")
