"""The store in PostgreSQL, and in what speaks its protocol: one writer that merges commits, a few readers.

A commit is one statement, and so is a group of them: one way there and back, durable and undoubtedly whole. It fails
by itself where it does not fit, so no transaction is held open over the network.

A connection may be lost with an answer on its way, by a restart, a fail-over, an administrator. Then the same commit is
asked again on a new connection, after a look whether it was made: a row that has its version and its bytes, which
nobody else can have made, says so. Only when all of this takes longer than `GIVE_UP_SECONDS` does the commit fail, and
may have been made then.

All connections are made anew when one is lost: after a fail-over the others may stand with a server that is none any
more and shows old rows, which an enclave takes for a rollback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

import asyncpg

from strongroom.host.log.growth import Growth
from strongroom.host.store.groups import Group, Waiting, merge, settle
from strongroom.host.store.port import CannotOpen
from strongroom.host.store.postgres_schema import migrate, verify_schema
from strongroom.host.store.postgres_session import CONFLICT_TEXT, Conflict, Fault, Means, Session, connect
from strongroom.host.store.postgres_url import servers
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Commit, Row

GIVE_UP_SECONDS: Final = 20.0
"""How long a request waits for a database that restarts or fails over."""
_LOCK_SECONDS: Final = 5.0
"""How long a start waits for the instance before it to be gone from the server."""
_GONE_SECONDS: Final = 1.0
"""The same where the lease has said already that it is gone: to one whose network is cut its session outlives it."""
_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 1.0
_READERS: Final = 4
_MAX_KEYS: Final = 1024
"""Rows that one statement of several requests reads; one request may ask for more."""

_log = logging.getLogger("strongroom.host.store")

# Parts of one statement see the database as it was before all of them, and each runs whatever the end makes of it.
_WRITE: Final = f"""
    WITH made AS (
        INSERT INTO rows(key, version, sealed) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
        ON CONFLICT DO NOTHING RETURNING 1
    ), changed AS (
        UPDATE rows SET version = new.version, sealed = new.sealed
        FROM unnest($4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[]) AS new(key, replaces, version, sealed)
        WHERE rows.key = new.key AND rows.version = new.replaces RETURNING 1
    ), logged AS (
        INSERT INTO log(seq, leaf) SELECT * FROM unnest($8::bigint[], $9::bytea[])
    ), hashed AS (
        INSERT INTO log_hashes(level, idx, hash) SELECT * FROM unnest($10::bigint[], $11::bigint[], $12::bytea[])
    )
    SELECT CAST(CASE WHEN (SELECT count(*) FROM made) = $13::bigint AND (SELECT count(*) FROM changed) = $14::bigint
        AND (SELECT coalesce(max(seq) + 1, 0) FROM log) = $15::bigint
        THEN '1' ELSE '{CONFLICT_TEXT}' END AS bigint)"""  # noqa: S608
_ROWS: Final = "SELECT key, version, sealed FROM rows WHERE key = ANY($1::bytea[])"
_EMPTY: Final = "SELECT 1 FROM rows LIMIT 1"
_SIZE: Final = "SELECT coalesce(max(seq) + 1, 0) FROM log"
_LEAVES: Final = "SELECT seq, leaf FROM log WHERE seq = ANY($1::bigint[])"
_HASHES: Final = "SELECT hash FROM log_hashes WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx"
# The log of a server is written in order: when this is durable, on as many machines as it must, so is all before it.
_TOUCH: Final = "UPDATE strongroom SET schema_version = schema_version"
# One for each schema, held as long as the writer's connection. Nothing rests on it: of two instances the second to
# commit fails, because a row and the log have moved on. It says so earlier, and in words.
_LOCK: Final = (
    "SELECT pg_try_advisory_lock($1::bigint + (SELECT oid::bigint FROM pg_namespace WHERE nspname = current_schema()))"
)
_UNLOCK: Final = (
    "SELECT pg_advisory_unlock($1::bigint + (SELECT oid::bigint FROM pg_namespace WHERE nspname = current_schema()))"
)
_LOCK_NUMBER: Final = int.from_bytes(b"strong", "big")

Lock = Literal["needed", "wanted"]
"""`wanted`: by an instance that has the lease, whatever the server still keeps of the one before."""

T = TypeVar("T")


class _Read(NamedTuple):
    keys: Sequence[bytes]
    done: asyncio.Future[list[Row | None]]
    deadline: float


class _Server:
    """Where connections lead: all to the same server, as far as can be known."""

    def __init__(self, url: str, application: str) -> None:
        self._urls = servers(url)
        self._application = application
        self.turn = 0
        """Raised whenever a connection is lost: those of earlier turns are not used any more."""

    async def connect(self) -> Session:
        return await connect(self._urls, self._application)

    def lost(self, turn: int, why: Fault) -> None:
        """A connection of this turn is."""
        if turn == self.turn:
            self.turn += 1
            _log.warning("a connection to the database was lost: %s", why)


class _Line:
    """One connection at a time, and what follows from its faults."""

    def __init__(self, server: _Server, session: Session | None = None) -> None:
        self._server = server
        self._session = session
        self._turn = server.turn
        self._pause = _PAUSE_SECONDS

    async def session(self, deadline: float) -> Session:
        """A connection that stands. Raises `Unavailable` at `deadline` of the loop's clock."""
        loop = asyncio.get_running_loop()
        while self._session is None or self._session.closed or self._turn != self._server.turn:
            self.abort()
            turn = self._server.turn
            try:
                self._session, self._turn = await self._server.connect(), turn
            except CannotOpen as error:
                if loop.time() + self._pause > deadline:
                    _log.error("%s", error)
                    raise Unavailable(Number.STORE_UNAVAILABLE) from None
                await self._wait()
        return self._session

    async def fetch(self, deadline: float, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Of a statement that only reads. Raises `Unavailable`."""
        while True:
            try:
                session = await self.session(deadline)
                records = await session.fetch(statement, *arguments)
            except Fault as fault:
                await self.recover(fault, deadline)
            else:
                self.well()
                return records

    async def recover(self, fault: Fault, deadline: float) -> None:
        """Return when it may be asked again. Raises `Unavailable` when it may not."""
        if fault.means is Means.LOST:
            self.abort()
            self._server.lost(self._turn, fault)
        if fault.means in (Means.FULL, Means.FAILED) or asyncio.get_running_loop().time() + self._pause > deadline:
            _log.error("the database failed: %s", fault)
            raise Unavailable(Number.STORE_FULL if fault.means is Means.FULL else Number.STORE_UNAVAILABLE)
        await self._wait()

    def well(self) -> None:
        self._pause = _PAUSE_SECONDS

    def abort(self) -> None:
        if self._session is not None:
            self._session.abort()
            self._session = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _wait(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _MAX_PAUSE_SECONDS)


_Ask = Callable[[_Line], Coroutine[Any, Any, None]] | None
"""Something to read, on whatever line is free; None: no more."""


class PostgresStore:
    """A `Store` in a database of a server, or of several that take over from each other."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        application: str = "strongroom",
        patience: float = GIVE_UP_SECONDS,
        lock: Lock = "needed",
    ) -> Self:
        """Connect, and make or check the tables; `application` is what the server's administrator sees.

        Raises `CannotOpen`. Passwords come from `url` or from where libpq has them: PGPASSWORD, PGPASSFILE, ~/.pgpass.
        """
        server = _Server(url, application)
        session = await server.connect()
        try:
            await verify_schema(session)
            await _lock(session, lock)
            await migrate(session)
        except (Fault, Conflict) as fault:
            session.abort()
            raise CannotOpen(f"the database failed: {fault}", "see the server's log") from None
        except CannotOpen:
            await session.close()
            raise
        return cls(server, session, patience)

    def __init__(self, server: _Server, session: Session, patience: float) -> None:
        """Use `open`."""
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._closing = False
        self._commits: asyncio.Queue[Waiting | None] = asyncio.Queue()
        self._reads: list[_Read] = []
        self._asks: asyncio.Queue[_Ask] = asyncio.Queue()
        self._growth: Growth | None = None
        self._write_line = _Line(server, session)
        self._locked = session
        self._warned: Session | None = None
        self._read_lines = [_Line(server) for _ in range(_READERS)]
        self._writer = asyncio.ensure_future(self._write_groups())
        self._readers = [asyncio.ensure_future(self._answer_asks(line)) for line in self._read_lines]

    # --- the port -------------------------------------------------------------------------------------------------

    def empty(self) -> asyncio.Future[bool]:
        return self._ask(lambda records: not records, _EMPTY)

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[list[Row | None]]:
        done: asyncio.Future[list[Row | None]] = self._loop.create_future()
        if self._closing:
            done.set_exception(Unavailable(Number.STORE_UNAVAILABLE))
        else:
            if not self._reads:
                self._asks.put_nowait(self._read_waiting)
            self._reads.append(_Read(keys, done, self._loop.time() + self._patience))
        return done

    def size(self) -> asyncio.Future[int]:
        return self._ask(lambda records: int(records[0][0]), _SIZE)

    def leaves(self, indexes: Sequence[int]) -> asyncio.Future[list[bytes | None]]:
        def found(records: list[asyncpg.Record]) -> list[bytes | None]:
            leaves: dict[int, bytes] = dict(records)
            return [leaves.get(index) for index in indexes]

        return self._ask(found, _LEAVES, indexes)

    def hashes(self, level: int, first: int, count: int) -> asyncio.Future[list[bytes]]:
        return self._ask(_column, _HASHES, level, first, first + count)

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        if self._closing:
            done.set_exception(Unavailable(Number.STORE_UNAVAILABLE))
        else:
            self._commits.put_nowait(Waiting(commit, done))
        return done

    async def close(self) -> None:
        self._closing = True
        self._commits.put_nowait(None)
        for _ in self._readers:
            self._asks.put_nowait(None)
        await asyncio.wait({self._writer, *self._readers})
        await asyncio.gather(*(line.close() for line in [self._write_line, *self._read_lines]))

    # --- reading --------------------------------------------------------------------------------------------------

    def _ask(self, shape: Callable[[list[asyncpg.Record]], T], statement: str, *arguments: Any) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self._loop.create_future()
        deadline = self._loop.time() + self._patience

        async def ask(line: _Line) -> None:
            try:
                records = await line.fetch(deadline, statement, *arguments)
            except StrongroomError as error:
                _fail(done, error)
            else:
                _finish(done, shape(records))

        if self._closing:
            done.set_exception(Unavailable(Number.STORE_UNAVAILABLE))
        else:
            self._asks.put_nowait(ask)
        return done

    async def _answer_asks(self, line: _Line) -> None:
        while (ask := await self._asks.get()) is not None:
            await ask(line)

    async def _read_waiting(self, line: _Line) -> None:
        """All reads that wait, by one statement: the more wait, the less each costs."""
        reads = self._take_reads()
        keys = list({key for read in reads for key in read.keys})
        try:
            records = await line.fetch(reads[0].deadline, _ROWS, keys)
        except StrongroomError as error:
            for read in reads:
                _fail(read.done, error)
            return
        rows = {key: Row(version, sealed) for key, version, sealed in records}
        for read in reads:
            _finish(read.done, [rows.get(key) for key in read.keys])

    def _take_reads(self) -> list[_Read]:
        count, number = 0, 0
        while number < len(self._reads) and (number == 0 or count < _MAX_KEYS):
            count += len(self._reads[number].keys)
            number += 1
        taken, self._reads = self._reads[:number], self._reads[number:]
        if self._reads:
            self._asks.put_nowait(self._read_waiting)
        return taken

    # --- writing --------------------------------------------------------------------------------------------------

    async def _write_groups(self) -> None:
        closing = False
        while not closing:
            group, closing = await self._next_group()
            if group:
                settle(group, await self._commit_group([waiting.commit for waiting in group]))

    async def _next_group(self) -> tuple[Group, bool]:
        """All that waits, and whether the store is to close after it."""
        group = Group()
        waiting = await self._commits.get()
        while waiting is not None:
            group.add(waiting)
            if group.full or self._commits.empty():
                return group, False
            waiting = self._commits.get_nowait()
        return group, True

    async def _commit_group(self, commits: list[Commit]) -> list[StrongroomError | None]:
        """How each ended. Together if they fit to each other and to the database, else one by one."""
        deadline = self._loop.time() + self._patience
        outcomes: list[StrongroomError | None] = []
        try:
            merged = merge(commits)
            if await self._made(merged.commit, deadline):
                return [None if number in merged.members else Misuse(Number.CONFLICT) for number in range(len(commits))]
            if len(commits) == 1:
                return [Misuse(Number.CONFLICT)]
            for commit in commits:
                outcomes.append(None if await self._made(commit, deadline) else Misuse(Number.CONFLICT))
        except Unavailable as error:
            outcomes += [Unavailable(error.number) for _ in commits[len(outcomes) :]]
        return outcomes

    async def _made(self, commit: Commit, deadline: float) -> bool:
        """Make it, once, through faults of the connection; False if it conflicts. Raises `Unavailable`."""
        unsure = False
        while True:
            try:
                session = await self._write_line.session(deadline)
                if unsure and await _holds(session, commit):
                    return True
                if await self._write(session, commit):
                    return True
                # What was given up as lost may have been made while we looked, and be what this conflicts with.
                return unsure and await _holds(session, commit)
            except Fault as fault:
                self._growth = None
                unsure = unsure or fault.means is Means.LOST
                await self._write_line.recover(fault, deadline)

    async def _write(self, session: Session, commit: Commit) -> bool:
        """Raises `Fault`."""
        await self._lock_again(session)
        growth = self._growth
        if growth is None or growth.size != commit.size:
            growth = self._growth = await _growth(session)
        if growth.size != commit.size:
            return False
        growth = growth.copy()
        kept = growth.extend(commit.leaves)
        new = [put for put in commit.puts if put.replaces == 0]
        changed = [put for put in commit.puts if put.replaces != 0]
        try:
            await session.fetch(
                _WRITE,
                [put.key for put in new], [put.version for put in new], [put.sealed for put in new],
                [put.key for put in changed], [put.replaces for put in changed],
                [put.version for put in changed], [put.sealed for put in changed],
                list(range(commit.size, growth.size)), commit.leaves,
                [hash.level for hash in kept], [hash.number for hash in kept], [hash.hash for hash in kept],
                len(new), len(changed), commit.size,
            )  # fmt: skip
        except Conflict:
            self._growth = None
            return False
        self._growth = growth
        self._write_line.well()
        return True

    async def _lock_again(self, session: Session) -> None:
        """On a new connection, as soon as the server has let go of the old one. Raises `Fault`."""
        if self._locked is session:
            return
        if await try_lock(session):
            self._locked = session
        elif self._warned is not session:
            self._warned = session
            _log.warning("the database has another session that writes: an earlier one of this instance, or another's")


