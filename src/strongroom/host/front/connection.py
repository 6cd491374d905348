"""One client's connection: requests in, answers out in the same order, one in work at a time.

Working on pipelined requests one by one, and none while the client does not take its answers, bounds what a client
that never reads can pile up here; it may use more connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import httptools

from strongroom.host.front.answers import After, checkpoint, failed, healthy, preflight, sealed
from strongroom.host.front.status import VIEWS, View
from strongroom.host.front.tiles import CHECKPOINT_PATH, LOG_PATH, NOT_FOUND, Tile, parse_tile_path
from strongroom.protocol.errors import Number
from strongroom.protocol.limits import MAX_FRAME, MAX_HELLO
from strongroom.protocol.link import Operation

if TYPE_CHECKING:
    from strongroom.host.front.http import Front

MAX_HEAD: Final = 16 * 1024
"""Bytes of request line and headers."""
RELAYED: Final = b"strongroom-relayed"
"""Header of a request that another instance's front passes on, and that is not passed on once more."""
_PIECE: Final = 16 * 1024
"""Bytes parsed at once: the parser can't be paused, and a piece may hold hundreds of tiny requests."""
_MAX_QUEUED: Final = 32
"""Pipelined requests waiting before no more are parsed."""
_LINGER_SECONDS: Final = 2.0
"""For which the rest of a refused body is thrown away: closing at once would reset the connection, and the client
would see that instead of the refusal."""


class _Route(NamedTuple):
    operation: Operation
    limit: int
    """Bytes of the body."""
    answer: Callable[[bytes, After], bytes] = sealed


_ROUTES: Final = {
    (b"GET", b"/v1/evidence"): _Route(Operation.EVIDENCE, 0),
    (b"POST", b"/v1/session"): _Route(Operation.SESSION, MAX_HELLO),
    (b"POST", b"/v1/frame"): _Route(Operation.FRAME, MAX_FRAME),
}
_CHECKPOINT: Final = _Route(Operation.CHECKPOINT, 0, checkpoint)
_HEALTH: Final = b"/health"
_PATHS: Final = frozenset({path for _, path in _ROUTES} | {_HEALTH, *VIEWS})


class _Request:
    """One request, from its first byte until the enclave has answered."""

    __slots__ = (
        "body", "connection", "expects", "held", "keep", "length", "refusal", "relayed", "route", "since", "target",
        "tile", "view",
    )  # fmt: skip

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.since = now
        self.target = b""
        self.length = 0
        self.expects = False
        self.relayed = False
        self.route: _Route | None = None
        """None: answered here."""
        self.tile: Tile | None = None
        """Answered from the store."""
        self.view: View | None = None
        """Answered by the status desk."""
        self.body: list[bytes] = []
        self.held = 0
        self.keep = True
        self.refusal: bytes | None = None

    def release(self) -> None:
        self.connection.front.held -= self.held
        self.held = 0
        self.body.clear()

    def answered(self, outcome: int, body: bytes) -> None:
        """The enclave answered, or can't."""
        self.connection.front.calls -= 1
        self.release()
        self.connection.answered(self, outcome, body)


