"""Blobs at a host (`spec/blobs.md`): resumable upload by tus 1.0.0, ranged download, grants, the site statement.

Nothing a host says is believed. It can fail or withhold; what it gives is checked by who asked. So every failure here
is `Unavailable`, also where the host calls it a refusal.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import httpx

from strongroom.client.errors import Unreachable
from strongroom.client.results import Grant
from strongroom.client.share.site import MAX_STATEMENT, verify_origin
from strongroom.client.transport import CONNECT_SECONDS
from strongroom.client.urls import is_loopback

CHUNK: Final = 4 << 20
"""Bytes of one PATCH, and what is kept in memory to be sent again."""
_PIECE: Final = 256 * 1024
"""Bytes that are handed to the network at a time: it copies what it can't send at once."""
SILENT_SECONDS: Final = 30.0
TRIES: Final = 6
"""Of one piece; whatever arrives starts the count anew."""
WAIT: Final = 0.5
"""Seconds before the second try; doubled before each further one."""
GRANT: Final = "strongroom-grant"
_TUS: Final = {"tus-resumable": "1.0.0"}
_OFFSET_STREAM: Final = "application/offset+octet-stream"
_PAGE_LIMIT: Final = 8 << 20

_WORDS: Final = {
    401: "does not accept the Vault's grant",
    403: "does not accept the Vault's grant",
    404: "has no such blob, or not yet, or no more",
    409: "holds another part of the blob than this one follows",
    410: "has erased the blob",
    413: "takes no blob of this size",
    429: "has too much to do",
    507: "has no space left",
}
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 410, 412, 413, 415, 416, 460, 507})
"""Trying again at once changes nothing."""

Progress = Callable[[int], None]
"""Told how many bytes have arrived in all."""


