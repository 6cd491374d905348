"""Pseudo-files without a kernel behind them: an `os` whose opens, reads and writes go to objects that tests bend.

Put in the place of the module's own: `monkeypatch.setattr(pseudo_files, "os", fake)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class PseudoFile:
    """`made` gives what an opening for reading sees; `taken` gets each write, and says how much of it was taken."""

    def __init__(self, made: Callable[[], bytes] = bytes, taken: Callable[[bytes], int] | None = None) -> None:
        self.made = made
        self.taken = taken


class FakeFiles:
    """Stands in for `os`; whatever it does not fake is the real one's."""

    def __init__(self) -> None:
        self.files: dict[Path, PseudoFile] = {}
        self.opened: dict[int, tuple[PseudoFile, bytes]] = {}
        self.last = 10_000_000  # no real descriptor is as high

    def __getattr__(self, name):
        return getattr(os, name)

    def fail(self, number: int, path: object) -> OSError:
        return OSError(number, os.strerror(number), str(path))

    def stat(self, path):
        if Path(path) not in self.files:
            raise self.fail(2, path)

    def open(self, path, flags):
        if Path(path) not in self.files:
            raise self.fail(2, path)
        file = self.files[Path(path)]
        writes = flags & os.O_ACCMODE == os.O_WRONLY
        if writes and file.taken is None:
            raise self.fail(13, path)
        self.last += 1
        self.opened[self.last] = (file, b"" if writes else file.made())
        return self.last

    def read(self, descriptor, size):
        file, content = self.opened[descriptor]
        size = min(size, 1000)  # no kernel promises more at once
        self.opened[descriptor] = (file, content[size:])
        return content[:size]

    def write(self, descriptor, content):
        file, _ = self.opened[descriptor]
        assert file.taken is not None
        return file.taken(content)

    def close(self, descriptor):
        del self.opened[descriptor]
