"""The log as tiles, by the letter of C2SP tlog-tiles (`spec/log.md`), so that public monitors can read it.

Tiles are public and need no session: they are the one thing that strangers get out of the database. So few are read at
once, few are kept for clients that take them slowly, and whatever is not there yet is told from two numbers before
the database is asked for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from strongroom.host.front.answers import After, failed, tile
from strongroom.host.log.proofs import tile_hashes
from strongroom.host.store.port import Store
from strongroom.protocol.errors import Number, StrongroomError

LOG_PATH: Final = b"/v1/log/"
CHECKPOINT_PATH: Final = b"/v1/log/checkpoint"
NOT_FOUND: Final = "404 Not Found"

_WIDTH: Final = 256
_READS: Final = 4
"""Tiles that are read from the database at once; others wait."""

_PATH: Final = re.compile(
    rb"/v1/log/tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])"
    rb"/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})"
    rb"(?:\.p/(?P<width>[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
)

Served = Callable[[bytes], None]
"""Gets the whole answer, once."""


class Tile(NamedTuple):
    """What a path names."""

    level: int | None
    """None: entries."""
    number: int
    width: int
    """1 to 256."""


def parse_tile_path(path: bytes) -> Tile | None:
    """The tile that this path names; None for any other spelling of it, too, since caches would keep each."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    number = found["number"]
    if number.startswith(b"x000"):
        return None
    level = None if found["level"] == b"entries" else int(found["level"])
    return Tile(level, int(number.replace(b"x", b"").replace(b"/", b"")), int(found["width"] or _WIDTH))


class Tiles:
    """Answers from the log in `store`: at most `places` at once, from the question until the client has taken them."""

    def __init__(self, store: Store, places: int) -> None:
        self._store = store
        self._free = places
        self._reads = asyncio.Semaphore(_READS)
        self._tasks: set[asyncio.Task[None]] = set()

    def take_place(self) -> bool:
        """Whether there is one; who got it gives it back."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_place_back(self) -> None:
        self._free += 1

    def serve(self, wanted: Tile, after: After, served: Served) -> None:
        """Read the tile and hand its answer to `served`."""
        task = asyncio.get_running_loop().create_task(self._serve(wanted, after, served))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Nobody waits any more."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, wanted: Tile, after: After, served: Served) -> None:
        try:
            async with self._reads:
                body = await self._read(wanted)
        except StrongroomError as error:
            served(failed(error.number, after))
        else:
            served(failed(Number.MALFORMED, after, NOT_FOUND) if body is None else tile(body, after))

    async def _read(self, wanted: Tile) -> bytes | None:
        level = wanted.level or 0
        first, size = wanted.number * _WIDTH, await self._store.size()
        if first + wanted.width > size >> 8 * level:
            return None
        if wanted.level is not None:
            return b"".join(await tile_hashes(self._store, level, wanted.number, wanted.width))
        leaves = await self._store.leaves(range(first, first + wanted.width))
        if any(leaf is None for leaf in leaves):
            return None  # lost, whoever lost it: a bundle with a hole would be another log
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves if leaf is not None)
