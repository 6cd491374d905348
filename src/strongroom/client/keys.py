"""The binding key in a file: text with 64 hex digits, for its owner alone.

Who has the key can use tickets that were issued to it, and make namespaces if it is the owner's.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from strongroom.client.errors import BadInput
from strongroom.protocol.primitives import SigningKey

_HEAD: Final = "# Strongroom binding key (P-256, private). Keep it to yourself.\n"
_KEY: Final = re.compile(rf"(?:{re.escape(_HEAD)})?([0-9a-f]{{64}})\n")
_MAX_FILE: Final = 4096
_ANOTHER: Final = "name another file for the key"


class CantMake(BadInput):
    """There is no key file, and none can be made there."""


def load_or_make_key(path: Path) -> SigningKey:
    """The key in `path`; made there (0600, its directory 0700) when there is none. Several processes may do so at
    once and get the same key. Raises `BadInput`, of it `CantMake` where there is no key and can be none."""
    if not os.path.lexists(path):
        try:
            _make(path)
        except OSError as error:
            raise CantMake(f"can't make the key file {path}: {error.strerror}", _ANOTHER) from None
    return load_key(path)


def load_key(path: Path) -> SigningKey:
    """The key in `path`. Raises `BadInput`, also for a file that others can read."""
    try:
        # Not O_NOFOLLOW: people keep keys behind links. What counts is the file in the end, so it is opened first.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not make us wait
        with open(descriptor, "rb") as file:
            _verify_private(path, os.fstat(descriptor))
            data = file.read(_MAX_FILE)
    except OSError as error:
        raise BadInput(f"can't read the key file {path}: {error.strerror}", _ANOTHER) from None
    found = _KEY.fullmatch(data.decode("ascii", "replace"))
    try:
        if found is None:
            raise ValueError
        return SigningKey.from_scalar(bytes.fromhex(found[1]))
    except ValueError:
        raise BadInput(f"{path} is not a Strongroom key file", _ANOTHER) from None


def _verify_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is not a file", _ANOTHER)
    if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"others can read the key file {path}", f"chmod 600 {path}, and make a new key if somebody has")
    if os.name == "posix" and found.st_uid not in (os.geteuid(), 0):
        raise BadInput(f"the key file {path} belongs to somebody else, who knows the key", _ANOTHER)


def _make(path: Path) -> None:
    """Each process writes a file of its own, and `link` lets exactly one be the key, complete from its first moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(f"{_HEAD}{SigningKey.generate().scalar.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # the other process was first: its key is ours
    finally:
        draft.unlink()
