"""Witnesses that lie, and hosts that do not listen to those that don't."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from strongroom.attack.outcomes import SetUpFailed
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.notes import cosign, parse_checkpoint
from strongroom.protocol.primitives import NoteKey

LOOPBACK: Final = "127.0.0.1"


@asynccontextmanager
async def lying_witness(data: Path, name: str, url: str) -> AsyncIterator[None]:
    """In the place of the witness that was at `url` and keeps its key in `data`."""
    seed = re.search(r"^[0-9a-f]{64}$", (data / "witness.key").read_text(), re.MULTILINE)
    if seed is None:
        raise SetUpFailed("a witness's key is not where it was")
    key = NoteKey(bytes.fromhex(seed[0]))

    async def answer(body: bytes) -> tuple[int, bytes]:
        checkpoint = parse_checkpoint(body.partition(b"\n\n")[2]).checkpoint
        return 200, f"{cosign(key, name, checkpoint, int(time.time()))}\n".encode()

    where = urlsplit(url)
    async with _served(answer, str(where.hostname), where.port or 0):
        yield


@asynccontextmanager
async def muted_witness(url: str) -> AsyncIterator[str]:
    """URL of what passes on to the witness at `url`, and of its answers all but those that say no.

    An honest host that hears a witness refuse ends its Vault. A hostile one does not listen: then all depends on
    what the Vault does without cosignatures.
    """
    async with httpx.AsyncClient(trust_env=False) as client:

        async def answer(body: bytes) -> tuple[int, bytes]:
            said = await client.post(f"{url}/add-checkpoint", content=body)
            size = parse_checkpoint(body.partition(b"\n\n")[2]).checkpoint.size
            # To say where it stands is no refusal, as long as the log is not shorter: at a start it is as long as that.
            agrees = said.status_code == 409 and said.content.strip().isdigit() and int(said.content) <= size
            return (said.status_code, said.content) if said.status_code == 200 or agrees else (503, b"")

        async with _served(answer, LOOPBACK, 0) as muted:
            yield muted


@asynccontextmanager
async def _served(answer: Callable[[bytes], Awaitable[tuple[int, bytes]]], host: str, port: int) -> AsyncIterator[str]:
    """HTTP that answers each body; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: *(\d+)", head)
            status, said = await answer(await reader.readexactly(int(length[1]) if length else 0))
            kind = "content-type: text/x.tlog.size\r\n" if status == 409 else ""
            head = f"HTTP/1.1 {status} X\r\n{kind}connection: close\r\ncontent-length: {len(said)}\r\n\r\n"
            writer.write(head.encode() + said)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, StrongroomError, httpx.HTTPError):
            pass  # whatever it was, it gets no answer
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