class BlobHost:
    """The blobs of the site at `origin`. An async context manager."""

    def __init__(self, origin: str) -> None:
        self.origin: Final = verify_origin(origin)
        self._client = httpx.AsyncClient(
            base_url=self.origin,
            verify=True if self.origin.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=not is_loopback(self.origin),
            follow_redirects=False,
            timeout=httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
            headers={"accept-encoding": "identity", "user-agent": "strongroom"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    # --- upload -----------------------------------------------------------------------------------------------

    async def upload(
        self,
        blob: bytes,
        size: int,
        blocks: Iterator[bytes],
        grant: Grant,
        progress: Progress = lambda sent: None,
    ) -> None:
        """Send all `blocks`, `size` bytes together, as this blob; whatever breaks off is resumed.

        At most two chunks are held in memory: what the host has acknowledged is not kept, since ciphertext that was
        made anew would be other ciphertext. Raises `Unreachable`.
        """
        header = {GRANT: grant_header(grant)}
        await self._create(blob, size, header)
        sent = 0
        chunks = _chunks(blocks)
        chunk = await asyncio.to_thread(next, chunks, b"")
        while chunk:
            # The next one is sealed while this one travels.
            ahead = asyncio.create_task(asyncio.to_thread(next, chunks, b""))
            try:
                await self._patch(blob, sent, chunk, header, progress)
                sent += len(chunk)
            finally:
                chunk = await ahead
        if sent != size:
            raise self._unreachable("took less than there is", broken=False)

    async def _create(self, blob: bytes, size: int, header: dict[str, str]) -> None:
        headers = {**_TUS, **header, "upload-length": str(size)}
        for attempt in self._attempts():
            async with attempt:
                response = await self._client.post("/blobs/", headers=headers)
                if response.status_code != 201:
                    raise self._failed(response)
                if response.headers.get("location", "").rpartition("/")[2] != blob.hex():
                    raise self._unreachable("made another blob than the one granted", broken=False)

    async def _patch(self, blob: bytes, start: int, chunk: bytes, header: dict[str, str], progress: Progress) -> None:
        offset = start
        for attempt in self._attempts():
            async with attempt:
                if attempt.number > 1:
                    offset = await self._offset(blob, header)
                    if not start <= offset <= start + len(chunk):
                        raise self._unreachable("lost a part of the upload: send the share again", broken=False)
                    progress(offset)
                if offset == start + len(chunk):
                    return
                rest = memoryview(chunk)[offset - start :]
                length = {"content-length": str(len(rest)), "content-type": _OFFSET_STREAM}
                response = await self._client.patch(
                    f"/blobs/{blob.hex()}",
                    content=_pieces(rest),
                    headers={**_TUS, **header, "upload-offset": str(offset), **length},
                )
                if response.status_code != 204:
                    raise self._failed(response)
                if response.headers.get("upload-offset") != str(start + len(chunk)):
                    raise self._unreachable("took another number of bytes than it was given", broken=True)
                progress(start + len(chunk))

    async def _offset(self, blob: bytes, header: dict[str, str]) -> int:
        """How much the host has of it."""
        response = await self._client.head(f"/blobs/{blob.hex()}", headers={**_TUS, **header})
        offset = response.headers.get("upload-offset", "")
        if response.status_code not in (200, 204) or not offset.isascii() or not offset.isdigit() or len(offset) > 16:
            raise self._failed(response)
        return int(offset)

    async def show_grant(self, blob: bytes, grant: Grant) -> None:
        """Tell the host of a newer statement: another expiry, or that the blob is to go. Raises `Unreachable`."""
        for attempt in self._attempts():
            async with attempt:
                response = await self._client.put(f"/blobs/{blob.hex()}/grant", headers={GRANT: grant_header(grant)})
                if response.status_code not in (200, 204):
                    raise self._failed(response)

    # --- download ---------------------------------------------------------------------------------------------

    async def read(self, blob: bytes, offset: int, length: int) -> AsyncGenerator[bytes]:
        """These bytes of a blob, checked by nobody yet; whatever breaks off is continued. Raises `Unreachable`."""
        end = offset + length
        while offset < end:
            before = offset
            for attempt in self._attempts():
                async with attempt, aclosing(self._range(blob, offset, end)) as pieces:
                    async for piece in pieces:
                        offset += len(piece)
                        yield piece
                if attempt.failed and offset > before:
                    break  # something arrived: the tries are counted anew

    async def _range(self, blob: bytes, offset: int, end: int) -> AsyncGenerator[bytes]:
        headers = {"range": f"bytes={offset}-{end - 1}"}
        async with self._client.stream("GET", f"/blobs/{blob.hex()}", headers=headers) as response:
            if response.status_code != 206:
                raise self._failed(response)
            if not response.headers.get("content-range", "").startswith(f"bytes {offset}-{end - 1}/"):
                raise self._unreachable("answered with another part of the blob", broken=False)
            left = end - offset
            async for piece in response.aiter_raw():
                left -= len(piece)
                if left < 0:
                    raise self._unreachable("answered with more than was asked for", broken=False)
                yield piece
            if left:
                raise self._unreachable("broke the connection off", broken=True)

    # --- small files ------------------------------------------------------------------------------------------

    async def statement(self) -> bytes:
        """The site statement, believed by nobody yet."""
        return (await self.fetch("/trust.json", limit=MAX_STATEMENT)).content

    async def fetch(self, path: str, *, limit: int = _PAGE_LIMIT) -> httpx.Response:
        """A file of the page, whole, at most `limit` bytes. Raises `Unreachable`."""
        found: httpx.Response | None = None
        for attempt in self._attempts():
            async with attempt, self._client.stream("GET", path) as response:
                if response.status_code != 200:
                    raise self._failed(response)
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > limit:
                        raise self._unreachable(f"gives more than {limit:,} bytes for {path}", broken=False)
                found = httpx.Response(200, headers=response.headers, content=bytes(body))
        if found is None:
            raise self._unreachable(f"did not give {path}", broken=False)
        return found

    # --- failures ---------------------------------------------------------------------------------------------

    def _attempts(self) -> Iterator[_Attempt]:
        """Each is entered; the last one lets its error out, and one that succeeded is the last."""
        for number in range(1, TRIES + 1):
            attempt = _Attempt(self, number)
            yield attempt
            if not attempt.failed:
                return

    def _failed(self, response: httpx.Response) -> Unreachable:
        status = response.status_code
        what = "redirects elsewhere, which is not followed" if response.is_redirect else _WORDS.get(status, "failed")
        return self._unreachable(
            f"{what} (HTTP status {status})", broken=status not in _FINAL and not response.is_redirect
        )

    def _unreachable(self, what: str, *, broken: bool) -> Unreachable:
        return Unreachable(
            f"{self.origin} {what}", "try again later; if it persists, tell the site's operator", broken=broken
        )

    def translated(self, error: httpx.TransportError | httpx.InvalidURL) -> Unreachable:
        """A failure of the network, in words."""
        match error:
            case httpx.TimeoutException():
                what = "did not answer in time"
            case httpx.ConnectError():
                what = "can't be reached"
            case _:
                what = "broke the connection off"
        return self._unreachable(what, broken=True)


class _Attempt:
    """One try: swallows what is worth another, unless it is the last."""

    def __init__(self, host: BlobHost, number: int) -> None:
        self._host = host
        self.number = number
        self.failed = False

    async def __aenter__(self) -> Self:
        if self.number > 1:
            await asyncio.sleep(WAIT * 2 ** (self.number - 2))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, httpx.TransportError | httpx.InvalidURL):
            error = self._host.translated(error)
            if self.number == TRIES:
                raise error from None
        if not isinstance(error, Unreachable) or not error.broken or self.number == TRIES:
            return False
        self.failed = True
        return True


def grant_header(grant: Grant) -> str:
    """`BASE64URL(statement).BASE64URL(signature)`, without padding."""
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (grant.statement, grant.signature))


async def _pieces(data: memoryview) -> AsyncGenerator[bytes]:
    for at in range(0, len(data), _PIECE):
        yield bytes(data[at : at + _PIECE])


def _chunks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about `CHUNK`."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
