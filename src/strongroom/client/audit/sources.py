"""Where a log is read from: a running Vault, or a directory of tiles that somebody fetched. Neither is believed."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Final, Protocol

from strongroom.client.audit.tiles import (
    MAX_BUNDLE,
    WIDTH,
    Bundle,
    HashTile,
    bundles,
    join_bundle,
    split_bundle,
    tile_path,
)
from strongroom.client.errors import BadInput
from strongroom.client.transport import Transport
from strongroom.protocol.errors import Number, Unavailable, Untrusted
from strongroom.protocol.governance import MAX_CHARTER
from strongroom.protocol.limits import MAX_CHECKPOINT, MAX_GENESIS

AHEAD: Final = 3
"""Bundles asked for while one is looked at; the front of a Vault reads four at once for everybody."""
_PATIENCE: Final = (0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts at a server that says it is busy: it is, with other readers of its log."""
CHECKPOINT: Final = "checkpoint"
GENESIS: Final = "genesis"
"""Beside the tiles of a saved log, so that it can be audited where there is nothing else."""
CHARTER: Final = "charter"
"""The same: who governs the cluster, and what they have signed."""


class Missing(Untrusted):
    """The source does not have what the log has."""

    def __init__(self, what: str) -> None:
        super().__init__(Number.LOG_OMITTED, what)


