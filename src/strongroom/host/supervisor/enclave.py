"""One enclave process: spawned with one end of a socket pair, alive exactly as long as the other end is open."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from strongroom.host.store.port import Store
from strongroom.host.supervisor.link import Answered, Carrier, EnclaveLink
from strongroom.protocol.errors import Number, Unavailable, from_number
from strongroom.protocol.link import Operation

_STOP_SECONDS: Final = 2.0
"""From closing the link to SIGKILL. An enclave has nothing to save: what was acknowledged is in the store."""


class EnclaveProcess:
    """`python -m ENTRY STATE_DIR LINK_FD`, and this process's end of the link to it."""

    def __init__(self, entry: str, state: Path, process: asyncio.subprocess.Process, link: EnclaveLink) -> None:
        self.entry = entry
        self.state = state
        self._process = process
        self._link = link

    @classmethod
    async def spawn(cls, entry: str, state: Path, *, store: Store, carrier: Carrier) -> EnclaveProcess:
        """Start module `entry` with its state directory; its calls go to `store` and `carrier`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", entry, str(state), str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the host: it drains first
            )  # fmt: skip
        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        _, link = await loop.create_unix_connection(lambda: EnclaveLink(store, carrier), sock=ours)
        return cls(entry, state, process, link)

    @property
    def pid(self) -> int:
        return self._process.pid

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

    async def wait(self) -> int:
        """Exit status of the process (negative: the signal) once it has ended; a lost link ends it."""
        await self._link.closed
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
