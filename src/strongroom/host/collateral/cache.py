"""Answers on disk, each in a file of its own that is always whole: the old one or the new one.

What stands in a file is the answer as it came, which is read anew as if it came now: a cache can't say more than a
source could. The digest in front finds accidents, not attackers; who can write here is the host.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from strongroom.host.collateral.items import MAX_ANSWER, MAX_CHAIN

MAX_FILES: Final = 256
"""Beyond that, what was written longest ago goes."""
_MAX_FILE: Final = MAX_ANSWER + MAX_CHAIN + 4096
_DIGEST: Final = 32
_SUFFIX: Final = ".collateral"
_UNFINISHED: Final = ".unfinished-collateral-"

_log = logging.getLogger("strongroom.host.collateral")


class Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One answer and when it came."""

    version: Literal[1]
    name: str
    """The item's: a file that was renamed is no other item."""
    fetched_at: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    """Unix seconds."""
    chain: Annotated[str, msgspec.Meta(max_length=MAX_CHAIN)]
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_ANSWER)]


class Cache:
    """A directory, made if absent. One that can't be used costs requests, never an answer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for unfinished in directory.glob(f"{_UNFINISHED}*"):
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("collateral cache=%s unusable: %s", directory, error.strerror)

    def load(self, name: str) -> Kept | None:
        """None for what is absent, and for what is damaged in any way."""
        try:
            with self._path(name).open("rb") as file:
                content = file.read(_MAX_FILE + 1)
        except OSError:
            return None
        try:
            kept = msgspec.msgpack.decode(content[_DIGEST:], type=Kept)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            kept = None
        if kept is None or kept.name != name or hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            _log.warning("collateral item=%s cache file is damaged: it is fetched anew", name)
            return None
        return kept

    def store(self, kept: Kept) -> None:
        """Durable when this returns, unless the log says otherwise."""
        content = msgspec.msgpack.encode(kept)
        try:
            self._replace(kept.name, hashlib.sha256(content).digest() + content)
        except OSError as error:
            _log.warning("collateral item=%s not kept on disk: %s", kept.name, error.strerror)
        with suppress(OSError):  # another process may tidy up the same directory
            self._make_room()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _replace(self, name: str, content: bytes) -> None:
        descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)  # before the new name: else a power cut leaves the name with nothing behind it
            os.replace(unfinished, self._path(name))
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _make_room(self) -> None:
        files = [(path.stat().st_mtime_ns, path) for path in self._directory.glob(f"*{_SUFFIX}")]
        for _, path in sorted(files)[:-MAX_FILES]:
            path.unlink()
