"""Whose a database is: leases in a real PostgreSQL server, and the lock of a directory."""

import asyncio
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest

from strongroom.host.instance import CannotServe, WrongSettings
from strongroom.host.store import postgres_lease
from strongroom.host.store.owning import DirectoryOwnership
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.postgres_lease import LeaseOwnership
from strongroom.host.supervisor.databases import at_hand, late
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.link import Commit, Put

RING = Commit([Put(RING_KEY, 0, 1, b"ring")], 0, [])


@pytest.fixture
def server(postgres_server):
    return postgres_server


@pytest.fixture
def url(server):
    return server.local_url(server.database())


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(postgres_lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(postgres_lease, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(postgres_lease, "POLL_SECONDS", 0.05)


@asynccontextmanager
async def owning(data, url):
    """An instance that writes a database with a ring."""
    async with at_hand(data, url, "strongroom test") as rows:
        if rows.new:
            await rows.store.commit(RING)
        await rows.advertise("http://owner.test")
        yield rows


async def waits(work):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await asyncio.shield(work)


async def ended(*work):
    """Given up, and gone: a session is closed only when nobody asks through it any more."""
    for one in work:
        one.cancel()
    await asyncio.wait(work)


@pytest.mark.needs("postgres")
@pytest.mark.usefixtures("brief")
class TestALease:
    async def test_one_stands_by_until_the_other_has_gone(self, tmp_path, url):
        async with late(tmp_path / "b", url, "strongroom test") as second:
            with pytest.raises(StrongroomError) as absent:
                await second.store.read([RING_KEY])
            assert absent.value.number is Number.STORE_UNAVAILABLE
            async with owning(tmp_path / "a", url):
                taking = asyncio.ensure_future(second.take())
                await waits(taking)
                assert (second.owner, second.ring_version, second.held) == ("http://owner.test", 1, False)
            began = time.monotonic()
            await taking  # let go of in order: at once
            assert time.monotonic() - began < 0.5
            assert second.held
            [row] = await second.store.read([RING_KEY])
            assert row is not None
            assert row.sealed == b"ring"
            await second.advertise("http://second.test")
            assert second.owner == "http://second.test"

    async def test_one_that_is_gone_without_a_word_is_followed_when_its_lease_ends(self, tmp_path, server, url):
        owner = await PostgresStore.open(url)
        await owner.commit(RING)
        gone = LeaseOwnership(url, "gone")
        await gone.confirm()
        assert gone._renewing is not None
        assert gone._session is not None
        gone._renewing.cancel()
        async with late(tmp_path / "b", url, "strongroom test") as second:
            taking = asyncio.ensure_future(second.take())
            await waits(taking)
            await owner.close()
            await taking
        await gone._session.close()

    async def test_one_that_hangs_is_told_and_writes_nothing(self, tmp_path, url, monkeypatch):
        """Its connection stands, and with it the lock of the server."""
        monkeypatch.setattr("strongroom.host.store.postgres._GONE_SECONDS", 0.3)
        async with owning(tmp_path / "a", url) as first, late(tmp_path / "b", url, "strongroom test") as second:
            first._ownership._renewing.cancel()
            await second.take()
            await second.store.commit(Commit([Put(RING_KEY, 1, 2, b"second")], 0, [b"leaf"]))
            first._ownership._renewing = asyncio.ensure_future(first._ownership._renew())
            await asyncio.wait_for(asyncio.shield(first.lost), 2)
            with pytest.raises(StrongroomError) as late_one:
                await first.store.commit(Commit([Put(RING_KEY, 1, 2, b"first")], 0, [b"leaf"]))
            assert late_one.value.number is Number.CONFLICT
            assert not second.lost.done()

    async def test_a_connection_that_is_lost_does_not_lose_the_lease(self, tmp_path, server, url):
        async with owning(tmp_path / "a", url) as first, late(tmp_path / "b", url, "strongroom test") as second:
            taking = asyncio.ensure_future(second.take())
            await waits(taking)
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'strongroom%'"
            )
            await waits(taking)
            await waits(taking)
            assert not first.lost.done()
            await first.store.commit(Commit([Put(RING_KEY, 1, 2, b"first")], 0, [b"leaf"]))
            await waits(taking)
            assert second.ring_version == 2  # who stands by sees that the ring has changed
            await ended(taking)

    async def test_one_of_two_that_stand_by_takes_over(self, tmp_path, url):
        async with late(tmp_path / "b", url, "b") as second, late(tmp_path / "c", url, "c") as third:
            async with owning(tmp_path / "a", url):
                taking = [asyncio.ensure_future(one.take()) for one in (second, third)]
                await asyncio.gather(*map(waits, taking))
            await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.5)
            assert [one.done() for one in taking].count(True) == 1
            await ended(*taking)

    async def test_one_that_stops_while_it_renews_gives_its_lease_back(self, tmp_path, url):
        """Which waits for a row that somebody has locked: cancelled, it is still on its way."""
        blocker = await asyncpg.connect(url)
        async with late(tmp_path / "b", url, "b") as second:
            async with owning(tmp_path / "a", url):
                taking = asyncio.ensure_future(second.take())
                await waits(taking)
                blocking = blocker.transaction()
                await blocking.start()
                await blocker.execute("SELECT 1 FROM lease FOR UPDATE")
                await asyncio.sleep(0.3)
                asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(blocking.rollback()))
            began = time.monotonic()
            await taking
            assert time.monotonic() - began < 0.5
        await blocker.close()

    async def test_who_writes_with_a_version_without_leases_is_waited_for(self, tmp_path, server, url):
        owner = await PostgresStore.open(url)
        await owner.commit(RING)
        database = url.partition("///")[0].rpartition("/")[2] if "///" in url else url.split("@/")[1].split("?")[0]
        server.sql("DROP TABLE lease", database)
        server.sql("UPDATE strongroom SET schema_version = 1", database)
        async with late(tmp_path / "b", url, "strongroom test") as second:
            taking = asyncio.ensure_future(second.take())
            await waits(taking)
            await owner.close()
            await taking
            assert server.sql("SELECT count(*) FROM lease WHERE until > now()", database) == "1"

    async def test_a_database_without_a_cluster_is_not_waited_for(self, tmp_path, url):
        async with late(tmp_path / "b", url, "strongroom test") as rows:
            with pytest.raises(WrongSettings, match="no cluster"):
                await rows.take()

    async def test_a_second_instance_that_does_not_stand_by_is_refused(self, tmp_path, url, monkeypatch):
        monkeypatch.setattr("strongroom.host.store.postgres._LOCK_SECONDS", 0.1)
        async with owning(tmp_path / "a", url):
            with pytest.raises(CannotServe, match="another instance") as refused:
                async with owning(tmp_path / "b", url):
                    pass
            assert "--join" in refused.value.hint


# --- a file ---------------------------------------------------------------------------------------------------------


async def test_a_directory_is_waited_for(tmp_path):
    async with owning(tmp_path, None) as first, late(tmp_path, None, "strongroom test") as second:
        taking = asyncio.ensure_future(second.take())
        await waits(taking)
        assert second.owner == "http://owner.test"
        await first.close()
        await taking
        [row] = await second.store.read([RING_KEY])
        assert row is not None
        assert row.sealed == b"ring"
        assert second.owner == ""


async def test_a_directory_without_a_database_is_not_waited_for(tmp_path):
    with pytest.raises(WrongSettings, match="no cluster"):
        async with late(tmp_path, None, "strongroom test"):
            pass


async def test_a_directory_that_can_not_be_had_is_no_reason_to_wait(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WrongSettings):
        await DirectoryOwnership(tmp_path / "file").wait()
