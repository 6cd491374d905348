"""Processes that live no longer than this one: each holds the end of a pipe and stops when it closes.

The kernel closes the pipe however this process ends, also by SIGKILL, so nothing is left running.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any, Final

from strongroom.cli.terminal import EXIT_FAILED, Failure

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 8.0


class Child:
    """`python -m MODULE …`, started at once; `ready` waits for its JSON object on stdout."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends its children in order
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def ready(self) -> dict[str, Any]:
        """What the process says when it is ready. Raises `Failure` with the end of its log."""
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe)
        deadline = time.monotonic() + READY_SECONDS
        text = b""
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise self._failed(f"was not ready within {READY_SECONDS:.0f} s")
            chunk = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                raise self._failed("ended")
            text += chunk
            try:
                found: dict[str, Any] = json.loads(text)
            except ValueError:
                continue
            return found

    def ask_to_stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """See it end. Asking all before waiting for each makes stopping quick."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _failed(self, what: str) -> Failure:
        self._log.seek(0)
        log = self._log.read().decode(errors="replace").strip().splitlines()[-8:]
        return Failure(f"the demo's {self.name} {what}", "its log ends with: " + " / ".join(log), status=EXIT_FAILED)
