"""Where `strongroom audit` reads a log from, and what it knows of the log from elsewhere."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from strongroom.cli.audit_charter import fetch_charter
from strongroom.cli.settings import Settings
from strongroom.cli.terminal import EXIT_UNAVAILABLE, Failure
from strongroom.client.audit.export import TiledLog
from strongroom.client.audit.governance import read_charter
from strongroom.client.audit.log import Founding
from strongroom.client.audit.rows import Snapshot
from strongroom.client.audit.sources import DirectoryLog, HttpLog, LogSource, Missing
from strongroom.client.audit.tiles import WIDTH, Bundle
from strongroom.client.errors import BadInput
from strongroom.client.files import load_trust
from strongroom.client.session import fetch_evidence
from strongroom.client.transport import Transport
from strongroom.host.audit.sqlite import SqliteSnapshot
from strongroom.host.store.port import CannotOpen
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.governance import MAX_CHARTER
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.limits import MAX_CHECKPOINT, MAX_GENESIS
from strongroom.protocol.link import Row
from strongroom.protocol.notes import cosignatures, verify_checkpoint

_COSIGNED_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Waits for the cosignatures of a checkpoint that a Vault made this moment."""


@dataclass(frozen=True, slots=True)
class Named:
    """Sources as they were named: at most one of them."""

    url: str | None
    database: str | None
    directory: Path | None

    def or_configured(self, settings: Settings) -> Named:
        """With the Vault of the settings where none is named. Raises `Failure` unless there is exactly one."""
        named = [one for one in (self.url, self.database, self.directory) if one is not None]
        if not named and settings.vault is not None:
            return Named(settings.vault, None, None)
        if len(named) != 1:
            raise Failure(
                "name one source: a Vault, a database or a directory", "give one of --url, --database and --dir"
            )
        return self


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open."""

    log: LogSource
    genesis: bytes | None
    """The statement that it has. Whose, `found` tells."""
    charter: bytes | None
    """Encoded `Charter` that it has. The audit verifies it."""
    snapshot: Snapshot | None
    """The database, if it is one."""


class _DatabaseLog:
    """The log in a database. It keeps no checkpoint: a Vault signs one when somebody asks."""

    def __init__(self, database: _Database) -> None:
        self._database = database

    async def checkpoint(self) -> bytes | None:
        return None

    async def size(self) -> int | None:
        return await self._database.size()

    async def bundle(self, wanted: Bundle) -> list[bytes]:
        first = wanted.number * WIDTH
        found = await self._database.leaves(first, wanted.width)
        if len(found) != wanted.width:
            raise Missing(f"leaf {first + len(found)} is not in the database")
        return found

    async def count(self) -> int:
        return await self._database.count()

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        return await self._database.read(keys)

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        return await self._database.hashes(level, first, count)


class _Database(Protocol):
    async def count(self) -> int: ...
    async def read(self, keys: Sequence[bytes]) -> list[Row | None]: ...
    async def size(self) -> int: ...
    async def leaves(self, first: int, count: int) -> list[bytes]: ...
    async def hashes(self, level: int, first: int, count: int) -> list[bytes]: ...
    async def close(self) -> None: ...


class _RingRow(msgspec.Struct):
    """What of the sealed key ring stands in clear."""

    charter: bytes


@asynccontextmanager
async def opened(named: Named) -> AsyncIterator[Opened]:
    """The source. Raises `Failure`, `BadInput`, `Unavailable` and `Untrusted`."""
    if named.url is not None:
        transport = Transport(named.url)
        try:
            genesis = parse_evidence(await fetch_evidence(named.url))[0].genesis
            yield Opened(HttpLog(transport), genesis, await fetch_charter(named.url), None)
        finally:
            await transport.aclose()
    elif named.directory is not None:
        log = DirectoryLog(named.directory)
        yield Opened(log, log.genesis(), log.charter(), None)
    else:
        database = await _open_database(named.database or "")
        try:
            snapshot = _DatabaseLog(database)
            charter = await _charter_in(snapshot)
            statement = None if charter is None else read_charter(charter).genesis.statement
            yield Opened(snapshot, statement, charter, snapshot)
        finally:
            await database.close()


@asynccontextmanager
async def opened_tiles(named: Named) -> AsyncIterator[tuple[TiledLog, bytes | None, bytes | None]]:
    """A source of tiles, and the genesis statement and the charter that it has. Raises as `opened`."""
    async with opened(named) as there:
        if not isinstance(there.log, HttpLog | DirectoryLog):
            raise Failure("a database has no signed checkpoint", "name a Vault or a directory")
        yield there.log, there.genesis, there.charter


async def newest_checkpoint(source: LogSource, founding: Founding) -> bytes | None:
    """The source's checkpoint; of a log with witnesses, after a moment in which they may cosign it."""
    note = await source.checkpoint()
    for seconds in _COSIGNED_SECONDS:
        if note is None or is_cosigned(note, founding):
            break
        await asyncio.sleep(seconds)
        note = await source.checkpoint()
    return note


