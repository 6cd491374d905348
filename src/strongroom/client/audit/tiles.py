"""Paths and contents of tiles, as C2SP tlog-tiles has them (`spec/log.md`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.leaves import MAX_LEAF
from strongroom.protocol.tlog import node_hash

WIDTH: Final = 256
"""Hashes of a full tile, and leaves of a full bundle."""
MAX_BUNDLE: Final = WIDTH * (2 + MAX_LEAF)
"""Bytes."""


class HashTile(NamedTuple):
    """Hashes of one level, side by side: those of leaves (0), or of full tiles of the level below."""

    level: int
    number: int
    hashes: Sequence[bytes]


class Bundle(NamedTuple):
    """Where leaves stand: `width` from 256 × `number` on."""

    number: int
    width: int


def tile_path(level: int | None, number: int, width: int) -> str:
    """Below the prefix of the log; level None: a bundle of leaves."""
    parts: list[str] = []
    rest = number
    while rest or not parts:
        rest, three = divmod(rest, 1000)
        parts.insert(0, f"x{three:03d}" if parts else f"{three:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level is None else level}/{'/'.join(parts)}{partial}"


def bundles(first: int, size: int) -> Iterator[Bundle]:
    """Those that hold leaves `first` to before `size`, each as wide as it is in a log of `size` leaves."""
    for number in range(first // WIDTH, -(-size // WIDTH)):
        yield Bundle(number, min(WIDTH, size - number * WIDTH))


def split_bundle(untrusted_bundle: bytes, width: int) -> list[bytes]:
    """The leaves of a bundle. Raises `Untrusted` INTEGRITY unless there are exactly so many."""
    leaves, at = [], 0
    while at < len(untrusted_bundle):
        end = at + 2 + int.from_bytes(untrusted_bundle[at : at + 2], "big")
        leaves.append(untrusted_bundle[at + 2 : end])
        at = end
    if at != len(untrusted_bundle) or len(leaves) != width:
        raise Untrusted(Number.INTEGRITY, f"a bundle is not {width} leaves")
    return leaves


def join_bundle(leaves: Sequence[bytes]) -> bytes:
    """The bundle of these leaves."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


class HashTiles:
    """All tiles of hashes of a growing log. What is kept is one unfinished tile a level."""

    def __init__(self) -> None:
        self._open: list[list[bytes]] = [[]]
        self._full = [0]

    def append(self, leaf: bytes) -> Iterator[HashTile]:
        """Add the leaf of this hash; the tiles that are full with it."""
        node, level = leaf, 0
        while True:
            if level == len(self._open):
                self._open.append([])
                self._full.append(0)
            tile = self._open[level]
            tile.append(node)
            if len(tile) < WIDTH:
                return
            self._open[level] = []
            self._full[level] += 1
            yield HashTile(level, self._full[level] - 1, tile)
            node, level = _root(tile), level + 1

    def partial(self) -> Iterator[HashTile]:
        """Those at the right edge that are not full, and not empty."""
        for level, tile in enumerate(self._open):
            if tile:
                yield HashTile(level, self._full[level], tuple(tile))


def _root(hashes: Sequence[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
