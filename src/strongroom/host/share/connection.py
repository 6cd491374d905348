"""One client's connection: requests with bodies of any length, streamed; one request in work at a time.

Everybody on the network may talk to this, so nothing is free of a bound: a head in bytes and time, a body by its stated
length and by a least pace, what is buffered of it (reading pauses), the pace at which an answer is taken, the time
between two requests. `Transfer-Encoding` is refused: with stated lengths alone there is one way to find the end of a
request, and nothing that a proxy in front of this could read in another way (request smuggling). A client that sends
its next request before it has its answer gets that answer and no more.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from math import inf
from typing import TYPE_CHECKING, Final, cast

import httptools

from strongroom.host.share.answers import Answer, Problem
from strongroom.protocol.errors import Number

if TYPE_CHECKING:
    from strongroom.host.share.http import Limits, Server

MAX_HEAD: Final = 16 * 1024
"""Bytes of request line and headers."""
_HIGH, _LOW = 512 * 1024, 128 * 1024
"""Bytes of a body that wait to be taken, before reading pauses, and when it goes on."""
_PACE: Final = 16 * 1024
"""Bytes of a body that must come in each `stall_seconds`."""
_UNSENT: Final = 256 * 1024
"""Bytes of an answer that the system takes before they can be sent. Left to itself it takes megabytes, a third of its
buffer at a time: a client's pace would be seen as leaps with long silence between."""
_LINGER_SECONDS: Final = 5.0
"""For which the rest of a refused body is thrown away: closing at once would reset the connection, and the client
would see that instead of the refusal."""


class Lost(Exception):
    """The client is gone, or is to go; the reason is for nobody but the log."""


class Body:
    """The body of a request, as it comes: iterate once. Raises `Lost` if it ends early, `Problem` if it stalls."""

    def __init__(self, connection: Connection, length: int, expects: bool) -> None:
        self.length: Final = length
        self._connection = connection
        self._expects = expects
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._left = length
        self._cut: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._last = self._loop.time()

    @property
    def whole(self) -> bool:
        """Whether its last byte has come."""
        return self._left == 0

    @property
    def idle_seconds(self) -> float:
        """Since something came."""
        return self._loop.time() - self._last

    def feed(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._left -= len(piece)
        self._held += len(piece)
        self._last = self._loop.time()
        if self._held > _HIGH:
            self._connection.pause()
        self._wake()

    def cut(self, reason: Exception) -> None:
        """End it here, with this: what has come is still handed out."""
        if self._cut is None:
            self._cut = reason
            self._wake()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._expects and not self._held and self._left:
            self._connection.proceed()
        stall = self._connection.server.limits.stall_seconds
        deadline, counted = self._loop.time() + stall, 0
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._held -= len(piece)
                counted += len(piece)
                if counted >= _PACE:
                    deadline, counted = self._loop.time() + stall, 0
                if self._held < _LOW:
                    self._connection.resume()
                before = self._loop.time()
                yield piece
                deadline += self._loop.time() - before  # our own slowness is not the client's
            if self._left == 0:
                return
            if self._cut is not None:
                raise self._cut
            self._waiter = self._loop.create_future()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._waiter
            except TimeoutError:
                raise Problem(408, Number.MALFORMED, "the body came too slowly; resume where it ended") from None
            finally:
                self._waiter = None

    async def read(self, limit: int) -> bytes:
        """All of it, soon. Raises `Problem` when it is longer than `limit`, or comes too slowly."""
        if self.length > limit:
            raise Problem(413, Number.TOO_LARGE, f"at most {limit} bytes may be sent here")
        try:
            async with asyncio.timeout(self._connection.server.limits.request_seconds):
                return b"".join([piece async for piece in self])
        except TimeoutError:
            raise Problem(408, Number.MALFORMED, "the request was not complete in time") from None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Request:
    """What is asked. `path` is as it was sent, without a query: nothing is decoded, so nothing hides in a code."""

    __slots__ = ("address", "body", "headers", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str], address: str, body: Body) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        """By lower-case name; several of one name are one, joined by a comma (RFC 9110, 5.3)."""
        self.address = address
        """Where the connection comes from."""
        self.body = body


