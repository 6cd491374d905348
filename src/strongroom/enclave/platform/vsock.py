"""The only way out of a confidential machine: a vsock to the host, and behind it a proxy with a network.

A Nitro enclave has no network at all, and a TD or SNP guest of ours is given none. The host carries bytes either way
already, so a proxy of its own adds no attacker: it may refuse, delay, lie about names and read what goes through, as
any network may. TLS ends in here, and what may be called is decided in here (`runtime.egress`, RULES 18).

One connection to the proxy is one call:

* request: operation (1: connect, 2: resolve) ‖ port (2, big-endian) ‖ length (1) ‖ host (ASCII)
* answer: status (1; 0 is success)
* then, after `connect`, the bytes of the connection; after `resolve`, count (1) ‖ (length (1) ‖ address (ASCII))*.

`connect` takes a numeric address only: what was checked must be what is called (DNS rebinding). The other side is
`host.supervisor.egress_proxy`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from strongroom.enclave.platform.hardware import Hardware
from strongroom.enclave.platform.port import Connection
from strongroom.protocol.link import EGRESS_PORT

HOST: Final = 2
"""CID of the host of a TD or SNP guest: `VMADDR_CID_HOST` of vsock(7)."""
NITRO_PARENT: Final = 3
"""CID of the parent instance of a Nitro enclave ("AWS Nitro Enclaves User Guide", "vsock")."""

LINK_ATTEMPTS: Final = 30
"""To the link, at start: the host may listen only after it has started the machine."""
_PAUSE: Final = 1.0
_DIAL_SECONDS: Final = 2.0
"""For one attempt: as long as Linux itself waits for a vsock."""
_ANSWER_SECONDS: Final = 5.0
MAX_ADDRESSES: Final = 16
"""Of one name. More, and a host could make one call try addresses until its time is up."""

_CONNECT: Final = 1
_RESOLVE: Final = 2
_OK: Final = b"\x00"


def dial(cid: int, port: int, *, attempts: int = LINK_ATTEMPTS) -> socket.socket:
    """A connected stream socket, blocking. Attempts are a second apart; raises OSError when the last one fails."""
    for _ in range(attempts - 1):
        try:
            return _dial_once(cid, port)
        except OSError:
            time.sleep(_PAUSE)
    return _dial_once(cid, port)


def _dial_once(cid: int, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        connection.settimeout(_DIAL_SECONDS)
        connection.connect((cid, port))
    except OSError:
        connection.close()
        raise
    connection.setblocking(True)
    return connection


class HostNetwork:
    """`connect` and `resolve` of the port, through the host's proxy. `dial` gives a connected socket to it."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        self._dial: Final = dial

    async def connect(self, host: str, port: int) -> Connection:
        """Raises OSError, and ValueError for a name."""
        return await self._ask(_CONNECT, str(ipaddress.ip_address(host)), port)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Numeric addresses, each once, at most MAX_ADDRESSES: the host's word, to be checked. Raises OSError."""
        reader, writer = await self._ask(_RESOLVE, host, port)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                count = (await reader.readexactly(1))[0]
                if count > MAX_ADDRESSES:
                    raise OSError("the host's proxy names too many addresses")
                found = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(count)]
            return list(dict.fromkeys(str(ipaddress.ip_address(address.decode("ascii"))) for address in found))
        except (asyncio.IncompleteReadError, ValueError):
            raise OSError("the host's proxy answers nonsense") from None
        finally:
            writer.transport.abort()

    async def _ask(self, operation: int, host: str, port: int) -> Connection:
        try:
            name = host.encode("ascii")
            request = bytes([operation]) + port.to_bytes(2, "big") + bytes([len(name)]) + name
        except (ValueError, OverflowError):  # beyond ASCII, or longer than any name
            raise OSError("not a host name") from None
        connection = await asyncio.to_thread(self._dial)
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(request)
                # One byte and no more: what follows belongs to the connection, where TLS refuses what came too early.
                status = await reader.readexactly(1)
        except asyncio.IncompleteReadError:
            writer.transport.abort()
            raise OSError("the host's proxy gives no answer") from None
        except BaseException:
            writer.transport.abort()  # also when cancelled: the proxy must not go on for nobody
            raise
        if status != _OK:
            writer.transport.abort()
            raise OSError("the host's proxy can't reach that")
        return reader, writer


def network_through(cid: int) -> HostNetwork:
    """The network behind the proxy of the machine `cid`. One attempt a call: whoever calls has a deadline."""
    return HostNetwork(partial(dial, cid, EGRESS_PORT, attempts=1))


class Guest(Hardware):
    """A machine of its own, whose only way out is `network`."""

    def __init__(self, network: HostNetwork) -> None:
        self._network = network

    async def connect(self, host: str, port: int) -> Connection:
        """Raises OSError, and ValueError for a name."""
        return await self._network.connect(host, port)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Raises OSError."""
        return await self._network.resolve(host, port)
