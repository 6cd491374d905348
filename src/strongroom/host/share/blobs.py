"""Blobs: who may put, get and erase them, and when.

What a statement of the Vault says goes: of two about one blob the later counts, an erased one does not come back by an
older (somebody who kept the grant of a closed request could else fill the host's disk again). Everything that changes
one blob's objects happens in that blob's turn, so that a sweep never erases what an upload has just put.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from strongroom.host.share.answers import Problem
from strongroom.host.share.connection import Body
from strongroom.host.share.index import Blob, Full, Index, Moved
from strongroom.host.share.objects import Objects, Part
from strongroom.host.share.uploads import MAX_UPLOADS, Memory, Upload
from strongroom.protocol.blobs import BlobStatement
from strongroom.protocol.errors import Number

T = TypeVar("T")
Span = tuple[Part, int, int]
"""What to read of a part: its first byte, and how many."""

PIECE: Final = 1024 * 1024
"""Bytes read at once; one such piece is sent while the next is fetched."""
MAX_READERS: Final = 256
"""Downloads at once: each holds two pieces."""
READERS_PER_ADDRESS: Final = 16
"""Of these: an id of one blob, which every recipient has, must not be enough to keep everybody else from theirs."""
_STALE_SECONDS: Final = 2.0
"""An upload that is silent for so long gives way to a new one of the same blob: its client has reconnected."""
_PATIENCE_SECONDS: Final = 10.0
_DAY: Final = 24 * 3600
_SPARE_PARTS: Final = 1024
_SMALLEST_MEAN: Final = 256 * 1024
"""A blob has at most `_SPARE_PARTS` parts and one more for so many bytes: no million of objects of one byte."""
_log: Final = logging.getLogger("strongroom.host.share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Bytes and counts."""

    max_blob: int = 10 * 1024**3
    max_total: int = 100 * 1024**3
    """All blobs; an unfinished one counts with its whole length."""
    unfinished_per_address: int = 32
    max_days: int = 400
    """For which a blob is kept by one statement, whatever expiry that has."""
    memory: int = 256 * 1024 * 1024
    """Held by all uploads together."""


