"""Secrets in and out of files and pipes: never by argv, which every user of the machine can read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from strongroom.cli.terminal import Failure

STDIN = "-"
KEYS_ONLY = "store a key, not the data: encrypt the data to the key and keep it elsewhere"
"""What to do with a secret that is too large."""


def read_input(source: str, *, limit: int, what: str, too_large: str) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises `Failure` when there are more than `limit`, with `too_large` for
    what to do then, or none."""
    if source == STDIN:
        if sys.stdin.isatty():
            raise Failure(
                f"{what} would be read from this terminal, where it would stay on the screen",
                f"pipe it in (… | strongroom …), or name a file instead of {STDIN}",
            )
        data = sys.stdin.buffer.read(limit + 1)
    else:
        try:
            with open(source, "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise Failure(
                f"can't read {what} from {source}: {error.strerror}", f"name a file, or {STDIN} for standard input"
            ) from None
    if len(data) > limit:
        raise Failure(f"{what} is larger than {limit:,} bytes", too_large)
    if not data:
        raise Failure(f"{what} is empty", "check the file or the command before the pipe")
    return data


def read_text(path: Path, *, limit: int, what: str, hint: str) -> str:
    """The text of a small file. Raises `Failure`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Failure(f"can't read {what} {path}: {error.strerror}", hint) from None
    if len(data) > limit:
        raise Failure(f"{what} {path} is larger than {limit:,} bytes", hint)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Failure(f"{what} {path} is not UTF-8 text", hint) from None


def write_new(path: Path, data: bytes, *, what: str) -> None:
    """Create `path`, readable by its owner alone (0600). Raises `Failure` when it is there already.

    O_EXCL also refuses a symbolic link that somebody laid there to catch the secret or to destroy a file.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(
            f"{path} exists already, and {what} never overwrites a file", "name another file, or move that one away"
        ) from None
    except OSError as error:
        raise Failure(
            f"can't create {path}: {error.strerror}", "name a file in a directory that you may write"
        ) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is worse than none
        raise Failure(f"can't write {path}: {error.strerror}", "free some space, then repeat the command") from None


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path` (0600): either the old file is there or the whole new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(draft, data, what="this command")
    try:
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure(f"can't replace {path}: {error.strerror}", "name another file") from None


def verify_can_create(path: Path, *, what: str) -> None:
    """Say so before the user signs in rather than after. Raises `Failure`."""
    if os.path.lexists(path):
        raise Failure(
            f"{path} exists already, and {what} never overwrites a file", "name another file, or move that one away"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure(f"can't create {path}", "name a file in a directory that you may write")
