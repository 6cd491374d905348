"""A host leaves entries out of what the log says of a record, or brings others: its owner notices."""

import os

import pytest

from strongroom.client.results import LogEntry
from strongroom.client.trail import TrailReader
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.leaves import CommitLeaf, Entry, EntryLeaf, commitment
from strongroom.protocol.log_messages import TrailEntry, TrailOf
from strongroom.protocol.tlog import leaf_hash
from tests.support import trees
from tests.support.evidence import changed
from tests.support.witnesses import GrowingLog

HANDLE = bytes(32)


def included(log, index):
    return trees.inclusion(index, [leaf_hash(leaf) for leaf in log.leaves])


class Chain:
    """A log in which every third leaf is an entry about one record."""

    def __init__(self, count=7):
        self.log = GrowingLog()
        self.entries = []
        previous = 0
        for number in range(1, count + 1):
            self.log.grow(b"commit", b"another")
            entry = Entry(
                handle=HANDLE,
                number=number,
                previous=previous,
                at=1_790_000_000 + number,
                version=1,
                action="collect",
                identity=f"{'ab' * 32}:bob",
                outcome=201 if number % 2 else 0,
                blinding=os.urandom(32),
            )
            self.entries.append((self.log.size, entry))
            self.log.grow(encode(EntryLeaf(commitment=commitment(encode(entry)), sealed=b"sealed")))
            previous = self.log.size
        self.log.grow(b"commit")

    async def entry(self, number, **changes):
        index, entry = self.entries[number - 1]
        opened = encode(changed(entry, **changes))
        proof = included(self.log, index)
        return TrailEntry(index=index, leaf=self.log.leaves[index], opened=opened, proof=proof)

    async def answer(self, *numbers):
        entries = [await self.entry(number) for number in numbers]
        return TrailOf(version=1, entries=entries, checkpoint=self.log.note())


@pytest.fixture
def chain():
    return Chain()


async def read(chain, *entries, before=None, limit=9):
    reader = TrailReader(before)
    reader.read(TrailOf(version=1, entries=list(entries), checkpoint=chain.log.note()), limit)
    return reader


async def number_of(chain, *entries, **options):
    with pytest.raises(StrongroomError) as caught:
        await read(chain, *entries, **options)
    return caught.value.number


async def test_a_whole_trail_is_read_in_several_answers(chain):
    reader = TrailReader()
    for numbers in ((7, 6, 5), (4, 3), (2, 1)):
        assert not reader.is_complete
        assert reader.place == (0 if numbers[0] == 7 else chain.entries[numbers[0] - 1][0] + 1)
        reader.read(await chain.answer(*numbers), 3)
    assert reader.is_complete
    assert [entry.number for entry in reader.entries] == [7, 6, 5, 4, 3, 2, 1]
    assert [entry.leaf for entry in reader.entries] == [index for index, _ in reversed(chain.entries)]
    assert (reader.version, reader.size) == (1, chain.log.size)
    assert reader.entries[0] == LogEntry(
        number=7,
        at=1_790_000_007,
        version=1,
        action="collect",
        principal=f"{'ab' * 32}:bob",
        outcome=201,
        leaf=20,
        previous=18,
    )


@pytest.mark.parametrize("numbers", [(7, 5), (7, 6, 4), (7, 7), (6, 7), (2, 1, 1)])
async def test_an_entry_left_out_or_repeated_is_noticed(chain, numbers):
    entries = [await chain.entry(number) for number in numbers]
    assert await number_of(chain, *entries) is Number.LOG_OMITTED


async def test_an_entry_left_out_between_two_answers_is_noticed(chain):
    reader = TrailReader()
    reader.read(await chain.answer(7, 6), 2)
    with pytest.raises(StrongroomError) as caught:
        reader.read(await chain.answer(4, 3), 2)
    assert caught.value.number is Number.LOG_OMITTED
    with pytest.raises(StrongroomError) as caught:
        reader.read(await chain.answer(), 2)
    assert caught.value.number is Number.LOG_OMITTED


