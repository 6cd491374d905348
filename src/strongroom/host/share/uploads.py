"""The bytes of one PATCH become parts: one fills while the one before it is being kept.

However the request ends (complete, cut off, too slow, the server stops), what has come is kept as a last part, so that
a client resumes where the network failed and not where it began. What all uploads hold in memory is bounded: when it is
much, parts are put as soon as they are worth an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from strongroom.host.share.answers import Problem
from strongroom.host.share.connection import Body
from strongroom.host.share.objects import Part
from strongroom.protocol.errors import Number

PART: Final = 16 * 1024 * 1024
"""Bytes of a part at most."""
SMALL_PART: Final = 1024 * 1024
"""Bytes of a part when memory is short."""
MAX_UPLOADS: Final = 128
"""At once; more are told to wait."""


class Memory:
    """Bytes of uploads in memory, all together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @property
    def part(self) -> int:
        """How large a part may grow now."""
        return PART if self.held < self.limit // 2 else SMALL_PART


Keep = Callable[[Part, bytes], Awaitable[None]]
"""Puts a part and then records it. Raises `Problem`."""


class Upload:
    """One PATCH of one blob, the only one at a time."""

    def __init__(self, blob: bytes, body: Body, memory: Memory, keep: Keep) -> None:
        self._blob = blob
        self._body = body
        self._memory = memory
        self._keep = keep
        self._pieces: list[bytes] = []
        self._size = 0
        self._offset = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def idle_seconds(self) -> float:
        return self._body.idle_seconds

    def cut(self, reason: Problem) -> None:
        """End it: what has come is kept, who sends is told."""
        self._body.cut(reason)

    async def receive(self, offset: int) -> None:
        """Take the whole body, which begins at `offset` of the blob. Raises what the body raises, or `Problem`."""
        self._offset = offset
        try:
            async for piece in self._body:
                if self._size and self._size + len(piece) > self._memory.part:
                    await self._put()
                self._pieces.append(piece)
                self._size += len(piece)
                self._memory.held += len(piece)
                if self._memory.held > self._memory.limit:
                    raise Problem(503, Number.BUSY, "too many uploads at once; resume in a moment", retry_after="10")
        finally:
            try:
                if self._size:
                    await self._put()
                await self._kept()
            finally:
                self._memory.held -= self._size
                self._pieces.clear()
                self._size = 0

    async def _put(self) -> None:
        await self._kept()
        data = b"".join(self._pieces)
        part = Part(self._blob, self._offset)
        self._pieces.clear()
        self._offset += len(data)
        self._size = 0
        self._keeping = asyncio.create_task(self._keep_part(part, data))

    async def _keep_part(self, part: Part, data: bytes) -> None:
        try:
            await self._keep(part, data)
        finally:
            self._memory.held -= len(data)

    async def _kept(self) -> None:
        """Until the part before is kept. Raises `Problem` if it was not: none may follow it."""
        if self._keeping is not None:
            keeping, self._keeping = self._keeping, None
            await asyncio.shield(keeping)
