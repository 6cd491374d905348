"""Which store an instance has: a file in its data directory, or a database elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strongroom.host.store.port import CannotOpen, Store
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.errors import StrongroomError

FILE: Final = "strongroom.sqlite3"
ELSEWHERE: Final = "database-elsewhere"
"""Stands in a data directory whose rows are in a database that has to be named: else a start without its name, once
forgotten, would found a new cluster beside the old."""


async def open_store(data: Path, database: str | None, application: str) -> Store:
    """The store of data directory `data`; `database` is the URL of one elsewhere. Raises `CannotOpen`."""
    if database is None:
        if (data / ELSEWHERE).exists():
            raise CannotOpen(
                f"the rows of {data} are in a database elsewhere",
                "name it with --database again; a new cluster takes another directory",
            )
        try:
            return SqliteStore(data / FILE)
        except StrongroomError as error:
            raise CannotOpen(f"the database in {data} can't be opened", error.hint) from None
    if (data / FILE).exists():
        raise CannotOpen(
            f"{data} holds a database itself ({FILE})",
            "leave --database out to go on with that one; a new cluster takes another directory",
        )
    from strongroom.host.store.postgres import PostgresStore  # a driver that most instances do not need

    store = await PostgresStore.open(database, application=application)
    (data / ELSEWHERE).write_text("The rows of this instance are in the database that --database names.\n")
    return store
