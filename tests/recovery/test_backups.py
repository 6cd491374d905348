"""Backups: of one moment, whole or none at whatever moment the process is killed, and as complete when only the changes
were read. Restores: all or nothing."""

import asyncio
import multiprocessing
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.backup.file import Damaged, read_manifest
from strongroom.host.backup.making import make_backup
from strongroom.host.backup.notes import BackupNote, DrillNote, Notes, VerifyNote, read_notes, write_note
from strongroom.host.backup.restoring import restore_database, restore_file
from strongroom.host.backup.sources import SqliteSource
from strongroom.host.store.opening import ELSEWHERE, FILE, open_store
from strongroom.host.store.port import WrongDatabase
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.link import Commit, Put
from tests.support.backups import Writer, charter_of, content, order

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))]
KILLS = 12


class Database:
    """One of either engine: a store to write to it, and its moments."""

    def __init__(self, kind, place):
        self.kind = kind
        self.place = place

    async def store(self):
        if self.kind == "sqlite":
            return SqliteStore(self.place)
        return await PostgresStore.open(self.place, application="test")

    async def source(self):
        if self.kind == "sqlite":
            return SqliteSource(self.place)
        from strongroom.host.backup.postgres import PostgresSource

        return await PostgresSource.open(self.place)

    @asynccontextmanager
    async def moment(self):
        source = await self.source()
        try:
            yield source
        finally:
            await source.close()

    async def backup(self, target, onto=None, **changes):
        async with self.moment() as source:
            return await make_backup(source, order(target, onto, **changes), charter_of)


@pytest.fixture(params=ENGINES)
def database(request, tmp_path):
    if request.param == "sqlite":
        return Database("sqlite", tmp_path / FILE)
    server = request.getfixturevalue("postgres_server")
    return Database("postgresql", server.local_url(server.database()))


@asynccontextmanager
async def written(database, rows=300):
    store = await database.store()
    writer = Writer(store)
    await writer.found()
    writer.keys = await writer.add(rows)
    try:
        yield writer
    finally:
        await store.close()


# --- full and incremental -----------------------------------------------------------------------------------------


async def test_an_incremental_backup_is_the_same_as_a_full_one_and_reads_only_what_changed(database, tmp_path):
    async with written(database) as writer:
        full = await database.backup(tmp_path / "0")
        assert (full.tally.rows, full.tally.leaves) == (full.manifest.rows, full.manifest.log_size)
        before = content(tmp_path / "0")
        steps = (
            lambda: writer.change(writer.keys[:3]),
            lambda: writer.add(600),
            writer.split,
            lambda: asyncio.sleep(0),
            writer.seal_ring_anew,
        )
        for number, step in enumerate(steps, 1):
            await step()
            made = await database.backup(tmp_path / f"{number}", tmp_path / f"{number - 1}")
            await database.backup(tmp_path / f"{number}-full")
            assert content(tmp_path / f"{number}") == content(tmp_path / f"{number}-full")
            assert made.manifest.based_on.name == f"{number - 1}"
            if number == 1:
                assert made.tally.rows < 12, "three rows, their buckets, the head and the ring"
                assert made.tally.bytes < full.tally.bytes / 4
        assert made.tally.rows < 12
        assert content(tmp_path / "0") == before, "what an incremental backup is made onto stays as it was"


async def test_a_backup_is_of_one_moment_while_rows_are_written(database, tmp_path):
    """Every commit raises two rows together; a copy that saw one of them before and one after it is of two moments."""
    async with written(database, 4000) as writer:
        pair, seen = [writer.keys[0], writer.keys[-1]], []  # read first and last
        stop = asyncio.Event()

        async def write():
            while not stop.is_set():
                await writer.change(pair)

        writing = asyncio.ensure_future(write())
        try:
            for number in range(3):
                onto = tmp_path / f"{number - 1}" if number == 2 else None
                await asyncio.to_thread(lambda: asyncio.run(database.backup(tmp_path / f"{number}", onto)))  # noqa: B023
                with closing(sqlite3.connect(tmp_path / f"{number}")) as there:
                    versions = [
                        there.execute("SELECT version FROM rows WHERE key = ?", (key,)).fetchone()[0] for key in pair
                    ]
                    size = there.execute("SELECT count(*), max(seq) + 1 FROM log").fetchone()
                assert versions[0] == versions[1]
                seen.append(versions[0])
                assert size[0] == size[1] == read_manifest(tmp_path / f"{number}").log_size
                assert size[0] == 1 + 4001 + 3 * (versions[0] - 1), "the log tells of exactly these writes"
        finally:
            stop.set()
            await writing
    assert seen[0] < seen[1] < seen[2], "nothing was written meanwhile"


