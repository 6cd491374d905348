"""What the store in a file does that no other does: locks, full disks, damaged files, earlier schemas."""

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest

from strongroom.host.store.port import SchemaMismatch
from strongroom.host.store.sqlite import SqliteStore
from strongroom.host.store.sqlite_schema import SCHEMA_VERSION, STEPS
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Commit, Put, Row
from strongroom.protocol.tlog import leaf_hash


def key(number):
    return number.to_bytes(32, "big")


def make(number, sealed=b"sealed"):
    return Commit([Put(key(number), 0, 1, sealed)], 0, [])


def rows_and_log(path):
    with closing(sqlite3.connect(path)) as database:
        rows = dict(database.execute("SELECT key, version FROM rows").fetchall())
        return rows, [entry for (entry,) in database.execute("SELECT leaf FROM log ORDER BY seq")]


async def outcome(commit):
    try:
        await commit
    except StrongroomError as error:
        return error.number
    return None


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "rows.sqlite3")
    yield store
    await store.close()


@pytest.fixture
def hold(tmp_path):
    """Locks the database from another connection until released."""
    other = sqlite3.connect(tmp_path / "rows.sqlite3", isolation_level=None)
    yield other
    other.close()


async def test_waiting_commits_share_one_transaction(store, tmp_path, hold):
    await store.commit(make(1))
    traced: list[str] = []
    store._write.set_trace_callback(traced.append)  # as SQLite saw it
    hold.execute("BEGIN IMMEDIATE")
    first = store.commit(make(2))
    await asyncio.sleep(0.05)
    rest = [store.commit(make(n)) for n in range(3, 103)]
    hold.execute("COMMIT")
    await asyncio.gather(first, *rest)
    assert traced.count("COMMIT") == 2


async def test_a_locked_database_is_unavailable_in_time_and_reads_go_on(store, hold):
    await store.commit(make(1))
    hold.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    commit = store.commit(make(2))
    await asyncio.sleep(0.05)
    assert await store.read([key(1)]) == [Row(1, b"sealed")]
    assert time.monotonic() - began < 1
    with pytest.raises(Unavailable) as refused:
        await commit
    assert refused.value.number == Number.STORE_UNAVAILABLE
    assert 1.5 < time.monotonic() - began < 4
    hold.execute("ROLLBACK")
    await store.commit(make(2))
    assert await store.read([key(2)]) == [Row(1, b"sealed")]


async def test_a_full_disk_refuses_whole_commits_and_works_again_with_space(store, tmp_path):
    await store.commit(make(0))
    pages = store._write.execute("PRAGMA page_count").fetchone()[0]
    store._write.execute(f"PRAGMA max_page_count = {pages + 40}")
    kept = [0]
    for number in range(1, 100):
        commit = Commit(
            [Put(key(number), 0, 1, b"small"), Put(key(1000 + number), 0, 1, b"x" * 9000)], number - 1, [b"leaf"]
        )
        if (result := await outcome(store.commit(commit))) is None:
            kept.append(number)
        else:
            assert result == Number.STORE_FULL
            break
    assert 1 < len(kept) < 99
    rows, log = rows_and_log(tmp_path / "rows.sqlite3")
    assert set(rows) == {key(n) for n in kept} | {key(1000 + n) for n in kept[1:]}
    assert len(log) == len(kept) - 1
    assert await store.read([key(0)]) == [Row(1, b"sealed")]
    store._write.execute(f"PRAGMA max_page_count = {pages + 4000}")
    await store.commit(Commit([Put(key(5000), 0, 1, b"x" * 9000)], len(log), [b"leaf"]))
    assert await store.read([key(5000)]) == [Row(1, b"x" * 9000)]


async def damaged(path, first_page):
    """A database that was in order, and is none from this page on."""
    store = SqliteStore(path)
    for number in range(50):
        await store.commit(make(number, b"x" * 3000))
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096 * (first_page - 1))
        file.write(b"\xa5" * (path.stat().st_size - file.tell()))


