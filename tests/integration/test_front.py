"""The HTTP front against clients that are slow, endless, half gone, too many, or malformed."""

import asyncio
import resource
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httptools
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.host.front.http import Front, Limits
from strongroom.protocol.errors import Number
from strongroom.protocol.limits import MAX_FRAME, MAX_HELLO
from strongroom.protocol.link import Operation


class Enclave:
    """Echoes; a body `hang` is answered on release, `deny N` with that number."""

    def __init__(self):
        self.hanging = []
        self.seen = []

    def ask(self, operation, body, answered):
        self.seen.append((operation, len(body)))
        if body == b"hang":
            self.hanging.append(answered)
        elif body.startswith(b"deny "):
            answered(Operation.ERROR, int(body[5:]).to_bytes(2, "big"))
        else:
            asyncio.get_running_loop().call_soon(answered, Operation.OK, body or b"evidence")

    def release(self):
        for answered in self.hanging:
            answered(Operation.OK, b"released")
        self.hanging.clear()


class Listening(Front):
    url: str
    port: int


@asynccontextmanager
async def running(**limits):
    enclave = Enclave()
    front = Listening(enclave.ask, Limits(**limits))
    front.url = await front.listen("127.0.0.1", 0)
    front.port = int(front.url.rsplit(":", 1)[1])
    try:
        yield front, enclave
    finally:
        await front.drain(0)
        assert front.held == 0
        assert front.unsent == 0
        assert front.connections == set()


