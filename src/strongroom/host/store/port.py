"""The storage port: what a host needs of a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from strongroom.protocol.link import Commit, Row


class Store(Protocol):
    """Rows of ciphertext by 32-byte key, each with a version, and an append-only log."""

    def empty(self) -> bool:
        """Whether there is no row at all: only then may a cluster be founded on it."""

    def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """The rows of one moment, in the order of `keys`. Raises `Unavailable` STORE_UNAVAILABLE."""

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        """All or nothing, durable when done.

        Fails with `Misuse` CONFLICT when a row is not at the version that a put replaces, `Unavailable` STORE_FULL
        or STORE_UNAVAILABLE; nothing is changed then.
        """

    def close(self) -> None:
        """Finish what was begun, then let go of the database."""
