"""The database of an instance: at hand from the start, or another one's that this instance stands by for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from strongroom.host.instance import CannotServe, WrongSettings
from strongroom.host.store.late import LateStore
from strongroom.host.store.opening import FILE, open_store
from strongroom.host.store.owning import DirectoryOwnership, Ownership
from strongroom.host.store.port import CannotOpen, Store, WrongDatabase
from strongroom.protocol.link import Mode

if TYPE_CHECKING:
    from strongroom.host.store.postgres_lease import LeaseOwnership

_NONE: WrongSettings = WrongSettings(
    "there is no cluster in this database",
    "name the one that has it, with --database or --data; a Vault that joins takes over another one's",
)


class Database:
    """Rows, and the right to write them."""

    def __init__(self, ownership: Ownership, data: Path, url: str | None, application: str) -> None:
        self._ownership = ownership
        self._data = data
        self._url = url
        self._application = application
        self._late = LateStore()
        self.store: Store = self._late
        self.new = False
        """There is no row at all."""
        self.held = False
        """This instance has it."""

    @property
    def owner(self) -> str:
        """URL of the front of whoever has it; empty where that is not known."""
        return self._ownership.owner

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when another instance has it, which this one had."""
        return self._ownership.lost

    @property
    def ring_version(self) -> int:
        """Of the row of the key ring, as it was seen last while another instance has it; 0: it can't be seen."""
        return self._ownership.ring_version

    async def advertise(self, url: str) -> None:
        """Tell those who stand by where this instance is."""
        await self._ownership.advertise(url)

    async def take(self) -> None:
        """Return when it is this instance's, and open. Raises `CannotServe`."""
        await self._ownership.wait()
        store, self.new = await self._opened("wanted")
        self._late.arrive(store)
        await self._ownership.confirm()
        self.held = True
        if self.new:
            raise _NONE

    async def open(self) -> None:
        """At once. Raises `CannotServe`, also when another instance has it."""
        self.store, self.new = await self._opened("needed")
        await self._ownership.confirm()
        self.held = True

    async def close(self) -> None:
        try:
            await self.store.close()
        finally:
            await self._ownership.close()

    async def _opened(self, lock: Literal["needed", "wanted"]) -> tuple[Store, bool]:
        try:
            return await open_store(self._data, self._url, self._application, lock)
        except CannotOpen as error:
            raise _cannot_serve(error) from None

    def mode(self, wanted: Mode) -> Mode:
        """How to start on it. Raises `WrongSettings` where that makes no sense."""
        match wanted:
            case "open" if self.new:
                return "develop"  # which only the insecure platform can
            case "found" if not self.new:
                return "open"  # the command of the first start is that of each later one
            case "recover" | "drill" if self.new:
                raise WrongSettings("there is no cluster in this database to recover", "restore a backup of it first")
        return wanted


@asynccontextmanager
async def at_hand(data: Path, url: str | None, application: str) -> AsyncIterator[Database]:
    """Open, for this process alone. `url` is that of a database elsewhere. Raises `CannotServe`."""
    directory = DirectoryOwnership(data)
    directory.take()
    try:
        rows = Database(directory if url is None else _lease(url, application), data, url, application)
        try:
            await rows.open()
            yield rows
        finally:
            await rows.close()
    finally:
        await directory.close()


@asynccontextmanager
async def late(data: Path, url: str | None, application: str) -> AsyncIterator[Database]:
    """Another instance's for now, or nobody's: `take` waits for it. Raises `CannotServe`."""
    directory = DirectoryOwnership(data)
    if url is not None:
        directory.take()
    elif not (data / FILE).exists():
        raise _NONE
    try:
        rows = Database(directory if url is None else _lease(url, application), data, url, application)
        try:
            yield rows
        finally:
            await rows.close()
    finally:
        await directory.close()


def _lease(url: str, application: str) -> LeaseOwnership:
    from strongroom.host.store.postgres_lease import LeaseOwnership  # a driver that most instances do not need

    try:
        return LeaseOwnership(url, application)
    except CannotOpen as error:
        raise _cannot_serve(error) from None


def _cannot_serve(error: CannotOpen) -> CannotServe:
    return (WrongSettings if isinstance(error, WrongDatabase) else CannotServe)(str(error), error.hint)
