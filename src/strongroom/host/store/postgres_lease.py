"""Who writes a PostgreSQL database now, for the others who stand by: one row that its holder renews.

Nothing that is acknowledged rests on it: of two that write, the second fails at its first commit. It is there so that
an instance that is gone is followed by another one soon, and one that only lost a connection is not. Times are the
server's, since clocks of machines differ.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any, Final

import asyncpg

from strongroom.host.instance import CannotServe, WrongSettings
from strongroom.host.store.port import CannotOpen
from strongroom.host.store.postgres import try_lock, unlock
from strongroom.host.store.postgres_session import Conflict, Fault, Session, connect
from strongroom.host.store.postgres_url import servers
from strongroom.protocol.index import RING_KEY

LEASE_SECONDS: Final = 5.0
"""Without a sign of life, after which another instance may take over. A server restarts in less."""
RENEW_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.25
"""How often one that stands by looks."""

_log = logging.getLogger("strongroom.host.store")

_UNTIL: Final = "clock_timestamp() + $3 * interval '1 second'"
_SEIZE: Final = f"""
    INSERT INTO lease(name, holder, url, until) VALUES ('writer', $1, $2, {_UNTIL})
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, url = excluded.url, until = excluded.until"""  # noqa: S608
_TAKE: Final = f"""
    UPDATE lease SET holder = $1, url = $2, until = {_UNTIL}
    WHERE name = 'writer' AND until < clock_timestamp() RETURNING 1"""  # noqa: S608
_RENEW: Final = f"UPDATE lease SET url = $2, until = {_UNTIL} WHERE name = 'writer' AND holder = $1 RETURNING 1"  # noqa: S608
_RELEASE: Final = "UPDATE lease SET until = clock_timestamp() - interval '1 second' WHERE holder = $1"
_LOOK: Final = "SELECT url FROM lease WHERE name = 'writer'"
_RING: Final = "SELECT version FROM rows WHERE key = $1"
_NO_TABLE: Final = "42P01"


class LeaseOwnership:
    """Of the database at `url`: an `Ownership`."""

    def __init__(self, url: str, application: str) -> None:
        self._servers = servers(url)
        self._application = application
        self._holder: Final = secrets.token_hex(16)
        self._session: Session | None = None
        self._url = ""
        self._owner = ""
        self._ring = 0
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def owner(self) -> str:
        return self._url if self._renewing is not None else self._owner

    @property
    def lost(self) -> asyncio.Future[None]:
        return self._lost

    @property
    def ring_version(self) -> int:
        return self._ring

    async def confirm(self) -> None:
        """By who has the lock on the database, or had waited for the lease."""
        if self._renewing is not None:
            return
        try:
            await self._ask(_SEIZE, self._holder, self._url, LEASE_SECONDS)
        except (Fault, Conflict, CannotOpen) as error:
            raise CannotServe(f"the database failed: {error}", "see the server's log") from None
        self._renewing = asyncio.ensure_future(self._renew())

    async def wait(self) -> None:
        while True:
            try:
                if await self._take():
                    return
            except (Fault, CannotOpen) as error:
                _log.warning("standing by, and the database can't be asked: %s", error)
                await asyncio.sleep(RENEW_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    async def advertise(self, url: str) -> None:
        self._url = url
        with suppress(Fault, Conflict, CannotOpen):  # the next renewal says it
            await self._ask(_RENEW, self._holder, url, LEASE_SECONDS)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
            with suppress(Fault, Conflict, CannotOpen):
                await self._ask(_RELEASE, self._holder)
        if self._session is not None:
            await self._session.close()

    async def _take(self) -> bool:
        """Whether it is ours now. Raises `Fault`, `CannotOpen`, and `CannotServe` where there is no cluster."""
        await self._look_at_ring()
        try:
            if await self._ask(_TAKE, self._holder, self._url, LEASE_SECONDS):
                self._renewing = asyncio.ensure_future(self._renew())
                return True
            found = await self._ask(_LOOK)
        except Fault as fault:
            if fault.state != _NO_TABLE:
                raise
            found = []  # its tables are of a version without leases
        if found:
            self._owner = found[0]["url"]
            return False
        # Who writes has none: its lock says when it is gone.
        session = await self._connected()
        if not await try_lock(session):
            return False
        await unlock(session)
        return True

    async def _look_at_ring(self) -> None:
        try:
            rows = await self._ask(_RING, RING_KEY)
        except Fault as fault:
            if fault.state != _NO_TABLE:
                raise
            rows = []
        if not rows:
            raise WrongSettings(
                "there is no cluster in this database",
                "name the one that has it; a Vault joins that of another instance",
            )
        self._ring = rows[0]["version"]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._ask(_RENEW, self._holder, self._url, LEASE_SECONDS):
                    self._lost.set_result(None)
                    return
            except (Fault, Conflict, CannotOpen) as error:
                # The store says what there is to say; and nobody else can take what can't be reached.
                _log.info("the lease was not renewed: %s", error)

    async def _ask(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Raises `Fault`, `CannotOpen`."""
        return await (await self._connected()).fetch(statement, *arguments)

    async def _connected(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = await connect(self._servers, self._application)
        return self._session
