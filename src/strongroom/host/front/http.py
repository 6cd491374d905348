"""HTTP in front of an enclave: three paths that carry opaque bytes, the log for whoever asks, and how it stands.

Everybody on the network may talk to this, so nothing is free of a bound: bytes of a head and of a body (refused by
its stated length, or where it passes the limit), time for each part of a request, connections, calls in the
enclave, bytes held for all requests together. Timers are one sweep over all connections, not one object each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from strongroom.host.front.about import About
from strongroom.host.front.connection import Connection
from strongroom.host.front.status import StatusDesk
from strongroom.host.front.tiles import Tiles
from strongroom.host.store.port import Store
from strongroom.protocol.errors import Number
from strongroom.protocol.link import Operation

Answered = Callable[[int, bytes], None]
Ask = Callable[[Operation, bytes, Answered], None]
"""Calls the enclave; the call-back gets operation OK with the answer, or ERROR with the number, exactly once."""

_SWEEP_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, counts and bytes. Sizes of requests are the protocol's and stand with the routes."""

    head_seconds: float = 5.0
    """From connecting, or from the first byte of a later request, to the end of its head."""
    request_seconds: float = 10.0
    """From its first byte to the end of a request."""
    idle_seconds: float = 60.0
    """Between two requests."""
    answer_seconds: float = 30.0
    """For the enclave."""
    write_seconds: float = 10.0
    """For the client to take an answer."""
    connections: int = 4096
    calls: int = 1024
    """In the enclave at once; more are told BUSY."""
    held_bytes: int = 256 * 1024 * 1024
    """Bodies of all requests together, from the first byte until the enclave has answered."""
    unsent_bytes: int = 256 * 1024 * 1024
    """Answers that clients do not take, beyond the 64 KiB for each that its connection holds. Above that, those go who
    have left theirs for longest: a frame of a few bytes may ask for an answer of a MiB."""
    tiles: int = 64
    """Of the log, being read or not yet taken by their clients; of up to 1 MiB each. More are told BUSY."""


class Front:
    """Listens, and carries requests to `ask`, or to `relayed` those that another front passes on (by default the same);
    with a `log`, shows the tiles of that. `about`: what the host says of itself beside the enclave's status."""

    def __init__(
        self,
        ask: Ask,
        limits: Limits | None = None,
        *,
        relayed: Ask | None = None,
        log: Store | None = None,
        about: About | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.status = StatusDesk(ask, about or About())
        self.tiles = Tiles(log, self.limits.tiles) if log is not None else None
        self.connections: set[Connection] = set()
        self.calls = 0
        self.held = 0
        self.unsent = 0
        self._clogged: dict[Connection, int] = {}
        """Bytes that wait for clients to take them, the longest waiting first."""
        self.draining = False
        self._deserted = asyncio.Event()
        self._deserted.set()
        self.ask = ask
        self.relayed = relayed or ask
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int) -> str:
        """Start; port 0 means a free one. The URL. Raises OSError when the address can't be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        self._sweeper = loop.create_task(self._sweep())
        port = self._server.sockets[0].getsockname()[1]
        self.status.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self.status.url

    async def drain(self, seconds: float) -> None:
        """Accept no more, finish what was begun for at most `seconds`, then close all."""
        self.draining = self.status.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deserted.wait()
        for connection in list(self.connections):
            connection.abort()
        await self._deserted.wait()
        if self.tiles is not None:
            self.tiles.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def entered(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._deserted.clear()

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._deserted.set()

    def clogged(self, connection: Connection, size: int) -> None:
        """Its client does not take answers of `size` bytes."""
        self._clogged[connection] = size
        self.unsent += size
        while self.unsent > self.limits.unsent_bytes:
            slowest = next(iter(self._clogged))
            self.unclogged(slowest)
            # Not at once: this may be in the middle of writing.
            asyncio.get_running_loop().call_soon(slowest.abort)

    def unclogged(self, connection: Connection) -> None:
        """Its client has taken them, or is gone."""
        self.unsent -= self._clogged.pop(connection, 0)

    def call(self, ask: Ask, operation: Operation, body: bytes, answered: Answered) -> None:
        """Call the enclave by `ask`, or answer BUSY at once. Who is answered takes one off `calls`."""
        self.calls += 1
        if self.calls > self.limits.calls:
            answered(Operation.ERROR, int(Number.BUSY).to_bytes(2, "big"))
        else:
            ask(operation, body, answered)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = loop.time()
            for connection in list(self.connections):
                connection.check(now)
