"""Enclaves that no host can start: they connect, once, and get what a child process gets, and collateral."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import httpx
import pytest
import uvloop

from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.main import run
from strongroom.client.session import fetch_evidence
from strongroom.host.instance import CannotServe
from strongroom.host.store.sqlite import SqliteStore
from strongroom.host.supervisor.courier import Courier
from strongroom.host.supervisor.enclave import ConnectedEnclave, listen_for_enclave
from strongroom.host.supervisor.link import EnclaveLink
from strongroom.host.supervisor.serve import Hardware, serve
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.link import MAX_BODY, Frame, Operation, Splitter, pack
from tests.support import starting
from tests.support.command import environment

KEY = bytes(32)


class Collateral:
    """What `CollateralService` is to the link."""

    def __init__(self):
        self.asked = []
        self.failure = None

    async def fetch(self, kind, quote, endorsements):
        self.asked.append((kind, quote))
        if self.failure is not None:
            raise self.failure
        return b"collateral of " + quote


def port_of(listening):
    return listening.getsockname()[1]


async def start(port, *state):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.connecting", str(port), *map(str, state), env=environment()
    )


@asynccontextmanager
async def connected(data, collateral=None):
    """The host's hold on an echoing enclave, and the enclave's process."""
    listening = listen_for_enclave("tcp", 0)
    store, courier = SqliteStore(data / "rows.sqlite3"), Courier(())
    process = await start(port_of(listening))
    try:
        accepting = ConnectedEnclave.accept(
            listening, store=store, carrier=courier, collateral=collateral or Collateral()
        )
        enclave = await asyncio.wait_for(accepting, 20)
        yield enclave, process
        await enclave.stop()
        assert await asyncio.wait_for(process.wait(), 5) in (0, -signal.SIGKILL), "an enclave ends with its link"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        courier.close()
        await store.close()


# --- one enclave --------------------------------------------------------------------------------------------------


async def use(data):
    async with connected(data) as (enclave, _):
        assert await enclave.call(Operation.FRAME, b"hello") == b"hello"
        assert await enclave.call(Operation.FRAME, b"read " + KEY) == b"none"
        await enclave.call(Operation.FRAME, b"make " + KEY + b"sealed")
        assert await enclave.call(Operation.FRAME, b"read " + KEY) == b"1 sealed"
        large = os.urandom(3_000_000)
        assert await enclave.call(Operation.FRAME, large) == large


async def test_calls_go_both_ways(tmp_path):
    await use(tmp_path)


def test_calls_go_both_ways_on_the_loop_that_serves(tmp_path):
    uvloop.run(use(tmp_path))


async def test_nobody_connects_after_the_first(tmp_path):
    async with connected(tmp_path) as (enclave, process):
        port = enclave._link._transport.get_extra_info("sockname")[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert process.returncode is None


async def test_an_enclave_that_dies_answers_all_that_wait(tmp_path):
    async with connected(tmp_path) as (enclave, process):
        waiting = asyncio.create_task(enclave.call(Operation.FRAME, b"hang "))
        await enclave.call(Operation.FRAME, b"")
        process.kill()
        assert await asyncio.wait_for(enclave.wait(), 5) is None
        with pytest.raises(Unavailable) as refused:
            await waiting
        assert refused.value.number is Number.STOPPING


async def test_an_enclave_waits_for_its_host():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = port_of(probe)
    process = await start(port)
    await asyncio.sleep(1)
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.setblocking(False)
        connection, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listening), 10)
        connection.close()
    assert await asyncio.wait_for(process.wait(), 5) == 0


# --- collateral -----------------------------------------------------------------------------------------------------


async def test_collateral_is_fetched_for_the_enclave(tmp_path):
    collateral = Collateral()
    async with connected(tmp_path, collateral) as (enclave, _):
        assert await enclave.call(Operation.FRAME, b"coll a quote") == b"collateral of a quote"
        assert collateral.asked == [("sgx", b"a quote")]
        collateral.failure = Unavailable(Number.COLLATERAL_UNAVAILABLE, "its sources are down")
        with pytest.raises(Unavailable) as refused:
            await enclave.call(Operation.FRAME, b"coll a quote")
        assert refused.value.number is Number.COLLATERAL_UNAVAILABLE


async def answer(request, collateral):
    """What the host's end answers to raw bytes of an enclave: operation and body."""
    ours, theirs = socket.socketpair()
    link = EnclaveLink(cast("Any", None), cast("Any", None), collateral)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        writer.write(request)
        frames: list[Frame] = []
        splitter = Splitter()
        while not frames:
            frames = splitter.feed(await asyncio.wait_for(reader.read(65536), 2))
        return frames[0].operation, frames[0].body
    finally:
        writer.close()


async def test_a_malformed_question_for_collateral_is_refused():
    operation, body = await answer(pack(1, Operation.COLLATERAL, b"\xc1"), Collateral())
    assert (operation, body) == (Operation.ERROR, Number.MALFORMED.to_bytes(2, "big"))