class Connection(asyncio.Protocol):
    """Lives in `front.connections`; `check` is called there a few times a second."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._unparsed = b""
        self._receiving: _Request | None = None
        self._received = 0
        """Bytes of what is being received, after the piece in which it began."""
        self._queue: deque[_Request] = deque()
        self._working: _Request | None = None
        self._running = False
        self._deaf = False
        """Nothing more is parsed: the last request is in the queue."""
        self._ended = False
        """The last answer is written."""
        self._eof = False
        self._clogged = False
        self._has_place = False
        """Of those for tiles: until the tile is read, and its client has taken it or is gone."""
        self._reads_tile = False
        self._read_deadline = inf
        self._write_deadline = inf

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        full = len(self.front.connections) >= self.front.limits.connections
        self.front.entered(self)
        self._read_deadline = self._loop.time() + self.front.limits.head_seconds
        if full:
            self._write(failed(Number.BUSY, After.CLOSE), After.CLOSE)
            self._transport.close()  # no lingering: that is a place, too

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deaf = self._ended = True
        self._give_place_back()
        self.front.unclogged(self)
        self.front.left(self)
        for request in (*self._queue, *([self._receiving] if self._receiving else [])):
            request.release()
        self._queue.clear()
        self._receiving = None

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
            self._unparsed = self._unparsed + data if self._unparsed else data
            self._run()

    def eof_received(self) -> bool:
        """A client may close its direction and still wait for its answers."""
        self._eof = True
        return self._owes and not self._ended

    def pause_writing(self) -> None:
        self._clogged = True
        self._write_deadline = self._loop.time() + self.front.limits.write_seconds
        if self._transport is not None:
            self.front.clogged(self, self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._clogged = False
        self._write_deadline = inf
        self.front.unclogged(self)
        self._give_place_back()
        self._run()

    # --- from the front -----------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Act on the deadlines."""
        working = self._working
        if self._has_place and not self._clogged:
            self._give_place_back()
        if now > self._write_deadline:
            self.abort()
        elif working is not None and now - working.since > self.front.limits.answer_seconds:
            self._working = None
            self._write(failed(Number.BUSY, After.CLOSE), After.CLOSE)
        elif now > self._read_deadline:
            if self._ended or self._receiving is None:
                self.abort()
            else:
                self._refuse(Number.MALFORMED, "408 Request Timeout")
                self._run()

    def close_if_idle(self) -> None:
        """Before stopping: what is begun goes on, and is the last."""
        if self._working is None and self._receiving is None and not self._queue and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- what to do next ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Parse and answer until there is something to wait for. Not recursive: a busy front answers at once."""
        if self._running:
            return
        self._running = True
        while not self._ended:
            if self._queue and self._working is None and not self._clogged:
                self._work(self._queue.popleft())
            elif self._unparsed and len(self._queue) < _MAX_QUEUED:
                piece, self._unparsed = self._unparsed[:_PIECE], self._unparsed[_PIECE:]
                self._feed(piece)
            else:
                break
        self._running = False
        if self._transport is not None:
            if self._eof and not self._owes:
                self._transport.close()
            elif self._unparsed:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    @property
    def _owes(self) -> bool:
        """Whether a whole request may still be without its answer."""
        return self._working is not None or bool(self._queue) or bool(self._unparsed)

    def _feed(self, piece: bytes) -> None:
        before = self._receiving
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # A GET that offers another protocol is answered in this one, and is the last.
            self._deaf, self._unparsed = True, b""
            if self._queue:
                self._queue[-1].keep = False
        except httptools.HttpParserError:
            self._refuse(Number.MALFORMED)
        if self._receiving is not None:
            self._received = self._received + len(piece) if self._receiving is before else 0
            limit = self._receiving.route.limit if self._receiving.route else 0
            if self._received > MAX_HEAD + 2 * limit:  # a head, chunk sizes or trailers without end
                self._refuse(Number.TOO_LARGE)

    def _work(self, request: _Request) -> None:
        if request.refusal is not None:
            self._write(request.refusal, After.CLOSE)
        elif request.route is not None:
            self._working = request
            request.since = self._loop.time()
            body = request.body[0] if len(request.body) == 1 else b"".join(request.body)
            ask = self.front.relayed if request.relayed else self.front.ask
            self.front.call(ask, request.route.operation, body, request.answered)
        elif request.tile is not None:
            self._read_tile(request, request.tile)
        elif request.view is not None:
            self._show(request, request.view)
        else:
            after = self._after(request)
            self._write(healthy(after) if request.target == _HEALTH else preflight(after), after)

    def answered(self, request: _Request, outcome: int, body: bytes) -> None:
        """The enclave's answer to the request in work; one that came too late is dropped."""
        if self._working is not request:
            return
        self._working = None
        after = self._after(request)
        if outcome == Operation.OK:
            self._write(request.route.answer(body, after) if request.route else sealed(body, after), after)
        else:
            self._write(failed(int.from_bytes(body, "big") if len(body) == 2 else Number.INTERNAL, after), after)
        self._run()

    def _read_tile(self, request: _Request, wanted: Tile) -> None:
        tiles, after = self.front.tiles, self._after(request)
        self._give_place_back()  # of the tile before, which but for what the transport buffers was taken
        if tiles is None or not tiles.take_place():
            self._write(failed(Number.BUSY, after), after)
            return
        self._has_place = self._reads_tile = True
        self._working = request
        request.since = self._loop.time()

        def served(answer: bytes) -> None:
            self._reads_tile = False
            if self._working is request and self._transport is not None:
                self._working = None
                self._write(answer, after)
                self._run()
            else:
                self._give_place_back()

        tiles.serve(wanted, after, served)

    def _show(self, request: _Request, view: View) -> None:
        after = self._after(request)
        self._working = request
        request.since = self._loop.time()

        def answered(answer: bytes) -> None:
            if self._working is request:
                self._working = None
                self._write(answer, after)
                self._run()

        self.front.status.serve(view, after, answered)

    def _give_place_back(self) -> None:
        """Not while the database is at work for it: who asks and hangs up must not ask for more than who waits."""
        if self._has_place and not self._reads_tile and self.front.tiles is not None:
            self._has_place = False
            self.front.tiles.give_place_back()

    def _after(self, request: _Request) -> After:
        return After.KEEP if request.keep and not self.front.draining else After.CLOSE

    def _write(self, answer: bytes, after: After) -> None:
        if self._transport is None:
            return
        self._transport.write(answer)
        if after is After.KEEP:
            if self._receiving is None:
                self._read_deadline = self._loop.time() + self.front.limits.idle_seconds
            return
        self._deaf = self._ended = True
        self._unparsed = b""
        limits = self.front.limits
        buffered = self._transport.get_write_buffer_size()
        self._read_deadline = self._loop.time() + (limits.write_seconds if buffered else _LINGER_SECONDS)
        self._transport.write_eof()  # and read on until the client closes, too

    def _refuse(self, number: Number, status: str | None = None) -> None:
        """The last answer of this connection, after those to earlier requests."""
        request = self._receiving or _Request(self, self._loop.time())
        request.release()
        request.refusal = failed(number, After.CLOSE, status)
        self._queue.append(request)
        self._receiving = None
        self._read_deadline = inf
        self._deaf, self._unparsed = True, b""

    # --- httptools: one request after the other -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        now = self._loop.time()
        self._receiving = _Request(self, now)
        self._read_deadline = now + self.front.limits.head_seconds

    def on_url(self, target: bytes) -> None:
        if self._receiving is not None:
            self._receiving.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._receiving
        if request is None or request.route is not None:
            return  # refused already; or a trailer
        name = name.lower()
        if name == b"content-length":
            request.length = int(value)  # the parser has let digits pass only
        elif name == b"expect":
            request.expects = True
        elif name == RELAYED:
            request.relayed = True

    def on_headers_complete(self) -> None:
        request = self._receiving
        if request is None:
            return
        method = self._parser.get_method()
        request.route = _ROUTES.get((method, request.target))
        self._read_deadline = request.since + self.front.limits.request_seconds
        if request.route is None and not self._finds(request, method):
            self._refuse(Number.MALFORMED, "405 Method Not Allowed" if request.target in _PATHS else NOT_FOUND)
        elif self._parser.should_upgrade() and method == b"POST":
            self._refuse(Number.MALFORMED)  # the parser takes the body for the other protocol
        elif request.length > (request.route.limit if request.route else 0):
            self._refuse(Number.TOO_LARGE)
        elif request.expects and self._working is None and not self._queue and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _finds(self, request: _Request, method: bytes) -> bool:
        """Whether something besides the enclave's three paths answers this."""
        if method == b"GET" and self.front.tiles is not None and request.target.startswith(LOG_PATH):
            request.route = _CHECKPOINT if request.target == CHECKPOINT_PATH else None
            request.tile = parse_tile_path(request.target)
            return request.route is not None or request.tile is not None
        if method == b"GET":
            request.view = VIEWS.get(request.target)
        return request.view is not None or method == b"OPTIONS" or (method, request.target) == (b"GET", _HEALTH)

    def on_body(self, body: bytes) -> None:
        request = self._receiving
        if request is None:
            return
        front = self.front
        request.held += len(body)
        front.held += len(body)
        if request.held > (request.route.limit if request.route else 0):
            self._refuse(Number.TOO_LARGE)
        elif front.held > front.limits.held_bytes:
            self._refuse(Number.BUSY)
        else:
            request.body.append(body)

    def on_message_complete(self) -> None:
        request = self._receiving
        if request is None:
            return
        request.keep = self._parser.should_keep_alive()
        self._queue.append(request)
        self._receiving = None
        self._read_deadline = inf
        if not request.keep:
            self._deaf = True
