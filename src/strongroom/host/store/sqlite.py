"""The default store: SQLite in WAL mode, one writer thread, group commit.

Durable inserts cost one fsync each alone, so the writer takes everything that has queued up meanwhile into one
transaction, with a savepoint around each commit: one that conflicts undoes itself and nobody else.
Rows are in order of arrival beside a narrow index of their keys, because keys are keyed hashes: as the primary key
of wide rows they would scatter every insert over the whole file.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Commit, Row

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE rows(
           id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, sealed BLOB NOT NULL
       ) STRICT""",
    "CREATE TABLE log(seq INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT",
)
_BUSY_SECONDS: Final = 2.0
"""How long the writer waits for another process's lock; readers of a WAL never wait for a writer."""
_READ_BUSY_SECONDS: Final = 0.1
"""Reads run inline in the event loop."""
_MAX_GROUP: Final = 512
"""Commits in one transaction: bounds how long the first of them waits."""
_MAX_GROUP_BYTES: Final = 32 * 1024 * 1024

_log = logging.getLogger("strongroom.host.store")


class SchemaMismatch(Exception):
    """The file is not a database that this version can use; the text says why and what to do."""


class _Waiting(NamedTuple):
    commit: Commit
    done: asyncio.Future[None]


class SqliteStore:
    """A `Store` in one file (`path`, made if absent). Raises `SchemaMismatch`, or `Unavailable` when it can't open."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        try:
            self._write = _open(path, _BUSY_SECONDS)
            _migrate(self._write, path)
            self._read = _open(path, _READ_BUSY_SECONDS)
        except sqlite3.Error as error:
            raise _declared(error) from None
        self._writer = Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._writer.start()

    def empty(self) -> bool:
        try:
            return self._read.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None
        except sqlite3.Error as error:
            raise _declared(error) from None

    def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        # One statement sees one moment, also while the writer commits.
        places = ",".join("?" * len(keys))
        try:
            found = self._read.execute(f"SELECT key, version, sealed FROM rows WHERE key IN ({places})", keys)  # noqa: S608
            rows = {key: Row(version, sealed) for key, version, sealed in found}
        except sqlite3.Error as error:
            raise _declared(error) from None
        return [rows.get(key) for key in keys]

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Waiting(commit, done))
        return done

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._read.close()
        self._write.close()

    # --- the writer thread --------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                outcomes = self._commit_group([waiting.commit for waiting in group])
                self._loop.call_soon_threadsafe(_settle, group, outcomes)

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """All that waits, and whether the store is to close after it."""
        group: list[_Waiting] = []
        size = 0
        waiting = self._queue.get()
        while waiting is not None:
            group.append(waiting)
            size += sum(len(put.sealed) for put in waiting.commit.puts)
            if len(group) == _MAX_GROUP or size > _MAX_GROUP_BYTES:
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
            outcomes = [self._apply(commit) for commit in commits]
            self._write.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            with suppress(sqlite3.Error):  # the fault may have rolled back by itself
                self._write.execute("ROLLBACK")
            number = _declared(error).number
            return [Unavailable(number) for _ in commits]
        return outcomes

    def _apply(self, commit: Commit) -> StrongroomError | None:
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
        for entry in commit.log:
            execute("INSERT INTO log(sealed) VALUES (?)", (entry,))
        execute("RELEASE one")
        return None


def _settle(group: list[_Waiting], outcomes: list[StrongroomError | None]) -> None:
    for waiting, outcome in zip(group, outcomes, strict=True):
        if waiting.done.done():
            continue  # cancelled meanwhile
        if outcome is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(outcome)


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # WAL's default, NORMAL, loses acknowledged commits at power loss
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{path.name} has schema version {found}, this program knows {SCHEMA_VERSION}: use a newer strongroom"
        )
    if found == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise SchemaMismatch(f"{path.name} is another program's database: name another data directory")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _declared(error: Exception) -> StrongroomError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    _log.error("the database failed: %s", error)  # SQLite's texts name no values
    return Unavailable(Number.STORE_FULL if code == sqlite3.SQLITE_FULL else Number.STORE_UNAVAILABLE)
