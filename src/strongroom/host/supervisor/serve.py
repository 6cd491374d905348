"""One role of one cluster on this machine: store, enclave, courier and front, from start to end.

The enclave is a process that this one starts (software), or one that runs elsewhere on the machine and connects
(hardware). Either way this process ends when the enclave does: a new enclave is a new start, which whoever keeps
services running does better than we.

An enclave opens its ring and serves, or waits for one behind a front that answers: for custodians, who found or recover
a cluster, or for the database that another instance has.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from msgspec.structs import replace

from strongroom.host.front.about import About, Lease, database_place
from strongroom.host.front.http import Front
from strongroom.host.instance import CannotServe, cannot_listen, raise_file_limit, stop_signals
from strongroom.host.store.opening import note_served
from strongroom.host.store.port import Store
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.databases import Database, at_hand, late
from strongroom.host.supervisor.egress_proxy import serve_egress
from strongroom.host.supervisor.enclave import ConnectedEnclave, Enclave, EnclaveProcess
from strongroom.host.supervisor.link import CollateralSource, Cosigners
from strongroom.host.supervisor.standby import JoiningCarrier, Relay, means_all
from strongroom.host.supervisor.starting import SEE, Quorum, Starting, Watch, closed_ring, overtaken, status
from strongroom.protocol.link import Operation, Start
from strongroom.protocol.status import decode_status

Role = Literal["vault", "authenticator"]
Waiting = Literal["founding", "recovering", "drilling", "standing-by"]
"""For whom an enclave waits that does not serve yet: custodians, or the instance that has the database."""

START_SECONDS: Final = 120.0
"""For the enclave to unseal or found its key ring, and to read its index: 20 s for a million records."""
_log: Final = logging.getLogger("strongroom.host.serve")

CONNECTED_START_SECONDS: Final = 240.0
"""The same for an enclave on hardware: its machine makes a quote, and collateral is fetched."""
DRAIN_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.5
_WAITS: Final[dict[str, Waiting]] = {"found": "founding", "recover": "recovering", "drill": "drilling"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What an enclave needs that is no child process. The sockets listen already and stay the caller's to close."""

    listening: socket.socket
    """Where the enclave connects: exactly one, once; closed when it has."""
    egress: socket.socket | None
    """Where the proxy listens that is the enclave's network; None for one that has its own, or needs none."""
    collateral: CollateralSource


def _quiet(waiting: Waiting, url: str) -> None:
    """Nobody is to be told."""


