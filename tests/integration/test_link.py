"""The link between host and enclave: real sockets, a real child process, and a host that lies."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event
from typing import cast

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.enclave.runtime.link import HostLink
from strongroom.host.front.http import Front
from strongroom.host.store.sqlite import SqliteStore
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.enclave import EnclaveProcess
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import MAX_BODY, Frame, Operation, Put, Row, Rows, Splitter, encode, pack

KEY = bytes(32)
ENTRY = "tests.support.echo_enclave"


class Echo:
    async def handle(self, operation, body):
        return body


@asynccontextmanager
async def lying_host():
    """A `HostLink`, and the other end of its socket as streams."""
    ours, theirs = socket.socketpair()
    link = HostLink()
    link.serve(Echo())
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=theirs)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    try:
        yield link, reader, writer
    finally:
        writer.close()
        await asyncio.wait_for(link.closed, 2)


async def next_frame(reader):
    size = int.from_bytes(await asyncio.wait_for(reader.readexactly(4), 2), "big")
    body = await asyncio.wait_for(reader.readexactly(size), 2)
    return Frame(int.from_bytes(body[:4], "big"), body[4], body[5:])


@asynccontextmanager
async def enclave(data, entry=ENTRY):
    store = SqliteStore(data / "rows.sqlite3")
    courier = Courier(LOOPBACK)
    process = await EnclaveProcess.spawn(entry, data, store=store, carrier=courier)
    try:
        yield process
    finally:
        await process.stop()
        courier.close()
        await store.close()


# --- a host that lies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    {
        "nothing": b"",
        "no rows": encode(Rows([])),
        "too many rows": encode(Rows([None, None])),
        "no MessagePack": b"\xc1",
        "a number for a row": msgspec.msgpack.encode([[5]]),
        "a text for bytes": msgspec.msgpack.encode([[[1, "sealed"]]]),
        "version 0": msgspec.msgpack.encode([[[0, b"sealed"]]]),
        "a version beyond 63 bits": msgspec.msgpack.encode([[[2**63, b"sealed"]]]),
        "a field more": msgspec.msgpack.encode([[[1, b"sealed", 3]]]),
        "bytes after it": encode(Rows([None])) + b"\x00",
        "deep nesting": b"\x91" * 100_000,
    }.values(),
)
async def test_an_answer_of_another_shape_fails_its_own_call_only(answer):
    async with lying_host() as (link, reader, writer):
        cheated, other = asyncio.create_task(link.read([KEY])), asyncio.create_task(link.read([KEY]))
        first, second = await next_frame(reader), await next_frame(reader)
        writer.write(pack(first.call, Operation.OK, answer))
        with pytest.raises(Unavailable) as refused:
            await asyncio.wait_for(cheated, 2)
        assert refused.value.number == Number.STORE_UNAVAILABLE
        assert not other.done()
        writer.write(pack(second.call, Operation.OK, encode(Rows([Row(3, b"sealed")]))))
        assert await asyncio.wait_for(other, 2) == [Row(3, b"sealed")]


async def test_unknown_and_repeated_answers_touch_no_other_call():
    async with lying_host() as (link, reader, writer):
        call = asyncio.create_task(link.read([KEY]))
        asked = await next_frame(reader)
        good, bad = encode(Rows([Row(1, b"first")])), encode(Rows([Row(1, b"second")]))
        writer.write(pack(asked.call + 1, Operation.OK, bad) + pack(0xFFFFFFFF, Operation.ERROR, b"\x01\x91"))
        writer.write(pack(asked.call, Operation.OK, good) + pack(asked.call, Operation.OK, bad))
        assert await asyncio.wait_for(call, 2) == [Row(1, b"first")]
        later = asyncio.create_task(link.read([KEY]))
        asked = await next_frame(reader)
        writer.write(pack(asked.call, Operation.OK, bad))
        assert await asyncio.wait_for(later, 2) == [Row(1, b"second")]


@pytest.mark.parametrize(
    ("body", "read", "commit"),
    [
        (b"\x01\x93", Number.STORE_UNAVAILABLE, Number.STORE_FULL),
        (b"\x00\x6b", Number.STORE_UNAVAILABLE, Number.CONFLICT),
        (b"\x00\xc9", Number.STORE_UNAVAILABLE, Number.STORE_UNAVAILABLE),  # REFUSED is not the store's to say
        (b"\x00\x00", Number.STORE_UNAVAILABLE, Number.STORE_UNAVAILABLE),
        (b"", Number.STORE_UNAVAILABLE, Number.STORE_UNAVAILABLE),
        (b"\x01\x93\x00", Number.STORE_UNAVAILABLE, Number.STORE_UNAVAILABLE),
    ],
)
async def test_the_host_can_put_no_refusal_into_the_enclaves_mouth(body, read, commit):
    async with lying_host() as (link, reader, writer):
        for call, expected in [(link.read([KEY]), read), (link.commit([Put(KEY, 0, 1, b"")], 0, []), commit)]:
            task = asyncio.create_task(call)
            writer.write(pack((await next_frame(reader)).call, Operation.ERROR, body))
            with pytest.raises(StrongroomError) as refused:
                await asyncio.wait_for(task, 2)
            assert refused.value.number == expected


async def test_a_lost_link_fails_all_that_wait():
    async with lying_host() as (link, reader, writer):
        calls = {
            asyncio.create_task(link.read([KEY])): Number.STORE_UNAVAILABLE,
            asyncio.create_task(link.post("http://a/v1/frame", b"")): Number.STOPPING,
        }
        await next_frame(reader)
        writer.close()
        for call, number in calls.items():
            with pytest.raises(Unavailable) as refused:
                await asyncio.wait_for(call, 2)
            assert refused.value.number == number
        with pytest.raises(Unavailable):
            await link.read([KEY])


async def test_what_exceeds_the_link_is_refused_before_it_breaks_the_framing():
    async with lying_host() as (link, reader, writer):
        with pytest.raises(StrongroomError) as refused:
            await link.post("http://a/v1/frame", bytes(MAX_BODY))
        assert refused.value.number == Number.TOO_LARGE
        writer.write(pack(1, Operation.FRAME, b"still there"))
        assert await next_frame(reader) == Frame(1, Operation.OK, b"still there")


@pytest.mark.parametrize("operation", [Operation.READ, Operation.COMMIT, Operation.POST, Operation.WITNESSED, 9, 255])
async def test_a_call_that_is_not_the_hosts_closes_the_link(operation):
    async with lying_host() as (link, _, writer):
        writer.write(pack(1, operation, b""))
        await asyncio.wait_for(asyncio.shield(link.closed), 2)


frames = st.builds(
    pack,
    st.integers(0, 2**32 - 1) | st.integers(1, 3),
    st.integers(0, 255) | st.integers(0, 18),
    st.binary(max_size=40),
)
streams = st.lists(frames | st.binary(max_size=60), max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(stream=streams, cut=st.integers(1, 64))
def test_any_bytes_from_the_host_end_the_link_or_are_answered(stream, cut):
    async def run():
        async with lying_host() as (link, _, writer):
            errors = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
            waiting = [asyncio.create_task(link.read([KEY])) for _ in range(3)]
            await asyncio.sleep(0)
            for at in range(0, len(stream), cut):
                link.data_received(stream[at : at + cut])
            writer.close()
            await asyncio.wait_for(asyncio.shield(link.closed), 2)
            for outcome in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 2):
                if not isinstance(outcome, StrongroomError):
                    (row,) = cast("list[Row | None]", outcome)
                    assert row is None or isinstance(row, Row)
            assert errors == []

    asyncio.run(run())


@given(bodies=st.lists(st.binary(max_size=300), max_size=8), cut=st.integers(1, 50))
def test_frames_survive_any_cutting_of_the_stream(bodies, cut):
    stream = b"".join(pack(n, 5, body) for n, body in enumerate(bodies))
    splitter = Splitter()
    found = [frame for at in range(0, len(stream), cut) for frame in splitter.feed(stream[at : at + cut])]
    assert found == [Frame(n, 5, body) for n, body in enumerate(bodies)]


@pytest.mark.parametrize("size", [0, 4, MAX_BODY + 6, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_at_its_header(size):
    with pytest.raises(Misuse):
        Splitter().feed(size.to_bytes(4, "big") + bytes(5))


# --- a real child -----------------------------------------------------------------------------------------------


async def test_calls_reach_the_enclave_and_its_calls_reach_the_store(tmp_path):
    async with enclave(tmp_path) as process:
        assert await process.call(Operation.FRAME, b"hello") == b"hello"
        assert await process.call(Operation.FRAME, b"read " + KEY) == b"none"
        await process.call(Operation.FRAME, b"make " + KEY + b"sealed")
        assert await process.call(Operation.FRAME, b"read " + KEY) == b"1 sealed"
        with pytest.raises(StrongroomError) as refused:
            await process.call(Operation.FRAME, b"make " + KEY + b"again")
        assert refused.value.number == Number.CONFLICT
        with pytest.raises(StrongroomError) as refused:
            await process.call(Operation.FRAME, b"deny 205")
        assert refused.value.number == Number.DESTINATION_REFUSED


async def test_a_large_body_and_a_thousand_small_ones_at_once(tmp_path):
    async with enclave(tmp_path) as process:
        large = os.urandom(3_000_000)
        bodies = [b"%d" % n for n in range(1000)] + [large]
        assert await asyncio.gather(*(process.call(Operation.FRAME, body) for body in bodies)) == bodies


async def test_a_fault_inside_is_a_number_and_the_log_names_its_type_only(tmp_path, capfd):
    async with enclave(tmp_path) as process:
        with pytest.raises(Unavailable) as refused:
            await process.call(Operation.FRAME, b"fail the secret")
        assert refused.value.number == Number.INTERNAL
        assert await process.call(Operation.FRAME, b"goes on") == b"goes on"
    logged = capfd.readouterr().err
    assert "ValueError" in logged
    assert "secret" not in logged


async def test_a_killed_enclave_answers_all_that_wait(tmp_path):
    async with enclave(tmp_path) as process:
        waiting = [asyncio.create_task(process.call(Operation.FRAME, b"hang ")) for _ in range(3)]
        await process.call(Operation.FRAME, b"")
        os.kill(process.pid, signal.SIGKILL)
        assert await asyncio.wait_for(process.wait(), 2) == -signal.SIGKILL
        for call in waiting:
            with pytest.raises(Unavailable) as refused:
                await call
            assert refused.value.number == Number.STOPPING
        with pytest.raises(Unavailable):
            await process.call(Operation.FRAME, b"")


# --- the courier ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(answer):
    """A raw server that answers each connection with `answer(reader, writer)`."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/frame"
    finally:
        server.close()


