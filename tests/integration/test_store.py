"""The SQLite store keeps what it acknowledged, and nothing half."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from strongroom.host.store.sqlite import SchemaMismatch, SqliteStore
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Commit, Put, Row
from tests.support.write_for_ever import twins


def key(number):
    return number.to_bytes(32, "big")


def make(number, sealed=b"sealed", *log):
    return Commit([Put(key(number), 0, 1, sealed)], list(log))


def rows_and_log(path):
    with closing(sqlite3.connect(path)) as database:
        rows = dict(database.execute("SELECT key, version FROM rows").fetchall())
        return rows, [entry for (entry,) in database.execute("SELECT sealed FROM log ORDER BY seq")]


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
    store.close()


@pytest.fixture
def hold(tmp_path):
    """Locks the database from another connection until released."""
    other = sqlite3.connect(tmp_path / "rows.sqlite3", isolation_level=None)
    yield other
    other.close()


async def test_what_was_committed_is_read_and_absent_rows_are_none(store):
    assert store.empty()
    await store.commit(Commit([Put(key(1), 0, 7, b"one"), Put(key(2), 0, 1, b"two")], [b"entry"]))
    assert not store.empty()
    assert store.read([key(2), key(3), key(1), key(2)]) == [Row(1, b"two"), None, Row(7, b"one"), Row(1, b"two")]
    assert store.read([]) == []


async def test_a_put_replaces_exactly_the_version_it_names(store, tmp_path):
    await store.commit(make(1))
    for replaces in (0, 2, 5):
        with pytest.raises(Misuse) as refused:
            await store.commit(Commit([Put(key(1), replaces, 9, b"stale")], [b"entry"]))
        assert refused.value.number == Number.CONFLICT
    with pytest.raises(Misuse):
        await store.commit(Commit([Put(key(2), 1, 2, b"update of what is absent")], []))
    assert store.read([key(1), key(2)]) == [Row(1, b"sealed"), None]
    await store.commit(Commit([Put(key(1), 1, 2, b"new")], []))
    assert store.read([key(1)]) == [Row(2, b"new")]
    assert rows_and_log(tmp_path / "rows.sqlite3")[1] == []


async def test_a_conflict_undoes_its_own_commit_and_no_other_in_the_group(store, tmp_path, hold):
    await store.commit(make(100))
    hold.execute("BEGIN IMMEDIATE")  # so that all that follows waits, and becomes one group
    first = store.commit(make(0, b"x", b"log 0"))
    await asyncio.sleep(0.05)
    group = [
        store.commit(Commit([Put(key(n), 0, 1, b"x"), Put(key(100), n % 2, 2, b"y")], [b"log %d" % n]))
        for n in range(1, 20)
    ]
    hold.execute("COMMIT")
    outcomes = [await outcome(commit) for commit in [first, *group]]
    # Only the first of those that replace version 1 of row 100 wins; those that would create it never do.
    assert outcomes == [None, None] + [Number.CONFLICT] * 18
    rows, log = rows_and_log(tmp_path / "rows.sqlite3")
    assert rows == {key(100): 2, key(0): 1, key(1): 1}
    assert log == [b"log 0", b"log 1"]


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
    assert store.read([key(1)]) == [Row(1, b"sealed")]
    assert time.monotonic() - began < 1
    with pytest.raises(Unavailable) as refused:
        await commit
    assert refused.value.number == Number.STORE_UNAVAILABLE
    assert 1.5 < time.monotonic() - began < 4
    hold.execute("ROLLBACK")
    await store.commit(make(2))
    assert store.read([key(2)]) == [Row(1, b"sealed")]


async def test_a_full_disk_refuses_whole_commits_and_works_again_with_space(store, tmp_path):
    await store.commit(make(0))
    pages = store._write.execute("PRAGMA page_count").fetchone()[0]
    store._write.execute(f"PRAGMA max_page_count = {pages + 40}")
    kept = [0]
    for number in range(1, 100):
        commit = Commit([Put(key(number), 0, 1, b"small"), Put(key(1000 + number), 0, 1, b"x" * 9000)], [b"entry"])
        if (result := await outcome(store.commit(commit))) is None:
            kept.append(number)
        else:
            assert result == Number.STORE_FULL
            break
    assert 1 < len(kept) < 99
    rows, log = rows_and_log(tmp_path / "rows.sqlite3")
    assert set(rows) == {key(n) for n in kept} | {key(1000 + n) for n in kept[1:]}
    assert len(log) == len(kept) - 1
    assert store.read([key(0)]) == [Row(1, b"sealed")]
    store._write.execute(f"PRAGMA max_page_count = {pages + 4000}")
    await store.commit(make(5000, b"x" * 9000))
    assert store.read([key(5000)]) == [Row(1, b"x" * 9000)]


async def test_a_corrupt_database_is_unavailable_and_does_not_crash(tmp_path):
    path = tmp_path / "rows.sqlite3"
    store = SqliteStore(path)
    for number in range(50):
        await store.commit(make(number, b"x" * 3000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    store = SqliteStore(path)
    try:
        with pytest.raises(Unavailable) as refused:
            store.read([key(1)])
        assert refused.value.number == Number.STORE_UNAVAILABLE
        with pytest.raises(Unavailable) as refused:
            await store.commit(make(99))
        assert refused.value.number == Number.STORE_UNAVAILABLE
    finally:
        store.close()


async def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "text").write_text("a text file, not a database at all, but long enough to be taken for one\n" * 40)
    with pytest.raises(Unavailable):
        SqliteStore(tmp_path / "text")


async def test_a_newer_schema_and_another_programs_database_are_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "newer")) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(SchemaMismatch, match="newer"):
        SqliteStore(tmp_path / "newer")
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE songs(title)")
    with pytest.raises(SchemaMismatch, match="another program"):
        SqliteStore(tmp_path / "other")


async def test_closing_finishes_what_was_begun(tmp_path):
    store = SqliteStore(tmp_path / "rows.sqlite3")
    commits = [store.commit(make(number)) for number in range(300)]
    store.close()
    await asyncio.gather(*commits)
    store = SqliteStore(tmp_path / "rows.sqlite3")
    assert None not in store.read([key(number) for number in range(300)])
    store.close()


def killed_writer(path, first, seconds):
    """Numbers that a writer acknowledged until it was killed."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.write_for_ever", str(path), str(first)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    acknowledged = writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    acknowledged += writer.communicate()[0]
    return {int(line) for line in acknowledged.splitlines(keepends=True) if line.endswith(b"\n")}


async def test_killed_writers_lose_nothing_acknowledged_and_leave_nothing_half(tmp_path):
    path = tmp_path / "rows.sqlite3"
    acknowledged = set()
    for life in range(6):
        acknowledged |= killed_writer(path, life * 1_000_000, 0.05 + 0.03 * life)
    store = SqliteStore(path)
    for number in acknowledged:
        assert store.read([put.key for put in twins(number)]) == [Row(1, put.sealed) for put in twins(number)]
    store.close()
    rows, log = rows_and_log(path)
    logged = [int.from_bytes(entry, "big") for entry in log]
    assert len(acknowledged) > 100
    assert len(logged) == len(set(logged))
    assert set(rows) == {put.key for number in logged for put in twins(number)}
