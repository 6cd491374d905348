"""One role of one cluster on this machine: store, enclave, courier and front, from start to end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from strongroom.host.front.http import Front
from strongroom.host.store.sqlite import SchemaMismatch, SqliteStore
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.enclave import EnclaveProcess
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.link import Operation, Start, encode

Role = Literal["vault", "authenticator"]

START_SECONDS: Final = 30.0
"""For the enclave to unseal or found its key ring."""
DRAIN_SECONDS: Final = 5.0
_SEE: Final = "see the lines above"


class CannotServe(Exception):
    """The instance can't start, or can't go on; the text says why, `hint` what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        self.hint = hint
        super().__init__(reason)


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
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight (at most 5 s) and end.

    `data` is made if absent and belongs to this instance alone while it runs. Port 0 means a free one; `on_ready` gets
    the front's URL. `platform` is the machine's state directory, which the enclaves of one machine share; by
    default `data`/platform. `start.genesis` is replaced by whether the database is new. `entry` is the measured entry
    module, by default the insecure software platform's for `role`. Raises `CannotServe`.
    """
    entry = entry or f"strongroom.enclave.entries.insecure_software_{role}"
    stop = _stop_signals()
    _raise_file_limit()
    platform = platform or data / "platform"
    with _locked(data):
        async with _enclave(entry, data, platform) as (store, enclave):
            start = msgspec.structs.replace(start, genesis=store.empty())
            if not await _start(enclave, start, role, stop, data=data, platform=platform):
                return
            front = Front(enclave.ask)
            try:
                on_ready(await front.listen(host, port))
            except OSError as error:
                # Its own text repeats the address, as Python writes it.
                reason = os.strerror(error.errno).lower() if error.errno else str(error)
                raise CannotServe(
                    f"can't listen on {host} port {port}: {reason}", "choose another address or port"
                ) from None
            try:
                await _until_either_ends(stop, enclave, role)
            finally:
                await front.drain(DRAIN_SECONDS)


def _stop_signals() -> asyncio.Event:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _raise_file_limit() -> None:
    """The usual soft limit, 1,024 files, is below what the front bounds itself to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Without witnesses a cluster has exactly one instance (RULES 23): two would fork its state."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data / "lock").open("a")
    except OSError as error:
        raise CannotServe(f"can't use the data directory {data}: {error.strerror}", "name another directory") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotServe(
                f"another instance runs on the data directory {data}",
                "a cluster has exactly one instance; stop the other one or name another directory",
            ) from None
        yield


@asynccontextmanager
async def _enclave(entry: str, data: Path, platform: Path) -> AsyncIterator[tuple[SqliteStore, EnclaveProcess]]:
    """Store, courier and enclave process, ended in the opposite order."""
    try:
        store = SqliteStore(data / "strongroom.sqlite3")
    except SchemaMismatch as error:
        raise CannotServe(str(error), "the database was not touched") from None
    except StrongroomError as error:
        raise CannotServe(f"the database in {data} can't be opened", error.hint) from None
    courier = Courier(LOOPBACK)  # besides public addresses: this platform is for development
    try:
        enclave = await EnclaveProcess.spawn(entry, platform, store=store, carrier=courier)
        try:
            yield store, enclave
        finally:
            await enclave.stop()
    finally:
        courier.close()
        store.close()


async def _start(
    enclave: EnclaveProcess, start: Start, role: Role, stop: asyncio.Event, *, data: Path, platform: Path
) -> bool:
    """Whether the enclave is ready; not if `stop` came first."""
    starting = asyncio.ensure_future(enclave.call(Operation.START, encode(start)))
    try:
        await _first_of(starting, stop, START_SECONDS)
        if starting.done():
            starting.result()
        elif not stop.is_set():
            raise CannotServe(f"the {role} enclave did not start within {START_SECONDS:.0f} s", _SEE)
        return starting.done()
    except StrongroomError as error:
        if error.number == Number.STOPPING:
            status = await enclave.wait()
            raise CannotServe(f"the {role} enclave ended while starting (exit status {status})", _SEE) from None
        if error.number is Number.INTEGRITY:
            # A ring that does not open looks like an altered one; most often it is another machine's.
            raise CannotServe(
                f"the key ring in {data} does not open on this platform",
                f"is {platform} the platform directory that this cluster was founded with? "
                "If it is, the database may have been altered",
            ) from None
        raise CannotServe(f"the {role} enclave did not start: {error.error}", error.hint) from None
    finally:
        starting.cancel()


async def _until_either_ends(stop: asyncio.Event, enclave: EnclaveProcess, role: Role) -> None:
    ended = asyncio.ensure_future(enclave.wait())
    try:
        await _first_of(ended, stop, None)
        if ended.done():
            status = ended.result()
            raise CannotServe(f"the {role} enclave ended by itself (exit status {status})", f"{_SEE}, start again")
    finally:
        ended.cancel()


async def _first_of(work: asyncio.Future[Any], stop: asyncio.Event, seconds: float | None) -> None:
    """Return when `work` is done, `stop` is set, or the time is up."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
