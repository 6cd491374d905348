"""PostgreSQL at its worst: killed, restarted, failed over, cut off with an answer on its way, wrongly set up."""

import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from strongroom.host.store import postgres_schema
from strongroom.host.store.port import CannotOpen, SchemaMismatch
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.postgres_url import names_password, servers
from strongroom.protocol.errors import Number
from strongroom.protocol.link import Commit, Put, Row
from tests.integration.test_store import key, log_of, make, outcome, verify_whole
from tests.support import postgres
from tests.support.write_for_ever import twins

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture
def server(postgres_server):
    return postgres_server


@pytest.fixture
def database(server):
    return server.database()


@pytest.fixture
async def store(server, database):
    store = await PostgresStore.open(server.local_url(database))
    yield store
    await store.close()


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)


@asynccontextmanager
async def session(server, database):
    """Another's connection."""
    connection = await asyncpg.connect(server.local_url(database))
    try:
        yield connection
    finally:
        await connection.close()


class Load:
    """Commits of `write_for_ever`'s kind, sixteen at a time and each once, as an enclave makes them, and reads."""

    def __init__(self, store):
        self.store = store
        self.acknowledged = set()
        self.refused = []
        self._stopped = False
        self._tasks = [asyncio.create_task(self._write()), *(asyncio.create_task(self._read()) for _ in range(4))]

    async def _write(self):
        size, number = await self.store.size(), 0
        while not self._stopped:
            commits = {}
            for _ in range(16):
                commits[number] = self.store.commit(Commit(twins(number), size, [number.to_bytes(8, "big")]))
                number, size = number + 1, size + 1
            for one, commit in commits.items():
                result = await outcome(commit)
                if result is None:
                    self.acknowledged.add(one)
                else:
                    self.refused.append(result)
            if self.refused:
                size = await self.store.size()

    async def _read(self):
        while not self._stopped:
            newest = max(self.acknowledged, default=None)
            if newest is not None:
                assert None not in await self.store.read([put.key for put in twins(newest)])
            await asyncio.sleep(0.002)

    async def more(self, count=50):
        """Return when as many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)

    async def stop(self):
        self._stopped = True
        await asyncio.gather(*self._tasks)


# --- faults of the server -----------------------------------------------------------------------------------------


async def test_a_killed_server_loses_nothing_acknowledged_and_nothing_is_done_twice():
    with postgres.server() as server:
        store = await PostgresStore.open(server.local_url(server.database()))
        load = Load(store)
        for _ in range(3):
            await load.more()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await load.more()
        await load.stop()
        assert load.refused == []
        await verify_whole(store, load.acknowledged)
        await store.close()


async def test_sessions_that_an_administrator_ends_lose_and_double_nothing(server, database, store):
    load = Load(store)
    async with session(server, database) as other:
        for _ in range(25):
            await load.more(20)
            pids = [record[0] for record in await other.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", database
            )]  # fmt: skip
            if pids:
                await other.fetch("SELECT pg_terminate_backend($1)", random.choice(pids))
    await load.stop()
    assert load.refused == []
    await verify_whole(store, load.acknowledged)


async def test_a_fail_over_to_a_standby_loses_and_doubles_nothing(password):
    with postgres.server() as first:
        first.sql("CREATE DATABASE vault")
        with postgres.standby_of(first) as second:
            first.set("synchronous_standby_names", "standby")
            store = await PostgresStore.open(
                second.url("vault", first)
            )  # the standby is tried first, and takes nothing
            load = Load(store)
            await load.more()
            await asyncio.to_thread(first.kill)
            await asyncio.to_thread(second.sql, "SELECT pg_promote()")
            await load.more()
            await load.stop()
            assert load.refused == []
            await verify_whole(store, load.acknowledged)
            await store.close()


async def test_a_primary_that_turns_read_only_is_left_for_another(server, database, store):
    await store.commit(make(1, 0, b"a"))
    server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    async with session(server, database) as other:
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            database,
        )
        commit = store.commit(make(2, 1, b"b"))
        read = store.read([key(1)])
        await asyncio.sleep(0.5)
        assert not commit.done()
        assert not read.done(), "a server that takes no writes may be one that shows old rows"
        await other.execute("SET default_transaction_read_only = off")
        await other.execute(f"ALTER DATABASE {database} RESET ALL")
    await commit
    assert await read == [Row(1, b"sealed")]
    assert await log_of(store) == [b"a", b"b"]


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_serialization_conflicts_are_tried_again(server, database, isolation):
    server.sql(f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'")
    store = await PostgresStore.open(server.local_url(database))
    await store.commit(Commit([Put(key(n), 0, 1, b"x") for n in range(20)], 0, []))
    async with session(server, database) as other:
        for version in range(1, 10):
            transaction = other.transaction()
            await transaction.start()
            await other.execute("UPDATE rows SET sealed = 'other' WHERE key = $1", key(version))
            commit = store.commit(
                Commit([Put(key(n), version, version + 1, b"%d" % version) for n in range(20)], 0, [])
            )
            await asyncio.sleep(0.05)
            await transaction.commit()
            await commit
    assert await store.read([key(3)]) == [Row(10, b"9")]
    await store.close()


async def test_a_database_that_stays_away_is_unavailable_in_time_and_works_again_when_it_is_back():
    with postgres.server() as server:
        store = await PostgresStore.open(server.local_url(server.database()), patience=1)
        await store.commit(make(1, 0, b"a"))
        await asyncio.to_thread(server.kill)
        began = time.monotonic()
        asked = [store.commit(make(2, 1, b"b")), store.read([key(1)]), store.size(), store.hashes(0, 0, 1)]
        assert [await outcome(one) for one in asked] == [Number.STORE_UNAVAILABLE] * 4
        assert 0.5 < time.monotonic() - began < 10
        await asyncio.to_thread(server.start)
        await store.commit(make(2, 1, b"b"))
        assert await store.read([key(2)]) == [Row(1, b"sealed")]
        await store.close()


# --- an answer that gets lost -------------------------------------------------------------------------------------


class Cut:
    """Between a store and its server, on a port of its own: lets a statement through and loses its answer."""

    def __init__(self, server):
        self.server = server
        self.lose_next_write = False
        self.lost = 0

    async def __aenter__(self):
        self._listening = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        self.ends = []
        return self

    async def __aexit__(self, *_):
        self._listening.close()
        for end in self.ends:
            end.close()

    def url(self, database):
        return f"postgresql://strongroom@127.0.0.1:{self.port}/{database}"

    async def _carry(self, reader, writer):
        inward, outward = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.ends += [writer, outward]
        losing = False

        async def forth():
            nonlocal losing
            while data := await reader.read(65536):
                if self.lose_next_write and b"a sealed row" in data:
                    self.lose_next_write, losing = False, True
                outward.write(data)

        async def back():
            while data := await inward.read(65536):
                if losing:
                    self.lost += 1
                    break
                writer.write(data)

        tasks = [asyncio.create_task(forth()), asyncio.create_task(back())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in tasks:
            one.cancel()
        for end in (writer, outward):
            with suppress(OSError):
                end.close()


async def test_a_commit_whose_answer_is_lost_is_not_done_twice_nor_called_a_conflict(server, database, password):
    async with Cut(server) as cut:
        store = await PostgresStore.open(cut.url(database))
        for number in range(3):
            cut.lose_next_write = True
            await store.commit(Commit([Put(key(number), 0, 1, b"a sealed row")], number, [b"%d" % number]))
            cut.lose_next_write = True
            await store.commit(Commit([Put(key(number), 1, 2, b"a sealed row")], number + 1, []))
        assert cut.lost == 6
        assert await store.read([key(number) for number in range(3)]) == [Row(2, b"a sealed row")] * 3
        assert await log_of(store) == [b"0", b"1", b"2"]
        cut.lose_next_write = True
        assert await outcome(store.commit(Commit([Put(key(1), 7, 8, b"a sealed row")], 3, []))) == Number.CONFLICT
        cut.lose_next_write = True
        await store.commit(Commit([], 3, [b"a sealed row of the log"]))
        assert await store.size() == 4
        await store.close()


async def test_what_was_cut_off_and_is_made_late_is_the_same_commit(server, database, password):
    """The server goes on with a statement whose asker is gone: what is asked again meets it."""
    async with Cut(server) as cut, session(server, database) as other:
        store = await PostgresStore.open(cut.url(database))
        await store.commit(make(1, 0))
        async with other.transaction():
            await other.execute("LOCK TABLE rows IN EXCLUSIVE MODE")
            cut.lose_next_write = True
            commit = store.commit(Commit([Put(key(2), 0, 1, b"a sealed row")], 0, [b"leaf"]))
            await waits_for_lock(server, database, 1)
            for end in cut.ends:
                end.close()
            await waits_for_lock(server, database, 2)
        await commit
        assert await store.read([key(2)]) == [Row(1, b"a sealed row")]
        assert await log_of(store) == [b"leaf"]
        await store.close()


async def test_after_a_fail_over_nobody_reads_from_the_server_before(server, database, password):
    """An old primary that was cut off from its successor goes on answering, with old rows: an alarm for nothing."""
    with postgres.server() as successor:
        successor.sql(f"CREATE DATABASE {database}")
        for one in (server, successor):
            store = await PostgresStore.open(one.local_url(database))
            await store.commit(make(1, 0))
            await store.close()
        async with Cut(server) as cut:
            store = await PostgresStore.open(cut.url(database))
            assert await asyncio.gather(*(store.size() for _ in range(20))) == [0] * 20  # all readers have a connection
            cut.server = successor
            for end in cut.ends[:2]:  # the first connection is the writer's
                end.close()
            await store.commit(Commit([Put(key(1), 1, 2, b"new")], 0, []))
            for _ in range(20):
                assert await store.read([key(1)]) == [Row(2, b"new")]
            await store.close()


async def waits_for_lock(server, database, count):
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    for _ in range(200):
        if server.sql(waiting) == str(count):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no statement waits")


# --- two instances ------------------------------------------------------------------------------------------------


async def test_a_second_instance_is_refused_at_its_start(server, database, store):
    with pytest.raises(CannotOpen, match="another instance"):
        await PostgresStore.open(server.local_url(database))
    await store.commit(make(1, 0))


async def test_two_instances_have_schemas_of_their_own_in_one_database(server, database, store):
    server.sql("CREATE SCHEMA other", database)
    second = await PostgresStore.open(server.local_url(database) + "&options=-csearch_path%3Dother")
    await second.commit(make(1, 0, b"second"))
    assert await store.empty()
    await second.close()


async def test_a_second_instance_that_gets_in_while_the_first_is_cut_off_forks_nothing(server, database, store):
    await store.commit(Commit([Put(key(1), 0, 1, b"head")], 0, [b"0"]))
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom'")
    second = await PostgresStore.open(server.local_url(database))
    commits = [
        one.commit(Commit([Put(key(1), 1, 2, name)], 1, [name])) for one, name in [(store, b"a"), (second, b"b")]
    ]
    assert sorted([await outcome(commit) for commit in commits], key=str) == [Number.CONFLICT, None]
    assert len(await log_of(store)) == 2
    await second.close()


# --- starts -------------------------------------------------------------------------------------------------------


async def refusal(url):
    with pytest.raises(CannotOpen) as refused:
        await PostgresStore.open(url)
    assert refused.value.hint
    return str(refused.value)


async def test_a_server_that_could_lose_what_was_acknowledged_is_refused():
    with postgres.server() as server:
        url = server.local_url(server.database())
        for setting in ("fsync", "full_page_writes"):
            server.set(setting, "off")
            assert f"{setting} = off" in await refusal(url)
            server.set(setting, "on")
        await (await PostgresStore.open(url)).close()


async def test_commits_are_durable_whatever_the_users_settings_are(server, database):
    server.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    store = await PostgresStore.open(server.local_url(database))
    (session,) = {store._write_line._session}
    assert session is not None
    assert [record[0] for record in await session.fetch("SHOW synchronous_commit")] == ["on"]
    await store.close()


async def test_stronger_settings_of_the_user_stay(server, database):
    server.sql(f"ALTER DATABASE {database} SET synchronous_commit = remote_apply")
    store = await PostgresStore.open(server.local_url(database))
    session = store._write_line._session
    assert session is not None
    assert [record[0] for record in await session.fetch("SHOW synchronous_commit")] == ["remote_apply"]
    await store.close()


async def test_another_programs_tables_are_refused_and_untouched(server, database):
    server.sql("CREATE TABLE log(id integer, line text)", database)
    with pytest.raises(SchemaMismatch, match="another program"):
        await PostgresStore.open(server.local_url(database))
    assert server.sql("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", database) == "1"


async def test_tables_that_were_altered_are_refused(server, database, store):
    server.sql("ALTER TABLE rows ALTER COLUMN version TYPE integer", database)
    await store.close()
    with pytest.raises(SchemaMismatch):
        await PostgresStore.open(server.local_url(database))


async def test_a_newer_schema_is_refused(server, database, store):
    await store.close()
    server.sql("UPDATE strongroom SET schema_version = 99", database)
    with pytest.raises(SchemaMismatch, match="99") as refused:
        await PostgresStore.open(server.local_url(database))
    assert "newer" in refused.value.hint


async def test_steps_lead_forward_together_or_not_at_all(server, database, store, monkeypatch):
    await store.commit(make(1, 0, b"leaf"))
    await store.close()
    newer = ("ALTER TABLE log ADD COLUMN kind bigint",)
    monkeypatch.setattr(postgres_schema, "COLUMNS", postgres_schema.COLUMNS | {"log.kind bigint"})
    monkeypatch.setattr(postgres_schema, "STEPS", (*postgres_schema.STEPS, newer, ("ALTER TABLE nonsense",)))
    assert "failed" in await refusal(server.local_url(database))
    assert server.sql("SELECT * FROM strongroom", database) == "2"
    monkeypatch.setattr(postgres_schema, "STEPS", (*postgres_schema.STEPS[:-1],))
    again = await PostgresStore.open(server.local_url(database))
    assert server.sql("SELECT * FROM strongroom", database) == "3"
    assert await log_of(again) == [b"leaf"]
    await again.close()


async def test_missing_rights_are_named(server, database, store):
    if "clerk" not in server.sql("SELECT rolname FROM pg_roles"):
        server.sql("CREATE ROLE clerk LOGIN")
    clerk = server.local_url(database).replace("strongroom@", "clerk@")
    await store.close()
    assert "no right to create" in await refusal(clerk)
    server.sql("GRANT CREATE ON SCHEMA public TO clerk", database)
    assert "belong to another user" in await refusal(clerk)
    server.sql("GRANT SELECT ON rows, log, log_hashes, strongroom TO clerk; GRANT INSERT ON rows TO clerk", database)
    assert "rows: UPDATE" in await refusal(clerk)
    server.sql("GRANT SELECT, INSERT, UPDATE ON rows, log, log_hashes, strongroom TO clerk", database)
    assert "lease: SELECT" in await refusal(clerk)
    server.sql("GRANT SELECT, INSERT, UPDATE ON lease TO clerk", database)
    lesser = await PostgresStore.open(clerk)
    await lesser.commit(Commit([Put(key(1), 0, 1, b"x")], 0, [b"leaf"]))
    await lesser.close()


async def test_what_is_wrong_with_a_connection_is_said(server, database, monkeypatch, caplog):
    monkeypatch.setenv("PGPASSWORD", "not the password")
    assert "password authentication failed" in await refusal(server.url(database))
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    assert "does not exist" in await refusal(server.url("nowhere"))
    assert "connection refused" in await refusal("postgresql://strongroom@127.0.0.1:1/vault")
    for url in ("mysql://a/b", "postgresql://h:port/b", "postgresql://[::1/b", "/var/lib/x", "", "postgresql://h/b#c"):
        assert "no URL" in await refusal(url)
    with_password = server.url(database).replace("@", ":hunter2@")
    monkeypatch.delenv("PGPASSWORD")
    for url in (with_password, with_password.replace(str(server.port), "hunter2"), with_password + "?sslmode=hunter2"):
        assert "hunter2" not in await refusal(url)
    assert "hunter2" not in caplog.text


async def test_passwords_are_found_where_libpq_has_them(server, database, tmp_path, monkeypatch):
    for name in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    passwords, service = tmp_path / "pgpass", tmp_path / "service"
    passwords.write_text(f"127.0.0.1:{server.port}:*:strongroom:{postgres.PASSWORD}\n")
    passwords.chmod(0o600)
    service.write_text(f"[vault]\nhost=127.0.0.1\nport={server.port}\nuser=strongroom\ndbname={database}\n")
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    for url in (server.url(database), "postgresql:///?service=vault"):
        await (await PostgresStore.open(url)).close()


def test_urls_with_passwords_are_known():
    assert names_password("postgresql://u:p@h/d")
    assert names_password("postgresql://u@h/d?password=p")
    assert not names_password("postgresql://u@h:5432/d?sslmode=require")


def test_each_server_of_a_url_is_tried_for_itself():
    assert servers("postgresql://u@a:1,b,[::1]:3/d?sslmode=require") == [
        "postgresql://u@a:1/d?sslmode=require",
        "postgresql://u@b/d?sslmode=require",
        "postgresql://u@[::1]:3/d?sslmode=require",
    ]
    assert servers("postgresql://u@/d?host=/run/a,/run/b") == ["postgresql://u@/d?host=/run/a,/run/b"]
