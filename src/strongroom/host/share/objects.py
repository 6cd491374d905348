"""Where parts of blobs lie: a directory, or a bucket by URL. `ID/OFFSET` is one part, put whole or not at all.

A directory is made durable here: object stores promise that an acknowledged object survives a loss of power, a file
system does not before it is told to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from strongroom.host.share.answers import Problem
from strongroom.protocol.errors import Number

SCHEMES: Final = ("file", "memory", "s3", "gs", "az")
_NAME: Final = re.compile(r"([0-9a-f]{32})/([0-9]{1,19})")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_STAGED: Final = re.compile(r"[0-9]{1,19}#[0-9]+")
_MARK: Final = "strongroom-share"
_FAULTS: Final = (BaseError, OSError, ValueError)
_log: Final = logging.getLogger("strongroom.host.share")


class CannotUse(Exception):
    """The place can't be used for blobs; the text says why."""


class Part(NamedTuple):
    """An object by what its name says."""

    blob: bytes
    offset: int


class Objects:
    """One directory or bucket, of one share server alone. Raises `CannotUse` when the URL is none of `SCHEMES`."""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        if scheme not in SCHEMES:
            raise CannotUse(f"blobs can be kept at file://, memory://, s3://, gs:// and az:// URLs, not at {scheme}")
        try:
            self._store: ObjectStore = (
                from_url(url, mkdir=True, automatic_cleanup=True) if scheme == "file" else from_url(url)
            )
        except _FAULTS as error:
            raise CannotUse(_first_line(error)) from None
        self.lasting: Final = not isinstance(self._store, MemoryStore)
        """Whether what is put here outlives this process."""
        prefix = self._store.prefix if isinstance(self._store, LocalStore) else None
        self._folder: Final = Path(str(prefix)) if prefix is not None else None

    async def claim(self, instance: str, *, known: str) -> None:
        """Make sure that this place is ours, or nobody's yet. `known`: what our index says about it, or "".

        (Two servers on one bucket would each erase the other's blobs as orphans; an empty bucket under a full index is
        a mistyped URL.) Raises `CannotUse`.
        """
        try:
            found = bytes((await obstore.get_async(self._store, _MARK)).bytes()).decode("ascii", "replace")
        except FileNotFoundError:
            found = ""
        except _FAULTS as error:
            raise CannotUse(_first_line(error)) from None
        if found and found != (known or instance):
            raise CannotUse("another share server keeps its blobs there")
        if known and not found:
            raise CannotUse("the blobs that the data directory lists are not there")
        if not found:
            try:
                await obstore.put_async(self._store, _MARK, instance.encode(), use_multipart=False)
            except _FAULTS as error:
                raise CannotUse(_first_line(error)) from None

    async def put(self, part: Part, data: bytes) -> None:
        """Put a part, durable when done. Raises `Problem`."""
        try:
            await obstore.put_async(self._store, _name(part), data, use_multipart=False)
            if self._folder is not None:
                await asyncio.to_thread(_sync, self._folder, part)
        except _FAULTS as error:
            raise _failed("kept", error) from None

    async def get(self, part: Part, start: int, length: int) -> memoryview:
        """`length` bytes of a part from `start`. Raises `Problem`."""
        try:
            data = memoryview(await obstore.get_range_async(self._store, _name(part), start=start, length=length))
        except _FAULTS as error:
            raise _failed("read", error) from None
        if len(data) != length:
            raise _failed("read", ValueError("a part is shorter than it was"))
        return data

    async def erase(self, part: Part) -> None:
        """Erase a part; one that is not there is erased. Raises `Problem`."""
        try:
            await obstore.delete_async(self._store, _name(part))
        except FileNotFoundError:
            pass
        except _FAULTS as error:
            raise _failed("erased", error) from None

    async def parts(self) -> AsyncIterator[list[Part]]:
        """All parts, some at a time. Raises `Problem`."""
        try:
            async for found in obstore.list(self._store, chunk_size=1000):
                names = [_NAME.fullmatch(item["path"]) for item in found]
                yield [Part(bytes.fromhex(name[1]), int(name[2])) for name in names if name is not None]
        except _FAULTS as error:
            raise _failed("listed", error) from None

    def clear_staged(self) -> None:
        """Before anything is put: files that a killed process had begun, which no listing shows."""
        if self._folder is None:
            return
        for folder in self._folder.iterdir():
            if _ID.fullmatch(folder.name) and folder.is_dir():
                for path in folder.iterdir():
                    if _STAGED.fullmatch(path.name):
                        path.unlink(missing_ok=True)
                with suppress(OSError):  # not empty
                    folder.rmdir()


def _name(part: Part) -> str:
    return f"{part.blob.hex()}/{part.offset}"


def _sync(folder: Path, part: Part) -> None:
    """The file, its name, and with the first part the folder's own name."""
    path = folder / _name(part)
    for place in (path, path.parent, *([folder] if part.offset == 0 else [])):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(what: str, error: Exception) -> Problem:
    _log.error("a part could not be %s: %s", what, _first_line(error))
    return Problem(
        503,
        Number.STORE_UNAVAILABLE,
        f"the blob could not be {what}; try again, and if it stays so tell the operator",
        retry_after="5",
    )


def _first_line(error: Exception) -> str:
    """Without the library's dump of its structures, which names every setting, and without ids."""
    return _ID.sub("…", str(error).partition("\n")[0]) or type(error).__name__