async def number_of(courier, url, body=b"sealed"):
    with pytest.raises(StrongroomError) as refused:
        await courier.carry(url, body)
    return refused.value.number


async def test_the_courier_carries_bytes_and_error_numbers_over_one_connection():
    def answer(operation, body, answered):
        answered(Operation.ERROR, b"\x00\x68") if body == b"lost" else answered(Operation.OK, body or b"evidence")

    front = Front(answer)
    url = await front.listen("127.0.0.1", 0)
    courier = Courier(LOOPBACK)
    assert await courier.carry(f"{url}/v1/evidence", None) == b"evidence"
    for _ in range(5):
        assert await courier.carry(f"{url}/v1/frame", b"sealed") == b"sealed"
        assert await number_of(courier, f"{url}/v1/frame", b"lost") == Number.UNKNOWN_SESSION
    assert len(front.connections) == 1
    large = os.urandom(2_000_000)
    assert await asyncio.gather(*(courier.carry(f"{url}/v1/frame", large) for _ in range(10))) == [large] * 10
    await front.drain(0)
    assert await number_of(courier, f"{url}/v1/frame") == Number.AUTHENTICATOR_UNAVAILABLE
    courier.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/v1/frame",
        "http://127.0.0.1:1/v1/frame",
        "http://127.0.0.1:99999/v1/frame",
        "http://user@127.0.0.1/v1/frame",
        "http://127.0.0.1/latest/meta-data",
        "http://127.0.0.1/v1/frame?a=b",
        "http://127.0.0.1/v1/frame\r\nx: y\r\n\r\n/v1/frame",
        "http://[::1/v1/frame",
        "http:///v1/frame",
        "http://nowhere.invalid/v1/frame",
        "",
    ],
)
async def test_urls_that_are_no_fronts_are_unavailable(url):
    assert await number_of(Courier(LOOPBACK), url) == Number.AUTHENTICATOR_UNAVAILABLE


