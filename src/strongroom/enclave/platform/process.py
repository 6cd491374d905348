"""An enclave as a process with a socket to its host: the outermost edge of the software platform."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from strongroom.enclave.runtime.link import Handler, HostLink


def run(build: Callable[[HostLink], Handler], *, link_fd: int) -> NoReturn:
    """Serve the host over the connected stream socket `link_fd` until it closes, then end the process."""
    raise SystemExit(asyncio.run(_serve(build, link_fd)))


async def _serve(build: Callable[[HostLink], Handler], link_fd: int) -> NoReturn:
    link = HostLink()
    link.serve(build(link))
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=socket.socket(fileno=link_fd))
    await link.closed
    # Not by the ordinary way: it waits for threads, and one may hang on a directory server. The host is gone and
    # nothing here outlives it.
    sys.stderr.flush()
    os._exit(0)
