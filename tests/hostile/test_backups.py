"""Backups that somebody bent, cut, mixed or kept back: what is said without any key, and what is restored of them."""

import asyncio
import json
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from strongroom.cli.backup_check import check_backup
from strongroom.cli.backups import fetch_checkpoint
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.custody import verify_custody
from strongroom.client.results import NewSecret
from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.backup.file import Damaged
from strongroom.host.backup.notes import read_notes
from strongroom.host.store.opening import ELSEWHERE
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.governance import Charter
from strongroom.protocol.index import HEAD_KEY, RING_KEY, bucket_key
from strongroom.protocol.limits import MAX_MESSAGE
from tests.soak.cluster import cluster
from tests.soak.people import NAMESPACE, World
from tests.support.command import strongroom


@dataclass
class Kept:
    """What real servers left behind: two backups of a Vault, one of its Authenticator, checkpoints of those moments."""

    folder: Path
    old: Path
    new: Path
    authenticator: Path
    note_old: bytes
    note_new: bytes
    cluster: bytes


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backups")
    return asyncio.run(_kept(folder))


async def _kept(folder):
    async with cluster("sqlite") as it:
        world = World(it, MemoryCheckpoints(), 1)
        await world.namespace()

        async def store(count):
            items = [
                NewSecret(world.secret(), world.private, record_id=world.chance.randbytes(16)) for _ in range(count)
            ]
            await alice.store_many(items, namespace=NAMESPACE)

        async def run(*arguments):
            done = await asyncio.to_thread(strongroom, *arguments, cwd=folder)
            assert done.status == 0, done.err
            return done

        async with world.sdk(it.alice) as alice:
            await store(60)
            await run("backup", "old", "--data", it.data, "--url", it.vault.url)
            note_old = await fetch_checkpoint(it.vault.url)
            await store(7)
            made = await run("backup", "new", "--data", it.data, "--onto", "old", "--url", it.vault.url, "--json")
            assert json.loads(made.out)["kind"] == "incremental"
            note_new = await fetch_checkpoint(it.vault.url)
        await run("backup", "authenticator", "--data", it.root / "authenticator")
        noted = read_notes(it.data).backup
        assert noted is not None
        assert noted.path == str(folder / "new")
        assert noted.log_size == json.loads(made.out)["log_size"]
        old, new, authenticator = (folder / name for name in ("old", "new", "authenticator"))
        return Kept(folder, old, new, authenticator, note_old, note_new, it.clusters["vault"])


def look(path, *, clusters=None, known=()):
    async def checked():
        return await check_backup(
            path, now=int(time.time()), clusters=clusters, known=known, watch=lambda what: lambda done, of: None
        )

    return asyncio.run(checked())


def failing(path, **options):
    """Names of the checks that fail, with what they found."""
    return {check.name: " ".join(check.findings) for check in look(path, **options).failed}


