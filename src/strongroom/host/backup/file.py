"""A backup is one file: the tables of the SQLite store, whatever the engine that it came from, and a manifest.

So it is read by whatever reads such a database (`strongroom audit --database FILE`, any SQLite), and goes back into
either engine. The manifest is written last: a file without one is no backup.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.store.sqlite_schema import SCHEMA_VERSION, migrate
from strongroom.protocol.link import Row

FORMAT: Final = 1
Engine = Literal["sqlite", "postgresql"]
_HEADER: Final = 100
"""Bytes of the header of a file of SQLite (https://www.sqlite.org/fileformat2.html#the_database_header)."""
_SCHEMA: Final = {("table", name) for name in ("rows", "log", "log_hashes", "manifest")} | {
    ("index", "sqlite_autoindex_rows_1")
}
DENSE: Final = 16384
"""Bytes of a page of a backup: rows of records waste a third of pages of the usual size."""
USUAL: Final = 4096
"""Of a database that is to be served: each page that changes is written whole."""
_MAX_MANIFEST: Final = 256 * 1024


class Damaged(CannotBackUp):
    """What was named is no whole backup."""


class Based(msgspec.Struct, frozen=True):
    """The backup that an incremental one was made onto."""

    at: int
    log_size: int
    name: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. Nobody believes it: `verify-backup` compares."""

    format: int
    role: str
    """As the charter in the row of the key ring says; empty where that can't be read."""
    cluster: str
    """Cluster id in hex, in the same way."""
    at: int
    """Unix time of what is in it, by the clock of the machine that made it."""
    engine: Engine
    """Where the rows came from."""
    rows: int
    log_size: int
    """Leaves; 0 of an Authenticator, which has no log."""
    head: int
    """Version of the head row, which every commit raises; 0 where there is none."""
    checkpoint: str
    """The newest signed checkpoint before it was made; empty where no front was named."""
    based_on: Based | None
    """None: all was read from the database."""
    made_by: str
    """Version of the program."""


class Stored(NamedTuple):
    """A row with its key."""

    key: bytes
    version: int
    sealed: bytes


class Tables:
    """The tables of a file that is being written: nobody else has it, and it counts only when it is whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, rows: Iterable[Stored]) -> None:
        """Rows that are not there yet."""
        self._connection.executemany("INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)", rows)

    def put(self, rows: Iterable[Stored]) -> None:
        """Rows in place of those of the same key."""
        self._connection.executemany(
            "INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)"
            " ON CONFLICT(key) DO UPDATE SET version = excluded.version, sealed = excluded.sealed",
            rows,
        )

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Rows by key, at most some hundred; those that are absent are left out."""
        places = ",".join("?" * len(keys))
        found = self._connection.execute(
            f"SELECT key, version, sealed FROM rows WHERE key IN ({places})",  # noqa: S608
            keys,
        )
        return {key: Row(version, sealed) for key, version, sealed in found}

    def append(self, first: int, leaves: Iterable[bytes]) -> None:
        """Leaves of the log from `first` on."""
        self._connection.executemany("INSERT INTO log(seq, leaf) VALUES (?, ?)", enumerate(leaves, first))

    def keep(self, level: int, first: int, hashes: Iterable[bytes]) -> None:
        """Hashes of a level of the log's tree from `first` on."""
        self._connection.executemany(
            "INSERT INTO log_hashes(level, idx, hash) VALUES (?, ?, ?)",
            ((level, index, node) for index, node in enumerate(hashes, first)),
        )

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Kept hashes, in the same way."""
        found = self._connection.execute(
            "SELECT hash FROM log_hashes WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx",
            (level, first, first + count),
        )
        return [node for (node,) in found]

    def size(self) -> int:
        """Leaves of the log."""
        return int(self._connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM log").fetchone()[0])

    def count(self) -> int:
        """Rows in all."""
        return int(self._connection.execute("SELECT count(*) FROM rows").fetchone()[0])

    def sign_off(self, manifest: Manifest) -> None:
        """All is there. What was written so far is durable no sooner than the file is synchronised."""
        execute = self._connection.execute
        execute("DROP TABLE IF EXISTS manifest")
        execute("CREATE TABLE manifest(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID")
        for name, value in msgspec.to_builtins(manifest).items():
            execute("INSERT INTO manifest VALUES (?, ?)", (name, msgspec.json.encode(value).decode()))


@contextmanager
def writing(draft: Path, page: int) -> Iterator[Tables]:
    """The tables of an empty file, which gets pages of so many bytes, or of a copy of a backup, which keeps its own.

    Raises sqlite3.Error, `CannotBackUp`.
    """
    with closing(sqlite3.connect(draft, isolation_level=None, cached_statements=64)) as connection:
        # A draft that is not finished is thrown away: there is nothing to roll back to, and one sync at the end.
        connection.execute(f"PRAGMA page_size = {page}")
        for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {setting}")
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'manifest'").fetchone():
            migrate(connection, draft)
        connection.execute("BEGIN")
        yield Tables(connection)
        connection.execute("COMMIT")


def read_manifest(path: Path) -> Manifest:
    """Raises `CannotBackUp` for what is no backup, or none that this version reads."""
    verify_length(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = connection.execute("SELECT name, value FROM manifest").fetchmany(64)
            _verify_schema(connection, path)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise Damaged(
                f"{path} is no whole backup: it has no manifest", "name a file that `strongroom backup` wrote"
            ) from None
        raise CannotBackUp(f"can't read {path}: {error}", "name another file") from None
    except sqlite3.Error as error:
        raise Damaged(f"{path} is damaged: {error}", "take another backup") from None
    try:
        if sum(len(value) for _, value in found) > _MAX_MANIFEST:
            raise ValueError
        values = {name: msgspec.json.decode(value) for name, value in found}
        if values.get("format") != FORMAT:
            raise CannotBackUp(
                f"{path} has format {values.get('format')!r}, this program knows {FORMAT}", "use a newer strongroom"
            )
        return msgspec.convert(values, Manifest)
    except (msgspec.DecodeError, ValueError, TypeError):
        raise Damaged(f"the manifest of {path} was altered", "take another backup") from None


def _verify_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Tables as this program makes them, and nothing that only looks like them. Raises `Damaged`."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    found = {(kind, name) for kind, name in connection.execute("SELECT type, name FROM sqlite_schema")}
    if version != SCHEMA_VERSION or found != _SCHEMA:
        raise Damaged(
            f"{path} has other tables than a backup of this version (schema {version}, not {SCHEMA_VERSION})",
            "use the version of strongroom that wrote it, or take another backup",
        )


def verify_length(path: Path) -> None:
    """A file of SQLite as long as its header says. Raises `CannotBackUp`."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            length = path.stat().st_size
    except OSError as error:
        raise CannotBackUp(f"can't read {path}: {(error.strerror or '').lower()}", "name another file") from None
    if len(header) < _HEADER or not header.startswith(b"SQLite format 3\0"):
        raise Damaged(f"{path} is no backup: no file of SQLite", "name a file that `strongroom backup` wrote")
    page = int.from_bytes(header[16:18], "big")
    said = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if length < said:
        raise Damaged(
            f"{path} is cut off: {length:,} bytes of {said:,}", "copy it again from where it came, or take another"
        )
