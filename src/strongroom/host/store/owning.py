"""Whose a database is: one instance's at a time. Others may stand by for it.

A file has a lock, which the operating system takes from a process that ends, however it ends. A database elsewhere has
a lease (`postgres_lease`). Neither is what safety rests on: of two that write, the second fails at its first commit,
because a row and the log have moved on, and witnesses see one history only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Protocol

from strongroom.host.instance import LOCK, CannotServe, WrongSettings, take_lock
from strongroom.protocol.limits import MAX_STATUS

_POLL_SECONDS: Final = 0.1


class Ownership(Protocol):
    """The right to write one database, held or waited for."""

    @property
    def owner(self) -> str:
        """URL of the front of whoever has it; empty where that is not known."""

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when another instance has it, which this one had."""

    @property
    def ring_version(self) -> int:
        """Of the row of the key ring, as it was seen last while waiting; 0: it can't be seen."""

    async def wait(self) -> None:
        """Return when it is this instance's. Raises `CannotServe` when it never will be."""

    async def confirm(self) -> None:
        """It is open: this instance has it. Raises `CannotServe`."""

    async def advertise(self, url: str) -> None:
        """Tell those who stand by where this instance is, which has it."""

    async def close(self) -> None:
        """Give it back."""


class DirectoryOwnership:
    """Of what lies in data directory `data`."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock: IO[str] | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def owner(self) -> str:
        with suppress(OSError, UnicodeDecodeError), (self._data / LOCK).open() as lock:
            return lock.read(MAX_STATUS).strip()
        return ""

    @property
    def lost(self) -> asyncio.Future[None]:
        return self._lost

    @property
    def ring_version(self) -> int:
        return 0

    def take(self) -> None:
        """At once. Raises `CannotServe` when another instance has it."""
        hint = "a database has exactly one instance at a time: stop the other one, or stand by for it with --join URL"
        self._lock = take_lock(self._data, what="instance", hint=hint)
        self._lock.truncate(0)

    async def wait(self) -> None:
        while self._lock is None:
            try:
                self.take()
            except WrongSettings:
                raise
            except CannotServe:
                await asyncio.sleep(_POLL_SECONDS)

    async def confirm(self) -> None:
        """The lock says it already."""

    async def advertise(self, url: str) -> None:
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.write(f"{url}\n")
            self._lock.flush()

    async def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
