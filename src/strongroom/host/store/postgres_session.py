"""One connection to a PostgreSQL server, and what its failures mean for what was asked.

Whether a statement was done when its answer is lost can't be known from the connection. So failures are told apart by
what may be done about them, and who asked decides.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, Final

import asyncpg

from strongroom.host.store.port import CannotOpen

CONNECT_SECONDS: Final = 3.0
"""For each server of a URL: one that is switched off does not answer at all."""
STATEMENT_SECONDS: Final = 10.0
"""After this the server itself ends a statement, so that none outlives for long those who gave it up."""
_ANSWER_SECONDS: Final = STATEMENT_SECONDS + 2
_CLOSE_SECONDS: Final = 2.0

CONFLICT_TEXT: Final = "strongroom: a row or the log is at another version than this commit replaces"
"""What the server is made to say when a commit does not fit; it stands in its log."""


class Means(Enum):
    """What follows from a failure."""

    AGAIN = auto()
    """Nothing was done; the same may be asked once more."""
    LOST = auto()
    """The connection is of no more use, and what was asked may have been done."""
    FULL = auto()
    """Nothing was done: no space."""
    FAILED = auto()
    """Nothing was done, and asking again won't help."""


class Fault(Exception):
    """A statement or a connection failed."""

    def __init__(self, means: Means, text: str, state: str = "") -> None:
        """`state`: the SQLSTATE, if the server gave one."""
        self.means = means
        self.state = state
        super().__init__(text)


class Conflict(Exception):
    """The statement does not fit what is in the database; nothing was done."""


# By SQLSTATE; two digits name a whole class. https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONFLICTS: Final = frozenset({"22P02", "23505"})  # the first is CONFLICT_TEXT, which is no number
_MEANING: Final = {
    "40003": Means.LOST,  # statement completion unknown
    "40": Means.AGAIN,  # serialization failure, deadlock
    "55P03": Means.AGAIN,  # lock not available
    "57014": Means.AGAIN,  # cancelled: our own time limit, or an administrator
    "25006": Means.LOST,  # read-only: a standby, or a primary that was demoted; look for the new one
    "25P": Means.LOST,  # a session's own time limits
    "08": Means.LOST,
    "57P": Means.LOST,  # shut down, crashed, starting up
    "53300": Means.LOST,  # too many connections
    "53100": Means.FULL,
}


