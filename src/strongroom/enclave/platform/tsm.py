"""Attestation reports of a confidential machine from Linux's configfs-tsm.

After the kernel's "Documentation/ABI/testing/configfs-tsm-report": a directory is a request, a write to one of its
attributes raises its `generation`, and reading `outblob` makes the report of what was written last.

A configfs binary attribute is handed over when its file is closed, and what the kernel thinks of it is dropped
there: a write that failed looks like one that did not. Only the generation tells, so it is held to the number of our
writes; more means that somebody else wrote into our request.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from strongroom.enclave.platform.pseudo_files import read_pseudo_file, unavailable, write_pseudo_file

ROOT: Final = Path("/sys/kernel/config/tsm/report")

Provider = Literal["tdx_guest", "sev_guest"]

_LONGEST: Final = 32 * 1024
"""Of a report, and of what comes with it (TSM_REPORT_OUTBLOB_MAX)."""
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.25
_PASSING: Final = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})
"""The machine still answers an earlier request, or was interrupted. Anything else is no better a moment later."""


class TsmReport(NamedTuple):
    report: bytes
    auxiliary: bytes
    """What the host sent along; empty where there is nothing."""


class TsmReports:
    """Asks for reports of the format `provider`. `privilege_level` is the one to be reported, where there is such."""

    def __init__(self, provider: Provider, root: Path, *, privilege_level: int | None = None) -> None:
        self._provider: Final = provider
        self._root: Final = root
        self._privilege_level: Final = privilege_level

    def ask(self, report_data: bytes) -> TsmReport:
        """A report over exactly these 64 bytes, made now. Raises ValueError, and `Unavailable` QUOTE_UNAVAILABLE.

        Blocks for as long as the machine takes: at each turn of the instance's key, not at each request.
        """
        if len(report_data) != 64:
            raise ValueError("report data are 64 bytes")
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE)
            try:
                report = self._request(lambda directory: self._try(directory, report_data))
            except OSError as error:
                reason = _explain(error)
                if error.errno not in _PASSING:
                    break
            else:
                if report is not None:
                    return report
                reason = "somebody else wrote into the request, or a write was lost"
        raise unavailable(reason)

    def _request(self, use: Callable[[Path], TsmReport | None]) -> TsmReport | None:
        directory = self._root / f"strongroom-{os.urandom(8).hex()}"
        os.mkdir(directory, 0o700)
        try:
            return use(directory)
        finally:
            with suppress(OSError):  # a request left lying costs the kernel a little memory, us nothing
                os.rmdir(directory)

    def _try(self, directory: Path, report_data: bytes) -> TsmReport | None:
        """None if the generation is not what our writes make it. Raises OSError, `Unavailable`."""
        provider = _text(directory / "provider")
        if provider != self._provider:
            raise unavailable(f"reports here are made by {provider!a}, not by {self._provider}")
        before = _number(directory / "generation")
        writes = 1
        if self._privilege_level is not None:
            write_pseudo_file(directory / "privlevel", b"%d" % self._privilege_level)
            writes += 1
        write_pseudo_file(directory / "inblob", report_data)
        report = read_pseudo_file(directory / "outblob", most=_LONGEST)
        # TDX shows no auxblob: its certificates are in the quote.
        auxiliary = b"" if self._provider == "tdx_guest" else read_pseudo_file(directory / "auxblob", most=_LONGEST)
        if _number(directory / "generation") != before + writes:
            return None
        return TsmReport(report, auxiliary)


def _text(path: Path) -> str:
    return read_pseudo_file(path, most=4096).decode("ascii", "replace").strip()


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise unavailable(f"{path.name} is no number")
    return int(text)


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.ENXIO:
            return "no driver makes reports on this machine (is the guest driver loaded?)"
        case errno.ENOENT:
            return "there is no configfs-tsm here (is configfs mounted, and the kernel 6.7 or newer?)"
        case errno.EBUSY:
            return "the machine still answers an earlier request"
        case _:
            return f"no report: {error.strerror}"
