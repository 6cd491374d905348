"""What the attack kit does to a deployment that is somebody's, and that it puts it back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from strongroom.attack.database import (
    Copy,
    PostgresDatabase,
    Row,
    SqliteDatabase,
    database_at,
    payload_rows,
    put_back_copy,
    save_copy,
)
from strongroom.attack.network import flipped
from strongroom.attack.outcomes import SetUpFailed
from strongroom.attack.remote import Guarded
from strongroom.attack.run import to_the_end
from strongroom.cli.attack import run_to_the_end
from strongroom.host.store.port import Store
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.index import HEAD_KEY
from strongroom.protocol.link import Commit, Put
from tests.support.command import environment, strongroom

SECONDS = 300
KEY, OTHER = bytes(32), bytes([1]) * 32


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def kept(request, tmp_path):
    """A database with two commits, as a store left it, and the way to it."""
    if request.param == "sqlite":
        where = str(tmp_path / "strongroom.sqlite3")
        store: Store = SqliteStore(Path(where))
    else:
        server = request.getfixturevalue("postgres_server")
        where = server.local_url(server.database())
        store = await PostgresStore.open(where)
    leaves = [number.to_bytes(2, "big") * 20 for number in range(300)]
    await store.commit(Commit([Put(KEY, 0, 1, b"old"), Put(HEAD_KEY, 0, 1, b"head")], 0, leaves))
    await store.commit(Commit([Put(KEY, 1, 2, b"new"), Put(OTHER, 0, 1, b"more")], 300, [b"last"]))
    hashes = [await store.hashes(level, 0, 400) for level in (0, 1)]
    await store.close()
    return where, leaves, hashes


async def test_a_database_is_copied_and_put_back_exactly(kept):
    where, leaves, hashes = kept
    database = database_at(where)
    copy = await database.copy()
    assert copy.rows == {KEY: Row(2, b"new"), OTHER: Row(1, b"more"), HEAD_KEY: Row(1, b"head")}
    assert copy.leaves == (*leaves, b"last")
    assert [copy.hashes[0, at] for at in range(301)] == hashes[0]
    assert [copy.hashes[1, 0]] == hashes[1]
    assert copy.with_log(copy.leaves) == copy, "the kit keeps the hashes of a log as the store does"
    await database.restore(copy.with_rows({KEY: None}).with_leaves({7: None}))
    changed = await database.copy()
    assert KEY not in changed.rows
    assert changed.leaves[7] is None
    await database.put(KEY, Row(1, b"old"))
    assert (await database.copy()).rows[KEY] == Row(1, b"old")
    await database.restore(copy)
    assert await database.copy() == copy


async def test_what_was_tampered_with_is_put_back_under_what_the_vault_wrote_since(kept):
    """A Vault that went on, and witnesses that saw it, must not find an older database than they know."""
    database = database_at(kept[0])
    true = await database.copy()
    guarded = Guarded(database)
    await guarded.restore(true.with_rows({KEY: Row(1, b"old"), OTHER: None}).with_leaves({3: None}))
    now = await database.copy()
    await database.restore(
        now.with_rows({HEAD_KEY: Row(2, b"head after")}).with_log((*now.leaves, b"the Vault went on"))
    )
    await guarded.put_back()
    after = await database.copy()
    assert after.rows == {**true.rows, HEAD_KEY: Row(2, b"head after")}
    assert after.leaves == (*true.leaves, b"the Vault went on")
    assert after == after.with_log(after.leaves)


async def test_a_vault_that_went_on_from_an_old_database_is_undone_altogether(kept):
    database = database_at(kept[0])
    true = await database.copy()
    guarded = Guarded(database)
    await guarded.restore(true.with_log(true.leaves[:200]))
    now = await database.copy()
    await database.restore(now.with_log((*now.leaves, *[b"another history"] * 150)))
    await guarded.put_back()
    assert await database.copy() == true


async def test_a_saved_copy_is_put_back_over_what_a_killed_kit_left(kept, tmp_path):
    where, leaves, hashes = kept
    true, saved = await database_at(where).copy(), tmp_path / "saved.sqlite3"
    save_copy(true, saved)
    await database_at(where).restore(true.with_rows({KEY: Row(1, b"old"), OTHER: None}).with_log(true.leaves[:200]))
    ran = await asyncio.to_thread(strongroom, "attack", "--put-back", saved, "--database", where, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert await database_at(where).copy() == true
    # A store opens the copy itself, too, and goes on from it.
    store = SqliteStore(saved)
    assert [await store.hashes(level, 0, 400) for level in (0, 1)] == hashes
    await store.commit(Commit([Put(KEY, 2, 3, b"newer")], len(leaves) + 1, [b"next"]))
    await store.close()


async def test_a_saved_copy_is_not_put_back_under_a_vault_that_has_the_database_open(kept, tmp_path):
    where, *_ = kept
    saved = tmp_path / "saved.sqlite3"
    save_copy(await database_at(where).copy(), saved)
    store: Store = await PostgresStore.open(where) if "://" in where else SqliteStore(Path(where))
    with pytest.raises(SetUpFailed, match="stop the Vault first"):
        await put_back_copy(saved, database_at(where))
    await store.close()
    await put_back_copy(saved, database_at(where))


async def test_what_is_no_copy_of_a_database_is_not_put_back(kept, tmp_path):
    database = database_at(kept[0])
    true = await database.copy()
    for name, rows in (("headless", {HEAD_KEY: None}), ("empty", dict.fromkeys(true.rows))):
        save_copy(true.with_rows(rows), tmp_path / name)
        with pytest.raises(SetUpFailed, match="no head"):
            await put_back_copy(tmp_path / name, database)
    with pytest.raises(SetUpFailed, match="can't open"):
        await put_back_copy(tmp_path / "absent", database)
    assert await database.copy() == true


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("again", ["told once", "told again while it puts back"])
def test_a_kit_that_is_told_to_end_puts_back_what_it_attacked_first(tmp_path, number, again):
    database = SqliteDatabase(tmp_path / "strongroom.sqlite3")
    true = Copy({HEAD_KEY: Row(1, b"head"), KEY: Row(2, b"new")}, (b"leaf",), {}).with_log((b"leaf",))
    save_copy(true, tmp_path / "strongroom.sqlite3")
    guarded = Guarded(database)

    async def put_back():
        await asyncio.sleep(0.1)  # as stopping a Vault takes
        await guarded.put_back()

    async def attack():
        await guarded.put(KEY, Row(1, b"old"))
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(SECONDS)
        finally:
            if again != "told once":
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.05, task.cancel)
            await to_the_end(put_back())

    before = signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored, as the kit then does
    try:
        with pytest.raises(typer.Exit) as ended:
            run_to_the_end(attack())
    finally:
        signal.signal(number, before)
    assert ended.value.exit_code == 128 + number
    assert asyncio.run(database.copy()) == true


def test_which_rows_a_change_wrote_a_host_sees_without_the_bookkeeping():
    before = Copy({KEY: Row(1, b"old"), HEAD_KEY: Row(1, b"head")}, (), {})
    after = before.with_rows({KEY: Row(2, b"new"), OTHER: Row(1, b"more"), HEAD_KEY: Row(2, b"head")})
    assert payload_rows(before.rows, after.rows) == [KEY, OTHER]
    assert flipped(b"\0\0") == b"\0\1"


def test_a_database_is_named_by_its_file_its_directory_or_its_server(tmp_path):
    assert isinstance(database_at("postgresql://somewhere/strongroom"), PostgresDatabase)
    assert isinstance(database_at(str(tmp_path)), SqliteDatabase)


class Deployment:
    """Servers as an operator runs them, with a script to stop and one to start the Vault."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[subprocess.Popen[bytes]] = []

    def serve(self, role: str) -> str:
        process = subprocess.Popen(
            self.command(role, "127.0.0.1:0"), env=environment(), cwd=self.directory,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.running.append(process)
        assert process.stdout is not None
        told = b""
        while not told.rstrip().endswith(b"}"):
            told += process.stdout.read1(4096)  # type: ignore[attr-defined]
        return str(json.loads(told)["url"])

    def command(self, role: str, listen: str) -> list[str]:
        where = ["--data", role, "--platform", "machine", "--listen", listen, "--until-eof", "--json"]
        return [sys.executable, "-m", "strongroom.cli", "serve", role, *where]

    def stop(self) -> None:
        for process in self.running:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


@pytest.fixture
def vault(tmp_path):
    deployment = Deployment(tmp_path)
    try:
        yield deployment.serve("vault"), tmp_path
    finally:
        deployment.stop()


def test_a_vault_elsewhere_is_attacked_on_its_way_with_no_more_than_its_url(vault):
    url, directory = vault
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", "attack", url, "--json"],
        cwd=directory, env=environment(), capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    (lines,) = json.loads(done.stdout).values()
    assert done.returncode == 0
    verdicts = {line["attack"]: line["verdict"] for line in lines}
    assert verdicts["flip-answer"] == verdicts["replay-frame"] == verdicts["other-cluster"] == "ok"
    assert verdicts["old-database"] == "not run"
    # What is missing is said once, all of it.
    assert {line["said"] for line in lines if line["verdict"] == "not run" and "--database" in line["said"]} == {
        "it takes --database, --stop and --start, and --trust, --namespace, --instructions and --ssh-key"
        " of who may store"
    }
    assert b"not run" not in done.stderr