async def test_a_backup_of_an_authenticator_which_has_one_row(database, tmp_path):
    store = await database.store()
    await store.commit(Commit([Put(RING_KEY, 0, 1, b"ring")], 0, []))
    await database.backup(tmp_path / "0")
    await store.commit(Commit([Put(RING_KEY, 1, 2, b"ring, again")], 0, []))
    await store.close()
    made = await database.backup(tmp_path / "1", tmp_path / "0")
    assert content(tmp_path / "1")["rows"] == [(RING_KEY, 2, b"ring, again")]
    assert (made.manifest.log_size, made.manifest.head) == (0, 0)


async def test_what_is_no_cluster_is_not_backed_up(database, tmp_path):
    await (await database.store()).close()
    with pytest.raises(CannotBackUp, match="no cluster"):
        await database.backup(tmp_path / "0")
    assert not list(tmp_path.glob("0*"))


# --- what an incremental backup may not be made onto ---------------------------------------------------------------


async def test_a_database_that_was_rolled_back_is_not_backed_up_onto_what_is_newer(database, tmp_path):
    async with written(database) as writer:
        await database.backup(tmp_path / "old")
        await writer.add(5)
        await database.backup(tmp_path / "new")
    (tmp_path / "back").mkdir()
    await restore_file(tmp_path / "old", tmp_path / "back")
    back = Database("sqlite", tmp_path / "back" / FILE)
    with pytest.raises(CannotBackUp, match="the database is older than the backup"):
        await back.backup(tmp_path / "bad", tmp_path / "new")
    store = await back.store()
    forked = Writer(store, seed=2)
    forked.versions, forked._size = dict(writer.versions), await store.size()
    forked.versions = {key: row.version for key in forked.versions if (row := (await store.read([key]))[0])}
    await forked.add(50)
    await store.close()
    with pytest.raises(CannotBackUp, match="not the one that the backup has the beginning of"):
        await back.backup(tmp_path / "bad", tmp_path / "new")
    assert not (tmp_path / "bad").exists()


async def test_a_backup_of_another_cluster_is_nothing_to_go_on_from(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        store = SqliteStore(tmp_path / name)
        await store.commit(Commit([Put(RING_KEY, 0, 1, bytes([seed]) * 64)], 0, []))
        await store.close()
    await Database("sqlite", tmp_path / "a").backup(tmp_path / "0")
    with pytest.raises(CannotBackUp, match="another cluster"):
        await Database("sqlite", tmp_path / "b").backup(tmp_path / "1", tmp_path / "0")


# --- the file -----------------------------------------------------------------------------------------------------


async def test_a_file_that_is_there_is_not_replaced_unless_that_is_said(tmp_path):
    database = Database("sqlite", tmp_path / FILE)
    async with written(database) as writer:
        target = tmp_path / "0"
        target.write_bytes(b"precious")
        with pytest.raises(CannotBackUp, match="exists"):
            await database.backup(target)
        assert target.read_bytes() == b"precious"
        await database.backup(target, if_there="replace")
        await writer.add(3)
        before = content(target)
        await database.backup(target, target, if_there="replace")
        await database.backup(tmp_path / "1")
        assert content(target) == content(tmp_path / "1") != before
        assert target.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob(".*"))


def backing_up(database, folder, onto):
    """In a process of its own, to be killed."""
    asyncio.run(database.backup(folder / "killed", folder / "onto" if onto else None, if_there="replace"))


@pytest.mark.parametrize("onto", [False, True], ids=["full", "incremental"])
def test_a_backup_that_is_killed_leaves_nothing_that_looks_like_one(onto, tmp_path):
    database = Database("sqlite", tmp_path / FILE)

    async def prepare():
        async with written(database, 3000) as writer:
            await database.backup(tmp_path / "onto")
            await writer.add(2000)

    asyncio.run(prepare())
    previous = (tmp_path / "onto").read_bytes()
    forking, chance = multiprocessing.get_context("fork"), random.Random(1)
    started = time.monotonic()
    whole = forking.Process(target=backing_up, args=(database, tmp_path, onto))
    whole.start()
    whole.join()
    assert whole.exitcode == 0
    seconds = time.monotonic() - started
    expected = content(tmp_path / "killed")
    (tmp_path / "killed").unlink()
    killed = 0
    for _ in range(KILLS):
        victim = forking.Process(target=backing_up, args=(database, tmp_path, onto))
        victim.start()
        time.sleep(chance.uniform(0, seconds))
        victim.kill()
        victim.join()
        killed += victim.exitcode == -signal.SIGKILL
        if (tmp_path / "killed").exists():
            assert content(tmp_path / "killed") == expected
            assert read_manifest(tmp_path / "killed").rows == len(expected["rows"])
            (tmp_path / "killed").unlink()
        assert (tmp_path / "onto").read_bytes() == previous
    assert killed
    backing_up(database, tmp_path, onto)
    assert content(tmp_path / "killed") == expected
    assert not list(tmp_path.glob(".*.partial")), "what killed processes left was taken over"


