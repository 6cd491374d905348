"""The way out through a host's proxy: a host that lies to the enclave, and callers that tire the host.

Both sides speak over Unix sockets here; the address family is all that differs from a vsock.
"""

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager
from threading import Event, Thread
from typing import cast

import pytest
import uvloop

from strongroom.enclave.platform import vsock
from strongroom.enclave.platform.event_loop import EnclaveLoop
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.platform.vsock import MAX_ADDRESSES, HostNetwork
from strongroom.enclave.runtime.egress import Egress
from strongroom.host.supervisor import egress_proxy
from strongroom.host.supervisor.egress_proxy import serve_egress
from tests.hostile.test_egress import certificate
from tests.support.issuer import answer

ADDRESS = "127.0.0.1"


def dialler(path):
    def dial():
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(path))
        return connection

    return dial


@asynccontextmanager
async def running(path):
    """The real proxy, and the enclave's side of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        proxy = asyncio.create_task(serve_egress(listening))
        try:
            yield HostNetwork(dialler(path))
        finally:
            proxy.cancel()
            with pytest.raises(asyncio.CancelledError):
                await proxy


@pytest.fixture
async def network(tmp_path):
    async with running(tmp_path / "proxy") as found:
        yield found


@pytest.fixture
async def echo():
    """A server's port that sends back what it hears until the caller has said all, then a farewell."""

    async def serve(reader, writer):
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def lying(path, answer, *, then_wait=False):
    """A host whose proxy answers `answer` to anything."""

    async def serve(reader, writer):
        await reader.read(1000)
        writer.write(answer)
        if then_wait:
            await reader.read(1)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield HostNetwork(dialler(path))


async def exchange(path, sent):
    """The proxy's answer to raw bytes, up to its end."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    try:
        return await reader.read()
    finally:
        writer.close()


def request(operation, host, port):
    return bytes([operation]) + port.to_bytes(2, "big") + bytes([len(host)]) + host.encode()


# --- the promise ---------------------------------------------------------------------------------------------------


async def test_bytes_go_through_both_ways_and_each_end_may_finish_first(network, echo):
    reader, writer = await network.connect(ADDRESS, echo)
    large = bytes(range(256)) * 2000
    writer.write(large)
    assert await reader.readexactly(len(large)) == large
    writer.write_eof()
    assert await reader.read() == b"bye"
    writer.close()


async def test_a_name_is_resolved_to_numeric_addresses_each_once(network):
    found = await network.resolve("localhost", 443)
    assert found
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found))


class Enclosed:
    """As much of a platform as egress asks for, with no way out but the proxy. Insecure: so loopback may be called."""

    kind = "insecure-software"

    def __init__(self, network):
        self.connect = network.connect
        self.resolve = network.resolve


@contextmanager
def host_with_uvloop(path):
    """The proxy in the loop that hosts use, in a thread of its own."""
    loop = uvloop.new_event_loop()
    thread = Thread(target=loop.run_forever)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        thread.start()
        proxy = asyncio.run_coroutine_threadsafe(serve_egress(listening), loop)
        try:
            yield
        finally:
            proxy.cancel()
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def test_a_provider_is_called_with_tls_through_the_proxy_in_the_loops_of_production(tmp_path):
    """Streams over a socket of any family, TLS begun on one of them, raw sockets in uvloop: all of it at once."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer, {"hello": 1})
        writer.close()

    async def call():
        context, roots = certificate(tmp_path, "localhost")
        async with await asyncio.start_server(serve, ADDRESS, 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            egress = Egress(cast("Platform", Enclosed(HostNetwork(dialler(tmp_path / "proxy")))), roots)
            return [(await egress.of(bytes(32)).get(f"https://localhost:{port}/")).parse(dict) for _ in range(3)]

    with host_with_uvloop(tmp_path / "proxy"), asyncio.Runner(loop_factory=EnclaveLoop) as runner:
        assert runner.run(call()) == [{"hello": 1}] * 3


async def test_an_address_that_nobody_answers_is_an_os_error(network):
    with socket.socket() as unused:
        unused.bind((ADDRESS, 0))
        with pytest.raises(OSError, match="can't reach"):
            await network.connect(ADDRESS, unused.getsockname()[1])


async def test_a_name_that_does_not_exist_is_an_os_error(network):
    for name in ("nowhere.invalid", ".", "a" * 64, "nul\0"):
        with pytest.raises(OSError, match="can't reach"):
            await network.resolve(name, 443)


async def test_no_proxy_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        await HostNetwork(dialler(tmp_path / "nothing")).connect(ADDRESS, 443)


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_a_host_that_listens_late_is_waited_for_but_not_for_ever(monkeypatch, failures):
    ours, _theirs = socket.socketpair()
    outcomes = [*[ConnectionRefusedError()] * failures, ours][:3]
    pauses: list[float] = []

    def dial_once(cid, port):
        assert (cid, port) == (vsock.HOST, 8410)
        if isinstance(outcome := outcomes.pop(0), OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(vsock, "_dial_once", dial_once)
    monkeypatch.setattr("strongroom.enclave.platform.vsock.time.sleep", pauses.append)
    with ours, _theirs:
        if failures < 3:
            assert vsock.dial(vsock.HOST, 8410, attempts=3) is ours
        else:
            with pytest.raises(ConnectionRefusedError):
                vsock.dial(vsock.HOST, 8410, attempts=3)
    assert pauses == [1.0] * min(failures, 2)


# --- the host lies -------------------------------------------------------------------------------------------------


async def test_a_name_is_never_connected_to_on_either_side(network, tmp_path, echo):
    """The name would be resolved again, after its addresses were checked (DNS rebinding)."""
    with pytest.raises(ValueError, match="does not appear to be"):
        await network.connect("localhost", echo)
    assert await exchange(tmp_path / "proxy", request(1, "localhost", echo)) == b"\x01"
    assert await exchange(tmp_path / "proxy", request(1, "", echo)) == b"\x01"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x01\x09127.0.0",
        b"\x00\x01\x09localhost",
        b"\x00\x01\x04\xff\xfe\xfd\xfc",
        b"\x00\x01\x00",
        b"\x00" + bytes([MAX_ADDRESSES + 1]) + b"\x09127.0.0.1" * (MAX_ADDRESSES + 1),
        b"\x01\x01\x09127.0.0.1",
        b"\xff",
    ],
)
async def test_nonsense_instead_of_addresses_is_an_os_error(tmp_path, answer):
    async with lying(tmp_path / "liar", answer) as network:
        with pytest.raises(OSError, match="the host's proxy"):
            await network.resolve("id.example", 443)


