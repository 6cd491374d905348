"""The network between a client and a server, run by whoever attacks: HTTP on loopback that carries, changes, keeps.

`Network.carry` is the network: replace it by what lies. Raise `Cut` to drop the connection instead of answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import httpx

from strongroom.client.transport import EVIDENCE_PATH, FRAME_PATH, SESSION_PATH

__all__ = ["EVIDENCE_PATH", "FRAME_PATH", "SESSION_PATH", "Answer", "Call", "Cut", "Network", "flipped", "network"]

_SECONDS: Final = 40.0


class Cut(Exception):
    """The connection ends here, without an answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way."""

    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or is made up."""

    status: int
    body: bytes
    number: str = ""
    """Error number in clear, as the front writes it into a header."""

    @classmethod
    def in_clear(cls, number: int) -> Self:
        """What anybody on the way can write."""
        return cls(400, number.to_bytes(2, "big"), str(number))

    def with_body(self, body: bytes) -> Answer:
        return replace(self, body=body)


Carry = Callable[[Call], Awaitable[Answer]]


class Network:
    """The way from clients to the server at `upstream`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.carry: Carry = self.honestly
        self._client = httpx.AsyncClient(trust_env=False, timeout=_SECONDS)

    async def honestly(self, call: Call, *, to: str = "") -> Answer:
        """The true answer of the server, or of another one. Raises `Cut` where there is none."""
        try:
            answer = await self._client.request(call.method, (to or self.upstream) + call.path, content=call.body)
        except httpx.HTTPError:
            raise Cut from None
        return Answer(answer.status_code, answer.content, answer.headers.get("strongroom-error", ""))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            try:
                answer = await self.carry(Call(method, path, body))
            except Cut:
                return
            number = f"strongroom-error: {answer.number}\r\n" if answer.number else ""
            length = f"content-length: {len(answer.body)}\r\n"
            writer.write(f"HTTP/1.1 {answer.status} X\r\n{number}{length}\r\n".encode() + answer.body)
            await writer.drain()

    async def aclose(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def network(upstream: str) -> AsyncIterator[Network]:
    """A network to this server, on loopback; honest until told otherwise."""
    lying = Network(upstream)
    async with listening(lying.serve) as lying.url:
        try:
            yield lying
        finally:
            await lying.aclose()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """URL of a loopback server; what it still does at the end is cancelled."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        tasks.add(task)
        try:
            # The client hung up, or the network ends: asyncio would print who was cancelled as if that were a fault.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def flipped(data: bytes, at: int = -1) -> bytes:
    """With one bit turned, by default in the last byte."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
