"""Which store an instance has: a file in its data directory, or a database elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Literal

from strongroom.host.store.port import CannotOpen, Store, WrongDatabase
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.errors import StrongroomError

FILE: Final = "strongroom.sqlite3"
ELSEWHERE: Final = "database-elsewhere"
"""Stands in a data directory whose rows are in a database that has to be named: else a start without its name, once
forgotten, would found a new cluster beside the old."""
_NAMED: Final = "The rows of this instance are in the database that --database names.\n"
_SERVED: Final = f"{_NAMED}It has served a cluster: an empty database is not the one.\n"
"""For a name that is mistyped, which would do the same."""
_log: Final = logging.getLogger("strongroom.host.store")


async def open_store(
    data: Path, database: str | None, application: str, lock: Literal["needed", "wanted"] = "needed"
) -> tuple[Store, bool]:
    """The store of data directory `data`, and whether a cluster is to be founded on it, as there is none.

    `database` is the URL of one elsewhere; `lock` is as for that. Raises `CannotOpen`.
    """
    store = _file(data) if database is None else await _elsewhere(data, database, application, lock)
    try:
        new = await store.empty()
        if database is not None:
            _compare(data, new)
    except StrongroomError as error:
        await store.close()
        raise CannotOpen("the database can't be read", error.hint) from None
    except CannotOpen:
        await store.close()
        raise
    return store, new


def note_served(data: Path) -> None:
    """Remember that `data` has served a cluster, if its rows are elsewhere."""
    if (data / ELSEWHERE).exists():
        (data / ELSEWHERE).write_text(_SERVED)


def _file(data: Path) -> Store:
    if (data / ELSEWHERE).exists():
        raise WrongDatabase(
            f"the rows of {data} are in a database elsewhere",
            "name it with --database again; a new cluster takes another directory",
        )
    if (data / f".{FILE}.partial").exists() and not (data / FILE).exists():
        # Else a start would found another cluster where the old one was to come back.
        raise WrongDatabase(
            f"a database was being restored into {data}, and that did not come to its end",
            "run `strongroom restore` with this directory again; a new cluster takes another one",
        )
    try:
        return SqliteStore(data / FILE)
    except StrongroomError as error:
        raise CannotOpen(f"the database in {data} can't be opened", error.hint) from None


async def _elsewhere(data: Path, database: str, application: str, lock: Literal["needed", "wanted"]) -> Store:
    if (data / FILE).exists():
        raise WrongDatabase(
            f"{data} holds a database itself ({FILE})",
            "leave --database out to go on with that one; a new cluster takes another directory",
        )
    from strongroom.host.store.postgres import PostgresStore  # a driver that most instances do not need

    return await PostgresStore.open(database, application=application, lock=lock)


def _compare(data: Path, new: bool) -> None:
    """Directory and database belong together. Raises `WrongDatabase`."""
    note = data / ELSEWHERE
    if new and note.exists() and note.read_text() == _SERVED:
        raise WrongDatabase(
            f"this database is empty, and {data} has served a cluster in another one",
            "name the database that this directory belongs to; a new cluster takes another --data",
        )
    if not new and not note.exists():
        _log.warning("this database holds a cluster already: it is served, with the owner that it was founded with")
    note.write_text(_NAMED if new else _SERVED)