class _Pace:
    """Whether a client takes answers at a pace worth a place here: it could else hold one for ever, a byte at a time.

    Only the seconds count in which we wait for it; our own slowness is not the client's.
    """

    def __init__(self, limits: Limits) -> None:
        self.put = 0
        """Bytes of answers that were handed to the transport, in all."""
        self._seconds = limits.write_seconds
        self._least = limits.answer_pace * limits.write_seconds
        self._taken = 0
        self._waited = 0.0
        self._since: float | None = None

    def waits(self, now: float) -> None:
        self._since = now

    def goes_on(self, now: float) -> None:
        if self._since is not None:
            self._waited += now - self._since
            self._since = None

    def too_slow(self, now: float, buffered: int) -> bool:
        """Whether the last `write_seconds` of waiting brought too little; asked a few times a second."""
        waited = self._waited + (now - self._since if self._since is not None else 0.0)
        if waited < self._seconds:
            return False
        before, self._taken = self._taken, self.put - buffered
        self._waited = 0.0
        if self._since is not None:
            self._since = now
        return self._taken - before < self._least


class Connection(asyncio.Protocol):
    """Lives in `server.connections`; `check` is called there a few times a second."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = ""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_head = True
        self._body: Body | None = None
        self._task: asyncio.Task[None] | None = None
        self._keep = True
        self._deaf = False
        """What still comes is thrown away."""
        self._paused = False
        self._writable: asyncio.Future[None] | None = None
        self._read_deadline = inf
        self._pace = _Pace(server.limits)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        with suppress(OSError):  # gone already
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._read_deadline = self._loop.time() + self.server.limits.head_seconds
        if not self.server.entered(self):
            self._refuse(Problem(503, Number.BUSY, "too many connections; try again in a moment", retry_after="5"))
            self._transport.close()  # no lingering: that is a place, too

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deaf = True
        self.server.left(self)
        if self._body is not None:
            self._body.cut(Lost("the client went away"))
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)  # who waits finds that there is nobody

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keep = False  # another protocol was offered; it is answered in this one, and is the last
        except httptools.HttpParserError:
            self._refuse(Problem(400, Number.MALFORMED, "this is not a request of HTTP/1.1"))
        if self._in_head and self._head_bytes > MAX_HEAD:
            self._refuse(Problem(431, Number.TOO_LARGE, "the headers are too long"))

    def eof_received(self) -> bool:
        """A client may close its direction and still wait for its answer, but not within a body."""
        if self._body is not None and not self._body.whole:
            self._body.cut(Lost("the client went away"))
            return False
        return self._task is not None

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()
        self._pace.waits(self._loop.time())

    def resume_writing(self) -> None:
        self._pace.goes_on(self._loop.time())
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- from the server and from bodies ------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Act on the deadlines."""
        if self._transport is not None and self._pace.too_slow(now, self._transport.get_write_buffer_size()):
            self.abort()
        elif now > self._read_deadline:
            if self._deaf or not self._head_bytes:
                self.abort()
            else:
                self._refuse(Problem(408, Number.MALFORMED, "the request was not complete in time"))

    def stop(self) -> None:
        """Before the server ends: what comes in is cut, what goes out may finish."""
        self._keep = False
        if self._task is None:
            self.abort()
        elif self._body is not None and not self._body.whole:
            self._body.cut(Problem(503, Number.STOPPING, "the server is stopping; resume in a moment", retry_after="5"))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def proceed(self) -> None:
        """To a client that asks before it sends (RFC 9110, 10.1.1)."""
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- httptools ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._task is not None:
            self._keep, self._deaf = False, True  # sent before its turn
        if not self._deaf:
            self._target, self._headers, self._in_head = b"", {}, True
            self._head_bytes = max(self._head_bytes, 1)  # begun: from now on its time-out is told, not just acted on
            self._read_deadline = self._loop.time() + self.server.limits.head_seconds

    def on_url(self, target: bytes) -> None:
        if not self._deaf:
            self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._deaf:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if self._deaf:
            return
        headers, method = self._headers, self._parser.get_method().decode("latin-1")
        self._in_head, self._head_bytes = False, 0
        self._read_deadline = inf
        self._keep = self._parser.should_keep_alive() and not self.server.stopping
        length = headers.get("content-length", "0")
        if sum(len(name) + len(value) for name, value in headers.items()) + len(self._target) > MAX_HEAD:
            self._refuse(Problem(431, Number.TOO_LARGE, "the headers are too long"))
        elif "transfer-encoding" in headers:
            self._refuse(Problem(411, Number.MALFORMED, "say how long the body is: Content-Length"))
        elif not length.isascii() or not length.isdigit() or len(length) > 19:
            self._refuse(Problem(400, Number.MALFORMED, "Content-Length is not one number"))
        elif self._parser.should_upgrade() and (method not in ("GET", "HEAD") or int(length)):
            self._refuse(Problem(400, Number.MALFORMED, "this server speaks HTTP/1.1 only"))
        else:
            expects = headers.get("expect", "").lower() == "100-continue"
            path = self._target.partition(b"?")[0].decode("latin-1")
            self._body = Body(self, int(length), expects)
            request = Request(method, path, headers, self.address, self._body)
            self._task = self._loop.create_task(self._serve(request))
            self._task.add_done_callback(self.server.finished)
            self.server.tasks.add(self._task)

    def on_body(self, piece: bytes) -> None:
        if self._body is not None and not self._deaf:
            self._body.feed(piece)

    # --- answers ------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> None:
        answered = False
        try:
            try:
                answer = await self.server.handle(request)
            except Problem as problem:
                answer = problem.answer()
            await self._write(answer, request)
            answered = True
        except Lost:
            pass
        finally:
            if not answered:
                self.abort()

    async def _write(self, answer: Answer, request: Request) -> None:
        """Head and body; the turn ends with the last byte, before it is taken. Raises `Lost`."""
        keep = self._keep and request.body.whole
        head = answer.head() if keep else answer.head("connection: close")
        if isinstance(answer.body, bytes):
            await self._ready()
            self._put(head + (b"" if request.method == "HEAD" else answer.body))
        else:
            async with aclosing(answer.body) as pieces:
                await self._ready()
                self._put(head)
                try:
                    async for piece in pieces:
                        await self._ready()
                        self._put(piece)
                except Problem:
                    raise Lost("the blob can't be read on") from None  # cut short: the length tells the client
        keep = keep and self._keep
        self._task, self._body = None, None
        self._done(keep)

    async def _ready(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def _put(self, data: bytes | memoryview) -> None:
        if self._transport is None:
            raise Lost("the client went away")
        self._pace.put += len(data)
        self._transport.write(data)

    def _done(self, keep: bool) -> None:
        limits = self.server.limits
        self.resume()
        if keep:
            self._read_deadline = self._loop.time() + limits.idle_seconds
            return
        self._deaf = True
        if self._transport is not None:
            buffered = self._transport.get_write_buffer_size()
            self._read_deadline = self._loop.time() + (limits.write_seconds if buffered else _LINGER_SECONDS)
            with suppress(OSError):  # gone already
                self._transport.write_eof()  # and read on until the client closes, too

    def _refuse(self, problem: Problem) -> None:
        """The last answer of this connection, to a request that is none."""
        if self._deaf or self._task is not None:
            self._deaf = True
            self._keep = False
            if self._body is not None:
                self._body.cut(Lost("what came is no HTTP"))
            return
        if self._transport is not None:
            self._transport.write(b"".join([problem.answer().head("connection: close"), _body_of(problem)]))
        self._done(keep=False)


def _body_of(problem: Problem) -> bytes:
    body = problem.answer().body
    return body if isinstance(body, bytes) else b""
