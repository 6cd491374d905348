"""The network of a platform whose sockets work like a machine's own: TCP straight to where it is to go."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Final

from strongroom.enclave.platform.port import LOOKUPS, Connection

_ATTEMPTS: Final = 120
_PAUSE: Final = 0.5
"""Seconds between two attempts: enclave and host may be started in either order."""


class MachineNetwork:
    """`connect` and `resolve` of the port, for back ends to inherit."""

    async def connect(self, host: str, port: int) -> Connection:
        """Raises OSError, and ValueError for a name: what was checked must be what is called (DNS rebinding)."""
        return await asyncio.open_connection(str(ipaddress.ip_address(host)), port)

    async def resolve(self, host: str, port: int) -> list[str]:
        """In the resolver's order, each address once. Raises OSError."""
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(_threads(), look_up)
        except UnicodeError:
            raise OSError("not a host name") from None
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads of their own, never another process: a name server that does not answer holds one for as long as the
    machine's resolver is patient, and asyncio's own threads are for whatever else must get done."""
    return ThreadPoolExecutor(LOOKUPS, "lookup")


def dial_loopback(port: int) -> socket.socket:
    """A connection to the host of this machine, within about a minute. Raises OSError.

    By TCP, since a Unix socket of Gramine's ends in Gramine. Whoever listens there first is taken for the host; that
    is no loss, since the host is not trusted: it carries sealed bytes.
    """
    for _ in range(_ATTEMPTS):
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            link.connect(("127.0.0.1", port))
        except OSError as error:
            link.close()
            refused = error
            time.sleep(_PAUSE)
        else:
            return link
    raise refused