def judge(error: Exception) -> Fault | Conflict:
    """What a failure of asyncpg means. Its details may name values, so they are left out."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _CONFLICTS:
            return Conflict()
        means = next((_MEANING[state[:n]] for n in (5, 3, 2) if state[:n] in _MEANING), Means.FAILED)
        return Fault(means, f"{error.args[0]} ({state})", state)
    return Fault(Means.LOST, str(error.args[0]) if error.args else type(error).__name__)


class Session:
    """A connection that does one thing at a time."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._given_up: asyncio.Future[Any] | None = None

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """A statement is a transaction, but within `transaction`. Raises `Fault`, `Conflict`."""
        if self._given_up is not None:
            # Whoever asked was cancelled, the statement was not: a lease is given back, or a transaction, after it.
            await asyncio.wait({self._given_up}, timeout=_ANSWER_SECONDS)
            self._given_up = None
        asked = asyncio.ensure_future(self._connection.fetch(statement, *arguments))
        # Not asyncpg's own limit of time, which cancels the statement at the server: one that waits for a standby to
        # have a commit would be called done by that, and is not.
        try:
            await asyncio.wait({asked}, timeout=_ANSWER_SECONDS)
        except asyncio.CancelledError:
            self._given_up = asked
            asked.add_done_callback(_ignored)
            raise
        if not asked.done():
            asked.add_done_callback(_ignored)
            self.abort()
            raise Fault(Means.LOST, "no answer in time")
        try:
            records: list[asyncpg.Record] = asked.result()
            return records
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise judge(error) from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Several statements, all or none. Raises `Fault`, `Conflict`."""
        await self.fetch("BEGIN")
        try:
            yield
        except BaseException:
            if not self.closed:
                await self.fetch("ROLLBACK")
            raise
        await self.fetch("COMMIT")

    @property
    def closed(self) -> bool:
        return bool(self._connection.is_closed())

    def abort(self) -> None:
        """Let go at once, whatever it does."""
        self._connection.terminate()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.abort()


async def connect(urls: Sequence[str], application: str) -> Session:
    """To the first server that takes writes. Raises `CannotOpen`, of the last that was tried."""
    problem = CannotOpen("no server is named", "name one")
    for url in urls:
        try:
            return await _connect(url, application)
        except CannotOpen as error:
            problem = error
    raise problem


async def _connect(url: str, application: str) -> Session:
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            target_session_attrs="read-write",
            server_settings={"application_name": application},
        )
    except asyncpg.PostgresError as error:
        raise refusal(error) from None
    except asyncpg.ClientConfigurationError:
        raise CannotOpen("that URL of a database can't be used", "see PostgreSQL's documentation, 34.1.1.2") from None
    except asyncpg.TargetServerAttributeNotMatched:
        raise CannotOpen("the database takes no writes: it is a standby", "name the primary, too") from None
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, socket.gaierror, ValueError) as error:
        text = "no answer in time" if isinstance(error, TimeoutError) else _plain(error)
        raise CannotOpen(f"can't reach the database: {text}", "is the server running, and the URL right?") from None
    session = Session(connection)
    try:
        await _prepare(session)
    except (Fault, Conflict) as fault:
        session.abort()
        raise CannotOpen(f"the database failed: {fault}", "see the server's log") from None
    except CannotOpen:
        session.abort()
        raise
    return session


_SETTINGS: Final = "SELECT name, current_setting(name, true) AS value FROM unnest($1::text[]) AS names(name)"
_SET: Final = "SELECT set_config($1, $2, false)"


async def _prepare(session: Session) -> None:
    """What is acknowledged must be durable. Raises `CannotOpen` where it is not, `Fault`."""
    names = ["fsync", "full_page_writes", "synchronous_commit", "statement_timeout", "enable_seqscan"]
    found = {record["name"]: record["value"] for record in await session.fetch(_SETTINGS, names)}
    for name in ("fsync", "full_page_writes"):
        if found[name] == "off":
            raise CannotOpen(
                f"the database server runs with {name} = off: a crash could lose what was acknowledged",
                f"set {name} = on in postgresql.conf and reload the server",
            )
    wanted = {"statement_timeout": f"{STATEMENT_SECONDS:.0f}s"}
    if found["synchronous_commit"] not in ("on", "remote_apply"):
        wanted["synchronous_commit"] = "on"
    # Every statement of ours goes by an index. A plan made while tables were small would go on reading them whole.
    wanted["enable_seqscan"] = "off"
    for name, value in wanted.items():
        if found[name] is not None:  # other engines lack some
            await session.fetch(_SET, name, value)


def refusal(error: asyncpg.PostgresError) -> CannotOpen:
    """A server that does not let one in, and what to do about it."""
    text, state = error.args[0], error.sqlstate or ""
    hint = {
        "28P01": "put the right one into PGPASSWORD, a password file (PGPASSFILE, ~/.pgpass) or a service file",
        "28000": "see the server's pg_hba.conf",
        "3D000": "create it: createdb DATABASE",
        "53300": "raise max_connections, or put a pooler between",
        "57P03": "wait until the server has started",
    }.get(state, "see the server's log")
    return CannotOpen(f"the database refused: {text}", hint)


def _plain(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, socket.gaierror):
        return "its host has no address"
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else "no server answers"
    return type(error).__name__


def _ignored(asked: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more."""
    if not asked.cancelled():
        asked.exception()
