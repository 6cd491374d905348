"""One HTTP/1.1 connection to another front, one exchange at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, cast

import httptools

from strongroom.protocol.limits import MAX_FRAME

MAX_ANSWER: Final = MAX_FRAME
_MAX_OVERHEAD: Final = 64 * 1024
"""Head, chunk sizes and trailers of an answer."""


class Answer(NamedTuple):
    status: int
    number: bytes
    """Value of `strongroom-error`, empty if absent."""
    body: bytes


class ConnectionLost(Exception):
    """The other side closed, or sent what is no answer."""

    def __init__(self, *, answer_begun: bool) -> None:
        self.answer_begun = answer_begun
        super().__init__("connection lost")


class Connection(asyncio.Protocol):
    """`lost` is called when the connection ends, whether in use or idle."""

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._received = 0
        self._body = bytearray()
        self._number = b""
        self._keep_alive = False
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        return self._transport is not None and self._keep_alive

    def exchange(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a whole request; its answer. Fails with `ConnectionLost`."""
        self._waiting = self._loop.create_future()
        self._received = 0
        if self._transport is None:
            self._fail()
        else:
            self._transport.write(request)
        return self._waiting

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail()
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._waiting is None or self._waiting.done() or self._received > MAX_ANSWER + _MAX_OVERHEAD:
            self.abort()  # nobody asked, or it does not end
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def _fail(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLost(answer_begun=self._received > 0))

    # --- httptools ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body = bytearray()
        self._number = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"strongroom-error":
            self._number = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._waiting is None or self._waiting.done():
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._waiting.set_result(Answer(status, self._number, bytes(self._body)))
