"""One moment of a PostgreSQL database, also of a standby, also while a Vault writes to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final, Self

import asyncpg

from strongroom.host.store.port import CannotOpen, SchemaMismatch
from strongroom.host.store.postgres_schema import STEPS
from strongroom.host.store.postgres_session import CONNECT_SECONDS, refusal
from strongroom.host.store.postgres_url import servers
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.link import Row

_ANSWER_SECONDS: Final = 60.0
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_ANOTHER: Final = "use the version of strongroom that wrote it"


class PostgresSnapshot:
    """Rows and log in one read-only transaction, which lasts until `close`. Methods raise `Unavailable`
    STORE_UNAVAILABLE."""

    @classmethod
    async def open(cls, url: str) -> Self:
        """The first server of `url` that answers. Raises `CannotOpen`, and `SchemaMismatch`."""
        connection = await _connect(servers(url))
        snapshot = cls(connection)
        try:
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
            await _verify_schema(connection)
        except _FAILURES as error:
            connection.terminate()
            raise CannotOpen(f"the database failed: {_plain(error)}", "see the server's log") from None
        except CannotOpen:
            connection.terminate()
            raise
        return snapshot

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        """Use `open`."""
        self._connection = connection
        self._turn = asyncio.Lock()
        """One moment has one connection, which can be asked one thing at a time."""

    async def count(self) -> int:
        """Rows in all."""
        return int((await self._all("SELECT count(*) FROM rows"))[0][0])

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows by key; None for each that is absent."""
        found = await self._all("SELECT key, version, sealed FROM rows WHERE key = ANY($1::bytea[])", list(keys))
        rows = {key: Row(version, sealed) for key, version, sealed in found}
        return [rows.get(key) for key in keys]

    async def size(self) -> int:
        """Leaves of the log."""
        return int((await self._all("SELECT coalesce(max(seq) + 1, 0) FROM log"))[0][0])

    async def leaves(self, first: int, count: int) -> list[bytes]:
        """Leaves from `first` on: as many as there are up to the first that is missing."""
        query = "SELECT seq, leaf FROM log WHERE seq >= $1 AND seq < $2 ORDER BY seq"
        found = await self._all(query, first, first + count)
        return [leaf for index, (seq, leaf) in enumerate(found, first) if seq == index]

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Kept hashes of a level of the log's tree, in the same way."""
        query = "SELECT idx, hash FROM log_hashes WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx"
        found = await self._all(query, level, first, first + count)
        return [node for index, (idx, node) in enumerate(found, first) if idx == index]

    async def close(self) -> None:
        self._connection.terminate()

    async def _all(self, query: str, *values: object) -> list[asyncpg.Record]:
        try:
            async with self._turn:
                records: list[asyncpg.Record] = await self._connection.fetch(query, *values, timeout=_ANSWER_SECONDS)
        except _FAILURES as error:
            raise Unavailable(Number.STORE_UNAVAILABLE, _plain(error)) from None
        return records


async def _connect(urls: Sequence[str]) -> asyncpg.Connection[Any]:
    problem = CannotOpen("no server is named", "name one")
    for url in urls:
        try:
            return await asyncpg.connect(
                url, timeout=CONNECT_SECONDS, server_settings={"application_name": "strongroom audit"}
            )
        except asyncpg.PostgresError as error:
            problem = refusal(error)
        except (*_FAILURES, asyncpg.ClientConfigurationError, socket.gaierror, ValueError) as error:
            problem = CannotOpen(
                f"can't reach the database: {_plain(error)}", "is the server running, and the URL right?"
            )
    raise problem


async def _verify_schema(connection: asyncpg.Connection[Any]) -> None:
    if await connection.fetchval("SELECT to_regclass('strongroom')") is None:
        raise SchemaMismatch("the database is not one of a Vault", "name another one")
    found = await connection.fetchval("SELECT schema_version FROM strongroom")
    if found != len(STEPS):
        raise SchemaMismatch(f"the database has schema version {found}, not {len(STEPS)}", _ANOTHER)


def _plain(error: Exception) -> str:
    """Without details, which may name values."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
