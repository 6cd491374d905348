"""One role of one cluster on this machine: store, enclave, courier and front, from start to end.

The enclave is a process that this one starts (software), or one that runs elsewhere on the machine and connects
(hardware). Either way this process ends when the enclave does: a new enclave is a new start, which whoever keeps
services running does better than we.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from strongroom.host.front.http import Front
from strongroom.host.instance import (
    CannotServe,
    WrongSettings,
    WrongState,
    cannot_listen,
    locked,
    raise_file_limit,
    stop_signals,
)
from strongroom.host.store.opening import note_served, open_store
from strongroom.host.store.port import CannotOpen, Store, WrongDatabase
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.egress_proxy import serve_egress
from strongroom.host.supervisor.enclave import ConnectedEnclave, Enclave, EnclaveProcess
from strongroom.host.supervisor.link import CollateralSource, Cosigners
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.link import Operation, Start, encode

Role = Literal["vault", "authenticator"]

START_SECONDS: Final = 120.0
"""For the enclave to unseal or found its key ring, and to read its index: 20 s for a million records."""
_log: Final = logging.getLogger("strongroom.host.serve")

CONNECTED_START_SECONDS: Final = 240.0
"""The same for an enclave on hardware: its machine makes a quote, and collateral is fetched."""
DRAIN_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.5
_SEE: Final = "see the lines above"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What an enclave needs that is no child process. The sockets listen already and stay the caller's to close."""

    listening: socket.socket
    """Where the enclave connects: exactly one, once; closed when it has."""
    egress: socket.socket | None
    """Where the proxy listens that is the enclave's network; None for one that has its own, or needs none."""
    collateral: CollateralSource


class Quorum(NamedTuple):
    """How many witnesses there are, and how many of them must cosign."""

    named: int
    needed: int


