"""Databases of a real Vault that were bent, restored in part, or set beside another time's log: each is named."""

import hashlib
import os
import shutil
import sqlite3

import pytest

from strongroom.cli.audit_sources import Named, opened
from strongroom.cli.terminal import Failure
from strongroom.client.audit.log import Audit, found
from strongroom.client.audit.rows import KeptHashes, audit_rows
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol import index
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.link import Commit, Put
from tests.support import postgres
from tests.support.logs import findings, states
from tests.support.vault import SECRET, fresh, stored
from tests.support.world import for_bob


async def write(host, path):
    """The database that this host would have."""
    store = SqliteStore(path)
    puts = [Put(key, 0, row.version, row.sealed) for key, row in host.rows.items()]
    await store.commit(Commit(puts, 0, host.log))
    await store.close()
    return path


async def audit(world, path, note=None):
    genesis = parse_evidence(await world.vault.evidence())[0].genesis
    async with opened(Named(None, str(path), None)) as there:
        assert there.genesis == genesis
        assert there.snapshot is not None
        kept = KeptHashes(there.snapshot)
        looking = Audit(found(genesis, {world.vault_cluster}), now=2**33)
        report = await looking.run(there.log, note=note, watchers=[kept])
        report.checks += [kept.check, *await audit_rows(there.snapshot, looking.last, report.facts)]
    return report


def bend(path, statement, *values):
    connection = sqlite3.connect(path)
    changed = connection.execute(statement, values).rowcount
    connection.commit()
    connection.close()
    assert changed, "nothing was bent"


@pytest.fixture
async def kept(world, tmp_path):
    """A Vault with some records, one of them at its second version, and its database; a row that was there before."""
    address, key = await stored(world)
    before = world.vault.host.rows[key]
    alice = await world.client("alice")
    await alice.update(address, 1, secret=b"another")
    for _ in range(16):
        await alice.store(fresh(), SECRET, world.instructions(for_bob()))
    await (await world.client("bob")).collect(address)
    note = world.vault.enclave._door._service.checkpoint()
    return await write(world.vault.host, tmp_path / "vault.sqlite3"), key, before, note


async def test_a_whole_database_holds(world, kept):
    path, _, _, note = kept
    report = await audit(world, path, note)
    assert set(states(report).values()) <= {"holds", "not checked"}, states(report)
    checks = {check.name: check for check in report.checks}
    assert checks["unlisted"].count == len(world.vault.host.rows)
    assert checks["index"].count >= 2, "there is one bucket only"
    assert checks["hashes"].count == len(world.vault.host.log)


async def test_an_older_row_is_named(world, kept):
    path, key, before, _ = kept
    bend(path, "UPDATE rows SET version = ?, sealed = ? WHERE key = ?", before.version, before.sealed, key)
    assert f"row {key.hex()} is an older one: version 1, and the index lists 2" in findings(
        await audit(world, path), "rows"
    )


async def test_an_older_row_under_the_newer_number_is_named(world, kept):
    path, key, before, _ = kept
    bend(path, "UPDATE rows SET sealed = ? WHERE key = ?", before.sealed, key)
    assert f"row {key.hex()} was altered" in findings(await audit(world, path), "rows")


async def test_a_lost_row_is_named(world, kept):
    path, key, _, _ = kept
    bend(path, "DELETE FROM rows WHERE key = ?", key)
    assert f"row {key.hex()} is gone" in findings(await audit(world, path), "rows")


async def test_a_row_too_many_is_counted(world, kept):
    path, *_ = kept
    bend(path, "INSERT INTO rows(key, version, sealed) VALUES (?, 1, ?)", os.urandom(32), b"x")
    assert "1 rows are listed nowhere" in findings(await audit(world, path), "unlisted")


async def test_old_rows_beside_a_newer_log_are_named(world, kept, tmp_path):
    path, *_ = kept
    address, _ = await stored(world)
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    newer = await write(world.vault.host, tmp_path / "newer.sqlite3")
    connection = sqlite3.connect(newer)
    connection.execute("ATTACH ? AS old", (str(path),))
    connection.execute("DELETE FROM rows")
    connection.execute("INSERT INTO rows(key, version, sealed) SELECT key, version, sealed FROM old.rows")
    connection.commit()
    connection.close()
    report = await audit(world, newer)
    assert "rows and log are of different times" in findings(report, "index")
    assert states(report)["leaves"] == "holds"


async def test_an_old_log_under_newer_rows_is_named(world, kept, tmp_path):
    path, *_ = kept
    address, _ = await stored(world)
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    newer = await write(world.vault.host, tmp_path / "newer.sqlite3")
    older = sqlite3.connect(path).execute("SELECT count(*) FROM log").fetchone()[0]
    bend(newer, "DELETE FROM log WHERE seq >= ?", older)
    report = await audit(world, newer, world.vault.enclave._door._service.checkpoint())
    assert "of different times" in findings(report, "index")
    assert "newer than the log" in findings(report, "buckets")
    assert "cut off, or was rolled back" in findings(report, "root")


@pytest.mark.usefixtures("kept")
async def test_an_old_bucket_is_named(world, tmp_path):
    number = index.bucket_key(0)
    before = world.vault.host.rows[number]
    address = fresh()
    while index.bucket_of(world.handle(address), _count(world)) != 0:
        address = fresh()
    alice = await world.client("alice")
    await alice.store(address, SECRET, world.instructions(for_bob()))
    newer = await write(world.vault.host, tmp_path / "newer.sqlite3")
    bend(newer, "UPDATE rows SET version = ?, sealed = ? WHERE key = ?", before.version, before.sealed, number)
    assert states(await audit(world, newer))["index"] == "fails"


