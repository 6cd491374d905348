"""Every tree to 70 leaves, every proof, and everything that is nearly one.

Trees and proofs are those of RFC 6962 as it defines them, by recursion; what is checked goes by the loops of RFC 9162.
"""

import hashlib
import random
from functools import cache

import pytest

from strongroom.protocol.errors import Untrusted
from strongroom.protocol.tlog import EMPTY_ROOT, Frontier, leaf_hash, node_hash, verify_consistency, verify_inclusion

SIZE = 70
LEAVES = [leaf_hash(b"leaf %d" % index) for index in range(SIZE)]
GO_ROOTS = {
    1: "1bb97dcc21635d47",
    2: "fc5f6b88ff8554f7",
    3: "d4f92c8fbb89720e",
    7: "5a61fc2b54f9cfa7",
    64: "f261e23692d978fd",
    70: "49e2474a6b0428b7",
}
"""By golang.org/x/mod/sumdb/tlog 0.7.0, from the same leaves."""


def split(count):
    return 1 << ((count - 1).bit_length() - 1)


@cache
def root(first, end):
    if first == end:
        return hashlib.sha256(b"").digest()
    if end - first == 1:
        return LEAVES[first]
    middle = first + split(end - first)
    return hashlib.sha256(b"\x01" + root(first, middle) + root(middle, end)).digest()


def path(index, first, end):
    if end - first == 1:
        return []
    middle = first + split(end - first)
    if index < middle:
        return [*path(index, first, middle), root(middle, end)]
    return [*path(index, middle, end), root(first, middle)]


def subproof(old, first, end, known):
    if old == end:
        return [] if known else [root(first, end)]
    middle = first + split(end - first)
    if old <= middle:
        return [*subproof(old, first, middle, known), root(middle, end)]
    return [*subproof(old, middle, end, False), root(first, middle)]


def consistency(old, size):
    return subproof(old, 0, size, True) if 0 < old < size else []


def refused(verify, *arguments):
    with pytest.raises(Untrusted):
        verify(*arguments)


def bent(proof, rng):
    """Nearly this proof: longer, shorter, in another order, with another hash, with a bit flipped, cut elsewhere."""
    extra = root(0, rng.randrange(1, SIZE))
    at = rng.randrange(len(proof)) if proof else 0
    yield [*proof, extra]
    yield [extra, *proof]
    if proof:
        yield proof[:-1]
        yield proof[1:]
        yield [*proof, proof[-1]]
        yield [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
        yield [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
        yield [*proof[:at], proof[at] + b"\x00", *proof[at + 1 :]]
    if len(proof) > 1:
        yield proof[::-1]
        yield [proof[0][:31], proof[0][31:] + proof[1], *proof[2:]]


def test_the_frontier_grows_to_the_tree_of_the_rfc():
    frontier = Frontier()
    assert frontier.root == EMPTY_ROOT == root(0, 0)
    for size in range(1, SIZE + 1):
        before = frontier.copy()
        frontier.append(LEAVES[size - 1])
        assert (frontier.size, frontier.root) == (size, root(0, size))
        assert Frontier(size, frontier.hashes).root == root(0, size)
        assert before.root == root(0, size - 1), "a copy stays what it was"


def test_roots_are_gos():
    assert {size: root(0, size).hex()[:16] for size in GO_ROOTS} == GO_ROOTS


def test_a_frontier_has_a_hash_for_each_complete_subtree():
    with pytest.raises(ValueError, match="another number"):
        Frontier(3, [LEAVES[0]])


def test_a_leaf_and_a_node_never_have_one_hash():
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def test_every_leaf_of_every_tree_is_proven_and_no_other():
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = path(index, 0, size)
            verify_inclusion(index, LEAVES[index], size, root(0, size), proof)
            refused(verify_inclusion, index, LEAVES[(index + 1) % SIZE], size, root(0, size), proof)
            refused(verify_inclusion, index, LEAVES[index], size, root(0, size - 1), proof)
            if size > 1:
                refused(verify_inclusion, (index + 1) % size, LEAVES[index], size, root(0, size), proof)
    refused(verify_inclusion, 0, LEAVES[0], 0, EMPTY_ROOT, [])
    refused(verify_inclusion, -1, LEAVES[0], 1, root(0, 1), [])
    refused(verify_inclusion, 1, LEAVES[0], 1, root(0, 1), [])


def test_every_tree_is_proven_to_extend_every_smaller_one_and_no_other():
    for size in range(SIZE + 1):
        for old in range(size + 1):
            proof = consistency(old, size)
            verify_consistency(old, root(0, old), size, root(0, size), proof)
            refused(verify_consistency, old, bytes(32), size, root(0, size), proof)
            if old:
                refused(verify_consistency, old, root(0, old), size, bytes(32), proof)
            if old < size:
                refused(verify_consistency, size, root(0, size), old, root(0, old), proof)
    refused(verify_consistency, -1, EMPTY_ROOT, 1, root(0, 1), [])


def test_what_is_nearly_a_proof_is_none():
    rng = random.Random(6962)
    for size in range(1, SIZE + 1):
        index = rng.randrange(size)
        for proof in bent(path(index, 0, size), rng):
            refused(verify_inclusion, index, LEAVES[index], size, root(0, size), proof)
        for old in {0, 1, size, rng.randrange(size), 1 << (size.bit_length() - 1)}:
            for proof in bent(consistency(old, size), rng):
                refused(verify_consistency, old, root(0, old), size, root(0, size), proof)


def sides(index, size):
    """On which side each sibling of a leaf stands, deepest first."""
    found: list[str] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + split(end - first)
        if index < middle:
            found, end = ["right", *found], middle
        else:
            found, first = ["left", *found], middle
    return found


def shape(old, size):
    """The same of a proof of consistency, and whether it begins with a hash of its own."""
    found: list[str] = []
    first, end = 0, size
    while old != end:
        middle = first + split(end - first)
        if old <= middle:
            found, end = ["right", *found], middle
        else:
            found, first = ["left", *found], middle
    return found, first > 0


FEW = 10


def test_a_proof_is_none_for_a_place_or_size_where_it_would_look_otherwise():
    """No proof says how large a tree is, its signed checkpoint does; but no size passes with another shape of proof."""
    for size in range(1, FEW):
        for index in range(size):
            proof = path(index, 0, size)
            for claimed in range(1, 2 * FEW):
                for place in range(claimed):
                    if sides(place, claimed) != sides(index, size):
                        refused(verify_inclusion, place, LEAVES[index], claimed, root(0, size), proof)


def test_a_proof_of_consistency_is_none_for_sizes_where_it_would_look_otherwise():
    for size in range(2, FEW):
        for old in range(1, size):
            proof = consistency(old, size)
            for claimed in range(1, 2 * FEW):
                for older in range(1, claimed):
                    if shape(older, claimed) != shape(old, size):
                        refused(verify_consistency, older, root(0, old), claimed, root(0, size), proof)


def test_no_tree_extends_a_larger_one_also_where_both_have_one_root():
    for old in range(1, FEW):
        for size in range(old):
            for proof in ([], [LEAVES[0]]):
                refused(verify_consistency, old, LEAVES[0], size, LEAVES[0], proof)
    refused(verify_consistency, -1, LEAVES[0], 0, EMPTY_ROOT, [])