async def test_names_that_are_never_answered_for_keep_no_other_authenticator_from_being_asked(monkeypatch):
    answering, genuine = Event(), socket.getaddrinfo

    def look_up(host, *arguments, **options):
        if host.endswith(".evil.example"):
            answering.wait(20)
            raise OSError
        return genuine(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    courier, calls = Courier(LOOPBACK), []

    def hang_up(_reader, writer):
        calls.append(1)
        writer.close()

    async with serving(hang_up) as url:
        slow = [asyncio.ensure_future(number_of(courier, f"http://n{n}.evil.example/v1/frame")) for n in range(100)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(3):
            assert await number_of(courier, url) == Number.AUTHENTICATOR_UNAVAILABLE
        assert calls, "it was not reached"
    answering.set()
    await asyncio.gather(*slow)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_private_addresses_are_never_called_unless_permitted(host):
    calls = []
    async with serving(lambda reader, writer: calls.append(1)) as url:
        port = url.split(":")[2]
        began = time.monotonic()
        assert await number_of(Courier([]), f"http://{host}:{port}") == Number.AUTHENTICATOR_UNAVAILABLE
        assert time.monotonic() - began < 1  # not even tried
        assert calls == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/v1/frame\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n\x00\x68",
        b"HTTP/1.1 400 Bad\r\nstrongroom-error: 105\r\ncontent-length: 2\r\n\r\n\x00\x68",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n" * 1 + bytes(65536) + b"\r\n" + b"z",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 3_000_000,
        b"not HTTP",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"",
    ],
    ids=lambda answer: answer[:40],
)
async def test_answers_that_are_none_are_unavailable(answer):
    async def respond(reader, writer):
        await reader.readuntil(b"sealed")
        writer.write(answer)
        with suppress(OSError):
            await writer.drain()
        writer.close()

    async with serving(respond) as url:
        assert await number_of(Courier(LOOPBACK), url) == Number.AUTHENTICATOR_UNAVAILABLE


