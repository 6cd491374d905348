"""What a store keeps of each new leaf besides the leaf itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from strongroom.host.log.tree import TILE_BITS, Kept, Span, complete_subtrees, root, span
from strongroom.protocol.tlog import leaf_hash, node_hash


class Growth:
    """The right edge of a log's tree of `size` leaves, and the hashes to keep as it grows.

    A store has one in memory, works on a copy within a transaction, and takes the copy over when that is durable.
    """

    __slots__ = ("_bits", "_edge", "size")

    def __init__(self, size: int = 0, found: Iterable[Sequence[bytes]] = (), bits: int = TILE_BITS) -> None:
        """`found`: the kept hashes of each of `Growth.spans(size)`, in order."""
        self.size = size
        self._edge = [root(hashes) for hashes in found]
        self._bits = bits
        if len(self._edge) != size.bit_count():
            raise ValueError("a tree of this size has another number of complete subtrees")

    @staticmethod
    def spans(size: int, bits: int = TILE_BITS) -> list[Span]:
        """What to read of the kept hashes to go on at `size`."""
        return [span(subtree, bits) for subtree in complete_subtrees(0, size)]

    def copy(self) -> Growth:
        copy = Growth(bits=self._bits)
        copy.size, copy._edge = self.size, list(self._edge)
        return copy

    def extend(self, leaves: Iterable[bytes]) -> list[Kept]:
        """Append leaves; the hashes to keep, those of the leaves and of each subtree that they completed."""
        kept: list[Kept] = []
        for leaf in leaves:
            node, height, rest = leaf_hash(leaf), 0, self.size
            kept.append(Kept(0, rest, node))
            while rest & 1:
                node, height, rest = node_hash(self._edge.pop(), node), height + 1, rest >> 1
                if height % self._bits == 0:
                    kept.append(Kept(height // self._bits, rest, node))
            self._edge.append(node)
            self.size += 1
        return kept
