"""What a witness cosigned last of each log: the one thing that it must never forget. SQLite, durable, on one thread.

A witness that is set back to an older state, from a backup or as a copy of its machine, cosigns a rolled-back log again
as if nothing had been. So the key alone is no witness: without the database that knows it, it is not used
(`host/witness/serve.py`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.protocol.tlog import EMPTY_ROOT

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE identity(name TEXT NOT NULL, public BLOB NOT NULL) STRICT",
    """CREATE TABLE logs(
           origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL, note BLOB NOT NULL
       ) STRICT""",
)


class WrongState(Exception):
    """The file is not a witness's database that this version can use; the text says why."""


class Identity(NamedTuple):
    """Who this witness is, for ever."""

    name: str
    public: bytes


class Cosigned(NamedTuple):
    """The latest checkpoint of a log that this witness cosigned, which is the largest."""

    size: int
    root: bytes
    time: int
    """Of the cosignature, in Unix seconds."""
    note: bytes
    """The checkpoint with the log's signatures and this witness's."""


NOTHING: Final = Cosigned(0, EMPTY_ROOT, 0, b"")
"""Of a log that was never seen."""


class State:
    """Raises `WrongState`, or sqlite3.Error when the file can't be opened. Made if absent."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # WAL's default forgets the last cosignatures at power loss
        self._db.execute("PRAGMA trusted_schema = OFF")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise WrongState(f"it has schema version {found}, this program knows {SCHEMA_VERSION}")
        if found == 0:
            if self._db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise WrongState("it is another program's database")
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for statement in (*_SCHEMA, f"PRAGMA user_version = {SCHEMA_VERSION}"):
                    self._db.execute(statement)

    def close(self) -> None:
        self._db.close()

    def identity(self) -> Identity | None:
        """None until `found`."""
        row = self._db.execute("SELECT name, public FROM identity").fetchone()
        return Identity(*row) if row else None

    def found(self, identity: Identity) -> None:
        """Fix who this is. Once."""
        self._db.execute("INSERT INTO identity SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM identity)", identity)

    def latest(self, origin: str) -> Cosigned:
        row = self._db.execute("SELECT size, root, time, note FROM logs WHERE origin = ?", (origin,)).fetchone()
        return Cosigned(*row) if row else NOTHING

    def origins(self, prefix: str) -> list[str]:
        """Of the logs that were cosigned whose names begin with this."""
        rows = self._db.execute(
            "SELECT origin FROM logs WHERE origin >= ?1 AND origin < ?1 || char(0x10ffff)", (prefix,)
        )
        return [origin for (origin,) in rows]

    def advance(self, origin: str, before: Cosigned, after: Cosigned) -> bool:
        """Whether `after` is now, durably, what was cosigned last: not if that is no longer `before`.

        One statement compares and writes. If these were two, two requests at once could both be held against one size,
        and the smaller be written last: a rollback, by the witness's own hand.
        """
        if before == NOTHING:
            return self._changed(
                "INSERT INTO logs(origin, size, root, time, note) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                origin, *after,
            )  # fmt: skip
        return self._changed(
            "UPDATE logs SET (size, root, time, note) = (?, ?, ?, ?) WHERE origin = ? AND (size, time) = (?, ?)",
            *after, origin, before.size, before.time,
        )  # fmt: skip

    def _changed(self, statement: str, *values: object) -> bool:
        return self._db.execute(statement, values).rowcount == 1