def is_cosigned(note: bytes, founding: Founding) -> bool:
    """Whether as many witnesses as it takes have cosigned; of what is no checkpoint the audit says so."""
    named = founding.named_by(note)[1]
    try:
        signed = verify_checkpoint(note, named.log)
    except Untrusted:
        return True
    return len(cosignatures(signed, named.witnesses)) >= named.cosignatures


def accepted_clusters(cluster: str | None, trust: Path | None, settings: Settings) -> Collection[bytes]:
    """Cluster ids that the auditor has from elsewhere than the source. Raises `Failure` if there are none."""
    if cluster is not None:
        if not re.fullmatch("[0-9a-f]{64}", cluster):
            raise Failure("--cluster is not a cluster id", "give the 64 hex digits that `strongroom verify` shows")
        return {bytes.fromhex(cluster)}
    file = trust or settings.trust
    if file is None:
        raise Failure(
            "nothing says which cluster this must be the log of",
            "give --trust or --cluster, as its operator publishes them or you noted them before",
        )
    return set(load_trust(file).vault.clusters)


def read_note(path: Path) -> bytes:
    """A file with a signed checkpoint. Raises `Failure`."""
    return _read(path, MAX_CHECKPOINT, "the checkpoint")


def read_genesis(path: Path) -> bytes:
    """A file with a genesis statement. Raises `Failure`."""
    return _read(path, MAX_GENESIS, "the genesis statement")


def read_charter_file(path: Path) -> bytes:
    """A file with a signed charter. Raises `Failure`."""
    return _read(path, MAX_CHARTER, "the charter")


def _read(path: Path, limit: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Failure(f"can't read {what} {path}: {error.strerror}", "name another file") from None
    if len(data) > limit:
        raise Failure(f"{path} is too large for {what}", "name another file")
    return data


async def _charter_in(snapshot: Snapshot) -> bytes | None:
    row = (await snapshot.read([RING_KEY]))[0]
    try:
        return None if row is None else msgspec.msgpack.decode(row.sealed, type=_RingRow).charter
    except (msgspec.DecodeError, ValueError):
        raise BadInput("the row of the key ring in this database is none", "give --genesis FILE") from None


async def _open_database(name: str) -> _Database:
    try:
        if re.match("postgres(ql)?://", name):
            from strongroom.host.audit.postgres import PostgresSnapshot  # a driver that SQLite does not need

            return await PostgresSnapshot.open(name)
        return SqliteSnapshot(Path(name))
    except OSError as error:
        raise Failure(
            f"can't open the database {name}: {error.strerror}", "name a file, a data directory or postgresql://…"
        ) from None
    except CannotOpen as error:
        raise Failure(str(error), error.hint, status=EXIT_UNAVAILABLE) from None
