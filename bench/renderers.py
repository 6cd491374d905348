"""What Chromium's renderers keep in memory: the largest sum of their resident sets, sampled from /proc."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.processes import PAGE, children

EVERY = 0.1
"""Seconds between two samples."""


def renderers(pid: int) -> dict[int, int]:
    """Resident bytes of every renderer below this process, by pid. Processes that end meanwhile are left out."""
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            waiting += children(one)
            if b"--type=renderer" in Path(f"/proc/{one}/cmdline").read_bytes():
                found[one] = int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Renderers:
    """A context manager: samples in a thread of its own."""

    def __init__(self) -> None:
        self._idle: dict[int, int] = {}
        self._peak: dict[int, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def begin(self) -> None:
        """What is resident now counts as idle."""
        self._idle = renderers(os.getpid())
        self._peak = dict(self._idle)

    def grown(self) -> int:
        """Bytes by which the renderer that grew most was over its idle state since then."""
        return max(self._peak[pid] - self._idle[pid] for pid in self._idle)

    def _sample(self) -> None:
        while not self._stopped.wait(EVERY):
            peak = self._peak
            for pid, size in renderers(os.getpid()).items():
                peak[pid] = max(size, peak.get(pid, 0))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
