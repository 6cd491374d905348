"""Intel TDX: a confidential virtual machine, whose quotes come from configfs-tsm.

A TD has no sealing key: the processor gives a guest none. Its key ring comes from a running instance or from the
custodians at each start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from strongroom.enclave.platform.port import Quoted
from strongroom.enclave.platform.pseudo_files import unavailable
from strongroom.enclave.platform.tsm import ROOT, TsmReports
from strongroom.enclave.platform.vsock import HOST, Guest, network_through

# Offsets of "Intel TDX DCAP Quoting Library API", appendix 3: header, then the TD's report; version 5 puts a type (2
# bytes) and a size (4) before the report. Report data end its first 584 bytes. Then the length of the signatures (4).
_HEADER: Final = 48
_BODY: Final = 584
_REPORT_DATA: Final = slice(520, 584)


class Tdx(Guest):
    """`Platform` of a TD."""

    def __init__(self, root: Path = ROOT) -> None:
        super().__init__(network_through(HOST))
        self._reports: Final = TsmReports("tdx_guest", root)

    @property
    def kind(self) -> Literal["tdx"]:
        return "tdx"

    def quote(self, report_data: bytes) -> Quoted:
        """Raises ValueError unless there are exactly 64 bytes to quote, and `Unavailable` QUOTE_UNAVAILABLE."""
        quote, body = _cut(self._reports.ask(report_data).report)
        if body[_REPORT_DATA] != report_data:
            raise unavailable("the quote is over other report data")
        return Quoted(quote, None)

    def sealing_key(self) -> None:
        return None


def _cut(buffer: bytes) -> tuple[bytes, bytes]:
    """The quote without the zeros that some hosts pad it with, and the TD's report within it. Raises `Unavailable`."""
    match int.from_bytes(buffer[:2], "little"):
        case 4:
            start, size = _HEADER, _BODY
        case 5:
            start, size = _HEADER + 6, int.from_bytes(buffer[_HEADER + 2 : _HEADER + 6], "little")
        case _:
            raise unavailable("this is no TDX quote of version 4 or 5")
    signatures = start + size + 4
    end = signatures + int.from_bytes(buffer[signatures - 4 : signatures], "little")
    if not signatures < end <= len(buffer) or any(buffer[end:]):
        raise unavailable("the quote is not as long as it says")
    return buffer[:end], buffer[start : start + size]
