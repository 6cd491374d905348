"""A file that grows under a name of its own and takes its place when all of it is durable.

Whatever ends this process, and be it the power: the name that was asked for is the file before or the file after.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

IfThere = Literal["refuse", "replace"]
_COPY_AT_ONCE: Final = 64 * 1024 * 1024
_NO_COPY_BY_KERNEL: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


class CannotBackUp(Exception):
    """It can't be done; the text says why, `hint` what to do. What was there before is there still."""

    def __init__(self, reason: str, hint: str) -> None:
        self.hint = hint
        super().__init__(reason)


@contextmanager
def drafting(target: Path, if_there: IfThere) -> Iterator[Path]:
    """An empty file beside `target`, which takes its place if the block does not raise; else nothing is left of it.

    One that a killed process left is taken over. Raises `CannotBackUp`; errors of the disk in the block become that.
    """
    draft = target.with_name(f".{target.name}.partial")
    try:
        held = _alone(draft)
    except OSError as error:
        raise CannotBackUp(f"can't write {target}: {_plain(error)}", "name a file in a directory of yours") from None
    try:
        if if_there == "refuse" and os.path.lexists(target):
            raise CannotBackUp(f"{target} exists", "name another file, or say --force to replace it")
        os.ftruncate(held, 0)
        yield draft
        os.fsync(held)
        draft.replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise full_or(error, target) from None
        raise
    finally:
        os.close(held)


def full_or(error: OSError | sqlite3.Error, target: Path) -> CannotBackUp:
    """The words for a failure of the disk that `target` is on."""
    full = getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or (
        getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    )
    if full:
        return CannotBackUp(f"no space left for {target}: nothing of it was kept", "free space, or name another disk")
    return CannotBackUp(f"can't write {target}: {_plain(error)}", "see to the disk, or name another")


def copy_file(source: Path, draft: Path) -> None:
    """The bytes of `source` into `draft`: shared with it where the file system can, else copied. Raises OSError."""
    with source.open("rb") as read, draft.open("r+b") as write:
        left = os.fstat(read.fileno()).st_size
        try:
            while left and (copied := os.copy_file_range(read.fileno(), write.fileno(), min(left, _COPY_AT_ONCE))):
                left -= copied
        except OSError as error:
            if error.errno not in _NO_COPY_BY_KERNEL:
                raise
            while piece := read.read(_COPY_AT_ONCE):
                write.write(piece)


def _alone(draft: Path) -> int:
    """A descriptor of `draft`, which no other process has now. Raises `CannotBackUp`, OSError."""
    while True:
        held = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have put it in its place meanwhile: then it is no draft any more, and not ours.
            if draft.exists() and draft.stat().st_ino == os.fstat(held).st_ino:
                return held
        except BlockingIOError:
            os.close(held)
            raise CannotBackUp(
                f"another process writes {draft.name.removeprefix('.').removesuffix('.partial')}", "wait until it ends"
            ) from None
        os.close(held)


def _sync_folder(folder: Path) -> None:
    """A new name is durable when its directory is."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def _plain(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