class Client:
    """Raw bytes out, whole answers in."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.parser = httptools.HttpResponseParser(self)
        self.answers = []

    def on_message_begin(self):
        self.body, self.headers = b"", {}

    def on_header(self, name, value):
        self.headers[name] = value

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.answers.append((self.parser.get_status_code(), self.headers, self.body))

    async def answer(self, seconds=3.0):
        while not self.answers:
            data = await asyncio.wait_for(self.reader.read(65536), seconds)
            assert data, "closed without an answer"
            self.parser.feed_data(data)
        return self.answers.pop(0)

    async def refused(self, seconds=3.0):
        """Status and number of an answer after which the connection is closed."""
        status, headers, body = await self.answer(seconds)
        assert headers[b"strongroom-error"] == str(int.from_bytes(body, "big")).encode()
        assert headers[b"connection"] == b"close"
        assert await self.closed(seconds)
        return status, int.from_bytes(body, "big")

    async def closed(self, seconds=3.0):
        try:
            return await asyncio.wait_for(self.reader.read(1), seconds) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(front):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def post(body, path=b"/v1/frame", *headers):
    lines = [b"POST " + path + b" HTTP/1.1", b"host: a", b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


# --- what it carries --------------------------------------------------------------------------------------------


async def test_the_paths_carry_opaque_bytes_and_errors_are_numbers():
    async with running() as (front, enclave), httpx.AsyncClient(base_url=front.url) as client:
        assert (await client.get("/v1/evidence")).content == b"evidence"
        session = await client.post("/v1/session", content=b"hello")
        assert (session.status_code, session.content) == (200, b"hello")
        assert session.headers["content-type"] == "application/octet-stream"
        assert session.headers["access-control-allow-origin"] == "*"
        assert (await client.post("/v1/frame", content=bytes(MAX_FRAME))).content == bytes(MAX_FRAME)
        assert (await client.get("/health")).text == "ok"
        assert enclave.seen == [
            (Operation.EVIDENCE, 0),
            (Operation.SESSION, 5),
            (Operation.FRAME, MAX_FRAME),
        ]
        assert len(front.connections) == 1


@pytest.mark.parametrize(
    ("number", "status"),
    [(101, 400), (102, 413), (104, 409), (105, 400), (201, 403), (301, 502), (401, 503), (999, 503)],
)
async def test_the_status_tells_the_family_and_the_body_the_number(number, status):
    async with running() as (front, _), httpx.AsyncClient(base_url=front.url) as client:
        answer = await client.post("/v1/frame", content=b"deny %d" % number)
        assert (answer.status_code, answer.content) == (status, number.to_bytes(2, "big"))
        assert answer.headers["strongroom-error"] == str(number)


async def test_browsers_of_any_origin_may_call():
    async with running() as (front, enclave), httpx.AsyncClient(base_url=front.url) as client:
        headers = {"origin": "https://a", "access-control-request-method": "POST"}
        asked = await client.options("/v1/frame", headers=headers)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "*"
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert asked.headers["access-control-allow-headers"] == "content-type"
        assert (await client.get("/health")).status_code == 200
        assert enclave.seen == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /v1/evidence?a HTTP/1.1", 404),
        (b"GET /v1/frame HTTP/1.1", 405),
        (b"DELETE /v1/session HTTP/1.1", 405),
        (b"CONNECT a:1 HTTP/1.1", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(request_line, status):
    async with running() as (front, enclave), connected(front) as client:
        client.writer.write(request_line + b"\r\nhost: a\r\n\r\n")
        assert await client.refused() == (status, Number.MALFORMED)
        assert enclave.seen == []


@pytest.mark.parametrize(
    "untrusted_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"hello\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"POST /v1/frame HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/frame HTTP/1.1\r\ncontent-length: " + b"9" * 6000 + b"\r\n\r\n",
        b"POST /v1/frame HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"POST /v1/frame HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /v1/frame HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=lambda value: value[:50],
)
async def test_what_is_not_http_is_refused(untrusted_bytes):
    async with running() as (front, enclave), connected(front) as client:
        client.writer.write(untrusted_bytes)
        assert await client.refused() == (400, Number.MALFORMED)
        assert enclave.seen == []


# --- sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "size"), [(b"/v1/session", MAX_HELLO), (b"/v1/frame", MAX_FRAME), (b"/health", 0)])
async def test_a_length_above_the_limit_is_refused_before_its_body(path, size):
    async with running() as (front, enclave), connected(front) as client:
        method = b"GET" if path == b"/health" else b"POST"
        client.writer.write(method + b" %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path, size + 1))
        assert await client.refused() == (413, Number.TOO_LARGE)
        assert enclave.seen == []


@pytest.mark.parametrize("framing", [f"content-length: {1024**3}", "transfer-encoding: chunked"])
async def test_a_body_of_1_gib_is_cut_without_being_held(framing):
    mebibyte = bytes(1024 * 1024)
    piece = b"100000\r\n" + mebibyte + b"\r\n" if "chunked" in framing else mebibyte
    async with running() as (front, enclave), connected(front) as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        client.writer.write(f"POST /v1/frame HTTP/1.1\r\n{framing}\r\n\r\n".encode())
        answer, sent = asyncio.create_task(client.answer(20)), 0
        while not answer.done() and sent < 1024:
            client.writer.write(piece)
            with suppress(ConnectionError):  # told already, and no more is read
                await client.writer.drain()
            sent += 1
        status, _, body = await answer
        assert (status, body) == (413, b"\x00\x66")
        assert sent < 1024, "it was read to its end"
        assert await client.closed()
        assert enclave.seen == []
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


async def test_a_head_without_end_is_refused():
    async with running() as (front, _), connected(front) as client:
        client.writer.write(b"GET /health HTTP/1.1\r\nx: ")
        for _ in range(40):
            client.writer.write(b"y" * 1024)
            await asyncio.sleep(0)
        assert await client.refused() == (413, Number.TOO_LARGE)


async def test_trailers_and_chunk_sizes_without_end_are_refused():
    async with running() as (front, _), connected(front) as client:
        client.writer.write(b"POST /v1/session HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ")
        for _ in range(100):
            client.writer.write(b"y" * 1024)
            await asyncio.sleep(0)
        assert await client.refused() == (413, Number.TOO_LARGE)


async def test_bodies_of_all_clients_together_are_bounded():
    async with running(held_bytes=3_000_000) as (front, _), connected(front) as first, connected(front) as second:
        first.writer.write(post(bytes(MAX_FRAME))[:-1])
        await first.writer.drain()
        await asyncio.sleep(0.1)
        second.writer.write(post(bytes(MAX_FRAME)))
        assert await second.refused() == (503, Number.BUSY)
        first.writer.write(b"\x00")
        assert (await first.answer())[0] == 200


# --- time -------------------------------------------------------------------------------------------------------


async def drip(writer, data, gap=0.05):
    try:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(gap)
    except ConnectionError:
        pass


async def test_a_head_in_drops_is_cut_in_time():
    async with running(head_seconds=0.5, request_seconds=30) as (front, _), connected(front) as client:
        dripping = asyncio.create_task(drip(client.writer, post(b"x" * 1000)))
        began = time.monotonic()
        assert await client.refused() == (408, Number.MALFORMED)
        assert 0.4 < time.monotonic() - began < 2
        dripping.cancel()


async def test_a_body_in_drops_is_cut_in_time():
    async with running(head_seconds=0.3, request_seconds=1) as (front, enclave), connected(front) as client:
        head, body = post(b"x" * 1000)[:-1000], b"x" * 1000
        client.writer.write(head)
        dripping = asyncio.create_task(drip(client.writer, body))
        began = time.monotonic()
        assert await client.refused() == (408, Number.MALFORMED)
        assert 0.8 < time.monotonic() - began < 2.5
        assert enclave.seen == []
        dripping.cancel()


async def test_a_silent_connection_is_closed():
    async with running(head_seconds=0.3) as (front, _), connected(front) as client:
        assert await client.closed(2)
        assert front.connections == set()


async def test_empty_lines_keep_no_connection_open():
    async with running(head_seconds=0.3) as (front, _), connected(front) as client:
        dripping = asyncio.create_task(drip(client.writer, b"\r\n" * 100))
        assert await client.closed(2)
        dripping.cancel()


async def test_an_idle_connection_is_closed_and_a_busy_one_kept():
    async with running(head_seconds=0.3, idle_seconds=0.6) as (front, _), connected(front) as client:
        for _ in range(4):
            client.writer.write(post(b"x"))
            assert (await client.answer())[0] == 200
            await asyncio.sleep(0.3)
        assert await client.closed(2)


async def test_a_client_that_never_reads_is_cut_and_piles_up_little():
    async with running(write_seconds=0.5) as (front, enclave), connected(front) as client:
        client.writer.transport.pause_reading()
        for _ in range(8):
            client.writer.write(post(bytes(MAX_FRAME)))
        await asyncio.sleep(2)
        assert front.connections == set()
        assert len(enclave.seen) < 8


async def test_answers_that_nobody_takes_are_bounded_for_all_together():
    async with running(unsent_bytes=2 * MAX_FRAME) as (front, _), AsyncExitStack() as stack:
        mute = [await stack.enter_async_context(connected(front)) for _ in range(6)]
        for client in mute:
            client.writer.transport.pause_reading()
            for _ in range(8):
                client.writer.write(post(bytes(MAX_FRAME)))
            await asyncio.sleep(0.3)
            assert front.unsent <= 2 * MAX_FRAME
        assert front.unsent > 0
        assert len(front.connections) < 6
        reading = await stack.enter_async_context(connected(front))
        reading.writer.write(post(bytes(MAX_FRAME)))
        assert (await reading.answer())[0] == 200
        # Who has left his for longest went: the one who came last is here still.
        mute[-1].writer.transport.resume_reading()
        assert (await mute[-1].answer())[0] == 200


async def test_an_enclave_that_does_not_answer_is_busy():
    async with running(answer_seconds=0.3) as (front, enclave), connected(front) as client:
        client.writer.write(post(b"hang"))
        assert await client.refused() == (503, Number.BUSY)
        assert front.calls == 1
        enclave.release()
        assert front.calls == 0


async def test_half_open_connections_get_their_answer_or_are_closed():
    async with running() as (front, enclave), connected(front) as client, connected(front) as idle:
        idle.writer.write_eof()
        assert await idle.closed()
        client.writer.write(post(b"hang") + post(b"second") + b"POST /v1/fra")
        client.writer.write_eof()
        await asyncio.sleep(0.1)
        enclave.release()
        assert (await client.answer())[2] == b"released"
        assert (await client.answer())[2] == b"second"
        assert await client.closed()


async def test_a_client_that_leaves_costs_nothing_more():
    async with running() as (front, enclave):
        async with connected(front) as client:
            client.writer.write(post(b"hang") + post(bytes(100_000))[:-1])
            await asyncio.sleep(0.1)
            assert front.held > 0
        assert front.calls == 1
        enclave.release()
        await asyncio.sleep(0.1)
        assert (front.calls, front.held, front.connections) == (0, 0, set())


# --- order and number -------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order():
    async with running() as (front, _), connected(front) as client:
        bodies = [b"%d" % n * (n % 50 + 1) for n in range(1000)]
        client.writer.write(b"".join(post(body) for body in bodies))
        assert [(await client.answer())[2] for _ in bodies] == bodies


async def test_pipelined_requests_at_a_busy_front_do_not_recurse():
    async with running(calls=0) as (front, _), connected(front) as client:
        client.writer.write(b"GET /v1/evidence HTTP/1.1\r\n\r\n" * 5000)
        for _ in range(5000):
            assert (await client.answer())[0] == 503


async def test_an_answered_request_before_a_refused_one_keeps_its_answer():
    async with running() as (front, enclave), connected(front) as client:
        client.writer.write(post(b"hang") + b"nonsense\r\n\r\n")
        await asyncio.sleep(0.1)
        enclave.release()
        assert (await client.answer())[2] == b"released"
        assert await client.refused() == (400, Number.MALFORMED)


async def test_http_1_0_and_connection_close_end_after_the_answer():
    async with running() as (front, _):
        for request in (b"GET /health HTTP/1.0\r\n\r\n", b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"):
            async with connected(front) as client:
                client.writer.write(request)
                assert (await client.answer())[2] == b"ok"
                assert await client.closed()


async def test_an_offered_upgrade_is_ignored_and_never_costs_a_request_its_body():
    async with running() as (front, enclave), connected(front) as get, connected(front) as client:
        get.writer.write(b"GET /v1/evidence HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert (await get.answer())[2] == b"evidence"
        client.writer.write(post(b"x", b"/v1/frame", b"connection: upgrade", b"upgrade: h2c"))
        assert await client.refused() == (400, Number.MALFORMED)
        assert enclave.seen == [(Operation.EVIDENCE, 0)]


async def test_a_client_that_waits_for_100_continue_gets_it_or_the_refusal():
    async with running() as (front, _), connected(front) as client, connected(front) as large:
        client.writer.write(post(b"body", b"/v1/frame", b"expect: 100-continue")[:-4])
        assert await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 2) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(b"body")
        assert (await client.answer())[2] == b"body"
        large.writer.write(b"POST /v1/frame HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1073741824\r\n\r\n")
        assert await large.refused() == (413, Number.TOO_LARGE)


async def test_a_hundred_clients_in_parallel_get_their_own_answers():
    async with running() as (front, _):

        async def client(number):
            async with connected(front) as client:
                for turn in range(20):
                    body = b"%d/%d " % (number, turn) * 50
                    client.writer.write(post(body))
                    assert (await client.answer())[2] == body

        await asyncio.gather(*(client(number) for number in range(100)))


async def test_connections_above_the_bound_are_told_busy():
    async with running(connections=3) as (front, _):
        async with connected(front) as a, connected(front), connected(front):
            await asyncio.sleep(0.05)
            async with connected(front) as fourth:
                assert await fourth.refused() == (503, Number.BUSY)
            a.writer.write(post(b"x"))
            assert (await a.answer())[0] == 200
        await asyncio.sleep(0.05)
        async with connected(front) as later:
            later.writer.write(post(b"x"))
            assert (await later.answer())[0] == 200


async def test_calls_above_the_bound_are_told_busy_and_the_others_answered():
    async with (
        running(calls=2) as (front, enclave),
        connected(front) as a,
        connected(front) as b,
        connected(front) as c,
    ):
        a.writer.write(post(b"hang"))
        b.writer.write(post(b"hang"))
        await asyncio.sleep(0.1)
        c.writer.write(post(b"x"))
        status, headers, _ = await c.answer()
        assert (status, headers[b"strongroom-error"]) == (503, b"401")
        enclave.release()
        assert (await a.answer())[2] == (await b.answer())[2] == b"released"
        c.writer.write(post(b"x"))
        assert (await c.answer())[0] == 200


async def test_draining_answers_what_was_begun_and_accepts_no_more():
    async with running() as (front, enclave), connected(front) as client, connected(front) as idle:
        client.writer.write(post(b"hang"))
        await asyncio.sleep(0.1)
        draining = asyncio.create_task(front.drain(5))
        assert await idle.closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", front.port)
        enclave.release()
        status, headers, body = await client.answer()
        assert (status, body, headers[b"connection"]) == (200, b"released", b"close")
        client.writer.close()
        await asyncio.wait_for(draining, 1)


parts = [post(b"x"), post(b"")[:-4], b"\r\n", b"GET /health HTTP/1.1\r\n", b"a: b\r\n\r\n", b"0\r\n\r\n"]


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.binary(max_size=200) | st.sampled_from(parts), max_size=10))
def test_any_bytes_get_answers_or_a_close_and_never_a_fault(pieces):
    async def run():
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with running() as (front, _), connected(front) as client:
            for piece in pieces:
                client.writer.write(piece)
                await asyncio.sleep(0)
            client.writer.write_eof()
            said = await asyncio.wait_for(client.reader.read(), 3)  # ends: the connection is closed
            assert said == b"" or said.startswith(b"HTTP/1.1 ")
        assert errors == []

    asyncio.run(run())
