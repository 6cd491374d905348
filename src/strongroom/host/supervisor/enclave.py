"""The host's hold on one enclave: a process that it starts, or one that connects from a place of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Self

from strongroom.host.store.port import Store
from strongroom.host.supervisor.link import Answered, Carrier, CollateralSource, Cosigners, EnclaveLink
from strongroom.protocol.errors import Number, Unavailable, from_number
from strongroom.protocol.link import Operation

_STOP_SECONDS: Final = 2.0
"""From closing the link to SIGKILL, or to giving up. An enclave has nothing to save: what was acknowledged is in the
store."""

Transport = Literal["tcp", "vsock"]
"""How an enclave that is no child of ours connects: SGX under Gramine by TCP on loopback, machines by vsock."""


class Enclave:
    """One enclave at the other end of `link`."""

    def __init__(self, link: EnclaveLink) -> None:
        self._link = link

    def ask(self, operation: Operation, body: bytes, answered: Answered) -> None:
        """Call the enclave without a task or a future; see `EnclaveLink.ask`."""
        self._link.ask(operation, body, answered)

    async def call(self, operation: Operation, body: bytes) -> bytes:
        """Call the enclave. Raises `StrongroomError` by the number it answers, STOPPING when it ends."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(outcome: int, body: bytes) -> None:
            if answer.done():
                return
            if outcome == Operation.OK:
                answer.set_result(body)
            elif len(body) == 2:
                answer.set_exception(from_number(int.from_bytes(body, "big")))
            else:
                answer.set_exception(Unavailable(Number.INTERNAL))

        self._link.ask(operation, body, answered)
        return await answer

    async def wait(self) -> int | None:
        """Return when the enclave has ended: with its exit status, if it was a process of this host's."""
        await asyncio.shield(self._link.closed)  # others wait for it too: who is cancelled must not cancel it
        return None

    async def stop(self) -> int | None:
        """Close the link, at which an enclave ends."""
        self._link.close()
        with suppress(TimeoutError):  # it reads no more: then our end closes with this process
            async with asyncio.timeout(_STOP_SECONDS):
                await self.wait()
        return None


class EnclaveProcess(Enclave):
    """`python -m ENTRY STATE_DIR LINK_FD`: spawned with one end of a socket pair, alive as long as ours is open."""

    def __init__(self, process: asyncio.subprocess.Process, link: EnclaveLink) -> None:
        super().__init__(link)
        self._process = process

    @classmethod
    async def spawn(
        cls, entry: str, state: Path, *, store: Store, carrier: Carrier, witnesses: Cosigners | None = None
    ) -> Self:
        """Start module `entry` with its state directory; its calls go to `store`, `carrier` and `witnesses`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", entry, str(state), str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the host: it drains first
            )  # fmt: skip
        return cls(process, await _link_over(ours, EnclaveLink(store, carrier, witnesses=witnesses)))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Exit status of the process (negative: the signal) once it has ended; a lost link ends it."""
        await asyncio.shield(self._link.closed)
        return await self._end()

    async def stop(self) -> int:
        """Close the link, and see the process end. Its exit status."""
        self._link.close()
        return await self._end()

    async def _end(self) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                return await self._process.wait()
        with suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()


class ConnectedEnclave(Enclave):
    """An enclave that runs where this process can't start it, and connected."""

    @classmethod
    async def accept(
        cls,
        listening: socket.socket,
        *,
        store: Store,
        carrier: Carrier,
        collateral: CollateralSource,
        witnesses: Cosigners | None = None,
    ) -> Self:
        """Take the first that connects, and close `listening`: a cluster has exactly one instance.

        A stranger may be first: a process of this machine, or a guest. It gets what any enclave gets, sealed rows. It
        can't answer for an enclave, since it has no quote to show; so it denies service, as it could by other means.
        """
        with listening:
            listening.setblocking(False)
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
        return cls(await _link_over(connection, EnclaveLink(store, carrier, collateral, witnesses)))


def listen_for_enclave(transport: Transport, port: int) -> socket.socket:
    """A listening socket on `port`, reached from this machine and its guests only. Raises OSError."""
    if transport == "tcp":
        return socket.create_server(("127.0.0.1", port), backlog=1)
    listening = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        listening.bind((socket.VMADDR_CID_ANY, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


async def _link_over(connection: socket.socket, link: EnclaveLink) -> EnclaveLink:
    """By `create_connection`, which takes a socket of any family (uvloop: TCP and Unix only)."""
    connection.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=connection)
    return link
