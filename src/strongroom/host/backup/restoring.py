"""Puts a backup back: into a data directory, or into an empty database. All of it or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from strongroom.host.backup.drafts import CannotBackUp, drafting, full_or
from strongroom.host.backup.file import USUAL, writing
from strongroom.host.backup.making import Progress, Tally, copy_all, read_all, read_hashes, read_leaves
from strongroom.host.backup.sources import SqliteSource
from strongroom.host.store.opening import ELSEWHERE, FILE, note_served

_NEW: Final = "name a new directory, or move this database away yourself; nothing was changed"


def verify_vacant(data: Path) -> None:
    """No database, and no note of one, is in `data`. Raises `CannotBackUp`."""
    # A write-ahead log that was left behind would be played into the new database.
    for name in (FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal", ELSEWHERE):
        if (data / name).exists():
            raise CannotBackUp(f"{data} is not empty: it has {name}", _NEW)


async def restore_file(backup: Path, data: Path, progress: Progress = lambda done, of: None) -> Tally:
    """Into `data`, as the database of an instance with SQLite. Raises `CannotBackUp`, `Unavailable`.

    Killed at any moment, the directory has no database, or all of it.
    """
    verify_vacant(data)
    tally, source = Tally(), _opened(backup)
    try:
        with drafting(data / FILE, "refuse") as draft:
            try:
                with writing(draft, USUAL) as tables:
                    await copy_all(source, tables, tally, progress)
            except sqlite3.Error as error:
                raise full_or(error, data / FILE) from None
    finally:
        await source.close()
    return tally


async def restore_database(
    backup: Path, database: str, data: Path | None, progress: Progress = lambda done, of: None
) -> Tally:
    """Into the database at this URL, in one transaction; `data` is the directory of the instance that it will be of.

    Raises `CannotBackUp`, `CannotOpen`, `Unavailable`.
    """
    from strongroom.host.backup.postgres import PostgresTarget  # a driver that SQLite does not need

    if data is not None:
        verify_vacant(data)
    tally, source = Tally(), _opened(backup)
    try:
        async with PostgresTarget.open(database) as target:
            async for rows in read_all(source, tally):
                await target.add(rows)
                progress(tally.rows, 0)
            size = await source.size()
            async for first, leaves in read_leaves(source, 0, size, tally):
                await target.append(first, leaves)
            async for level, first, hashes in read_hashes(source, 0, size, tally):
                await target.keep(level, first, hashes)
    finally:
        await source.close()
    if data is not None:
        (data / ELSEWHERE).touch()
        note_served(data)
    return tally


def _opened(backup: Path) -> SqliteSource:
    try:
        return SqliteSource(backup)
    except OSError as error:
        raise CannotBackUp(f"can't read {backup}: {(error.strerror or '').lower()}", "name another file") from None