async def test_a_host_without_collateral_says_so():
    request = pack(1, Operation.COLLATERAL, b"\x93\xa3sgx\xc4\x01q\xc4\x00")
    operation, body = await answer(request, None)
    assert (operation, body) == (Operation.ERROR, Number.COLLATERAL_UNAVAILABLE.to_bytes(2, "big"))


# --- a whole server -------------------------------------------------------------------------------------------------


class Serving:
    """`serve` on hardware, in this process."""

    def __init__(self, data):
        self.listening = listen_for_enclave("tcp", 0)
        self.port = port_of(self.listening)
        self.ready = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(
            serve(
                "vault",
                data=data,
                host="127.0.0.1",
                port=0,
                start=starting.start(mode="open"),
                on_ready=self.ready.set_result,
                hardware=Hardware(listening=self.listening, egress=None, collateral=Collateral()),
            )
        )

    async def url(self):
        await asyncio.wait({self.ready, self.task}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert self.ready.done(), self.task
        return self.ready.result()

    async def ends(self):
        with pytest.raises(CannotServe) as ended:
            await asyncio.wait_for(self.task, 10)
        return str(ended.value)


async def test_a_vault_that_connects_is_served_and_ends_the_server_when_it_ends(tmp_path):
    serving = Serving(tmp_path / "data")
    process = await start(serving.port, tmp_path / "machine")
    genuine = verify_any_cluster(await fetch_evidence(await serving.url()), "vault")
    assert genuine.role == "vault"
    process.kill()
    await process.wait()
    assert await serving.ends() == "the vault enclave ended by itself"


async def test_a_new_enclave_finds_the_ring_of_the_one_before(tmp_path):
    clusters = set()
    for _ in range(2):
        serving = Serving(tmp_path / "data")
        process = await start(serving.port, tmp_path / "machine")
        clusters.add(verify_any_cluster(await fetch_evidence(await serving.url()), "vault").claims.cluster_id)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving.task, 10)
        assert await asyncio.wait_for(process.wait(), 5) == 0
    assert len(clusters) == 1


async def test_a_stranger_who_connects_first_denies_service_and_no_more(tmp_path):
    serving = Serving(tmp_path / "data")
    _, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    writer.write((MAX_BODY * 2).to_bytes(4, "big") + bytes(100))
    assert "ended while starting" in await serving.ends()
    writer.close()


async def test_what_hardware_can_not_do_yet_is_said_plainly(tmp_path):
    serving = Serving(tmp_path / "data")
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    (start_call,) = Splitter().feed(await reader.read(65536))
    writer.write(pack(start_call.call, Operation.ERROR, Number.UNSUPPORTED.to_bytes(2, "big")))
    assert await serving.ends() == "the vault enclave can't found a cluster on this platform"
    writer.close()


async def test_an_enclave_on_hardware_reaches_no_service_of_this_machine(tmp_path):
    """A courier that calls loopback is for development."""
    serving = Serving(tmp_path / "data")
    process = await start(serving.port)
    url = await serving.url()
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.settimeout(0.3)
        async with httpx.AsyncClient(trust_env=False) as client:
            body = b"post http://127.0.0.1:%d/v1/frame" % port_of(service)
            refused = await client.post(f"{url}/v1/frame", content=body)
        assert refused.headers["strongroom-error"] == str(int(Number.AUTHENTICATOR_UNAVAILABLE))
        with pytest.raises(TimeoutError):
            service.accept()
    process.kill()
    await process.wait()
    await serving.ends()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def port(monkeypatch):
    """A free one in the place of the fixed port, which other servers of this machine may hold."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = port_of(probe)
    monkeypatch.setattr("strongroom.cli.serve.LINK_PORTS", {"vault": free, "authenticator": free})
    return free


def stop_this_process_when_it_serves():
    for _ in range(200):
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.05)


def test_the_command_waits_for_an_enclave_and_stops_when_told(here, port, capsys):
    threading.Thread(target=stop_this_process_when_it_serves).start()
    assert run(["serve", "vault", "--data", "d", "--listen", "127.0.0.1:0", "--enclave", "tcp"]) == 0
    shown = capsys.readouterr().err
    assert f"waiting for the vault enclave on 127.0.0.1 port {port}" in shown
    assert "INSECURE" not in shown


def test_a_second_server_for_the_same_enclave_is_refused_before_anything_is_made(here, port, capsys):
    with socket.create_server(("127.0.0.1", port)):
        assert run(["serve", "vault", "--data", "d", "--listen", "127.0.0.1:0", "--enclave", "tcp"]) == 12
    shown = capsys.readouterr().err
    assert f"tcp port {port}: address already in use" in shown
    assert "is another running?" in shown
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--enclave", "tcp", "--platform", "p"], "--platform is for the software enclave"),
        (["--collateral-source", "https://pccs.example"], "--collateral-source is for enclaves on hardware"),
        (["--enclave", "tcp", "--collateral-source", "ftp://pccs.example"], "can't use a collateral source"),
        (["--enclave", "sgx"], "--enclave"),
    ],
)
def test_options_that_do_not_go_together_are_refused(here, port, capsys, options, error):
    assert run(["serve", "vault", "--data", "d", "--listen", "127.0.0.1:0", *options]) == 2
    assert error in capsys.readouterr().err
