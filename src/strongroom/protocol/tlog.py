"""Merkle trees over a log (RFC 6962, as C2SP's tlog specifications use them; `spec/log.md`).

Pure arithmetic on hashes: what grows a tree, and what checks the two proofs. Proofs are made by the host, which keeps
the hashes (`host/log`); nobody believes it, everybody checks. A proof has exactly the hashes that it needs: none is
skipped, so there is one proof of each statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from strongroom.protocol.errors import Number, Untrusted

EMPTY_ROOT: Final = hashlib.sha256().digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash (32 bytes) of one leaf's data."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash (32 bytes) of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: enough to append to it and to know its root, whatever its size.

    `hashes` are the roots of the complete subtrees that the binary form of `size` names, largest first.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Raises ValueError for another number of hashes than `size` has ones."""
        if len(hashes) != size.bit_count():
            raise ValueError("a tree of this size has another number of complete subtrees")
        self.size = size
        self.hashes = list(hashes)

    def copy(self) -> Frontier:
        return Frontier(self.size, self.hashes)

    def append(self, leaf: bytes) -> None:
        """Add the leaf of this hash."""
        node, rest = leaf, self.size
        while rest & 1:
            node = node_hash(self.hashes.pop(), node)
            rest >>= 1
        self.hashes.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        node = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            node = node_hash(left, node)
        return node


def verify_inclusion(index: int, leaf: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raises `Untrusted` INTEGRITY unless the leaf of this hash stands at `index` of the tree (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        raise _bad("inclusion")
    at, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _bad("inclusion")
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or node != root:
        raise _bad("inclusion")


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raises `Untrusted` INTEGRITY unless the tree of `size` leaves extends that of `old` (RFC 9162 2.1.4.2)."""
    if not 0 <= old <= size:
        raise _bad("consistency")
    if old in (0, size):
        if proof or (old == size and old_root != root) or (old == 0 and old_root != EMPTY_ROOT):
            raise _bad("consistency")
        return
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not hashes:
        raise _bad("consistency")
    before = after = hashes[0]
    for node in hashes[1:]:
        if last == 0:
            raise _bad("consistency")
        if at & 1 or at == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, node)
        at, last = at >> 1, last >> 1
    if last != 0 or before != old_root or after != root:
        raise _bad("consistency")


def _bad(which: str) -> Untrusted:
    return Untrusted(Number.INTEGRITY, f"the proof of {which} does not hold")