class LogSource(Protocol):
    """Leaves of a log, and what is said of it."""

    async def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint; None where the source keeps none."""

    async def size(self) -> int | None:
        """Leaves that the source has; None where only a checkpoint tells."""

    async def bundle(self, wanted: Bundle) -> list[bytes]:
        """Leaves. Raises `Missing`, `Untrusted` INTEGRITY for what is no bundle, and `Unavailable`."""


async def stream(source: LogSource, first: int, size: int) -> AsyncGenerator[tuple[int, list[bytes]], None]:
    """Leaves `first` to before `size`, by the bundle: the index of the first, and the leaves. Raises as `bundle`."""
    waiting: deque[tuple[Bundle, asyncio.Task[list[bytes]]]] = deque()
    try:
        for wanted in bundles(first, size):
            waiting.append((wanted, asyncio.ensure_future(source.bundle(wanted))))
            if len(waiting) > AHEAD:
                yield _cut(first, *await _taken(waiting))
        while waiting:
            yield _cut(first, *await _taken(waiting))
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)


async def _taken(waiting: deque[tuple[Bundle, asyncio.Task[list[bytes]]]]) -> tuple[Bundle, list[bytes]]:
    leaves = await waiting[0][1]
    return waiting.popleft()[0], leaves


def _cut(first: int, bundle: Bundle, leaves: list[bytes]) -> tuple[int, list[bytes]]:
    start = bundle.number * WIDTH
    skip = max(0, first - start)
    return start + skip, leaves[skip:]


class _Tiles:
    """What sources of tiles have in common."""

    where: str
    """For messages."""

    async def size(self) -> int | None:
        return None

    async def bundle(self, wanted: Bundle) -> list[bytes]:
        data = await self._tile(tile_path(None, *wanted))
        if data is not None:
            return split_bundle(data, wanted.width)
        # A log may drop a partial bundle once the full one is there.
        full = await self._tile(tile_path(None, wanted.number, WIDTH)) if wanted.width < WIDTH else None
        if full is None:
            raise Missing(f"{self.where} does not have the leaves from {wanted.number * WIDTH} on")
        return split_bundle(full, WIDTH)[: wanted.width]

    async def hash_tile(self, level: int, number: int, width: int) -> list[bytes]:
        """Hashes of a tile. Raises as `bundle`."""
        data = await self._tile(tile_path(level, number, width))
        if data is None and width < WIDTH:
            data = await self._tile(tile_path(level, number, WIDTH))
        if data is None or len(data) % 32 or len(data) < 32 * width:
            raise Missing(f"{self.where} does not have tile {number} of level {level}")
        return [data[at : at + 32] for at in range(0, 32 * width, 32)]

    async def _tile(self, path: str) -> bytes | None:
        raise NotImplementedError


class HttpLog(_Tiles):
    """The log of a running Vault."""

    def __init__(self, transport: Transport) -> None:
        self.where = transport.url
        self._transport = transport

    async def checkpoint(self) -> bytes | None:
        note = await self._get(CHECKPOINT, MAX_CHECKPOINT)
        if note is None:
            raise BadInput(f"{self.where} shows no log", "name a Vault; an Authenticator has no log")
        return note

    async def _tile(self, path: str) -> bytes | None:
        return await self._get(path, MAX_BUNDLE)

    async def _get(self, path: str, limit: int) -> bytes | None:
        for patience in _PATIENCE:
            try:
                return await self._transport.log(path, limit)
            except Unavailable as error:
                if error.number is not Number.BUSY:
                    raise
            await asyncio.sleep(patience)
        return await self._transport.log(path, limit)


class DirectoryLog(_Tiles):
    """Tiles in files, named as their paths."""

    def __init__(self, directory: Path) -> None:
        self.where = str(directory)
        self._directory = directory

    def genesis(self) -> bytes | None:
        """The genesis statement that was saved beside the tiles."""
        return self._read(GENESIS, MAX_GENESIS)

    def charter(self) -> bytes | None:
        """The charter, if it was saved, too."""
        return self._read(CHARTER, MAX_CHARTER)

    async def checkpoint(self) -> bytes | None:
        note = self._read(CHECKPOINT, MAX_CHECKPOINT)
        if note is None:
            raise BadInput(f"{self.where} holds no log", "name a directory that --save wrote")
        return note

    async def _tile(self, path: str) -> bytes | None:
        return self._read(path, MAX_BUNDLE)

    def _read(self, path: str, limit: int) -> bytes | None:
        try:
            with open(self._directory / path, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadInput(f"can't read {self._directory / path}: {error.strerror}", "name another directory") from None
        if len(data) > limit:
            raise Untrusted(Number.INTEGRITY, f"{self._directory / path} is larger than any tile")
        return data


class SavedLog:
    """Writes a log into a directory that any web server can show: tiles, checkpoint, and the genesis statement.

    What is written counts from `finish` on: a copy that is there already is not mixed with what was bent since.
    """

    def __init__(self, directory: Path, genesis: bytes, charter: bytes | None = None) -> None:
        """Raises `BadInput` for a directory that holds the log of another cluster."""
        before = DirectoryLog(directory).genesis()
        if before is not None and before != genesis:
            raise BadInput(f"{directory} holds the log of another cluster", "name another directory")
        self._directory = directory
        self._draft = directory / f".draft-{os.getpid()}"
        self._genesis = genesis
        self._charter = charter

    def leaves(self, first: int, leaves: list[bytes]) -> None:
        """A bundle, whole as it is now."""
        self._write(tile_path(None, first // WIDTH, len(leaves)), join_bundle(leaves))

    def hashes(self, tile: HashTile) -> None:
        self._write(tile_path(tile.level, tile.number, len(tile.hashes)), b"".join(tile.hashes))

    def finish(self, note: bytes) -> None:
        """It holds. The checkpoint comes last, for it says that the rest is there."""
        self._write_statements()
        self._write(CHECKPOINT, note)
        try:
            files = [file for file in self._draft.rglob("*") if file.is_file()]
            for file in sorted(files, key=lambda file: (file.name == CHECKPOINT, file.name not in (GENESIS, CHARTER))):
                target = self._directory / file.relative_to(self._draft)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
        except OSError as error:
            raise _unwritten(self._directory, error) from None

    def set_apart(self, note: bytes, since: Sequence[bytes], at: int) -> Path:
        """It does not hold: a folder of its own, for who has to be convinced. `since`: earlier checkpoints; `at`: unix
        seconds."""
        self._write_statements()
        self._write(CHECKPOINT, note)
        for number, known in enumerate(since):
            self._write(f"since-{number}.checkpoint", known)
        folder = self._directory / f"failed-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
        try:
            self._draft.replace(folder)
        except OSError as error:
            raise _unwritten(folder, error) from None
        return folder

    def discard(self) -> None:
        """What was neither finished nor set apart."""
        rmtree(self._draft, ignore_errors=True)

    def _write_statements(self) -> None:
        self._write(GENESIS, self._genesis)
        if self._charter is not None:
            self._write(CHARTER, self._charter)

    def _write(self, path: str, data: bytes) -> None:
        file = self._draft / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as error:
            raise _unwritten(file, error) from None


def _unwritten(path: Path, error: OSError) -> BadInput:
    return BadInput(f"can't write {path}: {error.strerror}", "name another directory, or free space")