async def test_two_backups_to_one_file_do_not_mix(tmp_path):
    database = Database("sqlite", tmp_path / FILE)
    async with written(database), database.moment() as source:
        rows = source.rows

        async def slow():
            async for some in rows():
                with pytest.raises(CannotBackUp, match="another process writes 0"):
                    await database.backup(tmp_path / "0", if_there="replace")
                yield some

        source.rows = slow
        await make_backup(source, order(tmp_path / "0"), charter_of)
    assert len(content(tmp_path / "0")["rows"]) == read_manifest(tmp_path / "0").rows


@pytest.mark.needs("root")
@pytest.mark.parametrize("onto", [False, True], ids=["full", "incremental"])
async def test_a_full_disk_is_said_and_nothing_is_left(onto, tmp_path):
    database, small = Database("sqlite", tmp_path / FILE), tmp_path / "small"
    small.mkdir()
    mount("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", small)
    try:
        async with written(database, 2000):
            await database.backup(tmp_path / "0")
            with pytest.raises(CannotBackUp, match="no space left") as caught:
                await database.backup(small / "1", tmp_path / "0" if onto else None)
            assert caught.value.hint
            assert not list(small.iterdir())
            data = small / "data"
            data.mkdir()
            with pytest.raises(CannotBackUp, match="no space left"):
                await restore_file(tmp_path / "0", data)
            assert not list(data.iterdir())
    finally:
        mount("umount", "--lazy", small)


def mount(*command):
    subprocess.run(list(map(str, command)), check=True)


