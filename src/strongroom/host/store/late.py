"""A store that is not this instance's yet: it says so, and is the real one from the moment that there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from strongroom.host.store.port import Store
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.link import Commit, Row

T = TypeVar("T")


class LateStore:
    """A `Store` before and after `arrive`."""

    def __init__(self) -> None:
        self._store: Store | None = None

    def arrive(self, store: Store) -> None:
        """From now on this is `store`, which is closed with it."""
        self._store = store

    def empty(self) -> asyncio.Future[bool]:
        return _absent() if self._store is None else self._store.empty()

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[list[Row | None]]:
        return _absent() if self._store is None else self._store.read(keys)

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        return _absent() if self._store is None else self._store.commit(commit)

    def size(self) -> asyncio.Future[int]:
        return _absent() if self._store is None else self._store.size()

    def leaves(self, indexes: Sequence[int]) -> asyncio.Future[list[bytes | None]]:
        return _absent() if self._store is None else self._store.leaves(indexes)

    def hashes(self, level: int, first: int, count: int) -> asyncio.Future[list[bytes]]:
        return _absent() if self._store is None else self._store.hashes(level, first, count)

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()


def _absent() -> asyncio.Future[T]:
    failed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    failed.set_exception(Unavailable(Number.STORE_UNAVAILABLE, "the database is another instance's"))
    return failed
