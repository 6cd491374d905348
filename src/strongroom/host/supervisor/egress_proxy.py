"""The network for enclaves that have none of their own: connects and resolves for them, over vsock.

The enclave decides what it calls: it resolves a name here, checks the addresses (RULES 18), connects here to a checked
one, and ends TLS inside itself. This side has no policy of its own and needs none for the enclave's sake, which does
not trust it. For the host's own sake: whoever can reach the listening socket can reach what this process can, so let
a firewall keep the process to what sign-in providers need.

The protocol stands in `enclave/platform/vsock.py`; neither side may import the other. Raw sockets and no transports,
since an event loop need not know the address family: it is a vsock in production and a Unix socket in tests.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from strongroom.host.lookups import look_up

MAX_CONNECTIONS: Final = 512
"""At once; more wait in the listening socket's backlog. Twice what one Authenticator has under way."""
CONNECT_SECONDS: Final = 5.0
"""From the accepted connection to the answer."""
CONNECTION_SECONDS: Final = 30.0
"""For one connection in all: an enclave gives a provider less."""
MAX_ADDRESSES: Final = 16

_CONNECT: Final = 1
_RESOLVE: Final = 2
_OK: Final = b"\x00"
_FAILED: Final = b"\x01"
_PIECE: Final = 64 * 1024
_PAUSE: Final = 0.1


async def serve_egress(listening: socket.socket) -> None:
    """Serve until cancelled. `listening` is a stream socket that listens; it stays the caller's to close."""
    loop = asyncio.get_running_loop()
    listening.setblocking(False)
    places = asyncio.Semaphore(MAX_CONNECTIONS)
    async with asyncio.TaskGroup() as calls:
        while True:
            await places.acquire()
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                # Out of descriptors, or the caller is gone already: others still wait, so go on, but never in a rush.
                places.release()
                await asyncio.sleep(_PAUSE)
                continue
            calls.create_task(_serve(connection)).add_done_callback(lambda _: places.release())


async def _serve(connection: socket.socket) -> None:
    """One call. Whatever fails ends this connection and no other."""
    with connection, suppress(OSError, EOFError):
        connection.setblocking(False)
        async with asyncio.timeout(CONNECT_SECONDS):
            operation, port, host = await _request(connection)
            try:
                if operation == _RESOLVE:
                    await _send(connection, _OK + await _resolved(host, port))
                    return
                if operation != _CONNECT:
                    raise ValueError
                called = await _unless_given_up(connection, _connected(host, port))
            except (OSError, ValueError):
                await _send(connection, _FAILED)
                return
        with called:
            async with asyncio.timeout(CONNECTION_SECONDS):
                await _send(connection, _OK)
                await _relay(connection, called)


async def _request(connection: socket.socket) -> tuple[int, int, str]:
    """Operation, port, host. Raises EOFError when the connection ends early."""
    head = await _receive(connection, 4)
    name = await _receive(connection, head[3])
    return head[0], int.from_bytes(head[1:3], "big"), name.decode("ascii", "replace")


async def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = await asyncio.get_running_loop().sock_recv(connection, size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received


async def _send(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


async def _resolved(host: str, port: int) -> bytes:
    """count ‖ (length ‖ address)*. Raises OSError; ValueError (UnicodeError) for what is no host name."""
    addresses = [address.encode("ascii") for address in await look_up(host, port)][:MAX_ADDRESSES]
    return bytes([len(addresses)]) + b"".join(bytes([len(address)]) + address for address in addresses)


async def _unless_given_up(caller: socket.socket, work: Coroutine[None, None, socket.socket]) -> socket.socket:
    """What `work` gives. Raises as it does, and EOFError when the caller hangs up first, or speaks before the answer:
    a call that the enclave gives up, to make room for another, must not keep its place here."""
    calling = asyncio.ensure_future(work)
    hearing = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(caller, 1))
    try:
        await asyncio.wait([calling, hearing], return_when=asyncio.FIRST_COMPLETED)
        if not calling.done():
            raise EOFError
        return calling.result()
    finally:
        calling.cancel()
        hearing.cancel()
        await asyncio.gather(calling, hearing, return_exceptions=True)


async def _connected(host: str, port: int) -> socket.socket:
    """Raises OSError; ValueError for a name, which would be resolved after the enclave has checked it."""
    address = ipaddress.ip_address(host)
    called = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        called.setblocking(False)
        await asyncio.get_running_loop().sock_connect(called, (str(address), port))
    except BaseException:
        called.close()
        raise
    return called


async def _relay(one: socket.socket, other: socket.socket) -> None:
    """Until both have said all, or either breaks."""
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_copy(one, other))
            directions.create_task(_copy(other, one))
    except* OSError:
        pass


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    while piece := await asyncio.get_running_loop().sock_recv(source, _PIECE):
        await _send(sink, piece)
    sink.shutdown(socket.SHUT_WR)
