"""A witness that cosigns whatever it is shown: with a true witness's key, at its address."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from strongroom.attack.outcomes import SetUpFailed
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.notes import cosign, parse_checkpoint
from strongroom.protocol.primitives import NoteKey


@asynccontextmanager
async def lying_witness(data: Path, name: str, url: str) -> AsyncIterator[None]:
    """In the place of the witness that was at `url` and keeps its key in `data`."""
    seed = re.search(r"^[0-9a-f]{64}$", (data / "witness.key").read_text(), re.MULTILINE)
    if seed is None:
        raise SetUpFailed("a witness's key is not where it was")
    key = NoteKey(bytes.fromhex(seed[0]))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            checkpoint = parse_checkpoint(body.partition(b"\n\n")[2]).checkpoint
            answer = f"{cosign(key, name, checkpoint, int(time.time()))}\n".encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, StrongroomError):
            pass  # whatever it was, it gets no answer
        finally:
            writer.close()

    where = urlsplit(url)
    server = await asyncio.start_server(serve, where.hostname, where.port)
    try:
        yield
    finally:
        server.close()
