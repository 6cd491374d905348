"""Proofs from kept hashes are those of RFC 6962, word for word, wherever a tree's levels begin and end."""

import asyncio
import hashlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.host.log.growth import Growth
from strongroom.host.log.proofs import consistency, inclusion, inclusions, tile_hashes
from strongroom.protocol.errors import Misuse, Number, Unavailable
from strongroom.protocol.tlog import EMPTY_ROOT, Frontier, leaf_hash, verify_consistency, verify_inclusion

SIZE = 600
LEAVES = [b"leaf %d" % index for index in range(SIZE)]
BITS = {8: SIZE, 2: 300, 1: 70}
"""256 hashes a tile as stores have it; 4, so that the fourth level begins at 64 and the fifth at 256; 2."""


class Kept:
    """Kept hashes in memory, and how often they were asked for."""

    def __init__(self, growth, leaves):
        self.levels: dict[int, list[bytes]] = {}
        self.reads = 0
        for level, number, node in growth.extend(leaves):
            hashes = self.levels.setdefault(level, [])
            assert number == len(hashes), "hashes are kept in order, each once"
            hashes.append(node)

    def hashes(self, level, first, count):
        self.reads += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result(self.levels.get(level, [])[first : first + count])
        return done


@cache
def kept(bits):
    return Kept(Growth(bits=bits), LEAVES[: BITS[bits]])


# RFC 6962 2.1, as it stands there: no outer knowledge of levels, tiles or edges.


@cache
def mth(first, end):
    if end == first:
        return hashlib.sha256().digest()
    if end - first == 1:
        return leaf_hash(LEAVES[first])
    k = split(end - first)
    return hashlib.sha256(b"\x01" + mth(first, first + k) + mth(first + k, end)).digest()


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m, first, end):
    if end - first == 1:
        return []
    k = split(end - first)
    if m < k:
        return [*path(m, first, first + k), mth(first + k, end)]
    return [*path(m - k, first + k, end), mth(first, first + k)]


def subproof(m, first, end, whole):
    if m == end - first:
        return [] if whole else [mth(first, end)]
    k = split(end - first)
    if m <= k:
        return [*subproof(m, first, first + k, whole), mth(first + k, end)]
    return [*subproof(m - k, first + k, end, False), mth(first, first + k)]


@st.composite
def places(draw):
    """A fan-out, a size of the log, and something up to it; sizes at powers of two and beside them more often."""
    bits = draw(st.sampled_from(sorted(BITS)))
    edges = [n for power in range(11) for n in (2**power - 1, 2**power, 2**power + 1) if 0 < n <= BITS[bits]]
    size = draw(st.integers(1, BITS[bits]) | st.sampled_from(edges))
    return bits, size, draw(st.integers(0, size) | st.sampled_from([n for n in edges if n <= size]))


@given(places())
@settings(max_examples=400, deadline=None)
def test_proofs_of_inclusion_are_those_of_the_standard(place):
    bits, size, index = place
    index = min(index, size - 1)
    proof = asyncio.run(inclusion(kept(bits), index, size, bits))
    assert proof == path(index, 0, size)
    verify_inclusion(index, leaf_hash(LEAVES[index]), size, mth(0, size), proof)


@given(places())
@settings(max_examples=400, deadline=None)
def test_proofs_of_consistency_are_those_of_the_standard(place):
    bits, size, old = place
    proof = asyncio.run(consistency(kept(bits), old, size, bits))
    assert proof == (subproof(old, 0, size, True) if old else [])
    verify_consistency(old, mth(0, old), size, mth(0, size), proof)


@given(places(), st.lists(st.integers(0, SIZE), max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_log_goes_on_where_it_stopped_and_in_groups_of_any_size(place, cuts):
    bits, size, first = place
    levels: dict[int, list[bytes]] = {}
    starts = sorted({0, *(min(cut, size) for cut in [first, *cuts])})
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        spans = Growth.spans(start, bits)
        found = [levels[level][at : at + width] for level, at, width in spans]
        growth = Growth(start, found, bits)
        for level, _, node in growth.copy().extend(LEAVES[start:end]):  # the copy leaves the original alone
            levels.setdefault(level, []).append(node)
        assert growth.size == start
    for level, hashes in levels.items():
        assert hashes == kept(bits).levels[level][: size >> level * bits]


def test_levels_hold_the_roots_of_complete_subtrees():
    for bits, size in BITS.items():
        for level, hashes in kept(bits).levels.items():
            width = 1 << level * bits
            assert hashes == [mth(at, at + width) for at in range(0, size - width + 1, width)]
    assert max(kept(2).levels) == 4
    assert max(kept(1).levels) == 6


def test_an_empty_log_has_nothing_to_read_and_its_root():
    assert Growth.spans(0) == []
    assert Frontier().root == EMPTY_ROOT
    assert asyncio.run(consistency(kept(8), 0, 0)) == []


def test_a_frontier_agrees_with_the_standard():
    frontier = Frontier()
    for size in range(SIZE):
        assert frontier.root == mth(0, size)
        frontier.append(leaf_hash(LEAVES[size]))


def test_a_proof_takes_few_reads_and_many_of_one_tree_share_them():
    store = Kept(Growth(bits=2), LEAVES[:299])
    asyncio.run(inclusion(store, 0, 299, 2))
    assert store.reads <= 2 * len(store.levels)
    store.reads = 0
    proofs = asyncio.run(inclusions(store, [5, 0, 298, 5], 299, 2))
    assert proofs == [path(index, 0, 299) for index in (5, 0, 298, 5)]
    assert store.reads <= 3 * len(store.levels)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_a_leaf_beyond_the_log_has_no_proof(index, size):
    with pytest.raises(Misuse) as refused:
        asyncio.run(inclusion(kept(8), index, size))
    assert refused.value.number is Number.MALFORMED


def test_a_log_that_is_shorter_than_it_was_proves_nothing():
    with pytest.raises(Unavailable):
        asyncio.run(inclusion(kept(8), 3, SIZE + 1))
    with pytest.raises(Unavailable):
        asyncio.run(consistency(kept(8), 3, SIZE + 1))
    with pytest.raises(Misuse):
        asyncio.run(consistency(kept(8), 4, 3))


def test_tiles_are_cut_from_levels_and_never_longer_than_the_log():
    assert asyncio.run(tile_hashes(kept(8), 0, 1, 256)) == [leaf_hash(leaf) for leaf in LEAVES[256:512]]
    assert asyncio.run(tile_hashes(kept(8), 0, 2, 88)) == [leaf_hash(leaf) for leaf in LEAVES[512:]]
    assert asyncio.run(tile_hashes(kept(8), 1, 0, 2)) == [mth(0, 256), mth(256, 512)]
    for level, index, width in [
        (0, 2, 89),
        (1, 0, 3),
        (2, 0, 1),
        (0, 0, 0),
        (0, 0, 257),
        (0, -1, 1),
        (-1, 0, 1),
        (0, 2**60, 1),
        (99, 0, 1),
    ]:
        with pytest.raises(Misuse):
            asyncio.run(tile_hashes(kept(8), level, index, width))
