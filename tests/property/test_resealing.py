"""The walk that seals old rows anew: it goes through the buckets once, while they split, and misses nothing."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.enclave.vault.buckets import LOAD, Index, keys_of


def add(index, count):
    """A commit of so many new rows; their keys."""
    keys = [os.urandom(32) for _ in range(count)]
    draft = index.draft()
    assert draft.wanted(keys) == [], "all is at hand"
    for key in keys:
        draft.put(key, 1, bytes(32))
    draft.finish()
    draft.adopt()
    return keys


@given(st.integers(0, 20 * LOAD), st.lists(st.integers(0, 6 * LOAD), max_size=40))
@settings(max_examples=60, deadline=None)
def test_one_walk_through_the_buckets_meets_every_row_there_was_whatever_splits_meanwhile(count, commits):
    index = Index()
    first = add(index, count)
    commits, met, number = list(commits), set(), 0
    while number < index.buckets:
        met.update(keys_of(index.content(number) or b""))
        number += 1
        if commits:
            add(index, commits.pop())
    assert met.issuperset(first)


def test_a_walk_in_the_other_direction_would_miss_rows():
    """So the order counts: what splits off goes to the end, where a walk that began there has been."""
    index = Index()
    first = add(index, 8 * LOAD)
    met = set()
    for number in reversed(range(index.buckets)):
        met.update(keys_of(index.content(number) or b""))
        add(index, 2 * LOAD)
    assert not met.issuperset(first)