async def _holds(session: Session, commit: Commit) -> bool:
    """Whether the commit was made, durably. Raises `Fault`."""
    if commit.puts:
        put = commit.puts[0]
        records = await session.fetch(_ROWS, [put.key])
        made = [(record["version"], record["sealed"]) for record in records] == [(put.version, put.sealed)]
    else:
        records = await session.fetch(_LEAVES, [commit.size])
        made = [record["leaf"] for record in records] == commit.leaves[:1] != []
    if made:
        await session.fetch(_TOUCH)
    return made


async def _growth(session: Session) -> Growth:
    """Raises `Fault`."""
    size = (await session.fetch(_SIZE))[0][0]
    spans = Growth.spans(size)
    found = [_column(await session.fetch(_HASHES, level, first, first + width)) for level, first, width in spans]
    return Growth(size, found)


async def try_lock(session: Session) -> bool:
    """Raises `Fault`."""
    try:
        return bool((await session.fetch(_LOCK, _LOCK_NUMBER))[0][0])
    except Fault as fault:
        if fault.state in ("42883", "0A000"):
            return True  # an engine without such locks
        raise


async def unlock(session: Session) -> None:
    """What `try_lock` has got. Raises `Fault`."""
    with suppress(Fault):  # an engine without such locks
        await session.fetch(_UNLOCK, _LOCK_NUMBER)


async def _lock(session: Session, lock: Lock) -> None:
    """Raises `CannotOpen`, `Fault`."""
    seconds = _LOCK_SECONDS if lock == "needed" else _GONE_SECONDS
    deadline = asyncio.get_running_loop().time() + seconds
    while not await try_lock(session):
        if asyncio.get_running_loop().time() > deadline:
            if lock == "wanted":
                _log.warning("the server keeps a session of the instance before; its commits will fail")
                return
            raise CannotOpen(
                "another instance uses this database",
                "one instance writes it at a time: have this one stand by for it (--join URL). If it is gone, end its "
                "session (pg_stat_activity shows it)",
            )
        await asyncio.sleep(_PAUSE_SECONDS)


def _column(records: list[asyncpg.Record]) -> list[bytes]:
    return [record[0] for record in records]


def _finish(done: asyncio.Future[T], result: T) -> None:
    if not done.done():  # cancelled meanwhile
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: StrongroomError) -> None:
    if not done.done():
        done.set_exception(error)