async def test_a_lost_bucket_is_named(world, kept):
    path, *_ = kept
    bend(path, "DELETE FROM rows WHERE key = ?", index.bucket_key(1))
    report = await audit(world, path)
    assert "bucket 1 is gone" in findings(report, "buckets")
    assert states(report)["index"] == "fails"


async def test_a_bucket_that_was_rewritten_to_hide_a_row_is_named(world, kept):
    path, key, *_ = kept
    number = index.bucket_of(key, _count(world))
    content = world.vault.host.rows[index.bucket_key(number)].sealed
    listed = [content[at : at + 88] for at in range(0, len(content), 88)]
    hidden = b"".join(one for one in listed if one[:32] != key)
    bend(path, "UPDATE rows SET sealed = ? WHERE key = ?", hidden, index.bucket_key(number))
    bend(path, "DELETE FROM rows WHERE key = ?", key)
    assert states(await audit(world, path))["index"] == "fails"


async def test_another_sealed_ring_is_named(world, kept):
    path, *_ = kept
    row = world.vault.host.rows[RING_KEY]
    bend(path, "UPDATE rows SET sealed = ? WHERE key = ?", row.sealed[:-1] + b"x", RING_KEY)
    assert "another than the one" in findings(await audit(world, path), "sealed-ring")


async def test_a_lost_head_is_named(world, kept):
    path, *_ = kept
    bend(path, "DELETE FROM rows WHERE key = ?", HEAD_KEY)
    assert "will not start" in findings(await audit(world, path), "rows")


async def test_an_older_head_is_named(world, kept, tmp_path):
    _, _, _, note = kept
    before = world.vault.host.rows[HEAD_KEY]
    await stored(world)
    newer = await write(world.vault.host, tmp_path / "newer.sqlite3")
    bend(newer, "UPDATE rows SET version = ?, sealed = ? WHERE key = ?", before.version, before.sealed, HEAD_KEY)
    report = await audit(world, newer, note)
    assert f"the head row is an older one: version {before.version}, and the log has" in findings(report, "rows")


async def test_a_lost_leaf_is_named(world, kept):
    path, _, _, note = kept
    bend(path, "DELETE FROM log WHERE seq = 7")
    assert "leaf 7 is not in the database" in findings(await audit(world, path, note), "root")


async def test_hashes_of_which_no_proof_would_hold_are_named(world, kept):
    path, *_ = kept
    bend(path, "UPDATE log_hashes SET hash = ? WHERE level = 0 AND idx = 9", bytes(32))
    assert "tile 0 of level 0" in findings(await audit(world, path), "hashes")


async def test_an_audit_changes_nothing_and_takes_a_copy_that_can_not_be_written(world, kept, tmp_path):
    path, *_ = kept
    folder = tmp_path / "backup"
    folder.mkdir()
    shutil.copy(path, folder / "strongroom.sqlite3")
    before = (folder / "strongroom.sqlite3").read_bytes()
    (folder / "strongroom.sqlite3").chmod(0o400)
    folder.chmod(0o500)
    try:
        assert not (await audit(world, folder)).failed
    finally:
        folder.chmod(0o700)
    assert (folder / "strongroom.sqlite3").read_bytes() == before


@pytest.mark.needs("postgres")
async def test_postgresql_is_audited_by_the_same_checks(world, postgres_server):
    _, key = await stored(world)
    server = postgres_server
    server.sql("CREATE DATABASE audited")
    url = server.url("audited").replace("strongroom@", f"strongroom:{postgres.PASSWORD}@")
    store = await PostgresStore.open(url)
    puts = [Put(key, 0, row.version, row.sealed) for key, row in world.vault.host.rows.items()]
    await store.commit(Commit(puts, 0, world.vault.host.log))
    await store.close()
    report = await audit(world, url, world.vault.enclave._door._service.checkpoint())
    assert set(states(report).values()) <= {"holds", "not checked"}, states(report)
    server.sql(f"UPDATE rows SET version = 7 WHERE key = '\\x{key.hex()}'", "audited")
    report = await audit(world, url)
    assert f"row {key.hex()} is a newer one: version 7, and the index lists 1" in findings(report, "rows")
    with pytest.raises(Failure, match="the database refused: password authentication failed") as refused:
        await audit(world, url.replace(postgres.PASSWORD, "another"))
    assert "PGPASSWORD" in refused.value.hint
    server.sql("UPDATE strongroom SET schema_version = 99", "audited")
    with pytest.raises(Failure, match="schema version 99"):
        await audit(world, url)
    with pytest.raises(Failure, match="not one of a Vault"):
        await audit(world, url.replace("/audited", "/postgres"))


def test_rows_are_where_the_specification_puts_them():
    """By its words (`spec/log.md`), not by the program that both the Vault and its auditor have."""

    def place(label, *parts):
        framed = f"strongroom/v1 {label}".encode() + b"\0"
        return hashlib.sha256(framed + b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()

    for count in range(1, 70):
        power = max(k for k in range(8) if 2**k <= count)
        for key in (os.urandom(32) for _ in range(20)):
            number = int.from_bytes(key[:8], "big") % 2 ** (power + 1)
            assert index.bucket_of(key, count) == (number - 2**power if number >= count else number)
    shard = bytes(8)
    expected = [place("bucket handle", shard, number.to_bytes(8, "big")) for number in range(5)]
    assert [index.bucket_key(number) for number in range(5)] == expected
    assert place("ring handle") == RING_KEY
    assert place("head handle", shard) == HEAD_KEY


def _count(world):
    return world.vault.enclave._door._service._ledger._index.buckets