async def serve(
    role: Role,
    *,
    data: Path,
    host: str,
    port: int,
    start: Start,
    on_ready: Callable[[str], None],
    on_waiting: Callable[[Waiting, str], None] = _quiet,
    platform: Path | None = None,
    entry: str | None = None,
    hardware: Hardware | None = None,
    witnesses: Callable[[Store], Cosigners] | None = None,
    database: str | None = None,
    advertise: str | None = None,
    quorum_in: Callable[[Store], Awaitable[Quorum | None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight (at most 5 s) and end.

    `data` is made if absent and belongs to this instance alone while it runs. Port 0 means a free one; `on_ready` gets
    the front's URL when the enclave serves. Before that `on_waiting` gets it, and for what it waits. `start.mode` is
    what was asked for: `open` founds a development cluster on a new database, and `found` opens a ring that is there.
    With `hardware`, wait for its enclave to connect. Else start the software one: `platform` is the machine's state
    directory, which the enclaves of one machine share, by default `data`/platform; `entry` is the measured entry
    module, by default the insecure software platform's for `role`. `witnesses` gives what carries checkpoints to them;
    it makes proofs from the store. `database` is the URL of the database that has the rows, by default a file in
    `data`. `advertise` is the URL at which other instances reach this one, by default that of the front where that is
    an address that one can call. `quorum_in` says, for the text of an error, which witnesses the cluster in a store
    has. Raises `CannotServe`.
    """
    stop = stop_signals()
    raise_file_limit()
    # A joining Authenticator has a database of its own. A Vault joins one that another instance may have just now.
    opened = late if start.mode == "join" and role == "vault" else at_hand
    async with opened(data, database, f"strongroom {role}") as rows:
        start = replace(start, mode=rows.mode(start.mode))
        carried = None if witnesses is None else witnesses(rows.store)
        origin: AbstractAsyncContextManager[Enclave | None]
        if hardware is None:
            state = platform or data / "platform"
            entry = entry or f"strongroom.enclave.entries.insecure_software_{role}"
            origin = _software(entry, state, rows.store, carried, start.peer)
            seconds, whose = START_SECONDS, f"is {state} the platform directory that it was sealed with?"
        else:
            origin = _connected(hardware, rows.store, carried, start.peer, stop)
            seconds, whose = CONNECTED_START_SECONDS, "is this the machine and the program that it was sealed by?"

        async def quorum() -> Quorum | None:
            return None if quorum_in is None else await quorum_in(rows.store)

        async with origin as enclave, _ending(_outrun(carried), _dispossessed(rows)) as ends:
            if enclave is None:
                return
            why = closed_ring(data, database, whose)
            starting = Starting(enclave, role, start, Watch(stop, ends), why, quorum)
            # Witnesses may have to hear of a new log first.
            at_once = start.mode in ("open", "develop")
            if not await starting.begin(None if at_once and carried is not None else seconds):
                return
            async with _ending(_ended(enclave, role)) as ended:
                relay = Relay(enclave.ask, lambda: [rows.owner, start.peer])
                if at_once or start.mode != "join" or role != "vault":
                    relay.serve_here()
                engine, where = database_place(data, database)
                about = About(
                    engine=engine, where=where, data=data, lease=lambda: Lease(rows.held, rows.owner, until=0)
                )
                log = rows.store if role == "vault" else None
                front = Front(relay.ask, relayed=relay.relayed, log=log, about=about)
                try:
                    url = await front.listen(host, port)
                except OSError as error:
                    raise cannot_listen(host, port, error) from None
                told = _advertised(url, database) if advertise is None else advertise
                relay.is_at(url, told)
                watch = Watch(stop, [*ends, *ended])
                try:
                    if await _served(starting, rows, relay, watch, lambda waiting: on_waiting(waiting, url)):
                        note_served(data)
                        await rows.advertise(told)
                        on_ready(url)
                        await watch.until([])
                finally:
                    relay.close()
                    await front.drain(DRAIN_SECONDS)
                    await _closed(carried)


def _advertised(url: str, database: str | None) -> str:
    """Where others reach a front that listens at `url`; empty: nobody knows. All share this machine where the database
    is a directory's."""
    if not means_all(url):
        return url
    return "" if database is not None else url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


async def _served(
    starting: Starting, rows: Database, relay: Relay, watch: Watch, on_waiting: Callable[[Waiting], None]
) -> bool:
    """Whether the enclave serves, which began well; not if there was a signal before. Raises `CannotServe`."""
    mode = starting.start.mode
    if mode in ("open", "develop"):
        return True
    if mode in _WAITS:
        on_waiting(_WAITS[mode])
    elif not rows.held:
        on_waiting("standing-by")
        if not await _taken_over(starting.enclave, rows, watch):
            return False
    if not await starting.serve():
        return False
    relay.serve_here()
    return True


async def _taken_over(enclave: Enclave, rows: Database, watch: Watch) -> bool:
    """Whether the database is this instance's; not if there was a signal before. Raises `CannotServe`."""
    taking = asyncio.ensure_future(rows.take())
    try:
        async with _ending(_outdated(enclave, rows)) as outdated:
            if not await watch.also(outdated).until([taking]):
                return False
        taking.result()
        return True
    finally:
        taking.cancel()
        await asyncio.wait({taking})


@asynccontextmanager
async def _software(
    entry: str, state: Path, store: Store, witnesses: Cosigners | None, peer: str
) -> AsyncIterator[Enclave]:
    """Courier and enclave process, ended in the opposite order."""
    # Loopback besides public addresses: this platform is for development.
    courier = JoiningCarrier(Courier(LOOPBACK), peer)
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
    hardware: Hardware, store: Store, witnesses: Cosigners | None, peer: str, stop: asyncio.Event
) -> AsyncIterator[Enclave | None]:
    """Courier, proxy and the enclave that connected; None if `stop` came first."""
    courier = JoiningCarrier(Courier(()), peer)
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
            await _first_of(accepting, stop)
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
async def _ending(*watching: Coroutine[Any, Any, CannotServe]) -> AsyncIterator[list[asyncio.Future[CannotServe]]]:
    """Reasons to end, as they come."""
    tasks: list[asyncio.Future[CannotServe]] = [asyncio.ensure_future(one) for one in watching]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _outrun(witnesses: Cosigners | None) -> CannotServe:
    """When the witnesses have seen another history than this database holds."""
    while witnesses is not None:
        await asyncio.sleep(_WATCH_SECONDS)
        reason = witnesses.overtaken()
        if reason is not None:
            return overtaken(reason)
    return await _never()


async def _closed(witnesses: Cosigners | None) -> None:
    if witnesses is not None:
        await witnesses.close()


async def _dispossessed(rows: Database) -> CannotServe:
    """When another instance writes the database."""
    await asyncio.shield(rows.lost)
    return CannotServe(
        "another instance has taken the database over", "nothing is lost; start again to stand by for it (--join URL)"
    )


async def _outdated(enclave: Enclave, rows: Database) -> CannotServe:
    """When the ring has changed, and the enclave is on a machine without a key to open the changed one."""
    known = 0
    while not any(one.own for one in decode_status(await enclave.call(Operation.STATUS, b"")).instances):
        await asyncio.sleep(_WATCH_SECONDS)
        if known not in (0, rows.ring_version):
            return CannotServe("the key ring has changed since this instance joined", "start it again: it joins anew")
        known = rows.ring_version
    return await _never()


async def _never() -> CannotServe:
    never: asyncio.Future[CannotServe] = asyncio.get_running_loop().create_future()
    return await never


async def _ended(enclave: Enclave, role: str) -> CannotServe:
    return CannotServe(f"the {role} enclave ended by itself{status(await enclave.wait())}", f"{SEE}, start again")


async def _first_of(work: asyncio.Future[Any], stop: asyncio.Event) -> None:
    """Return when `work` is done or `stop` is set."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
