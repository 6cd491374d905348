"""Merkle trees by the letter of RFC 6962: slow, and nobody's code but this file's."""

from collections.abc import Sequence

from strongroom.protocol.tlog import EMPTY_ROOT, node_hash


def root(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    half = _half(len(hashes))
    return node_hash(root(hashes[:half]), root(hashes[half:]))


def inclusion(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of 2.1.1."""
    if len(hashes) == 1:
        return []
    half = _half(len(hashes))
    if index < half:
        return [*inclusion(index, hashes[:half]), root(hashes[half:])]
    return [*inclusion(index - half, hashes[half:]), root(hashes[:half])]


def consistency(old: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PROOF of 2.1.2."""
    return _subproof(old, hashes, whole=True)


def _subproof(old: int, hashes: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if old == len(hashes):
        return [] if whole else [root(hashes)]
    half = _half(len(hashes))
    if old <= half:
        return [*_subproof(old, hashes[:half], whole=whole), root(hashes[half:])]
    return [*_subproof(old - half, hashes[half:], whole=False), root(hashes[:half])]


def _half(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
