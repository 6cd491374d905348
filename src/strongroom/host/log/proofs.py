"""Proofs about the log, from the hashes that a store keeps (RFC 6962 2.1.1 and 2.1.2; `protocol/tlog.py` checks them).

First is found out which subtrees a proof names, then all that their roots are computed from is read at once: about two
ranges for every level of the tree, whatever the size of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from strongroom.host.log.tree import TILE_BITS, Span, complete_subtrees, root, span
from strongroom.protocol.errors import Misuse, Number, Unavailable
from strongroom.protocol.tlog import node_hash

_LEVELS: Final = 64 // TILE_BITS


class Hashes(Protocol):
    """Where kept hashes are: a `Store`."""

    def hashes(self, level: int, first: int, count: int) -> asyncio.Future[list[bytes]]:
        """Kept hashes `first` to before `first + count` of a level: as many as there are."""


class _Leaves(NamedTuple):
    """Leaves `first` to before `end`: what one hash of a proof stands for."""

    first: int
    end: int


async def inclusion(store: Hashes, index: int, size: int, bits: int = TILE_BITS) -> list[bytes]:
    """That leaf `index` is in the tree of `size` leaves. Raises as `inclusions` does."""
    return (await inclusions(store, [index], size, bits))[0]


async def inclusions(store: Hashes, indexes: Sequence[int], size: int, bits: int = TILE_BITS) -> list[list[bytes]]:
    """The same for several leaves of one tree, in order; what they share is read once.

    Raises `Misuse` MALFORMED for a leaf beyond `size`, `Unavailable` STORE_UNAVAILABLE for one beyond what is stored.
    """
    if any(not 0 <= index < size for index in indexes):
        raise Misuse(Number.MALFORMED, "the log has no such leaf")
    return await _roots(store, [_inclusion(index, size) for index in indexes], bits)


async def consistency(store: Hashes, old: int, size: int, bits: int = TILE_BITS) -> list[bytes]:
    """That the tree of `size` leaves extends that of `old`. Raises as `inclusions` does."""
    if not 0 <= old <= size:
        raise Misuse(Number.MALFORMED, "the log has no such size")
    if old in (0, size):
        return []
    return (await _roots(store, [_consistency(old, size)], bits))[0]


async def tile_hashes(store: Hashes, level: int, index: int, width: int) -> list[bytes]:
    """The first `width` hashes of a tile (C2SP tlog-tiles). Raises `Misuse` MALFORMED unless the log has as many."""
    tile = 1 << TILE_BITS
    if not (0 < width <= tile and 0 <= level < _LEVELS and 0 <= index < 1 << 48):
        raise Misuse(Number.MALFORMED, "the log has no such tile")
    found = await store.hashes(level, index * tile, width)
    if len(found) != width:
        raise Misuse(Number.MALFORMED, "the log has no such tile")
    return found


def _inclusion(index: int, size: int) -> list[_Leaves]:
    """PATH(index, D[size]) of RFC 6962, deepest first."""
    path: list[_Leaves] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _below(end - first)
        if index < middle:
            path.append(_Leaves(middle, end))
            end = middle
        else:
            path.append(_Leaves(first, middle))
            first = middle
    return path[::-1]


def _consistency(old: int, size: int) -> list[_Leaves]:
    """PROOF(old, D[size]) of RFC 6962, deepest first."""
    path: list[_Leaves] = []
    first, end = 0, size
    while old != end:
        middle = first + _below(end - first)
        if old <= middle:
            path.append(_Leaves(middle, end))
            end = middle
        else:
            path.append(_Leaves(first, middle))
            first = middle
    if first:  # else it is the old tree's own root, which whoever checks has
        path.append(_Leaves(first, end))
    return path[::-1]


def _below(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << ((count - 1).bit_length() - 1)


async def _roots(store: Hashes, proofs: Sequence[Sequence[_Leaves]], bits: int) -> list[list[bytes]]:
    wanted = {part: [span(tree, bits) for tree in complete_subtrees(*part)] for proof in proofs for part in proof}
    kept = await _read(store, (one for spans in wanted.values() for one in spans), bits)
    roots = {part: _root([root(_cut(kept, one)) for one in spans]) for part, spans in wanted.items()}
    return [[roots[part] for part in proof] for proof in proofs]


def _root(nodes: list[bytes]) -> bytes:
    """Root over complete subtrees that shrink to the right."""
    node = nodes[-1]
    for left in reversed(nodes[:-1]):
        node = node_hash(left, node)
    return node


async def _read(store: Hashes, spans: Iterable[Span], bits: int) -> dict[tuple[int, int], bytes]:
    """Kept hashes by level and index: spans of one tile, which lie close together, are one read."""
    tiles: dict[tuple[int, int], Span] = {}
    for one in spans:
        where = (one.level, one.first >> bits)
        before = tiles.get(where, one)
        first = min(before.first, one.first)
        tiles[where] = Span(one.level, first, max(before.first + before.width, one.first + one.width) - first)
    found = await asyncio.gather(*(store.hashes(*tile) for tile in tiles.values()))
    kept: dict[tuple[int, int], bytes] = {}
    for tile, hashes in zip(tiles.values(), found, strict=True):
        if len(hashes) != tile.width:
            raise Unavailable(Number.STORE_UNAVAILABLE, "the log is shorter than it was")
        kept.update({(tile.level, tile.first + offset): node for offset, node in enumerate(hashes)})
    return kept


def _cut(kept: dict[tuple[int, int], bytes], one: Span) -> list[bytes]:
    return [kept[one.level, index] for index in range(one.first, one.first + one.width)]