class _Turn:
    """Whose turn it is at one blob; there while somebody wants it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0


class Reading:
    """The pieces of a range, each fetched while the one before is sent. Counted from when it is made until `aclose`."""

    def __init__(self, objects: Objects, left: Callable[[], None]) -> None:
        self._objects = objects
        self._left: Callable[[], None] | None = left
        self._spans: Sequence[Span] = ()
        self._ready = memoryview(b"")
        self._following: asyncio.Task[memoryview] | None = None

    async def begin(self, spans: Sequence[Span]) -> None:
        """Fetch the first piece. Raises `Problem`."""
        if spans:
            self._ready = await self._objects.get(*spans[0])
        self._spans = spans[1:]

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for span in self._spans:
            self._following = asyncio.create_task(self._objects.get(*span))
            yield self._ready
            self._ready = await self._following
        yield self._ready

    async def aclose(self) -> None:
        if self._left is not None:
            left, self._left = self._left, None
            left()
        if self._following is not None:
            self._following.cancel()
            with suppress(Problem, asyncio.CancelledError):
                await self._following


class Blobs:
    """`now` gives Unix seconds. `close` before the index is."""

    def __init__(self, index: Index, objects: Objects, quotas: Quotas, now: Callable[[], float]) -> None:
        self.quotas: Final = quotas
        self._index = index
        self._objects = objects
        self._now = now
        self._thread = ThreadPoolExecutor(1, "blob-index")
        self._memory = Memory(quotas.memory)
        self._turns: dict[bytes, _Turn] = {}
        self._uploads: dict[bytes, Upload] = {}
        self._readers: Counter[str] = Counter()
        """Downloads that go on, by address."""
        self._openers: dict[bytes, str] = {}
        """Where each unfinished blob was begun: in memory only, no address is written down."""

    def close(self) -> None:
        self._thread.shutdown()

    # --- for everybody ------------------------------------------------------------------------------------------

    async def find(self, id: bytes) -> Blob:
        """A blob that is there, whole or not. Raises `Problem` 404, or 410 for one that was there."""
        blob = await self._on_index(self._index.blob, id)
        if blob is None:
            raise Problem(404, Number.REFUSED, "there is no such blob here")
        if not blob.present or blob.expired(self._now()):
            _gone(blob)
        return blob

    async def read(self, blob: Blob, start: int, stop: int, address: str) -> Reading:
        """Bytes `start` to before `stop`, in pieces; the first is there already. `address` is counted until it is
        closed. Raises `Problem`, also on the way."""
        self._verify_readers(address)
        self._readers[address] += 1
        reading = Reading(self._objects, lambda: self._reader_left(address))
        try:
            await reading.begin(await self._spans(blob, start, stop))
        except BaseException:  # also when the client leaves meanwhile
            await reading.aclose()
            raise
        return reading

    def _verify_readers(self, address: str) -> None:
        """Raises `Problem`."""
        if self._readers[address] >= READERS_PER_ADDRESS:
            raise Problem(
                429,
                Number.THROTTLED,
                f"{READERS_PER_ADDRESS} downloads to this address go on: finish one first",
                retry_after="5",
            )
        if self._readers.total() >= MAX_READERS:
            raise Problem(503, Number.BUSY, "too many downloads at once; try again in a moment", retry_after="5")

    def _reader_left(self, address: str) -> None:
        self._readers[address] -= 1
        if not self._readers[address]:
            del self._readers[address]

    async def _spans(self, blob: Blob, start: int, stop: int) -> list[Span]:
        """What to read for a range: part, first byte in it, length."""
        spans = []
        for offset, length in await self._on_index(self._index.parts, blob.id, start, stop):
            first, last = max(start - offset, 0), min(stop - offset, length)
            spans += [(Part(blob.id, offset), at, min(PIECE, last - at)) for at in range(first, last, PIECE)]
        return spans

    # --- for who has a statement --------------------------------------------------------------------------------

    async def create(self, statement: BlobStatement, length: int, address: str) -> Blob:
        """Begin a blob, or find it begun with this length. `address` is counted. Raises `Problem`."""
        blob = await self._admitted(statement)
        if blob is not None and blob.present:
            return _begun(blob, length)
        async with self._turn(statement.blob):
            blob = await self._admitted(statement)
            if blob is not None and blob.present:
                return _begun(blob, length)
            if blob is not None and blob.state == "doomed":
                await self._bury(blob)
            self._verify_room(statement, length, address)
            now = int(self._now())
            try:
                blob = await self._on_index(
                    self._index.create,
                    statement.blob,
                    length,
                    statement.version,
                    self._until(statement),
                    statement.expires_at,
                    now,
                    self.quotas.max_total,
                )
            except Full:
                raise Problem(507, Number.STORE_FULL, "this host has no room left; ask its operator") from None
            if blob.state == "open":
                self._openers[blob.id] = address
            return blob

    def _verify_room(self, statement: BlobStatement, length: int, address: str) -> None:
        """Raises `Problem`."""
        if length > statement.max_bytes:
            raise Problem(413, Number.TOO_LARGE, f"the grant is for {statement.max_bytes} bytes at most")
        if length > self.quotas.max_blob:
            raise Problem(413, Number.TOO_LARGE, f"this host keeps blobs of at most {self.quotas.max_blob} bytes")
        if Counter(self._openers.values())[address] >= self.quotas.unfinished_per_address:
            raise Problem(
                429,
                Number.THROTTLED,
                f"{self.quotas.unfinished_per_address} uploads from this address are unfinished: finish one first",
                retry_after="60",
            )

    async def append(self, statement: BlobStatement, offset: int, body: Body) -> Blob:
        """Put the body at `offset`, which is where the blob ends. Raises `Problem`, or what the body raises."""
        id = statement.blob
        self._verify_free(id)
        async with self._turn(id):
            blob = await self._admitted(statement)
            if blob is None:
                raise Problem(404, Number.REFUSED, "there is no such upload: begin it with POST /blobs/")
            if not blob.present:
                _gone(blob)
            await self._verify_fits(statement, blob, offset, body.length)
            if body.length:
                if len(self._uploads) >= MAX_UPLOADS:
                    raise Problem(503, Number.BUSY, "too many uploads at once; try again in a moment", retry_after="10")
                upload = self._uploads[id] = Upload(id, body, self._memory, self._keep)
                try:
                    await upload.receive(offset)
                finally:
                    del self._uploads[id]
            blob = await self._on_index(self._index.blob, id)
            if blob is None or not blob.present:
                raise Problem(404, Number.REFUSED, "this upload was given up meanwhile: begin it again")
            if blob.state == "whole":
                self._openers.pop(id, None)
            return blob

    async def _verify_fits(self, statement: BlobStatement, blob: Blob, offset: int, length: int) -> None:
        """Raises `Problem`."""
        if blob.offset != offset:
            raise Problem(
                409, Number.CONFLICT, f"this upload is at {blob.offset}: ask with HEAD", upload_offset=str(blob.offset)
            )
        if blob.length > statement.max_bytes:
            raise Problem(413, Number.TOO_LARGE, f"the grant is for {statement.max_bytes} bytes at most")
        if offset + length > blob.length:
            raise Problem(413, Number.TOO_LARGE, f"this upload was begun with {blob.length} bytes; this is more")
        parts = await self._on_index(self._index.count_parts, blob.id)
        if parts >= _SPARE_PARTS + blob.length // _SMALLEST_MEAN:
            raise Problem(400, Number.TOO_LARGE, "this upload came in too many small pieces: erase it and begin again")

    async def obey(self, statement: BlobStatement) -> None:
        """Change how long a blob is kept, or erase it at once. Raises `Problem`."""
        if statement.live:
            blob = await self._admitted(statement)
            if blob is None:
                raise Problem(404, Number.REFUSED, "there is no such blob here")
            if not blob.present:
                _gone(blob)
            return
        self._verify_latest(statement, await self._on_index(self._index.blob, statement.blob))
        now = int(self._now())
        await self._on_index(self._index.close_blob, statement.blob, statement.version, statement.expires_at, now)
        if upload := self._uploads.get(statement.blob):
            upload.cut(Problem(410, Number.CLOSED, "this blob was erased meanwhile"))
        async with self._turn(statement.blob):
            blob = await self._on_index(self._index.blob, statement.blob)
            if blob is not None and blob.state == "doomed":
                await self._bury(blob)

    async def _admitted(self, statement: BlobStatement) -> Blob | None:
        """The blob, if there is a row of it, after what a later statement says of it. Raises `Problem`."""
        if not statement.live:
            raise Problem(403, Number.CLOSED, "this grant says that the blob is to be erased")
        if 0 < statement.expires_at <= self._now():
            raise Problem(403, Number.EXPIRED, "this grant has expired: ask the Vault for another")
        blob = await self._on_index(self._index.blob, statement.blob)
        self._verify_latest(statement, blob)
        if blob is not None and blob.present and statement.version > blob.version:
            until = self._until(statement)
            await self._on_index(self._index.obey, blob.id, statement.version, until, statement.expires_at)
            blob = await self._on_index(self._index.blob, blob.id)
        if blob is not None and blob.present and blob.expired(self._now()):
            _gone(blob)
        return blob

    def _verify_latest(self, statement: BlobStatement, blob: Blob | None) -> None:
        """Raises `Problem` for a statement that a later one has replaced."""
        if blob is None:
            return
        if statement.version < blob.version:
            raise Problem(403, Number.REFUSED, "a later grant of this blob was seen: ask the Vault for a new one")
        if statement.live and statement.version == blob.version:
            if blob.closed:
                raise Problem(403, Number.CLOSED, "this blob was erased: its record is closed")
            if not blob.present and blob.expired(self._now()):
                raise Problem(403, Number.EXPIRED, "this blob was kept as long as this host keeps any by one grant")

    def _until(self, statement: BlobStatement) -> int:
        """Until when a blob is kept by a statement that is shown now.

        A record may be closed without a word to the host, and frees its quota by that: its bytes must not lie here
        until the year that its depositor once wrote.
        """
        longest = int(self._now()) + self.quotas.max_days * _DAY
        return min(statement.expires_at or longest, longest)

    # --- in the background --------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Erase what has expired, what was given up, and what could not be erased before."""
        now = int(self._now())
        for id in await self._on_index(self._index.doom, now):
            if upload := self._uploads.get(id):
                upload.cut(Problem(410, Number.EXPIRED, "this blob has expired"))
            elif not self._busy(id):
                async with self._turn(id):
                    blob = await self._on_index(self._index.blob, id)
                    if blob is not None and blob.state == "doomed":
                        await self._bury_if_possible(blob)
        await self._on_index(self._index.forget, now)

    async def sweep_orphans(self) -> None:
        """Erase objects that the index does not list: a crash came between keeping and recording them."""
        count = 0
        with suppress(Problem):  # logged; the next sweep tries again
            async for parts in self._objects.parts():
                for part in await self._on_index(self._index.unlisted, parts):
                    if not self._busy(part.blob):
                        async with self._turn(part.blob):
                            if await self._on_index(self._index.unlisted, [part]):  # still, and now nobody can
                                await self._objects.erase(part)
                                count += 1
        if count:
            _log.warning("erased %d parts that belonged to no upload", count)

    async def _bury_if_possible(self, blob: Blob) -> None:
        with suppress(Problem):  # logged; it stays doomed and the next sweep tries again
            await self._bury(blob)

    async def _bury(self, blob: Blob) -> None:
        """Objects first: until the last is erased the index still lists them. Raises `Problem`."""
        for offset, _ in await self._on_index(self._index.parts, blob.id):
            await self._objects.erase(Part(blob.id, offset))
        await self._on_index(self._index.bury, blob.id)
        self._openers.pop(blob.id, None)

    async def _keep(self, part: Part, data: bytes) -> None:
        """Durable first, recorded after. Raises `Problem`."""
        await self._objects.put(part, data)
        try:
            await self._on_index(self._index.add_part, part, len(data), int(self._now()))
        except Moved:
            await self._objects.erase(part)
            raise Problem(410, Number.CLOSED, "this blob was erased meanwhile") from None

    # --- one at a time ------------------------------------------------------------------------------------------

    def _busy(self, id: bytes) -> bool:
        return id in self._turns

    @asynccontextmanager
    async def _turn(self, id: bytes) -> AsyncIterator[None]:
        """Waits for it, for a while. Raises `Problem` 423."""
        turn = self._turns.setdefault(id, _Turn())
        turn.wanted += 1
        try:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await turn.lock.acquire()
            except TimeoutError:
                raise _in_use() from None
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[id]

    def _verify_free(self, id: bytes) -> None:
        """Raises `Problem` 423 while another upload of this blob goes on. One that is silent is ended instead.

        A client whose connection broke unseen is back before we notice, and must not wait for the time-out.
        """
        upload = self._uploads.get(id)
        if upload is None:
            return
        if upload.idle_seconds < _STALE_SECONDS:
            raise _in_use()
        upload.cut(Problem(409, Number.CONFLICT, "this upload went on over another connection"))

    async def _on_index(self, call: Callable[..., T], *arguments: object) -> T:
        """The index has one thread: a commit waits for the disk, the event loop must not."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
        except sqlite3.Error as error:
            _log.error("the index of blobs failed: %s", error)  # SQLite's texts name no values
            raise Problem(
                503, Number.STORE_UNAVAILABLE, "the host's index of blobs failed; try again", retry_after="5"
            ) from None


def _begun(blob: Blob, length: int) -> Blob:
    """The unfinished upload to go on with. Raises `Problem` when it is another."""
    if blob.state == "whole":
        raise Problem(409, Number.CONFLICT, "this blob is complete; it can't be changed")
    if blob.length != length:
        raise Problem(409, Number.CONFLICT, f"this upload was begun with {blob.length} bytes")
    return blob


def _in_use() -> Problem:
    return Problem(423, Number.BUSY, "this blob is in use by another request; try again", retry_after="1")


def _gone(blob: Blob) -> NoReturn:
    if blob.closed:
        raise Problem(410, Number.CLOSED, "this blob was erased: its record is closed")
    raise Problem(410, Number.EXPIRED, "this blob has expired, or its upload was given up; it is erased")
