"""The default store: SQLite in WAL mode, one writer thread, group commit.

Durable inserts cost one fsync each alone, so the writer takes everything that has queued up meanwhile into one
transaction, with a savepoint around each commit: one that conflicts undoes itself and nobody else.
Reads run inline in the event loop, which takes less than handing them to another thread would.
Rows are in order of arrival beside a narrow index of their keys, because keys are keyed hashes: as the primary key
of wide rows they would scatter every insert over the whole file.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, TypeVar

from strongroom.host.log.growth import Growth
from strongroom.host.log.tree import Span
from strongroom.host.store.groups import Group, Waiting, settle
from strongroom.host.store.sqlite_schema import migrate
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Commit, Row

_BUSY_SECONDS: Final = 2.0
"""How long the writer waits for another process's lock; readers of a WAL never wait for a writer."""
_READ_BUSY_SECONDS: Final = 0.1
"""Reads run inline in the event loop."""

_log = logging.getLogger("strongroom.host.store")

T = TypeVar("T")


class SqliteStore:
    """A `Store` in one file (`path`, made if absent). Raises `SchemaMismatch`, or `Unavailable` when it can't open."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        try:
            with ExitStack() as opened:
                self._write = opened.enter_context(closing(_open(path, _BUSY_SECONDS)))
                migrate(self._write, path)
                self._growth = _growth(self._write)
                self._read = opened.enter_context(closing(_open(path, _READ_BUSY_SECONDS)))
                opened.pop_all()
        except sqlite3.Error as error:
            raise _declared(error) from None
        self._writer = Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._writer.start()

    def empty(self) -> asyncio.Future[bool]:
        return self._at_once(lambda: self._read.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None)

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[list[Row | None]]:
        def found() -> list[Row | None]:
            # One statement sees one moment, also while the writer commits.
            query = f"SELECT key, version, sealed FROM rows WHERE key IN ({_places(keys)})"  # noqa: S608
            rows = {key: Row(version, sealed) for key, version, sealed in self._read.execute(query, keys)}
            return [rows.get(key) for key in keys]

        return self._at_once(found)

    def size(self) -> asyncio.Future[int]:
        return self._at_once(lambda: _size(self._read))

    def leaves(self, indexes: Sequence[int]) -> asyncio.Future[list[bytes | None]]:
        def found() -> list[bytes | None]:
            query = f"SELECT seq, leaf FROM log WHERE seq IN ({_places(indexes)})"  # noqa: S608
            leaves = dict(self._read.execute(query, indexes).fetchall())
            return [leaves.get(index) for index in indexes]

        return self._at_once(found)

    def hashes(self, level: int, first: int, count: int) -> asyncio.Future[list[bytes]]:
        return self._at_once(lambda: _hashes(self._read, Span(level, first, count)))

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(Waiting(commit, done))
        return done

    async def close(self) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        self._read.close()
        self._write.close()

    def _at_once(self, found: Callable[[], T]) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self._loop.create_future()
        try:
            done.set_result(found())
        except (sqlite3.Error, OverflowError) as error:
            done.set_exception(_declared(error))
        return done

    # --- the writer thread --------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                outcomes = self._commit_group([waiting.commit for waiting in group])
                self._loop.call_soon_threadsafe(settle, group, outcomes)

    def _next_group(self) -> tuple[Group, bool]:
        """All that waits, and whether the store is to close after it."""
        group = Group()
        waiting = self._queue.get()
        while waiting is not None:
            group.add(waiting)
            if group.full:
                return group, False
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit_group(self, commits: list[Commit]) -> list[StrongroomError | None]:
        """One durable transaction; how each commit ended. A fault of the database is everybody's."""
        try:
            self._write.execute("BEGIN IMMEDIATE")
            growth = self._growth.copy()
            if _size(self._write) != growth.size:  # somebody else wrote to the file
                growth = _growth(self._write)
            outcomes = [self._apply(commit, growth) for commit in commits]
            self._write.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            with suppress(sqlite3.Error):  # the fault may have rolled back by itself
                self._write.execute("ROLLBACK")
            number = _declared(error).number
            return [Unavailable(number) for _ in commits]
        self._growth = growth
        return outcomes

    def _apply(self, commit: Commit, growth: Growth) -> StrongroomError | None:
        """Raises sqlite3.Error and OverflowError, after which `growth` is worth nothing."""
        if commit.size != growth.size:
            return Misuse(Number.CONFLICT)
        execute = self._write.execute
        execute("SAVEPOINT one")
        for put in commit.puts:
            if put.replaces == 0:
                changed = execute(
                    "INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (put.key, put.version, put.sealed),
                ).rowcount
            else:
                changed = execute(
                    "UPDATE rows SET version = ?, sealed = ? WHERE key = ? AND version = ?",
                    (put.version, put.sealed, put.key, put.replaces),
                ).rowcount
            if changed != 1:
                execute("ROLLBACK TO one")
                execute("RELEASE one")
                return Misuse(Number.CONFLICT)
        self._write.executemany("INSERT INTO log(seq, leaf) VALUES (?, ?)", enumerate(commit.leaves, commit.size))
        self._write.executemany("INSERT INTO log_hashes VALUES (?, ?, ?)", growth.extend(commit.leaves))
        execute("RELEASE one")
        return None


def _size(connection: sqlite3.Connection) -> int:
    newest = connection.execute("SELECT max(seq) FROM log").fetchone()[0]
    return 0 if newest is None else int(newest) + 1


def _hashes(connection: sqlite3.Connection, span: Span) -> list[bytes]:
    found = connection.execute(
        "SELECT hash FROM log_hashes WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx",
        (span.level, span.first, span.first + span.width),
    )
    return [kept for (kept,) in found]


def _growth(connection: sqlite3.Connection) -> Growth:
    size = _size(connection)
    return Growth(size, [_hashes(connection, span) for span in Growth.spans(size)])


def _places(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # WAL's default, NORMAL, loses acknowledged commits at power loss
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _declared(error: Exception) -> StrongroomError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    _log.error("the database failed: %s", error)  # SQLite's texts name no values
    return Unavailable(Number.STORE_FULL if code == sqlite3.SQLITE_FULL else Number.STORE_UNAVAILABLE)
