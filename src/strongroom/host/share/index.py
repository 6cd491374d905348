"""What the host knows about blobs: ids, sizes, times, versions. SQLite, durable, on one thread.

A part is in here only after its object is durable, so an offset is never more than what is kept. A blob is

* `open`: being uploaded; its offset is the end of its last part,
* `whole`: complete,
* `doomed`: nobody gets it any more, its objects are still to be erased,
* `gone`: erased. The version stays, so that an older statement brings nothing back, until every statement that was
  seen has expired.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from strongroom.host.share.objects import Part

SCHEMA_VERSION: Final = 1
ABANDONED_SECONDS: Final = 24 * 3600
"""After which an upload without progress is given up."""
_FOREVER: Final = 0
_SCHEMA: Final = (
    """CREATE TABLE blobs(
           id BLOB PRIMARY KEY, state TEXT NOT NULL, length INTEGER NOT NULL, offset INTEGER NOT NULL,
           version INTEGER NOT NULL, closed INTEGER NOT NULL, expires_at INTEGER NOT NULL, keep_until INTEGER NOT NULL,
           created INTEGER NOT NULL, progress INTEGER NOT NULL, tag BLOB NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE parts(
           blob BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY(blob, offset)
       ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE INDEX by_state ON blobs(state, expires_at)",
)
_COLUMNS: Final = "id, state, length, offset, version, closed, expires_at, keep_until, created, progress, tag"

State = Literal["open", "whole", "doomed", "gone"]


class WrongIndex(Exception):
    """The file is not an index that this version can use; the text says why."""


class Full(Exception):
    """The total would be more than the quota."""


class Moved(Exception):
    """The blob is not open at this offset any more."""


class Blob(NamedTuple):
    """Times are Unix seconds, sizes bytes."""

    id: bytes
    state: State
    length: int
    offset: int
    version: int
    """Of the latest statement seen."""
    closed: int
    """Whether that statement said: erase it."""
    expires_at: int
    """When it is erased if no later statement is shown: as that one says, or as long as the host keeps anything."""
    keep_until: int
    """The latest expiry in any statement seen; 0: one never expires."""
    created: int
    progress: int
    """When it was created, or its last part came."""
    tag: bytes
    """Random, for this content of this id."""

    def expired(self, now: float) -> bool:
        return 0 < self.expires_at <= now

    @property
    def present(self) -> bool:
        """Whether its bytes, as far as they came, may still be used."""
        return self.state in ("open", "whole")

    @property
    def lost_at(self) -> int:
        """When an unfinished upload is given up, if nothing more comes."""
        abandoned = self.progress + ABANDONED_SECONDS
        return min(abandoned, self.expires_at) if self.expires_at else abandoned


class Index:
    """Of one thread. Raises `WrongIndex`, or sqlite3.Error when the file can't be opened. `path` None: in memory."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA trusted_schema = OFF")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise WrongIndex(f"it has schema version {found}, this program knows {SCHEMA_VERSION}")
        if found == 0:
            if self._db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise WrongIndex("it is another program's database")
            with self._transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    # --- facts about the whole ----------------------------------------------------------------------------------

    def fact(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def learn(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def total(self) -> int:
        """Bytes that are taken or reserved."""
        row = self._db.execute("SELECT coalesce(sum(length), 0) FROM blobs WHERE state <> 'gone'").fetchone()
        return int(row[0])

    def unfinished(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM blobs WHERE state = 'open'").fetchone()[0])

    # --- one blob -----------------------------------------------------------------------------------------------

    def blob(self, id: bytes) -> Blob | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM blobs WHERE id = ?", (id,)).fetchone()  # noqa: S608
        return Blob(*row) if row else None

    def parts(self, id: bytes, start: int = 0, stop: int = 2**63 - 1) -> list[tuple[int, int]]:
        """(offset, length) of the parts that hold bytes from `start` to before `stop`."""
        return self._db.execute(
            "SELECT offset, length FROM parts WHERE blob = ? AND offset < ? AND offset + length > ? ORDER BY offset",
            (id, stop, start),
        ).fetchall()

    def unlisted(self, parts: Sequence[Part]) -> list[Part]:
        """Those of which nothing is recorded."""
        found = "SELECT 1 FROM parts WHERE blob = ? AND offset = ?"
        return [part for part in parts if self._db.execute(found, part).fetchone() is None]

    def count_parts(self, id: bytes) -> int:
        return int(self._db.execute("SELECT count(*) FROM parts WHERE blob = ?", (id,)).fetchone()[0])

    def create(
        self, id: bytes, length: int, version: int, expires_at: int, granted_until: int, now: int, quota: int
    ) -> Blob:
        """Reserve `length` bytes under a statement that itself expires at `granted_until` (0: never); an erased blob of
        this id is replaced. Raises `Full`."""
        with self._transaction():
            if self.total() + length > quota:
                raise Full
            before = self.blob(id)
            keep = _later(before.keep_until, granted_until) if before else granted_until
            state = "open" if length else "whole"
            row = (id, state, length, 0, version, 0, expires_at, keep, now, now, secrets.token_bytes(8))
            self._db.execute(f"INSERT OR REPLACE INTO blobs({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
        return Blob(*row)  # type: ignore[arg-type]

    def add_part(self, part: Part, length: int, now: int) -> Blob:
        """The part is durable: move the offset past it. Raises `Moved` when the blob is not where it begins."""
        with self._transaction():
            changed = self._db.execute(
                """UPDATE blobs SET offset = offset + ?, progress = ?,
                          state = CASE WHEN offset + ? = length THEN 'whole' ELSE 'open' END
                   WHERE id = ? AND state = 'open' AND offset = ? AND offset + ? <= length""",
                (length, now, length, part.blob, part.offset, length),
            ).rowcount
            blob = self.blob(part.blob)
            if changed != 1 or blob is None:
                raise Moved
            self._db.execute("INSERT INTO parts VALUES (?, ?, ?)", (part.blob, part.offset, length))
        return blob

    def obey(self, id: bytes, version: int, expires_at: int, granted_until: int) -> None:
        """A later statement, which lets the blob live. Times as in `create`."""
        self._db.execute(
            """UPDATE blobs SET version = ?, expires_at = ?, closed = 0,
                      keep_until = CASE WHEN keep_until = 0 OR ? = 0 THEN 0 ELSE max(keep_until, ?) END
               WHERE id = ?""",
            (version, expires_at, granted_until, granted_until, id),
        )

    def close_blob(self, id: bytes, version: int, expires_at: int, now: int) -> None:
        """A statement says: erase it. Also of a blob that is not here yet, and then must not come by an older one."""
        with self._transaction():
            before = self.blob(id)
            if before is None:
                row = (id, "gone", 0, 0, version, 1, expires_at, expires_at, now, now, b"")
                self._db.execute(f"INSERT INTO blobs({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
            else:
                self._db.execute(
                    "UPDATE blobs SET state = ?, version = ?, closed = 1, keep_until = ? WHERE id = ?",
                    (
                        "doomed" if before.present else before.state,
                        version,
                        _later(before.keep_until, expires_at),
                        id,
                    ),
                )

    def doom(self, now: int) -> list[bytes]:
        """Mark what has expired and what was given up; all that is to be erased."""
        self._db.execute(
            """UPDATE blobs SET state = 'doomed' WHERE state IN ('open', 'whole') AND expires_at > 0 AND expires_at <= ?
               OR state = 'open' AND progress <= ?""",
            (now, now - ABANDONED_SECONDS),
        )
        return [id for (id,) in self._db.execute("SELECT id FROM blobs WHERE state = 'doomed'")]

    def bury(self, id: bytes) -> None:
        """Its objects are erased."""
        with self._transaction():
            self._db.execute("DELETE FROM parts WHERE blob = ?", (id,))
            self._db.execute("UPDATE blobs SET state = 'gone', length = 0, offset = 0 WHERE id = ?", (id,))

    def forget(self, now: int) -> None:
        """Erased blobs that no statement could bring back."""
        self._db.execute("DELETE FROM blobs WHERE state = 'gone' AND keep_until > 0 AND keep_until <= ?", (now,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _later(one: int, other: int) -> int:
    """Of two expiries, where 0 is never."""
    return _FOREVER if _FOREVER in (one, other) else max(one, other)
