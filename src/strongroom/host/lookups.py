"""Names looked up for others, who choose them: in many threads, none of them the event loop's own, which are few.

A name server that never answers holds a thread for as long as this machine's resolver is patient, several times longer
than whoever asked is. With the loop's own threads half a dozen such names would keep every other name from an answer.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Final

MAX_LOOKUPS: Final = 512
"""Threads: an enclave has 24 lookups under way, and a courier's callers give up after five seconds."""


async def look_up(host: str, port: int) -> list[str]:
    """Numeric addresses, in the resolver's order, each once. Raises OSError; ValueError (UnicodeError) for what is no
    host name."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_threads(), ask)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_LOOKUPS, "lookup")
