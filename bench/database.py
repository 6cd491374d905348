"""A PostgreSQL server for one contender: durable as it ships, on loopback, its CPU counted with the contender's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.postgres import PASSWORD, missing, server

CONNECTIONS = 200
"""OpenBao opens up to 128."""


@dataclass(frozen=True, slots=True)
class Database:
    """An empty one."""

    url: str
    """With the password, and without TLS."""
    pid: int
    """Of the server, whose children do the work."""


@contextmanager
def postgresql() -> Iterator[Database]:
    """Ends the program where there is no PostgreSQL."""
    if (gap := missing()) is not None:
        raise SystemExit(f"error: {gap}")
    with server(f"max_connections={CONNECTIONS}") as running:
        running.sql("CREATE DATABASE bench")
        url = f"postgresql://strongroom:{PASSWORD}@127.0.0.1:{running.port}/bench?sslmode=disable"
        yield Database(url, int((running.data / "postmaster.pid").read_text().split()[0]))
