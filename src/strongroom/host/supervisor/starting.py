"""What an operator is told when an enclave does not start, and what ends a wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from strongroom.host.instance import CannotServe, WrongSettings, WrongState
from strongroom.host.supervisor.enclave import Enclave
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.link import Operation, Start, encode

SEE: Final = "see the lines above"
_RESTORE: Final = "bring back the newest database as a whole; parts of a backup do not fit with the rest"


class Quorum(NamedTuple):
    """Of the cluster in a database: how many witnesses there are, and how many of them must cosign."""

    named: int
    needed: int
    role: str = ""
    """Which the cluster is of, by the word of the database."""


class Watch:
    """What ends a wait for anything else: a signal, or a reason not to go on."""

    def __init__(self, stop: asyncio.Event, ends: Sequence[asyncio.Future[CannotServe]]) -> None:
        self._stop = stop
        self._ends = ends

    def also(self, ends: Sequence[asyncio.Future[CannotServe]]) -> Watch:
        """With more reasons not to go on."""
        return Watch(self._stop, [*self._ends, *ends])

    async def until(self, work: Sequence[asyncio.Future[Any]], seconds: float | None = None) -> bool:
        """Whether some `work` is done; not if there was a signal, or the time is up first. Raises `CannotServe`."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({*work, *self._ends, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if any(one.done() for one in work):
            return True
        for end in self._ends:
            if end.done():
                raise end.result()
        return False

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


class Starting(NamedTuple):
    """An enclave that is to serve."""

    enclave: Enclave
    role: str
    start: Start
    watch: Watch
    closed_ring: tuple[str, str]
    """What to say if its ring does not open."""
    quorum: Callable[[], Awaitable[Quorum | None]]
    """Which witnesses the cluster has."""

    async def begin(self, seconds: float | None) -> bool:
        """Whether it has started: serves, or waits for a ring. Not if there was a signal. Raises `CannotServe`."""
        return await self._call(Operation.START, encode(self.start), seconds)

    async def serve(self) -> bool:
        """Whether it serves, however long that takes. Not if there was a signal. Raises `CannotServe`."""
        return await self._call(Operation.SERVE, b"", None)

    async def _call(self, operation: Operation, body: bytes, seconds: float | None) -> bool:
        calling = asyncio.ensure_future(self.enclave.call(operation, body))
        try:
            if await self.watch.until([calling], seconds):
                calling.result()
                return True
            if not self.watch.stopped:
                raise CannotServe(f"the {self.role} enclave did not start within {seconds:.0f} s", SEE)
            return False
        except StrongroomError as error:
            raise await self._why(error) from None
        finally:
            calling.cancel()

    async def _why(self, error: StrongroomError) -> CannotServe:
        role, mode = self.role, self.start.mode
        if error.number == Number.STOPPING:
            return CannotServe(f"the {role} enclave ended while starting{status(await self.enclave.wait())}", SEE)
        if error.number is Number.INTEGRITY and mode == "open":
            # A ring that does not open looks like an altered one; most often it is another machine's.
            founded = await self.quorum()
            if founded is not None and founded.role not in ("", role):
                return WrongSettings(
                    f"the database is that of the {founded.role} of a cluster",
                    f"`serve {founded.role}` serves it; name another directory or database for the {role}",
                )
            return WrongState(*self.closed_ring)
        if error.number is Number.UNSUPPORTED and mode == "develop":
            return WrongSettings(
                f"the {role} enclave can't found a cluster on this platform",
                "a cluster on hardware has named custodians: found it with --found, or join one with --join URL",
            )
        if error.number is Number.POLICY and mode in ("open", "recover"):
            return _other_witnesses(await self.quorum(), self.start)
        if error.number is Number.ROLLED_BACK:
            return WrongState("parts of the database are of different times", _RESTORE)
        if mode == "join":
            return _not_joined(error, role, self.start.peer)
        cannot = WrongState if isinstance(error, Untrusted) else CannotServe
        return cannot(f"the {role} enclave did not start: {error.error}", error.hint)


def closed_ring(data: Path, database: str | None, whose: str) -> tuple[str, str]:
    """What to say when the ring in the database does not open; `whose`: what it may be sealed for."""
    where = data if database is None else "this database"
    return (
        f"the key ring in {where} does not open on this platform with this program",
        f"{whose} On another machine, or with another program: let a running instance give it the ring (--join URL), "
        "or have custodians open it (--recover). Else the database may have been altered",
    )


def _not_joined(error: StrongroomError, role: str, peer: str) -> CannotServe:
    """Which side refused: what the member says comes as a number, and its own log of errors has the words."""
    match error.number:
        case Number.NOT_RELEASED:
            return WrongSettings(f"the {role} at {peer} gives its key ring to no such program", error.hint)
        case Number.NOT_OWNER_KEY:
            return WrongSettings(
                f"the {role} at {peer} does not take the invitation of this one",
                "have the owner of that cluster make another one (`strongroom cluster invite`), and compare both "
                f"clocks; see what the {role} there prints",
            )
        case Number.PEER_REFUSED:
            return WrongSettings(
                f"the {role} at {peer} refused this one",
                "compare the configuration, the kind of platform, and what the maker says of this machine; the "
                f"{role} there prints why",
            )
        case Number.POLICY:
            return WrongSettings(
                f"the {role} at {peer} is not what this one was told to join",
                f"{SEE}; compare --cluster and --witnesses; only custodians name other witnesses, at a recovery",
            )
        case Number.AUTHENTICATOR_UNAVAILABLE:
            return CannotServe(
                f"the {role} at {peer} can't be reached", "name the URL of one that serves with --join, and look at it"
            )
        case Number.CONFLICT:
            return WrongState(
                f"the database is not the one of the ring that {peer} gave, or that has changed since",
                "name the database of that cluster; if it is, start again: this instance joins anew",
            )
    cannot = WrongState if isinstance(error, Untrusted) else CannotServe
    return cannot(f"this {role} could not join the one at {peer}: {error.error}", f"{SEE}; {error.hint}")


def _other_witnesses(quorum: Quorum | None, start: Start) -> CannotServe:
    """Most often the option was forgotten, or the file is another cluster's."""
    if quorum is None or not quorum.named:
        watched = "this cluster has no witnesses" if quorum else "this cluster has other witnesses"
    else:
        watched = f"this cluster has {quorum.named} witnesses of whom {quorum.needed} must cosign"
    if not start.witnesses:
        return WrongSettings(watched, "name their file with --witnesses")
    replaced = "only custodians can name others, at a recovery: start it with --recover and the file of the new ones"
    if quorum is not None and not quorum.named:
        return WrongSettings(watched, f"leave --witnesses out; {replaced}")
    return WrongSettings(
        f"{watched}; the file names others, or another number",
        f"name the file with those in office; if they are gone for good, {replaced}",
    )


def overtaken(reason: str) -> CannotServe:
    """The witnesses have seen another history."""
    return WrongState(
        f"witness {reason}",
        "stop the other instance, or restore the newest database; what clients were told since is not in this one",
    )


def status(code: int | None) -> str:
    """Of a process that ended."""
    return "" if code is None else f" (exit status {code})"
