"""A real vsock, where the machine has one that leads to itself."""

import asyncio
import socket

import pytest

from strongroom.enclave.platform.vsock import HostNetwork, dial
from strongroom.host.supervisor.egress_proxy import serve_egress

LOOPBACK = 1  # VMADDR_CID_LOCAL
ANY = 0xFFFFFFFF  # VMADDR_CID_ANY


@pytest.fixture
def listening(request):
    """A listening vsock that a connection from this machine reaches, or a skip."""
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as server:
            server.bind((ANY, 0xFFFFFFFF))  # VMADDR_PORT_ANY
            server.listen()
            dial(LOOPBACK, server.getsockname()[1], attempts=1).close()
            server.accept()[0].close()
            yield server
    except OSError as error:
        request.node.user_properties.append(("STRONGROOM_NOTHING_SKIPPED", "excused"))
        pytest.skip(f"group vsock: skipped because no vsock leads back to this machine ({type(error).__name__})")


async def test_a_connection_through_a_real_vsock(listening):
    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        writer.close()

    port = listening.getsockname()[1]
    proxy = asyncio.create_task(serve_egress(listening))
    try:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            network = HostNetwork(lambda: dial(LOOPBACK, port, attempts=1))
            reader, writer = await network.connect("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(b"hello")
            assert await reader.read() == b"hello"
            writer.close()
    finally:
        proxy.cancel()
