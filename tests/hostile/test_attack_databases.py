"""What the attack kit does to a deployment that is somebody's, and that it puts it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.attack.database import HEAD, Copy, PostgresDatabase, Row, SqliteDatabase, database_at, payload_rows
from strongroom.attack.network import flipped
from strongroom.attack.remote import Guarded
from strongroom.host.store.port import Store
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.link import Commit, Put
from tests.support.command import environment

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
    await store.commit(Commit([Put(KEY, 0, 1, b"old"), Put(HEAD, 0, 1, b"head")], 0, leaves))
    await store.commit(Commit([Put(KEY, 1, 2, b"new"), Put(OTHER, 0, 1, b"more")], 300, [b"last"]))
    hashes = [await store.hashes(level, 0, 400) for level in (0, 1)]
    await store.close()
    return where, leaves, hashes


async def test_a_database_is_copied_and_put_back_exactly(kept):
    where, leaves, hashes = kept
    database = database_at(where)
    copy = await database.copy()
    assert copy.rows == {KEY: Row(2, b"new"), OTHER: Row(1, b"more"), HEAD: Row(1, b"head")}
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
    await database.restore(now.with_rows({HEAD: Row(2, b"head after")}).with_log((*now.leaves, b"the Vault went on")))
    await guarded.put_back()
    after = await database.copy()
    assert after.rows == {**true.rows, HEAD: Row(2, b"head after")}
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


def test_which_rows_a_change_wrote_a_host_sees_without_the_bookkeeping():
    before = Copy({KEY: Row(1, b"old"), HEAD: Row(1, b"head")}, (), {})
    after = before.with_rows({KEY: Row(2, b"new"), OTHER: Row(1, b"more"), HEAD: Row(2, b"head")})
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
        cwd=directory, env=environment(), stdout=subprocess.PIPE, timeout=SECONDS, check=False,
    )  # fmt: skip
    (lines,) = json.loads(done.stdout).values()
    assert done.returncode == 0
    verdicts = {line["attack"]: line["verdict"] for line in lines}
    assert verdicts["flip-answer"] == verdicts["replay-frame"] == verdicts["other-cluster"] == "ok"
    assert verdicts["old-database"] == "not run"
