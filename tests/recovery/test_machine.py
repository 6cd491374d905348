"""A machine that fails: a full disk, a disk with errors, a database server that goes away, no memory left.

Nothing acknowledged is lost, the error says what is wrong, and when the machine is well again, so is the Vault.
"""

import asyncio
import resource
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.results import NewSecret
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from strongroom.protocol.limits import MAX_SECRET
from tests.soak.cluster import cluster
from tests.soak.people import NAMESPACE, World, verify
from tests.support.command import ROOT

SOURCE = ROOT / "tests" / "support" / "failing_disk.c"
SMALL, LARGE = "6m", "64m"
"""Sizes of the file system."""
MOST_TRIES = 400


class Depositor:
    """Alice stores and updates until it fails, and keeps account."""

    def __init__(self, it):
        self._world = World(it, MemoryCheckpoints(), seed=1)
        self._vault = self._world.sdk(it.alice)
        self.ledger = self._world.ledger

    async def begin(self):
        await self._world.namespace()
        await self.store()

    async def store(self, size=1000):
        """One record, one write; raises what the Vault says."""
        record = self.ledger.new(self._world.chance.randbytes(16))
        secret = self._world.chance.randbytes(size)
        write = record.begin(secret)
        item = NewSecret(secret, self._world.private, record_id=record.id)
        (receipt,) = await self._vault.store_many([item], namespace=NAMESPACE)
        record.acknowledged(write, receipt.version)

    async def until_it_fails(self, size=1000):
        """The error."""
        for _ in range(MOST_TRIES):
            try:
                await self.store(size)
            except StrongroomError as error:
                return error
        raise AssertionError(f"{MOST_TRIES} stores, and nothing failed")

    async def look(self):
        """All that was acknowledged is there, and nothing else."""
        await verify(self.ledger, self._vault, self.ledger.records)
        return len(self.ledger.records)

    async def aclose(self):
        await self._vault.aclose()


@asynccontextmanager
async def at_work(kind="sqlite", **options):
    async with cluster(kind, **options) as it:
        depositor = Depositor(it)
        try:
            await depositor.begin()
            yield it, depositor
        finally:
            await depositor.aclose()


# --- a full disk --------------------------------------------------------------------------------------------------


def tmpfs(path, *options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)], check=True)


@pytest.mark.needs("root")
@pytest.mark.parametrize("restarted", [False, True], ids=["goes on", "killed and started"])
async def test_a_full_disk_loses_nothing_and_is_said(restarted):
    def before(it):
        tmpfs(it.data, f"size={SMALL}")
        it.closing.callback(subprocess.run, ["umount", "--lazy", str(it.data)], check=True)

    async with at_work(before=before) as (it, depositor):
        error = await depositor.until_it_fails(MAX_SECRET // 4)
        assert error.number is Number.STORE_FULL, error
        assert "no space left" in error.error
        assert error.hint
        if restarted:
            await asyncio.to_thread(it.vault.kill, "both")
        tmpfs(it.data, "remount", f"size={LARGE}")
        if restarted:
            await asyncio.to_thread(it.vault.start)
        assert await depositor.look() > 20
        await depositor.store()
        await depositor.look()


# --- a disk with errors -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory):
    library = tmp_path_factory.mktemp("failing") / "failing_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o", str(library), str(SOURCE)], check=True)
    return library


@pytest.mark.needs("cc")
@pytest.mark.parametrize("what", ["fsync", "write", "read"])
async def test_errors_of_the_disk_lose_nothing_and_are_said(what, failing_disk, tmp_path):
    control = tmp_path / "control"
    control.write_text("none")

    def before(it):
        it.vault.environment |= {
            "LD_PRELOAD": str(failing_disk),
            "FAILING_DISK": str(control),
            "FAILING_FOLDER": str(it.data),
        }

    async with at_work(before=before) as (it, depositor):
        for _ in range(10):
            await depositor.store()
        control.write_text(what)
        if what == "read":  # what is read again and again is in memory; a new process has nothing there
            await asyncio.to_thread(it.vault.kill, "both")
            process = it.vault.begin()
            assert await asyncio.to_thread(process.wait, 60) != 0
            assert "database" in it.vault.log.read_text()
        else:
            error = await depositor.until_it_fails()
            assert isinstance(error, Unavailable)
            assert error.number is Number.STORE_UNAVAILABLE, error
            await asyncio.to_thread(it.vault.kill, "both")
        control.write_text("none")
        await asyncio.to_thread(it.vault.start)
        assert await depositor.look() > 10
        await depositor.store()
        await depositor.look()


# --- a database server that goes away -----------------------------------------------------------------------------


@pytest.mark.needs("postgres")
async def test_a_database_server_that_goes_away_loses_nothing_and_comes_back_without_a_restart_of_the_vault():
    async with at_work("postgresql") as (it, depositor):
        for away in (0.2, 2.0):
            for _ in range(5):
                await depositor.store()
            storing = asyncio.ensure_future(depositor.until_it_fails())
            await asyncio.sleep(0.2)
            await asyncio.to_thread(it.server.stop)
            await asyncio.sleep(away)
            await asyncio.to_thread(it.server.start)
            await asyncio.wait({storing}, timeout=1)
            storing.cancel()
            await asyncio.wait({storing})
            assert it.vault.runs
            await eventually(depositor.store)
            await depositor.look()


async def eventually(work, seconds=60):
    """`work()`, repeated for as long as it can't be done now."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await work()
            except Unavailable:
                await asyncio.sleep(0.2)


# --- no memory left -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["host", "enclave"])
async def test_without_memory_nothing_acknowledged_is_lost(which):
    """It may answer that it can't, or end; what it acknowledged is there after a start with memory enough."""
    async with at_work() as (it, depositor):
        for _ in range(10):
            await depositor.store()
        host, (enclave,) = it.vault.pids
        pid = host if which == "host" else enclave
        resource.prlimit(pid, resource.RLIMIT_AS, (address_space(pid) + 64 * 1024, resource.RLIM_INFINITY))
        stopped = 0
        for _ in range(40):
            results = await asyncio.gather(*(depositor.store(MAX_SECRET) for _ in range(8)), return_exceptions=True)
            stopped += sum(isinstance(result, StrongroomError) for result in results)
            assert all(result is None or isinstance(result, Unavailable) for result in results), results
            if not it.vault.runs or stopped > 20:
                break
        assert stopped, "it had memory enough"
        if it.vault.runs:
            await asyncio.to_thread(it.vault.kill, "both")
        else:
            it.vault.gone([enclave])
        await asyncio.to_thread(it.vault.start)
        await depositor.look()
        await depositor.store()
        assert all(record.version for record in depositor.ledger.records[:10])


def address_space(pid):
    """Bytes of addresses that a process has taken."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