async def test_what_came_before_an_entry_is_that_entry_s_own_word(chain):
    known = (await read(chain, await chain.entry(5))).entries[0]
    assert (await read(chain, await chain.entry(4), before=known)).entries[0].number == 4
    assert await number_of(chain, await chain.entry(3), before=known) is Number.LOG_OMITTED
    assert await number_of(chain, await chain.entry(7), before=known) is Number.LOG_OMITTED


async def test_no_entry_at_all_is_noticed_since_the_question_is_one(chain):
    assert await number_of(chain) is Number.LOG_OMITTED


async def test_more_than_was_asked_for_is_refused(chain):
    assert await number_of(chain, *(await chain.answer(7, 6)).entries, limit=1) is Number.INTEGRITY


async def test_a_leaf_in_another_place_than_the_next_entry_says_is_noticed(chain):
    """The right entry, proven to be in the log, but a copy of it."""
    index = chain.log.size
    chain.log.grow(chain.log.leaves[chain.entries[5][0]])
    copy = changed(await chain.entry(6), index=index, proof=included(chain.log, index))
    assert await number_of(chain, await chain.entry(7), copy) is Number.LOG_OMITTED


async def test_a_leaf_that_is_not_in_the_log_is_refused(chain):
    honest = await chain.entry(7)
    other = Chain()
    for entry in (
        await other.entry(7),
        changed(honest, proof=honest.proof[:-1]),
        changed(honest, proof=[]),
        changed(honest, index=honest.index - 1),
        changed(honest, index=chain.log.size),
        changed(honest, leaf=honest.leaf + b"x"),
    ):
        assert await number_of(chain, entry) is Number.INTEGRITY


async def test_a_leaf_of_another_entry_is_refused(chain):
    for changes in ({"outcome": 0}, {"at": 1}, {"identity": "nobody"}, {"version": 2}, {"blinding": bytes(32)}):
        assert await number_of(chain, await chain.entry(7, **changes)) is Number.INTEGRITY


async def test_a_leaf_that_is_no_entry_is_refused(chain):
    commit = CommitLeaf(
        version=1, shard=0, generation=0, owner=bytes(16), start=False, nonce=bytes(16), at=0, clock_floor=0,
        index_root=bytes(32), buckets=1, ring=bytes(32), release=0, recoveries=0, unticketed=0, changes=0,
    )  # fmt: skip
    for leaf in (encode(commit), b"nothing"):
        index = chain.log.size
        chain.log.grow(leaf)
        entry = changed(await chain.entry(7), index=index, leaf=leaf, proof=included(chain.log, index))
        assert await number_of(chain, entry) is Number.INTEGRITY


async def test_a_leaf_committed_to_what_is_no_entry_is_refused(chain):
    index, leaf = chain.log.size, encode(EntryLeaf(commitment=commitment(b"x"), sealed=b""))
    chain.log.grow(leaf)
    entry = TrailEntry(index=index, leaf=leaf, opened=b"x", proof=included(chain.log, index))
    assert await number_of(chain, entry) is Number.INTEGRITY


@pytest.mark.parametrize("changes", [{"number": 0}, {"previous": 0}, {"number": 1}, {"previous": 999}])
async def test_an_entry_that_does_not_say_which_comes_before_it_is_refused(changes):
    chain = Chain()
    index, entry = chain.entries[6]
    opened = encode(changed(entry, **changes))
    leaf = encode(EntryLeaf(commitment=commitment(opened), sealed=b""))
    index = chain.log.size
    chain.log.grow(leaf)
    bent = TrailEntry(index=index, leaf=leaf, opened=opened, proof=included(chain.log, index))
    assert await number_of(chain, bent) is Number.LOG_OMITTED


async def test_an_entry_of_another_record_is_refused(chain):
    index, entry = chain.entries[5]
    opened = encode(changed(entry, handle=b"\x01" * 32))
    leaf = encode(EntryLeaf(commitment=commitment(opened), sealed=b""))
    chain.log.leaves[index] = leaf
    chain.log = GrowingLog().grow(*chain.log.leaves)
    bent = changed(await chain.entry(6), leaf=leaf, opened=opened)
    assert await number_of(chain, await chain.entry(7), bent) is Number.INTEGRITY
