"""Both stores keep what they acknowledged, and nothing half: one promise, told once."""

import asyncio
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from strongroom.host.log.growth import Growth
from strongroom.host.log.proofs import consistency, inclusions
from strongroom.protocol.errors import Misuse, Number, StrongroomError
from strongroom.protocol.link import Commit, Put, Row
from strongroom.protocol.tlog import Frontier, leaf_hash, verify_consistency, verify_inclusion
from tests.support.write_for_ever import opened, twins


@dataclass
class Database:
    """A new database, by the name that `opened` takes."""

    name: str

    async def open(self) -> Any:
        return await opened(self.name)

    @asynccontextmanager
    async def held(self):
        """Nobody else writes meanwhile: what is committed waits, and becomes one group behind the first."""
        if "://" not in self.name:
            import sqlite3

            with closing(sqlite3.connect(self.name, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                yield
                other.execute("COMMIT")
            return
        other = await asyncpg.connect(self.name)
        try:
            async with other.transaction():
                await other.execute("LOCK TABLE rows IN EXCLUSIVE MODE")
                yield
        finally:
            await other.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def database(request, tmp_path):
    if request.param == "sqlite":
        return Database(str(tmp_path / "rows.sqlite3"))
    server = request.getfixturevalue("postgres_server")
    return Database(server.local_url(server.database()))


@pytest.fixture
async def store(database):
    store = await database.open()
    yield store
    await store.close()


def key(number):
    return number.to_bytes(32, "big")


def make(number, size, *leaves, sealed=b"sealed"):
    return Commit([Put(key(number), 0, 1, sealed)], size, list(leaves))


async def outcome(commit):
    try:
        await commit
    except StrongroomError as error:
        return error.number
    return None


async def log_of(store):
    return await store.leaves(range(await store.size()))


# --- rows ---------------------------------------------------------------------------------------------------------


async def test_what_was_committed_is_read_and_absent_rows_are_none(store):
    assert await store.empty()
    await store.commit(Commit([Put(key(1), 0, 7, b"one"), Put(key(2), 0, 1, b"two")], 0, [b"leaf"]))
    assert not await store.empty()
    assert await store.read([key(2), key(3), key(1), key(2)]) == [Row(1, b"two"), None, Row(7, b"one"), Row(1, b"two")]
    assert await store.read([]) == []


async def test_a_put_replaces_exactly_the_version_it_names(store):
    await store.commit(make(1, 0))
    for replaces in (0, 2, 5):
        with pytest.raises(Misuse) as refused:
            await store.commit(Commit([Put(key(1), replaces, 9, b"stale")], 0, [b"leaf"]))
        assert refused.value.number == Number.CONFLICT
    with pytest.raises(Misuse):
        await store.commit(Commit([Put(key(2), 1, 2, b"update of what is absent")], 0, []))
    with pytest.raises(Misuse):
        await store.commit(Commit([Put(key(3), 0, 1, b"fits"), Put(key(1), 4, 5, b"does not")], 0, [b"leaf"]))
    assert await store.read([key(1), key(2), key(3)]) == [Row(1, b"sealed"), None, None]
    await store.commit(Commit([Put(key(1), 1, 2, b"new"), Put(key(2), 0, 1, b"too")], 0, []))
    assert await store.read([key(1), key(2)]) == [Row(2, b"new"), Row(1, b"too")]
    assert await store.size() == 0


async def test_one_commit_may_write_a_row_twice(store):
    await store.commit(Commit([Put(key(1), 0, 1, b"a"), Put(key(1), 1, 2, b"b")], 0, []))
    await store.commit(Commit([Put(key(1), 2, 3, b"c"), Put(key(1), 3, 9, b"d")], 0, []))
    assert await store.read([key(1)]) == [Row(9, b"d")]
    assert await outcome(store.commit(Commit([Put(key(1), 9, 10, b"e"), Put(key(1), 9, 11, b"f")], 0, []))) == 107
    assert await store.read([key(1)]) == [Row(9, b"d")]


async def test_a_row_may_be_replaced_at_its_own_version(store, database):
    """What is sealed anew under another key says the same; also in one group with what replaces it."""
    await store.commit(Commit([Put(key(1), 0, 5, b"old"), Put(key(2), 0, 1, b"other")], 0, [b"leaf"]))
    await store.commit(Commit([Put(key(1), 5, 5, b"new")], 1, [b"leaf"]))
    assert await store.read([key(1)]) == [Row(5, b"new")]
    assert await outcome(store.commit(Commit([Put(key(1), 4, 4, b"older"), Put(key(2), 1, 2, b"x")], 2, []))) == 107
    async with database.held():
        waiting = [
            store.commit(Commit(puts, size, [b"leaf"]))
            for size, puts in enumerate(
                ([Put(key(2), 1, 2, b"two")], [Put(key(1), 5, 5, b"newer")], [Put(key(1), 5, 6, b"next")]), 2
            )
        ]
        await asyncio.sleep(0.1)
    assert [await outcome(commit) for commit in waiting] == [None, None, None]
    assert await store.read([key(1), key(2)]) == [Row(6, b"next"), Row(2, b"two")]


async def test_versions_and_rows_of_any_size_are_kept(store):
    large = bytes(range(256)) * 40_000
    await store.commit(Commit([Put(key(1), 0, 2**63 - 1, large), Put(key(2), 0, 1, b"")], 0, [large, b""]))
    assert await store.read([key(2), key(1)]) == [Row(1, b""), Row(2**63 - 1, large)]
    assert await store.leaves([1, 0]) == [b"", large]
    await store.commit(Commit([Put(key(n), 0, 1, b"x" * n) for n in range(10, 3010)], 2, []))
    assert await store.read([key(n) for n in range(9, 3011)]) == [
        None, *(Row(1, b"x" * n) for n in range(10, 3010)), None
    ]  # fmt: skip


async def test_readers_never_see_half_a_commit(store):
    pair = [key(1), key(2)]
    await store.commit(Commit([Put(one, 0, 1, b"1") for one in pair], 0, []))
    seen = set()

    async def watch(done):
        while not done.is_set():
            first, second = await store.read(pair)
            assert first == second
            seen.add(first.version)
            await asyncio.sleep(0)

    done = asyncio.Event()
    watching = [asyncio.create_task(watch(done)) for _ in range(8)]
    for version in range(1, 60):
        await store.commit(Commit([Put(one, version, version + 1, b"%d" % version) for one in pair], 0, []))
        assert (await store.read(pair))[0].version == version + 1, "who was told of a commit reads it"
    done.set()
    await asyncio.gather(*watching)
    assert len(seen) > 10


# --- groups -------------------------------------------------------------------------------------------------------


async def test_a_conflict_undoes_its_own_commit_and_no_other_in_the_group(store, database):
    await store.commit(make(100, 0))
    async with database.held():
        first = store.commit(make(0, 0, b"log 0"))
        await asyncio.sleep(0.05)
        group = [
            store.commit(Commit([Put(key(n), 0, 1, b"x"), Put(key(100), n % 2, 2, b"y")], size, [b"log %d" % n]))
            for n, size in [(2, 1), (1, 1), (3, 2), (5, 1)]
        ]
        group.append(store.commit(make(7, 2, b"log 7")))
        group.append(store.commit(Commit([Put(key(100), 2, 3, b"z")], 3, [])))
        group.append(store.commit(make(8, 9, b"far ahead")))
    # Row 100 is replaced by the first that names its version and the log's size; those that would create it never do.
    assert [await outcome(commit) for commit in [first, *group]] == [None, 107, None, 107, 107, None, None, 107]
    rows = await store.read([key(n) for n in (0, 1, 2, 3, 5, 7, 8, 100)])
    assert [row and row.version for row in rows] == [1, 1, None, None, None, 1, None, 3]
    assert await log_of(store) == [b"log 0", b"log 1", b"log 7"]


async def test_a_group_whose_first_fits_in_itself_but_not_into_the_database_is_done_one_by_one(store, database):
    await store.commit(make(100, 0))
    async with database.held():
        first = store.commit(make(0, 0))
        await asyncio.sleep(0.05)
        group = [store.commit(commit) for commit in [
            Commit([Put(key(1), 0, 1, b"x"), Put(key(100), 0, 1, b"is there")], 0, [b"never"]),
            Commit([Put(key(1), 1, 2, b"rests on what never was")], 1, [b"never"]),
            make(1, 0, b"leaf"),
            make(2, 1, b"another"),
        ]]  # fmt: skip
    assert [await outcome(commit) for commit in [first, *group]] == [None, 107, 107, None, None]
    assert await store.read([key(1), key(2)]) == [Row(1, b"sealed")] * 2
    assert await log_of(store) == [b"leaf", b"another"]


async def test_closing_finishes_what_was_begun(database):
    store = await database.open()
    commits = [store.commit(make(number, number, b"%d" % number)) for number in range(300)]
    read = store.read([key(1)])
    await store.close()
    await asyncio.gather(*commits)
    assert read.done()
    store = await database.open()
    assert None not in await store.read([key(number) for number in range(300)])
    assert await log_of(store) == [b"%d" % number for number in range(300)]
    await store.close()


# --- the log ------------------------------------------------------------------------------------------------------


async def test_leaves_stand_where_their_commit_says_or_nowhere(store):
    await store.commit(Commit([], 0, [b"a", b"b"]))
    await store.commit(Commit([], 2, []))
    await store.commit(Commit([], 2, [b"c"]))
    for size in (0, 1, 2, 4, 2**40):
        assert await outcome(store.commit(Commit([Put(key(1), 0, 1, b"x")], size, [b"d"]))) == Number.CONFLICT
        assert await outcome(store.commit(Commit([], size, []))) == Number.CONFLICT
    assert await store.size() == 3
    assert await store.leaves([2, 3, 0, 2]) == [b"c", None, b"a", b"c"]
    assert await store.leaves([]) == []
    assert await store.read([key(1)]) == [None]


async def test_hashes_grow_with_the_log_across_tiles_and_starts(database):
    leaves = [b"leaf %d" % number for number in range(1100)]
    roots, frontier = [], Frontier()
    for leaf in leaves:
        roots.append(frontier.root)
        frontier.append(leaf_hash(leaf))
    roots.append(frontier.root)
    size = 0
    for widths in ([1, 1, 253], [1, 300, 7], [500, 37]):
        store = await database.open()
        commits = []
        for width in widths:
            commits.append(store.commit(Commit([], size, leaves[size : size + width])))
            size += width
        await asyncio.gather(*commits)
        assert await outcome(store.commit(Commit([Put(key(1), 4, 5, b"")], size, [b"undone"]))) == Number.CONFLICT
        proofs = await inclusions(store, range(0, size, 7), size)
        for index, proof in zip(range(0, size, 7), proofs, strict=True):
            verify_inclusion(index, leaf_hash(leaves[index]), size, roots[size], proof)
        for old in (1, 2, 255, 256, 257, 511, 512, 513, 1024, size):
            if old <= size:
                verify_consistency(old, roots[old], size, roots[size], await consistency(store, old, size))
        await store.close()
    store = await database.open()
    kept = Growth().extend(leaves)
    for level in (0, 1, 2):
        assert await store.hashes(level, 0, 5000) == [one.hash for one in kept if one.level == level]
    assert await store.hashes(0, 255, 3) == [leaf_hash(leaf) for leaf in leaves[255:258]]
    assert await store.hashes(1, 3, 256) == [
        kept_hash for level, number, kept_hash in kept if (level, number) == (1, 3)
    ]
    assert await store.hashes(1, 4, 256) == []
    await store.close()


async def test_numbers_that_no_database_has_fail_at_once_and_harm_nothing(store):
    await store.commit(make(1, 0, b"leaf"))
    began = time.monotonic()
    for asked in (store.leaves([2**64]), store.hashes(0, 2**63 - 1, 256), store.commit(Commit([], 2**64, [b"x"]))):
        assert await outcome(asked) in (Number.STORE_UNAVAILABLE, Number.CONFLICT)
    assert time.monotonic() - began < 10
    assert await store.leaves([0]) == [b"leaf"]


# --- the end of a process -----------------------------------------------------------------------------------------


def killed_writer(database, first, seconds):
    """Numbers that a writer acknowledged until it was killed."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.write_for_ever", database.name, str(first)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    acknowledged = writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    acknowledged += writer.communicate()[0]
    return {int(line) for line in acknowledged.splitlines(keepends=True) if line.endswith(b"\n")}


async def test_killed_writers_lose_nothing_acknowledged_and_leave_nothing_half(database):
    acknowledged = set()
    for life in range(6):
        acknowledged |= killed_writer(database, life * 1_000_000, 0.05 + 0.03 * life)
    store = await database.open()
    await verify_whole(store, acknowledged)
    assert len(acknowledged) > 100
    await store.close()


async def verify_whole(store, acknowledged):
    """What `write_for_ever` was told is there, each with both its rows and its leaf, once."""
    logged = [int.from_bytes(leaf, "big") for leaf in await log_of(store)]
    assert acknowledged <= set(logged)
    assert len(logged) == len(set(logged))
    puts = [put for number in logged for put in twins(number)]
    assert await store.read([put.key for put in puts]) == [Row(1, put.sealed) for put in puts]
    assert await store.hashes(0, 0, len(logged) + 1) == [leaf_hash(number.to_bytes(8, "big")) for number in logged]