async def test_damaged_rows_are_unavailable_and_nothing_crashes(tmp_path):
    path = tmp_path / "rows.sqlite3"
    await damaged(path, 12)
    store = SqliteStore(path)
    try:
        for number in (48, 49):
            assert await outcome(store.read([key(number)])) == Number.STORE_UNAVAILABLE
        assert await outcome(store.commit(make(99))) == Number.STORE_UNAVAILABLE
    finally:
        await store.close()


async def test_a_damaged_log_is_not_opened(tmp_path):
    await damaged(tmp_path / "rows.sqlite3", 2)
    with pytest.raises(Unavailable):
        SqliteStore(tmp_path / "rows.sqlite3")


async def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "text").write_text("a text file, not a database at all, but long enough to be taken for one\n" * 40)
    with pytest.raises(Unavailable):
        SqliteStore(tmp_path / "text")


async def test_a_newer_schema_and_another_programs_database_are_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "newer")) as database:
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(SchemaMismatch, match="schema version 3, this program knows 2") as refused:
        SqliteStore(tmp_path / "newer")
    assert "newer" in refused.value.hint
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE songs(title)")
    with pytest.raises(SchemaMismatch, match="another program"):
        SqliteStore(tmp_path / "other")


def make_schema_1(path, *entries):
    with closing(sqlite3.connect(path)) as database:
        STEPS[0](database)
        database.execute("INSERT INTO rows(key, version, sealed) VALUES (?, 3, x'01')", [key(1)])
        database.executemany("INSERT INTO log(sealed) VALUES (?)", [(entry,) for entry in entries])
        database.execute("PRAGMA user_version = 1")
        database.commit()


def tables(path):
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


async def test_an_earlier_schema_is_brought_forward_and_loses_nothing(tmp_path):
    path = tmp_path / "rows.sqlite3"
    make_schema_1(path, b"batch 1", b"batch 2")
    for _ in range(2):
        store = SqliteStore(path)
        assert await store.read([key(1)]) == [Row(3, b"\x01")]
        assert await store.size() == 0
        await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sealed FROM log_1").fetchall() == [(b"batch 1",), (b"batch 2",)]
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_an_empty_log_of_an_earlier_schema_leaves_nothing_behind(tmp_path):
    make_schema_1(tmp_path / "old")
    await SqliteStore(tmp_path / "old").close()
    await SqliteStore(tmp_path / "new").close()
    assert tables(tmp_path / "old") == tables(tmp_path / "new") == {"rows", "log", "log_hashes"}


async def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path):
    path = tmp_path / "rows.sqlite3"
    make_schema_1(path, b"batch")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE VIEW log_hashes AS SELECT 1")  # in the way of a table
    before = tables(path)
    with pytest.raises(Unavailable):
        SqliteStore(path)
    assert tables(path) == before == {"rows", "log"}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("SELECT sealed FROM log").fetchall() == [(b"batch",)]


@pytest.mark.parametrize("version", [0, 1, SCHEMA_VERSION])
async def test_another_programs_database_is_refused_whatever_it_counts_its_schemas_from(tmp_path, version):
    path = tmp_path / "other"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE rows(id, title)")
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(SchemaMismatch, match="another program"):
        SqliteStore(path)
    assert tables(path) == {"rows"}


async def test_what_another_process_wrote_meanwhile_is_seen_and_not_built_upon(tmp_path):
    first, second = SqliteStore(tmp_path / "rows.sqlite3"), SqliteStore(tmp_path / "rows.sqlite3")
    await first.commit(Commit([], 0, [b"a"]))
    with pytest.raises(Misuse):
        await second.commit(Commit([], 0, [b"b"]))
    await second.commit(Commit([], 1, [b"b"]))
    await first.commit(Commit([], 2, [b"c"]))
    assert await first.hashes(0, 0, 9) == [leaf_hash(leaf) for leaf in (b"a", b"b", b"c")]
    await first.close()
    await second.close()