async def serve(
    role: Role,
    *,
    data: Path,
    host: str,
    port: int,
    start: Start,
    on_ready: Callable[[str], None],
    platform: Path | None = None,
    entry: str | None = None,
    hardware: Hardware | None = None,
    witnesses: Callable[[Store], Cosigners] | None = None,
    database: str | None = None,
    quorum_in: Callable[[Store], Awaitable[Quorum | None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight (at most 5 s) and end.

    `data` is made if absent and belongs to this instance alone while it runs. Port 0 means a free one; `on_ready` gets
    the front's URL. `start.genesis` is replaced by whether the database is new. With `hardware`, wait for its enclave
    to connect. Else start the software one: `platform` is the machine's state directory, which the enclaves of one
    machine share, by default `data`/platform; `entry` is the measured entry module, by default the insecure software
    platform's for `role`. `witnesses` gives what carries checkpoints to them; it makes proofs from the store.
    `database` is the URL of the database that has the rows, by default a file in `data`. `quorum_in` says, for
    the text of an error, which witnesses the cluster in a store was founded with. Raises `CannotServe`.
    """
    stop = stop_signals()
    raise_file_limit()
    async with _opened(role, data, database) as (store, new):
        start = msgspec.structs.replace(start, mode="develop") if new and start.mode == "open" else start
        carried = None if witnesses is None else witnesses(store)
        origin: AbstractAsyncContextManager[Enclave | None]
        if hardware is None:
            state = platform or data / "platform"
            origin = _software(entry or f"strongroom.enclave.entries.insecure_software_{role}", state, store, carried)
            seconds, whose = START_SECONDS, f"is {state} the platform directory that this cluster was founded with?"
        else:
            origin = _connected(hardware, store, carried, stop)
            seconds, whose = CONNECTED_START_SECONDS, "is this the machine and the program that it was sealed by?"
        closed_ring = (
            f"the key ring in {data} does not open on this platform",
            f"{whose} If it is, the database may have been altered",
        )

        async def founded() -> Quorum | None:
            return None if quorum_in is None else await quorum_in(store)

        async with origin as enclave, _watched(carried) as overtaken:
            waited = None if carried is not None else seconds  # witnesses may have to hear of a new log first
            if enclave is None or not await _start(enclave, start, role, stop, waited, closed_ring, founded, overtaken):
                return
            note_served(data)
            front = Front(enclave.ask, log=store if role == "vault" else None)
            try:
                on_ready(await front.listen(host, port))
            except OSError as error:
                raise cannot_listen(host, port, error) from None
            try:
                await _until_any_ends(stop, enclave, role, overtaken)
            finally:
                await front.drain(DRAIN_SECONDS)


@asynccontextmanager
async def _opened(role: Role, data: Path, database: str | None) -> AsyncIterator[tuple[Store, bool]]:
    """The store, for this process alone, and whether it is new."""
    # Without witnesses a cluster has exactly one instance (RULES 23): two would fork its state.
    hint = "a cluster has exactly one instance; stop the other one or name another directory"
    with locked(data, what="instance", hint=hint):
        try:
            store, new = await open_store(data, database, f"strongroom {role}")
        except WrongDatabase as error:
            raise WrongSettings(str(error), error.hint) from None
        except CannotOpen as error:
            raise CannotServe(str(error), error.hint) from None
        try:
            yield store, new
        finally:
            await store.close()


@asynccontextmanager
async def _software(entry: str, state: Path, store: Store, witnesses: Cosigners | None) -> AsyncIterator[Enclave]:
    """Courier and enclave process, ended in the opposite order."""
    courier = Courier(LOOPBACK)  # besides public addresses: this platform is for development
    try:
        enclave = await EnclaveProcess.spawn(entry, state, store=store, carrier=courier, witnesses=witnesses)
        try:
            yield enclave
        finally:
            await enclave.stop()
    finally:
        courier.close()


@asynccontextmanager
async def _connected(
    hardware: Hardware, store: Store, witnesses: Cosigners | None, stop: asyncio.Event
) -> AsyncIterator[Enclave | None]:
    """Courier, proxy and the enclave that connected; None if `stop` came first."""
    courier = Courier(())
    try:
        async with _egress(hardware.egress):
            accepting = asyncio.ensure_future(
                ConnectedEnclave.accept(
                    hardware.listening,
                    store=store,
                    carrier=courier,
                    collateral=hardware.collateral,
                    witnesses=witnesses,
                )
            )
            await _first_of((accepting,), stop, None)
            if not accepting.done():
                accepting.cancel()
                await asyncio.wait({accepting})
                yield None
                return
            enclave = accepting.result()
            _log.warning("connected as the enclave; it has %.0f s to start", CONNECTED_START_SECONDS)
            try:
                yield enclave
            finally:
                await enclave.stop()
    finally:
        courier.close()


@asynccontextmanager
async def _egress(listening: socket.socket | None) -> AsyncIterator[None]:
    if listening is None:
        yield
        return
    proxy = asyncio.ensure_future(serve_egress(listening))
    try:
        yield
    finally:
        proxy.cancel()
        await asyncio.wait({proxy})


@asynccontextmanager
async def _watched(witnesses: Cosigners | None) -> AsyncIterator[asyncio.Future[str]]:
    """Done with the reason when the witnesses have seen another history than this database holds."""

    if witnesses is None:
        yield asyncio.get_running_loop().create_future()
        return

    async def watch() -> str:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            reason = witnesses.overtaken()
            if reason is not None:
                return reason

    watching = asyncio.ensure_future(watch())
    try:
        yield watching
    finally:
        watching.cancel()
        await witnesses.close()


async def _start(
    enclave: Enclave,
    start: Start,
    role: Role,
    stop: asyncio.Event,
    seconds: float | None,
    closed_ring: tuple[str, str],
    founded: Callable[[], Awaitable[Quorum | None]],
    overtaken: asyncio.Future[str],
) -> bool:
    """Whether the enclave is ready; not if `stop` came first. `closed_ring`: what to say if its ring does not open."""
    starting = asyncio.ensure_future(enclave.call(Operation.START, encode(start)))
    try:
        await _first_of((starting, overtaken), stop, seconds)
        if starting.done():
            starting.result()
        elif overtaken.done():
            raise _overtaken(overtaken)
        elif not stop.is_set():
            raise CannotServe(f"the {role} enclave did not start within {seconds:.0f} s", _SEE)
        return starting.done()
    except StrongroomError as error:
        if error.number == Number.STOPPING:
            raise CannotServe(f"the {role} enclave ended while starting{_status(await enclave.wait())}", _SEE) from None
        if error.number is Number.INTEGRITY:
            # A ring that does not open looks like an altered one; most often it is another machine's.
            raise WrongState(*closed_ring) from None
        if error.number is Number.UNSUPPORTED:
            raise WrongSettings(
                f"the {role} enclave can't found a cluster on this platform",
                "a cluster on hardware needs named custodians, which this version does not have",
            ) from None
        if error.number is Number.POLICY:
            raise _other_witnesses(await founded(), start) from None
        if error.number is Number.ROLLED_BACK:
            raise WrongState(
                "parts of the database are of different times",
                "bring back the newest database as a whole; parts of a backup do not fit with the rest",
            ) from None
        cannot = WrongState if isinstance(error, Untrusted) else CannotServe
        raise cannot(f"the {role} enclave did not start: {error.error}", error.hint) from None
    finally:
        starting.cancel()


async def _until_any_ends(stop: asyncio.Event, enclave: Enclave, role: Role, overtaken: asyncio.Future[str]) -> None:
    ended = asyncio.ensure_future(enclave.wait())
    try:
        await _first_of((ended, overtaken), stop, None)
        if ended.done():
            raise CannotServe(f"the {role} enclave ended by itself{_status(ended.result())}", f"{_SEE}, start again")
        if overtaken.done():
            raise _overtaken(overtaken)
    finally:
        ended.cancel()


def _other_witnesses(quorum: Quorum | None, start: Start) -> CannotServe:
    """They are fixed: most often the option was forgotten, or the file is another cluster's."""
    if quorum is None or not quorum.named:
        founded = "this cluster was founded without witnesses" if quorum else "this cluster was founded with others"
    else:
        founded = f"this cluster has {quorum.named} witnesses of whom {quorum.needed} must cosign"
    if not start.witnesses:
        return WrongSettings(founded, "name their file with --witnesses")
    fixed = "witnesses can't be changed once a cluster is founded: for a new one take another --data"
    if quorum is not None and not quorum.named:
        return WrongSettings(founded, f"leave --witnesses out; {fixed}")
    return WrongSettings(
        f"{founded}; the file names others, or another number", f"name the file with the first start's; {fixed}"
    )


def _overtaken(reason: asyncio.Future[str]) -> CannotServe:
    return WrongState(
        f"witness {reason.result()}",
        "stop the other instance, or restore the newest database; what clients were told since is not in this one",
    )


def _status(status: int | None) -> str:
    return "" if status is None else f" (exit status {status})"


async def _first_of(work: Sequence[asyncio.Future[Any]], stop: asyncio.Event, seconds: float | None) -> None:
    """Return when some `work` is done, `stop` is set, or the time is up."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({*work, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