async def test_a_silent_front_costs_a_bounded_time():

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async with serving(silent) as url:
        began = time.monotonic()
        assert await number_of(Courier(LOOPBACK, seconds=0.3), url) == Number.AUTHENTICATOR_UNAVAILABLE
        assert 0.2 < time.monotonic() - began < 2


async def test_a_connection_that_was_closed_while_idle_is_replaced():
    async def once(reader, writer):
        await reader.readuntil(b"sealed")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read(1)  # the next request comes in, and goes unanswered
        writer.close()

    async with serving(once) as url:
        courier = Courier(LOOPBACK)
        for _ in range(3):
            assert await courier.carry(url, b"sealed") == b"ok"
        courier.close()


# --- the host process -------------------------------------------------------------------------------------------


def host_process(data, entry=ENTRY):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.serve_echo", str(data), entry],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def enclave_of(process):
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def gone(pid, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_host_serves_drains_and_ends_cleanly(tmp_path):
    host = host_process(tmp_path / "data")
    url = host.stdout.readline().strip()
    inside = enclave_of(host)
    with httpx.Client(base_url=url) as client:
        assert client.get("/health").text == "ok"
        assert client.post("/v1/frame", content=b"make " + KEY + b"sealed").status_code == 200
    host.send_signal(signal.SIGTERM)
    assert host.wait(5) == 0
    assert host.communicate()[1] == ""
    assert gone(inside, 1)
    host = host_process(tmp_path / "data")
    url = host.stdout.readline().strip()
    assert httpx.post(f"{url}/v1/frame", content=b"read " + KEY).content == b"1 sealed"
    host.send_signal(signal.SIGINT)
    assert host.wait(5) == 0
    host.communicate()


def test_a_second_instance_on_the_same_data_is_refused(tmp_path):
    host = host_process(tmp_path)
    host.stdout.readline()
    second = host_process(tmp_path)
    _, said = second.communicate(timeout=10)
    assert second.returncode == 1
    assert "another instance runs on the data directory" in said
    assert "exactly one instance" in said
    host.terminate()
    assert host.wait(5) == 0
    host.communicate()


def test_a_killed_enclave_ends_its_host_with_a_message(tmp_path):
    host = host_process(tmp_path)
    host.stdout.readline()
    os.kill(enclave_of(host), signal.SIGKILL)
    _, said = host.communicate(timeout=10)
    assert host.returncode == 1
    assert "the vault enclave ended by itself (exit status -9)" in said


def test_a_killed_host_ends_its_enclave(tmp_path):
    host = host_process(tmp_path)
    host.stdout.readline()
    inside = enclave_of(host)
    host.kill()
    assert gone(inside, 3)
    host.communicate()


def test_an_enclave_that_does_not_start_is_a_clear_message(tmp_path):
    host = host_process(tmp_path, "tests.support.no_such_entry")
    _, said = host.communicate(timeout=10)
    assert host.returncode == 1
    assert "the vault enclave ended while starting (exit status 1)" in said