async def test_what_is_no_whole_backup_is_told_apart(tmp_path):
    database = Database("sqlite", tmp_path / FILE)
    async with written(database):
        await database.backup(tmp_path / "0")
    whole = (tmp_path / "0").read_bytes()

    def refused(data, words, name="bad"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CannotBackUp, match=words):
            read_manifest(tmp_path / name)

    refused(whole[: len(whole) // 2], "is cut off")
    refused(whole[:50], "no file of SQLite")
    refused(b"x" * 5000, "no file of SQLite")
    with pytest.raises(CannotBackUp, match="no such file"):
        read_manifest(tmp_path / "absent")
    for change, words in (
        ("DROP TABLE manifest", "has no manifest"),
        ("PRAGMA user_version = 3", "has other tables"),
        ("CREATE VIEW more AS SELECT * FROM rows", "has other tables"),
        ("UPDATE manifest SET value = '2' WHERE name = 'format'", "has format 2, this program knows 1"),
        ("UPDATE manifest SET value = 'x' WHERE name = 'rows'", "was altered"),
        ("DELETE FROM manifest WHERE name = 'rows'", "was altered"),
        ("INSERT INTO manifest VALUES ('x', '" + "1" * 300000 + "')", "was altered"),
    ):
        (tmp_path / "bad").write_bytes(whole)
        with closing(sqlite3.connect(tmp_path / "bad", isolation_level=None)) as connection:
            connection.execute(change)
        with pytest.raises(CannotBackUp, match=words):
            read_manifest(tmp_path / "bad")
    with pytest.raises(Damaged):
        read_manifest(tmp_path / FILE)


# --- restore ------------------------------------------------------------------------------------------------------


@pytest.mark.needs("postgres")
async def test_a_cluster_moves_between_engines_by_backup_and_restore(postgres_server, tmp_path):
    first = Database("sqlite", tmp_path / FILE)
    async with written(first, 2000):
        await first.backup(tmp_path / "0")
    second = Database("postgresql", postgres_server.local_url(postgres_server.database()))
    there = tmp_path / "there"
    there.mkdir()
    await restore_database(tmp_path / "0", second.place, there)
    await second.backup(tmp_path / "1")
    assert content(tmp_path / "1") == content(tmp_path / "0")
    assert read_manifest(tmp_path / "1").engine == "postgresql"
    third = tmp_path / "third"
    third.mkdir()
    await restore_file(tmp_path / "1", third)
    assert content(third / FILE) == content(tmp_path / "0")
    # What `serve` does next: it finds a cluster, and never founds one beside it.
    for data, url in ((there, second.place), (third, None)):
        store, new = await open_store(data, url, "test")
        await store.close()
        assert not new
    with pytest.raises(WrongDatabase, match="elsewhere"):
        await open_store(there, None, "test")


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", ELSEWHERE])
async def test_a_directory_that_is_not_empty_is_not_restored_into(name, tmp_path):
    database = Database("sqlite", tmp_path / FILE)
    async with written(database):
        await database.backup(tmp_path / "0")
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text("what is there")
    with pytest.raises(CannotBackUp, match="not empty"):
        await restore_file(tmp_path / "0", data)
    assert {file.name: file.read_text() for file in data.iterdir()} == {name: "what is there"}


@pytest.mark.needs("postgres")
async def test_a_database_that_is_not_empty_is_not_restored_into(postgres_server, tmp_path):
    database = Database("postgresql", postgres_server.local_url(postgres_server.database()))
    async with written(database):
        await database.backup(tmp_path / "0")
    with pytest.raises(CannotBackUp, match="not empty"):
        await restore_database(tmp_path / "0", database.place, None)
    await database.backup(tmp_path / "1")
    assert content(tmp_path / "1") == content(tmp_path / "0")


def restoring(backup, data, url):
    if url is None:
        asyncio.run(restore_file(backup, data))
    else:
        asyncio.run(restore_database(backup, url, None))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restore_that_is_killed_leaves_an_empty_target(engine, tmp_path, request):
    database = Database("sqlite", tmp_path / FILE)

    async def prepare():
        async with written(database, 3000):
            await database.backup(tmp_path / "0")

    asyncio.run(prepare())
    expected = content(tmp_path / "0")
    data, url = tmp_path / "data", None
    server: Any = None
    data.mkdir()
    if engine == "postgresql":
        server = request.getfixturevalue("postgres_server")
        name = server.database()
        url = server.local_url(name)
    forking, chance = multiprocessing.get_context("fork"), random.Random(2)
    killed, began = 0, time.monotonic()
    whole = forking.Process(target=restoring, args=(tmp_path / "0", data, url))
    whole.start()
    whole.join()
    seconds = time.monotonic() - began
    if url is None:
        (data / FILE).unlink()
    else:
        server.sql("TRUNCATE rows, log, log_hashes", name)
    for _ in range(KILLS // 3):
        victim = forking.Process(target=restoring, args=(tmp_path / "0", data, url))
        victim.start()
        time.sleep(chance.uniform(0, seconds))
        victim.kill()
        victim.join()
        killed += victim.exitcode == -signal.SIGKILL
        if url is None:
            if (data / FILE).exists():
                assert content(data / FILE) == expected
                (data / FILE).unlink()
            assert {file.name for file in data.iterdir()} <= {f".{FILE}.partial"}
        else:
            wait_until_alone(server, name)
            counted = server.sql("SELECT CASE WHEN to_regclass('rows') IS NULL THEN 0 ELSE 1 END", name)
            rows = server.sql("SELECT count(*) FROM rows", name) if counted == "1" else "0"
            assert rows in ("0", str(len(expected["rows"])))
            if rows != "0":
                server.sql("TRUNCATE rows, log, log_hashes", name)
    assert killed
    restoring(tmp_path / "0", data, url)
    if url is None:
        assert content(data / FILE) == expected
    else:
        asyncio.run(Database("postgresql", url).backup(tmp_path / "1"))
        assert content(tmp_path / "1") == expected


def wait_until_alone(server, name):
    """A server notices only when it next writes to it that whom it served is dead."""
    alone = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 20
    while server.sql(alone, name) != "0":
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- what is noted ------------------------------------------------------------------------------------------------


def test_notes_are_kept_beside_each_other_and_are_never_an_error(tmp_path):
    assert read_notes(tmp_path) == Notes()
    backup = BackupNote(1, "/backups/a", "full", 100, 3, 7)
    write_note(tmp_path, backup)
    write_note(tmp_path, VerifyNote(2, "/backups/a", True, 1, 7))
    write_note(tmp_path, DrillNote(3, "/backups/a", 1, 7, 1))
    assert read_notes(tmp_path) == Notes(backup, read_notes(tmp_path).verify, None, read_notes(tmp_path).drill)
    verified = read_notes(tmp_path).verify
    assert verified is not None
    assert verified.holds
    for damage in (b"", b"{", b'{"backup": 3}', b"\xff" * 100):
        (tmp_path / "operations.json").write_bytes(damage)
        assert read_notes(tmp_path) == Notes()
    write_note(tmp_path, backup)
    assert read_notes(tmp_path) == Notes(backup)
    assert [file.name for file in tmp_path.iterdir()] == ["operations.json"]


async def test_where_a_restore_was_cut_off_no_other_cluster_is_founded(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / f".{FILE}.partial").write_bytes(b"SQLite format 3\x00")
    with pytest.raises(WrongDatabase, match="did not come to its end"):
        await open_store(data, None, "test")
    assert [file.name for file in data.iterdir()] == [f".{FILE}.partial"]
