"""What a host knows of itself, for the operators who look at `/status`: nothing here is a secret or proven."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORT: Final = 5432


@dataclass(frozen=True, slots=True)
class Lease:
    """Who writes the database."""

    held: bool
    """True: this instance."""
    holder: str
    """Address of who does; empty where it is not known."""
    until: int
    """Unix time to which it is theirs unless they renew it; 0: for as long as they run."""


def no_lease() -> Lease | None:
    """Of an instance that has its database to itself, because nobody else can reach it."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One instance. The front adds its address."""

    engine: str = ""
    """Of the database, for people: `SQLite`, `PostgreSQL`."""
    where: str = ""
    """The database, without credentials (`database_place`)."""
    data: Path | None = None
    """The data directory, where notes about backups lie."""
    lease: Callable[[], Lease | None] = no_lease
    started: float = field(default_factory=time.time)
    """Unix time."""


def database_place(data: Path, database: str | None) -> tuple[str, str]:
    """Engine and place of the database of data directory `data`; `database` is the URL of one elsewhere, of which
    neither user, password nor options are repeated."""
    if database is None:
        return "SQLite", str(data.absolute())
    try:
        parts = urlsplit(database)
        _, _, hosts = parts.netloc.rpartition("@")
    except ValueError:
        return "PostgreSQL", "(an address that does not parse)"
    shown = [host.removesuffix(f":{_DEFAULT_PORT}") for host in hosts.split(",")]
    return "PostgreSQL", f"{', '.join(shown) or 'a local socket'}{parts.path}"
