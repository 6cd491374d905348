"""An enclave as a process with a socket to its host: the outermost edge of every platform."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from strongroom.enclave.platform.event_loop import EnclaveLoop
from strongroom.enclave.runtime.link import Handler, HostLink


def run(build: Callable[[HostLink], Handler], *, link: socket.socket) -> NoReturn:
    """Serve the host over `link`, a connected stream socket of any family, until it closes; then end the process."""
    with asyncio.Runner(loop_factory=EnclaveLoop) as runner:
        raise SystemExit(runner.run(_serve(build, link)))


async def _serve(build: Callable[[HostLink], Handler], socket_to_host: socket.socket) -> NoReturn:
    link = HostLink()
    link.serve(build(link))
    # What was imported stays: looking through it again and again for garbage takes a twentieth of a busy Vault's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=socket_to_host)
    await link.closed
    # Not by the ordinary way: it waits for threads, and one may hang on a directory server. The host is gone and
    # nothing here outlives it.
    sys.stderr.flush()
    os._exit(0)
