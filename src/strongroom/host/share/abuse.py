"""Reports of abuse: kept in a file for the operator, who can't read a share and needs to be told of it.

Whoever reports names the share and says why. The host can close nothing by itself (it does not know which blob belongs
to which record); it is the operator who decides, and who asks back.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strongroom.host.share.answers import Answer, Problem, nothing
from strongroom.host.share.connection import Request
from strongroom.protocol.errors import Number

FILE: Final = "abuse.jsonl"
MAX_REPORT: Final = 4096
"""Bytes of one report."""
MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes of all; the operator moves the file away. The only bound on all reports together: a count of them would let
forty addresses keep everybody else's from the operator for an hour, and then again."""
PER_ADDRESS: Final = 5
"""Reports in an hour."""
_ADDRESSES: Final = 65_536
"""That are remembered; who can send from more than these is bounded by `MAX_FILE` alone."""
_HOUR: Final = 3600.0
_log: Final = logging.getLogger("strongroom.host.share")
_SHARE: Final = re.compile(r"[0-9a-f]{32}")


class Abuse:
    """Appends to `folder`/abuse.jsonl. `now` gives Unix seconds; `address` whom a request counts against."""

    def __init__(self, folder: Path, now: Callable[[], float], address: Callable[[Request], str]) -> None:
        self.path: Final = folder / FILE
        self._now = now
        self._address = address
        self._recent: dict[str, list[float]] = {}
        """From where and when, in memory only; who asked last is last."""
        self._told = False

    async def handle(self, request: Request) -> Answer:
        """Raises `Problem`."""
        if request.method != "POST":
            raise Problem(405, Number.MALFORMED, "a report is sent with POST", allow="POST")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            # A form on somebody else's page can't send this type: no visitor reports without knowing.
            raise Problem(415, Number.MALFORMED, "a report is application/json")
        share, text = _report(await request.body.read(MAX_REPORT))
        now = self._now()
        self._verify_rate(self._address(request), now)
        line = json.dumps({"at": int(now), "share": share, "text": text}) + "\n"
        try:
            await asyncio.to_thread(self._append, line.encode())
            self._told = False
        except OSError as error:
            if not self._told:  # once: else whoever reports fills the log instead
                _log.error("reports of abuse are lost: %s: %s", self.path, error.strerror)
                self._told = True
            raise Problem(
                503, Number.STORE_UNAVAILABLE, "the report could not be kept; write to the operator", retry_after="60"
            ) from None
        return nothing(204, {"cache-control": "no-store"})

    def _verify_rate(self, address: str, now: float) -> None:
        """Raises `Problem`; counts otherwise."""
        mine = [at for at in self._recent.pop(address, []) if abs(now - at) < _HOUR]
        self._recent[address] = mine
        if len(mine) >= PER_ADDRESS:
            raise Problem(429, Number.THROTTLED, "too many reports; try again in an hour", retry_after="3600")
        mine.append(now)
        if len(self._recent) > _ADDRESSES:
            del self._recent[next(iter(self._recent))]

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(line) > MAX_FILE:
                raise OSError(errno.EFBIG, "the file is full; read it and move it away")
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _report(body: bytes) -> tuple[str, str]:
    """Share and text. Raises `Problem`."""
    wanted = 'a report is {"share": "32 hex digits", "text": "what is wrong"}'
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, Number.MALFORMED, wanted) from None
    if not isinstance(report, dict) or set(report) != {"share", "text"}:
        raise Problem(400, Number.MALFORMED, wanted)
    share, text = report["share"], report["text"]
    if not isinstance(share, str) or not _SHARE.fullmatch(share) or not isinstance(text, str) or not text.strip():
        raise Problem(400, Number.MALFORMED, wanted)
    return share, text
