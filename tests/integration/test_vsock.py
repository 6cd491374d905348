"""A real vsock, where the machine has one that leads to itself."""

import asyncio
import socket

import pytest

from strongroom.enclave.platform.vsock import HostNetwork, dial
from strongroom.host.supervisor.egress_proxy import serve_egress
from tests.hardware.machine import VSOCK_ANY, VSOCK_LOOPBACK

pytestmark = pytest.mark.needs("vsock")


@pytest.fixture
def listening():
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as server:
        server.bind((VSOCK_ANY, VSOCK_ANY))
        server.listen()
        yield server


async def test_a_connection_through_a_real_vsock(listening):
    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        writer.close()

    port = listening.getsockname()[1]
    proxy = asyncio.create_task(serve_egress(listening))
    try:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            network = HostNetwork(lambda: dial(VSOCK_LOOPBACK, port, attempts=1))
            reader, writer = await network.connect("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(b"hello")
            assert await reader.read() == b"hello"
            writer.close()
    finally:
        proxy.cancel()
