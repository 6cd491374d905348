"""The storage port: what a host needs of a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from strongroom.protocol.link import Commit, Row


class CannotOpen(Exception):
    """The database can't be used; the text says why, `hint` what to do. Nothing was changed in it."""

    def __init__(self, reason: str, hint: str) -> None:
        self.hint = hint
        super().__init__(reason)


class WrongDatabase(CannotOpen):
    """Another has to be named: this one will not do later either."""


class SchemaMismatch(WrongDatabase):
    """It is not a database that this version can use."""


class Store(Protocol):
    """Rows of ciphertext by 32-byte key, each with a version, and an append-only log with the hashes of its tree.

    Futures rather than coroutines, because this is on the path of every request: a store that has the answer in reach
    returns a finished one. All fail with `Unavailable` STORE_UNAVAILABLE.
    """

    def empty(self) -> asyncio.Future[bool]:
        """Whether there is no row at all: only then may a cluster be founded on it."""

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[list[Row | None]]:
        """The rows of one moment, in the order of `keys`; None for each that is absent."""

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        """All or nothing, durable when done.

        Fails with `Misuse` CONFLICT when a row is not at the version that a put replaces, or the log not at the size
        that the commit names; with `Unavailable` STORE_FULL. Nothing is changed then. After STORE_UNAVAILABLE it may
        have been done: who needs to know reads.
        """

    def size(self) -> asyncio.Future[int]:
        """Leaves of the log."""

    def leaves(self, indexes: Sequence[int]) -> asyncio.Future[list[bytes | None]]:
        """Leaves by index, from 0, in the order of `indexes`; None for each that is absent."""

    def hashes(self, level: int, first: int, count: int) -> asyncio.Future[list[bytes]]:
        """Kept hashes `first` to before `first + count` of a level (`host/log/tree.py`): as many as there are."""

    async def close(self) -> None:
        """Finish what was begun, then let go of the database."""