@pytest.fixture
def bent(kept, tmp_path):
    """Copies of a backup with SQL of one's own."""

    def bend(*statements, source=kept.new):
        path = tmp_path / "bent"
        shutil.copy(source, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement, *values in statements:
                assert connection.execute(statement, *values).rowcount != 0, statement
        return path

    return bend


def rows_of(path, where="1"):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT key, version, sealed FROM rows WHERE {where} ORDER BY id").fetchall()


def a_record(kept):
    """A row that is neither ring, head nor bucket."""
    own = {RING_KEY, HEAD_KEY, *(bucket_key(number) for number in range(64))}
    return next(row for row in rows_of(kept.old) if row[0] not in own)


def test_backups_as_they_were_made_hold(kept):
    for path in (kept.old, kept.new):
        verdict = look(path, clusters=[kept.cluster])
        assert not verdict.failed
        states = {check.name: check.state for check in verdict.checks}
        assert states["rows"] == states["index"] == states["root"] == states["named"] == states["charter"] == "holds"
        assert states["recovery"] == "noticed", "a development cluster says so everywhere"
    verdict = look(kept.authenticator)
    assert not verdict.failed
    assert verdict.whose.founding.role == "authenticator"


def test_an_older_backup_says_how_far_it_is_behind_what_is_known(kept):
    verdict = look(kept.old, known=[kept.note_new])
    newest = next(check for check in verdict.checks if check.name == "newest")
    assert verdict.behind > 0
    assert f"{verdict.behind} more" in newest.findings[0]
    assert newest.state == "noticed"
    assert not verdict.failed
    same = look(kept.new, known=[kept.note_new, kept.note_old])
    assert (same.behind, [check.state for check in same.checks if check.name == "newest"]) == (0, ["holds"])


def test_a_checkpoint_of_another_log_is_none_of_this_one(kept):
    altered = kept.note_new.replace(b"\n", b"\n1", 1)
    assert "not one of this log" in failing(kept.new, known=[altered])["newest"]


def test_a_backup_of_another_cluster_than_was_named_is_refused(kept):
    assert kept.cluster.hex() in failing(kept.new, clusters=[bytes(32)])["named"]


# --- bent ---------------------------------------------------------------------------------------------------------


def test_an_altered_row_is_found(kept, bent):
    key, _, sealed = a_record(kept)
    path = bent(("UPDATE rows SET sealed = ? WHERE key = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]), key)))
    assert "was altered" in failing(path)["rows"]


def test_a_lost_row_and_a_row_too_many_are_found(kept, bent):
    key, version, sealed = a_record(kept)
    found = failing(bent(("DELETE FROM rows WHERE key = ?", (key,))))
    assert f"row {key.hex()} is gone" in found["rows"]
    assert "rows: it says" in found["manifest"]
    found = failing(bent(("INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)", (b"x" * 32, version, sealed))))
    assert "listed nowhere" in found["unlisted"]


def test_a_backup_of_two_times_is_found(kept, bent):
    """Old rows with their old buckets, head and ring, under the newer log: whole in itself, and yet of two moments."""
    old = rows_of(kept.old)
    replaced = [("UPDATE rows SET version = ?, sealed = ? WHERE key = ?", (v, s, k)) for k, v, s in old]
    keep = ",".join(f"x'{key.hex()}'" for key, _, _ in old)
    found = failing(bent(*replaced, (f"DELETE FROM rows WHERE key NOT IN ({keep})",)))
    assert "rows and log are of different times" in found["index"]


def test_an_older_row_beside_newer_ones_is_found(kept, bent):
    changed = [
        (key, version, sealed)
        for key, version, sealed in rows_of(kept.old)
        if (key, version, sealed) not in rows_of(kept.new) and key != HEAD_KEY
    ]
    key, version, sealed = changed[0]
    found = failing(bent(("UPDATE rows SET version = ?, sealed = ? WHERE key = ?", (version, sealed, key))))
    assert set(found) & {"rows", "index", "sealed-ring"}


def test_a_log_that_was_cut_off_or_altered_is_found(kept, bent):
    found = failing(bent(("DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)",)))
    assert "it is cut off" in found["manifest"]
    found = failing(bent(("UPDATE log SET leaf = (SELECT leaf FROM log WHERE seq = 0) WHERE seq = 5",)))
    assert "altered, left out or put in another order" in found["root"]
    found = failing(bent(("UPDATE log_hashes SET hash = zeroblob(32) WHERE level = 0 AND idx = 3",)))
    assert set(found) == {"hashes"}


def test_a_checkpoint_that_nobody_signed_is_found(kept, bent):
    note = kept.note_new.decode()
    lines = note.split("\n")
    lines[2] = "A" * 43 + "="
    for text in ("\n".join(lines), "hello"):
        value = msgspec.json.encode(text).decode()
        path = bent(("UPDATE manifest SET value = ? WHERE name = 'checkpoint'", (value,)))
        assert "not one of this log" in failing(path)["newest"]


def test_a_charter_that_nobody_signed_is_found(kept, bent):
    (_, _, sealed) = rows_of(kept.new, f"key = x'{RING_KEY.hex()}'")[0]
    row = msgspec.msgpack.decode(sealed)
    charter = decode(row["charter"], Charter, limit=MAX_MESSAGE)
    other = msgspec.structs.replace(
        charter.genesis, statement=charter.genesis.statement.replace(b"development\xc3", b"development\xc2")
    )
    assert other != charter.genesis
    for change in (
        {"charter": encode(msgspec.structs.replace(charter, genesis=other))},
        {"charter": b"\xc0"},
        {"recovery_wrap": b""},
    ):
        path = bent(("UPDATE rows SET sealed = ? WHERE key = ?", (msgspec.msgpack.encode(row | change), RING_KEY)))
        assert failing(path)["charter"]
        assert failing(path).keys() == {"charter"}, "nothing more can be said"
    assert "gone" in failing(bent(("DELETE FROM rows WHERE key = ?", (RING_KEY,))))["charter"]
    assert verify_custody(sealed).cluster == kept.cluster


def test_another_ring_of_the_same_cluster_is_found(kept, bent):
    (_, _, sealed) = rows_of(kept.new, f"key = x'{RING_KEY.hex()}'")[0]
    row = msgspec.msgpack.decode(sealed)
    other = msgspec.msgpack.encode(row | {"instances": []})
    assert "sealed-ring" in failing(bent(("UPDATE rows SET sealed = ? WHERE key = ?", (other, RING_KEY))))


def test_a_manifest_that_says_something_else_is_found(kept, bent):
    for name, value in (("role", '"authenticator"'), ("cluster", f'"{"00" * 32}"'), ("log_size", "3"), ("head", "1")):
        path = bent(("UPDATE manifest SET value = ? WHERE name = ?", (value, name)))
        assert f"{name}: it says" in failing(path)["manifest"]


def test_an_authenticators_backup_with_anything_more_is_found(kept, bent):
    path = bent(
        ("INSERT INTO rows(key, version, sealed) VALUES (?, 1, x'00')", (b"x" * 32,)), source=kept.authenticator
    )
    assert "an Authenticator writes neither" in failing(path)["rows"]


def test_a_damaged_or_cut_file_is_found_and_told_apart(kept, tmp_path):
    whole = kept.new.read_bytes()
    path = tmp_path / "damaged"
    middle = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:middle] + b"\xff" * 4096 + whole[middle + 4096 :])
    with pytest.raises(CannotBackUp, match="is damaged"):
        look(path)
    path.write_bytes(whole[:middle])
    with pytest.raises(Damaged, match="is cut off"):
        look(path)


# --- the commands -------------------------------------------------------------------------------------------------


def test_the_exit_status_tells_programs_what_was_found(kept, bent, tmp_path):
    key, _, _ = a_record(kept)
    path = bent(("DELETE FROM rows WHERE key = ?", (key,)))
    done = strongroom("verify-backup", path, "--data", tmp_path, cwd=tmp_path)
    assert done.status == 11
    assert "does not hold: manifest, rows" in done.err
    verified = read_notes(tmp_path).verify
    assert verified is not None
    assert not verified.holds
    done = strongroom("restore", path, "--data", "there", cwd=tmp_path)
    assert done.status == 11, "what does not hold is never restored"
    assert {file.name for file in (tmp_path / "there").iterdir()} == {"lock"}
    (tmp_path / "note").write_bytes(kept.note_new)
    done = strongroom("verify-backup", kept.old, "--checkpoint", "note", "--cluster", kept.cluster.hex(), cwd=tmp_path)
    assert done.status == 0
    assert "it is older than what is known" in done.out.decode()
    done = strongroom("restore", kept.old, "--data", "there", "--checkpoint", "note", cwd=tmp_path)
    assert done.status == 0
    assert "this is a ROLLBACK by" in " ".join(done.err.split())
    restored = read_notes(tmp_path / "there").restore
    assert restored is not None
    assert restored.path == str(kept.old)
    done = strongroom("restore", kept.new, "--data", "there", cwd=tmp_path)
    assert done.status == 1
    assert "there is not empty" in done.err
    assert strongroom("verify-backup", "absent", cwd=tmp_path).status == 1


@pytest.mark.needs("postgres")
def test_a_cluster_moves_to_postgresql_by_the_commands(kept, postgres_server, tmp_path):
    url = postgres_server.local_url(postgres_server.database())
    done = strongroom("restore", kept.new, "--data", "there", "--database", url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert (tmp_path / "there" / ELSEWHERE).exists()
    done = strongroom("restore", kept.new, "--data", "again", "--database", url, cwd=tmp_path)
    assert done.status == 1
    assert "the database is not empty" in done.err
    done = strongroom("backup", "moved", "--data", "there", cwd=tmp_path)
    assert (done.status, "in a database elsewhere" in done.err) == (2, True)
    onto = ("--data", "there", "--database", url, "--onto", kept.new, "--json")
    done = strongroom("backup", "moved", *onto, cwd=tmp_path)
    assert done.status == 0, done.err
    assert json.loads(done.out)["read"]["rows"] == 2, "ring and head: nothing has changed on the way"
    assert not failing(tmp_path / "moved", clusters=[kept.cluster], known=[kept.note_new])
