"""The drill: all machines are destroyed, and M custodians bring every record back from a backup, on another machine.

Then the same with SIGKILL at every step: whoever does it again gets there.
"""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager

import pytest

from strongroom.attestation.trust_file import format_trust_policy
from strongroom.host.backup.file import read_manifest
from strongroom.host.backup.notes import read_notes
from strongroom.host.backup.restoring import restore_file
from strongroom.host.store.opening import FILE
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.evidence import Role
from strongroom.protocol.index import RING_KEY
from tests.support.command import environment, strongroom
from tests.support.drill import ROLES, Site
from tests.support.machines import SECONDS, Machine, People, Serving, drilled, drilling, founded, ports, recovering


@asynccontextmanager
async def under_load(site):
    """Somebody stores all the while."""
    stop, rounds = asyncio.Event(), 0

    async def work():
        nonlocal rounds
        async with site.client() as client:
            while not stop.is_set():
                await site.store(client, 2)
                await asyncio.sleep(0.1)
                rounds += 1

    working = asyncio.ensure_future(work())
    try:
        yield
    finally:
        stop.set()
        await working
    assert rounds > 2, "nothing was stored meanwhile"


async def prepare(root):
    first, second = (Machine(root / name) for name in ("first", "second"))
    home = root / "home"
    home.mkdir()
    people = People(home, count=5, threshold=3, roots=[*first.roots, *second.roots])
    site = Site(root, people, dict(zip(ROLES, ports(2), strict=True)), first, second)
    with ExitStack() as ending:
        served = await asyncio.gather(*(founded(first, people, role, site.ports[role]) for role in ROLES))
        for serving in served:
            ending.callback(serving.end)
        await site.namespace()
        async with site.client() as client:
            await site.store(client, 150)
        async with under_load(site):
            full = await site.backed_up("vault", "monday")
            await site.backed_up("authenticator", "ring")
            site.now = site.meanwhile
            changed = await site.backed_up("vault", "tuesday", "--onto", root / "monday", "--url", site.url("vault"))
            assert site.meanwhile, "nothing was stored while the backup was made"
        assert (full["kind"], changed["kind"]) == ("full", "incremental")
        assert changed["read"]["rows"] < changed["rows"]
        site.now = site.given_up
        async with site.returning([]) as client:
            await site.store(client, 3)
        assert site.seen() > changed["log_size"]
        noted = read_notes(first.data("vault")).backup
        assert noted is not None
        assert noted.path == str(root / "tuesday")
        for serving in served:
            serving.kill()
    first.destroy()
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A cluster that served and was backed up under load, and whose machine, platform secret and all, is gone."""
    return asyncio.run(prepare(tmp_path_factory.mktemp("drill")))


@pytest.fixture(scope="module")
def authenticator(site):
    """Recovered by other custodians than the Vault, on the second machine; it stays up."""

    async def recover():
        site.restored("authenticator", site.second)
        serving = await recovering(site.second, "authenticator", site.ports["authenticator"])
        await site.people.recover(serving, [4, 2, 0])
        return serving

    serving = asyncio.run(recover())
    yield serving
    serving.end()


@pytest.fixture
def machine(site, tmp_path):
    """The second machine with an empty disk: one processor, as many disks as there are tests."""
    again = Machine.__new__(Machine)
    again.folder, again.platform, again.roots = tmp_path, site.second.platform, site.second.roots
    return again


@pytest.fixture
def waiting(site, machine):
    """A Vault on that disk, which waits for custodians; gone at the end, however that comes."""
    begun: list[Serving] = []

    async def begin(start=recovering):
        machine.data("vault").mkdir()
        await restore_file(site.backups["vault"], machine.data("vault"))
        begun.append(await start(machine, "vault", site.ports["vault"]))
        return begun[-1]

    yield begin
    for serving in begun:
        serving.end()


async def test_everything_is_destroyed_and_every_record_comes_back(site, authenticator, machine, tmp_path):
    done = await asyncio.to_thread(strongroom, "verify-backup", site.backups["vault"], "--json", cwd=site.root)
    found = json.loads(done.out)
    assert done.status == 0, done.err
    assert (found["threshold"], len(found["custodians"]), found["recoveries"]) == (3, 5, 0)
    await asyncio.to_thread(site.restored, "vault", machine)
    serving = await recovering(machine, "vault", site.ports["vault"])
    try:
        taken = await site.people.submit(serving, [0, 1])
        assert taken.missing == 1
        await site.people.submit(serving, [3])
        await site.people.sign_gap(serving, [4, 2, 1])
        await asyncio.to_thread(serving.says, role="vault", cluster_id=site.people.clusters["vault"].hex())
        async with site.client() as client:
            assert (await client.verify()).genuine.claims.recoveries == 1
            await site.collect_all(client)
            await site.miss_the_rest(client)
            site.now = {}
            await site.store(client, 3)
        await who_comes_back_is_told_once(site)
        noted = ("verify-backup", site.backups["vault"], "--drilled", serving.url, "--data", tmp_path)
        done = await asyncio.to_thread(strongroom, *noted, cwd=site.root)
        assert done.status == 0, done.err
        assert drilled_in(tmp_path) == 1
        await backed_up_again(site, machine, serving, tmp_path)
    finally:
        serving.end()
    # Its ring is sealed to this machine again: the next start needs no custodian.
    again = Serving(machine, "vault", site.ports["vault"])
    try:
        await asyncio.to_thread(again.says, role="vault")
        async with site.client() as client:
            await site.collect_all(client)
    finally:
        again.end()


async def who_comes_back_is_told_once(site):
    """That there was a recovery of both, and how much of what this user had seen is gone."""
    seen, found = site.seen(), read_manifest(site.backups["vault"]).log_size
    notices: list[str] = []
    for _ in range(2):
        async with site.returning(notices) as client:
            await site.collect_all(client)
    lost, vault, authenticator = notices
    assert f"{seen - found:,} lines that you have seen are gone" in lost
    assert vault.startswith("this Vault was recovered by its custodians")
    assert "(recovery 1), and they signed where its log goes on" in vault
    assert authenticator.startswith("this Authenticator was recovered by its custodians")


async def backed_up_again(site, machine, serving, folder):
    """The log of a recovered cluster has another name, and its charter a gap: a backup of it holds as any other."""
    again = folder / "again"
    for command in (
        ("backup", again, "--data", machine.data("vault"), "--url", serving.url),
        ("verify-backup", again, "--url", serving.url, "--json"),
    ):
        done = await asyncio.to_thread(strongroom, *command, cwd=site.root)
        assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["generation"] > 0
    assert {check["name"]: check["state"] for check in found["checks"]}["newest"] == "holds"


# --- drilled ----------------------------------------------------------------------------------------------------------


async def test_a_drill_ends_before_the_gap_is_signed_and_leaves_nothing_that_serves(site, machine, tmp_path, waiting):
    """Whoever runs it would have what a rollback takes: an old copy that M custodians signed to be the newest."""
    serving = await waiting(drilling)
    before = stored(machine)
    trust = tmp_path / "trust.toml"
    trust.write_text(format_trust_policy(site.people.trust))
    noted = ("verify-backup", site.backups["vault"], "--drilled", serving.url, "--trust", trust, "--data", tmp_path)
    await site.people.submit(serving, [0, 3])
    done = await asyncio.to_thread(strongroom, *noted, cwd=site.root)
    assert done.status == 2
    assert "no ring was opened there: 2 of 3 shares" in " ".join(done.err.split())
    assert drilled_in(tmp_path) is None
    await site.people.submit(serving, [4])
    await drilled(serving)
    done = await asyncio.to_thread(strongroom, *noted, cwd=site.root)
    assert done.status == 0, done.err
    assert drilled_in(tmp_path) == 0, "the ring was opened, which is what a drill has to show; it counts as no recovery"
    with pytest.raises(StrongroomError):
        async with site.client() as client:
            await client.verify()
    await asyncio.to_thread(serving.kill)
    assert stored(machine) == before, "and nothing was written"
    again = Serving(machine, "vault", site.ports["vault"])
    try:
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(again.says, role="vault")
        assert "or have custodians open it (--recover)" in " ".join(again.log.read_text().split())
    finally:
        again.end()


def drilled_in(folder):
    """Recoveries, as the last drill has noted them."""
    noted = read_notes(folder).drill
    return None if noted is None else noted.recoveries


def stored(machine):
    """Every row and leaf."""
    with closing(sqlite3.connect(machine.data("vault") / FILE)) as connection:
        tables = ("rows", "log")
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}


# --- killed at every step -------------------------------------------------------------------------------------------


async def recovered(site, machine, who: Sequence[int] = (1, 2, 4)):
    """The rest of the drill, from a restored database on; every record is back."""
    serving = await recovering(machine, "vault", site.ports["vault"])
    try:
        await site.people.recover(serving, who)
        async with site.client() as client:
            await site.collect_all(client)
            return (await client.verify()).genuine.claims.recoveries
    finally:
        serving.end()


@contextmanager
def unwritable(machine, role):
    """Nothing is committed meanwhile: whoever would, waits."""
    with closing(sqlite3.connect(machine.data(role) / FILE, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def ring_version(machine, role):
    with closing(sqlite3.connect(machine.data(role) / FILE)) as connection:
        return connection.execute("SELECT version FROM rows WHERE key = ?", (RING_KEY,)).fetchone()[0]


async def committed(machine, role, before):
    """Returns at the first commit, which writes the ring anew."""
    async with asyncio.timeout(SECONDS):
        while ring_version(machine, role) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def begun(command, folder):
    return subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL)


async def test_killed_while_it_was_restored(site, authenticator, machine):
    data = machine.data("vault")
    command = [sys.executable, "-m", "strongroom.cli", "restore", str(site.backups["vault"]), "--data", str(data)]
    killed = False
    for _ in range(3):
        process = await asyncio.to_thread(begun, command, site.root)
        deadline = time.monotonic() + 30
        while process.poll() is None and not (data / f".{FILE}.partial").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0)
        process.kill()
        process.wait()
        killed = killed or process.returncode != 0
        if (data / FILE).exists():
            break
    assert killed
    if not (data / FILE).exists():
        await asyncio.to_thread(site.restored, "vault", machine)
    assert await recovered(site, machine) == 1


async def test_killed_while_shares_were_brought(site, authenticator, machine, waiting):
    """The shares are forgotten with the process; they are brought again, to another attempt."""
    serving = await waiting()
    await site.people.submit(serving, [0, 1])
    await asyncio.to_thread(serving.kill)
    assert await recovered(site, machine) == 1


async def no_drill(site, serving, folder):
    """One more signature, and that copy is the cluster: whoever took it for a drill has to hear of it."""
    trust = folder / "trust.toml"
    trust.write_text(format_trust_policy(site.people.trust))
    noted = ("verify-backup", site.backups["vault"], "--drilled", serving.url, "--trust", trust, "--data", folder)
    done = await asyncio.to_thread(strongroom, *noted, cwd=site.root)
    assert done.status == 2
    assert "that is no drill" in done.err
    assert drilled_in(folder) is None


async def test_killed_when_the_ring_was_open_and_too_few_had_signed(site, authenticator, machine, tmp_path, waiting):
    """Nothing was written, so shares and signatures are brought again: signatures are of one attempt."""
    serving = await waiting()
    await site.people.submit(serving, [0, 3, 4])
    await site.people.sign_gap(serving, [0, 3])
    await no_drill(site, serving, tmp_path)
    await asyncio.to_thread(serving.kill)
    assert await recovered(site, machine) == 1


async def test_killed_after_the_last_signature(site, authenticator, machine, waiting):
    """And before the first commit: nothing of it was written, so shares and signatures are brought again."""
    serving = await waiting()
    before = stored(machine)
    await site.people.submit(serving, [0, 3, 4])
    with unwritable(machine, "vault"):
        await site.people.sign_gap(serving, [0, 3, 4])
        await asyncio.to_thread(serving.kill)
    assert stored(machine) == before
    assert await recovered(site, machine) == 1


async def test_killed_after_the_first_commit(site, authenticator, machine, waiting):
    """It is recovered, whatever it was about to do then: the next start needs no custodian."""
    serving = await waiting()
    before = ring_version(machine, "vault")
    await site.people.submit(serving, [0, 3, 4])
    await site.people.sign_gap(serving, [0, 3, 4])
    await committed(machine, "vault", before)
    await asyncio.to_thread(serving.kill)
    again = Serving(machine, "vault", site.ports["vault"])
    try:
        await asyncio.to_thread(again.says, role="vault", cluster_id=site.people.clusters["vault"].hex())
        async with site.client() as client:
            await site.collect_all(client)
            assert (await client.verify()).genuine.claims.recoveries == 1
    finally:
        again.end()


async def test_an_authenticator_that_is_killed_while_it_is_recovered(site, machine):
    """Before its first commit all shares are brought again; after it the next start needs no custodian."""
    role: Role = "authenticator"
    (port,) = ports(1)
    machine.data(role).mkdir()
    await restore_file(site.backups[role], machine.data(role))
    before = ring_version(machine, role)
    serving = await recovering(machine, role, port)
    try:
        with unwritable(machine, role):
            await site.people.submit(serving, [0, 1, 4])
            await asyncio.to_thread(serving.kill)
        assert ring_version(machine, role) == before
        serving = await recovering(machine, role, port)
        await site.people.submit(serving, [1, 2, 3])
        await committed(machine, role, before)
        await asyncio.to_thread(serving.kill)
        serving = Serving(machine, role, port)
        await asyncio.to_thread(serving.says, role=role, cluster_id=site.people.clusters[role].hex())
    finally:
        serving.end()
