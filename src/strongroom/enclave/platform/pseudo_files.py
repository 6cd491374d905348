"""Files that are questions to a kernel: a read makes the answer, a write is one request or none.

Through plain descriptors: a buffered file may cut a write in two or read ahead, and then the other side has seen
another request than the one that was meant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from strongroom.protocol.errors import Number, StrongroomError, Unavailable

_CHUNK: Final = 64 * 1024


def read_pseudo_file(path: Path, *, most: int) -> bytes:
    """All that one opening of `path` gives. Raises OSError, and `Unavailable` beyond `most` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while part := os.read(descriptor, _CHUNK):
            content += part
            if len(content) > most:
                raise unavailable(f"{path.name} gives more than {most} bytes")
        return content
    finally:
        os.close(descriptor)


def write_pseudo_file(path: Path, content: bytes) -> None:
    """Hand `content` over in one write. Raises OSError, and `Unavailable` when only a part was taken."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        written = os.write(descriptor, content)
    finally:
        os.close(descriptor)
    if written != len(content):
        raise unavailable(f"{path.name} took {written} of {len(content)} bytes")


def unavailable(reason: str) -> StrongroomError:
    """The error QUOTE_UNAVAILABLE. Says why on standard error too: over the link goes a number, and whoever runs the
    machine must know what to look at."""
    print(f"strongroom: no quote or sealing key: {reason}", file=sys.stderr, flush=True)
    return Unavailable(Number.QUOTE_UNAVAILABLE, reason)
