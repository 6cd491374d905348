"""Where the hashes of a log's tree are kept: not every node, but those at every eighth height.

Level 0 is the leaf hashes, level 1 the roots of complete subtrees of 256 leaves, level 2 of 65,536, and so on: the
levels of C2SP's tlog-tiles. A node between two levels is the root of up to 128 hashes that stand side by side in the
lower one, so a proof reads a few ranges, and a leaf costs one row and a 255th.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from strongroom.protocol.tlog import node_hash

TILE_BITS: Final = 8
"""Heights between two levels: a tile has 256 hashes."""


class Subtree(NamedTuple):
    """The complete subtree of 2^height leaves that begins at leaf number × 2^height."""

    height: int
    number: int


class Span(NamedTuple):
    """`width` kept hashes of one level, from `first` on."""

    level: int
    first: int
    width: int


class Kept(NamedTuple):
    """One hash as it is kept."""

    level: int
    number: int
    hash: bytes


def complete_subtrees(first: int, end: int) -> Iterator[Subtree]:
    """The largest complete subtrees that leaves `first` to before `end` fall into, from left to right."""
    while first < end:
        height = (end - first).bit_length() - 1
        if first:
            height = min(height, (first & -first).bit_length() - 1)
        yield Subtree(height, first >> height)
        first += 1 << height


def span(subtree: Subtree, bits: int = TILE_BITS) -> Span:
    """The kept hashes that the root of `subtree` is computed from."""
    level, above = divmod(subtree.height, bits)
    return Span(level, subtree.number << above, 1 << above)


def root(hashes: Sequence[bytes]) -> bytes:
    """Root of a complete tree over these nodes: a power of two of them, at least one."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]
