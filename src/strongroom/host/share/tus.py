"""Blobs by HTTP: tus 1.0.0 (core, creation, expiration) to put, ranges to get, a grant to change (`spec/blobs.md`).

The host keeps no metadata: `Upload-Metadata` would be names in clear, so it is refused and not dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from strongroom.host.share.answers import HARDENED, Answer, Problem, nothing
from strongroom.host.share.blobs import Blobs
from strongroom.host.share.connection import Request
from strongroom.host.share.grants import HEADER, verify_grant
from strongroom.host.share.index import Blob
from strongroom.protocol.blobs import BlobStatement
from strongroom.protocol.errors import Number

PREFIX: Final = "/blobs/"
VERSION: Final = "1.0.0"
_ID: Final = re.compile(r"/blobs/([0-9a-f]{32})(/grant)?")
_RANGE: Final = re.compile(r"bytes=([0-9]{1,19})?-([0-9]{1,19})?")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_TUS: Final = {"tus-resumable": VERSION, "cache-control": "no-store"}


class Tus:
    """`address` tells whom a request counts against."""

    def __init__(self, blobs: Blobs, cluster_key: bytes, address: Callable[[Request], str]) -> None:
        self._blobs = blobs
        self._cluster_key = cluster_key
        self._address = address

    async def handle(self, request: Request) -> Answer:
        """Raises `Problem`."""
        method = request.method
        if method == "POST":  # for clients behind what lets no PATCH through (tus, core)
            method = request.headers.get("x-http-method-override", method)
        named = _ID.fullmatch(request.path)
        if named is None and request.path != PREFIX:
            raise Problem(404, Number.MALFORMED, "there is no such path; a blob is at /blobs/ and 32 hex digits")
        if named is not None and named[2]:
            return await self._obey(method, bytes.fromhex(named[1]), request)
        if named is not None and method == "GET":
            return await self._get(bytes.fromhex(named[1]), request)
        if method == "OPTIONS":
            more = {"tus-version": VERSION, "tus-extension": "creation,expiration"}
            return nothing(204, {**_TUS, **more, "tus-max-size": str(self._blobs.quotas.max_blob)})
        try:
            return await self._tus(method, bytes.fromhex(named[1]) if named else None, request)
        except Problem as problem:
            problem.headers = {**_TUS, **problem.headers}
            raise

    async def _tus(self, method: str, id: bytes | None, request: Request) -> Answer:
        allowed = "POST" if id is None else "HEAD, PATCH"
        if method not in allowed.split(", "):
            raise Problem(405, Number.MALFORMED, "this method means nothing here", allow=f"{allowed}, OPTIONS")
        if request.headers.get("tus-resumable") != VERSION:
            raise Problem(412, Number.UNSUPPORTED, "this speaks tus 1.0.0: send Tus-Resumable", tus_version=VERSION)
        if id is None:
            return await self._create(request)
        if method == "HEAD":
            return self._state(await self._blobs.find(id), 200)
        return await self._append(id, request)

    async def _create(self, request: Request) -> Answer:
        if request.body.length:
            raise Problem(400, Number.MALFORMED, "an upload begins empty; send its bytes with PATCH")
        if "upload-metadata" in request.headers:
            raise Problem(400, Number.MALFORMED, "this host keeps no metadata: names belong into the sealed manifest")
        if "upload-length" not in request.headers:
            raise Problem(400, Number.MALFORMED, "say how long the blob will be: Upload-Length")
        length = _number(request, "upload-length")
        statement = self._granted(request)
        blob = await self._blobs.create(statement, length, self._address(request))
        return nothing(201, {**_TUS, **_expiry(blob), "location": f"/blobs/{blob.id.hex()}"})

    async def _append(self, id: bytes, request: Request) -> Answer:
        if request.headers.get("content-type") != "application/offset+octet-stream":
            raise Problem(415, Number.MALFORMED, "the type of a piece is application/offset+octet-stream")
        offset = _number(request, "upload-offset")
        return self._state(await self._blobs.append(self._granted(request, id), offset, request.body), 204)

    def _state(self, blob: Blob, status: int) -> Answer:
        more = {"upload-offset": str(blob.offset), "upload-length": str(blob.length)}
        return Answer(status, {**HARDENED, **_TUS, **more, **_expiry(blob)})

    async def _obey(self, method: str, id: bytes, request: Request) -> Answer:
        if method != "PUT":
            raise Problem(405, Number.MALFORMED, "a grant is shown with PUT", allow="PUT")
        if request.body.length:
            raise Problem(400, Number.MALFORMED, "the grant stands in the header Strongroom-Grant, with no body")
        await self._blobs.obey(self._granted(request, id))
        return nothing(204, {"cache-control": "no-store"})

    def _granted(self, request: Request, id: bytes | None = None) -> BlobStatement:
        """Raises `Problem`."""
        statement = verify_grant(request.headers.get(HEADER), self._cluster_key)
        if id is not None and statement.blob != id:
            raise Problem(403, Number.REFUSED, "this grant is for another blob")
        return statement

    async def _get(self, id: bytes, request: Request) -> Answer:
        blob = await self._blobs.find(id)
        if blob.state != "whole":
            raise Problem(404, Number.REFUSED, "this blob is still being uploaded: try again later", retry_after="10")
        tag = f'"{blob.tag.hex()}"'
        headers = {
            **HARDENED,
            "content-type": "application/octet-stream",
            "content-disposition": "attachment",
            "cache-control": "private, no-store, no-transform",
            "accept-ranges": "bytes",
            "etag": tag,
        }
        if request.headers.get("if-none-match", "") in (tag, "*"):
            return Answer(304, headers, length=None)
        wanted = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
        span = _span(wanted, blob.length)
        address = self._address(request)
        if span is None:
            return Answer(200, headers, await self._blobs.read(blob, 0, blob.length, address), blob.length)
        start, stop = span
        headers["content-range"] = f"bytes {start}-{stop - 1}/{blob.length}"
        return Answer(206, headers, await self._blobs.read(blob, start, stop, address), stop - start)


def _span(header: str | None, length: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for all of it. Raises `Problem` 416 when there is no such byte.

    RFC 9110, 14.2: what is no single range of bytes is ignored, so that its client gets everything.
    """
    found = _RANGE.fullmatch(header.replace(" ", "")) if header is not None else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, stop = max(length - int(found[2]), 0), length
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1, length) if found[2] else length
        if found[2] and int(found[2]) < start:
            return None  # not a valid range
    if start >= stop:
        raise Problem(416, Number.MALFORMED, f"this blob has {length} bytes", content_range=f"bytes */{length}")
    return start, stop


def _number(request: Request, name: str) -> int:
    """Raises `Problem`."""
    text = request.headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise Problem(400, Number.MALFORMED, f"the header {name.title()} is not a number")
    return int(text)


def _expiry(blob: Blob) -> dict[str, str]:
    """Until when an unfinished upload may go on (tus, expiration)."""
    return {"upload-expires": formatdate(blob.lost_at, usegmt=True)} if blob.state == "open" else {}