@pytest.mark.parametrize("answer", [b"", b"\x01", b"\xff"])
async def test_nonsense_instead_of_a_connection_is_an_os_error(tmp_path, answer):
    async with lying(tmp_path / "liar", answer) as network:
        with pytest.raises(OSError, match="the host's proxy"):
            await network.connect("192.0.2.1", 443)


async def test_bytes_before_the_connection_stay_visible_to_who_checks_for_them(tmp_path):
    """`runtime.egress` ends a call when something came before TLS: nothing may be swallowed with the answer."""
    async with lying(tmp_path / "liar", b"\x00HTTP/1.1 200", then_wait=True) as network:
        reader, writer = await network.connect("192.0.2.1", 443)
        assert await reader.readexactly(12) == b"HTTP/1.1 200"
        writer.close()


async def test_a_proxy_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("strongroom.enclave.platform.vsock._ANSWER_SECONDS", 0.05)
    for begun in (b"", b"\x00", b"\x00\x01"):
        path = tmp_path / f"slow{len(begun)}"
        async with lying(path, begun, then_wait=True) as network:
            with pytest.raises(TimeoutError):
                await network.resolve("id.example", 443)


@pytest.mark.parametrize("host", ["é.example", "a" * 256])
async def test_what_is_no_host_name_never_leaves(host):
    def dial():
        raise AssertionError("dialled")

    with pytest.raises(OSError, match="not a host name"):
        await HostNetwork(dial).resolve(host, 443)


# --- the caller tires the host -------------------------------------------------------------------------------------


async def test_a_call_that_is_given_up_frees_its_place(tmp_path, echo, monkeypatch):
    """The enclave gives up what hangs, to make room; were it kept here, a tenant's dead port would block this side."""
    monkeypatch.setattr(egress_proxy, "MAX_CONNECTIONS", 1)
    connected = egress_proxy._connected

    async def hang(host, port):
        if port == 81:
            await asyncio.Event().wait()
        return await connected(host, port)

    monkeypatch.setattr(egress_proxy, "_connected", hang)
    async with running(tmp_path / "small") as network:
        stuck = asyncio.create_task(network.connect(ADDRESS, 81))
        await asyncio.sleep(0.1)
        stuck.cancel()
        async with asyncio.timeout(2):
            reader, writer = await network.connect(ADDRESS, echo)
        writer.write_eof()
        assert await reader.read() == b"bye"
        writer.close()


async def test_names_that_are_never_answered_for_keep_no_other_from_being_looked_up(network, monkeypatch):
    answering = Event()

    def look_up(host, *_arguments, **_options):
        if host.endswith(".evil.example"):
            answering.wait(20)
        return [(0, 0, 0, "", (ADDRESS, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    slow = [asyncio.ensure_future(network.resolve(f"n{n}.evil.example", 443)) for n in range(100)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(3):
        assert await network.resolve("id.example", 443) == [ADDRESS]
    answering.set()
    await asyncio.gather(*slow)


@pytest.mark.parametrize("operation", [0, 3, 255])
async def test_an_unknown_request_is_refused(network, tmp_path, echo, operation):
    assert await exchange(tmp_path / "proxy", request(operation, ADDRESS, echo)) == b"\x01"


async def test_a_caller_that_ends_early_disturbs_nobody(network, tmp_path, echo):
    for begun in (b"", b"\x01", b"\x01\x01\xbb\x09127"):
        _, writer = await asyncio.open_unix_connection(tmp_path / "proxy")
        writer.write(begun)
        writer.close()
        await writer.wait_closed()
    reader, writer = await network.connect(ADDRESS, echo)
    writer.write(b"still there")
    assert await reader.readexactly(11) == b"still there"
    writer.close()


async def test_a_caller_that_asks_nothing_is_dropped(network, tmp_path, monkeypatch):
    monkeypatch.setattr(egress_proxy, "CONNECT_SECONDS", 0.05)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "proxy")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_never_ends_is_dropped(network, echo, monkeypatch):
    monkeypatch.setattr(egress_proxy, "CONNECTION_SECONDS", 0.05)
    reader, writer = await network.connect(ADDRESS, echo)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_connections_are_bounded_and_the_rest_waits(tmp_path, echo, monkeypatch):
    monkeypatch.setattr(egress_proxy, "MAX_CONNECTIONS", 1)
    async with running(tmp_path / "small") as network:
        _, first = await network.connect(ADDRESS, echo)
        second = asyncio.create_task(network.connect(ADDRESS, echo))
        await asyncio.sleep(0.05)
        assert not second.done()
        first.transport.abort()
        _, writer = await second
        writer.close()
