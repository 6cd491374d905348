"""configfs-tsm as Linux has it: directories that are requests, and what the kernel does when they are used.

The behaviour is that of drivers/virt/coco/guest/report.c: a binary attribute is handed over at its close, where the
result is dropped; `outblob` is made at its first reading after a write.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

from strongroom.enclave.platform import pseudo_files, tsm
from tests.support.fake_files import FakeFiles, PseudoFile

MEASUREMENT = hashlib.sha384(b"this machine").digest()
POLICY = 0x30000


def snp_report(report_data: bytes) -> bytes:
    """1,184 bytes in the place of a report: unsigned."""
    report = bytearray(1184)
    report[0:16] = struct.pack("<IIQ", 2, 0, POLICY)
    report[0x50:0x90] = report_data
    report[0x90:0xC0] = MEASUREMENT
    return bytes(report)


def tdx_quote(report_data: bytes, version: int = 4) -> bytes:
    """Header, report and signatures in the form of a quote: unsigned."""
    body = bytes(520) + report_data
    if version == 5:
        body = struct.pack("<HI", 3, 648) + body + bytes(64)
    return struct.pack("<HHI40x", version, 2, 0x81) + body + struct.pack("<I", 200) + bytes([1] * 200)


class Request:
    """One directory."""

    def __init__(self, kernel: FakeTsm) -> None:
        self.kernel = kernel
        self.generation = 0
        self.inblob = b""
        self.privlevel = 0


class FakeTsm:
    """`install` makes the back ends see it, below `ROOT`. `make` is the machine: 64 bytes of report data → report."""

    def __init__(self, provider: str, make: Callable[[bytes], bytes]) -> None:
        self.provider = provider
        self.make = make
        self.auxblob = b""
        self.os = FakeFiles()
        self.requests: list[Request] = []
        self.open_directories: set[Path] = set()
        self.before_outblob: Callable[[Request], None] = lambda request: None
        self.drops: list[str] = []
        """Attributes whose next write gets lost, each as often as it is named."""
        self.pauses: list[float] = []
        self.os.mkdir = self.mkdir  # type: ignore[attr-defined]
        self.os.rmdir = self.rmdir  # type: ignore[attr-defined]

    def install(self, monkeypatch):
        monkeypatch.setattr(pseudo_files, "os", self.os)
        monkeypatch.setattr(tsm, "os", self.os)
        monkeypatch.setattr("strongroom.enclave.platform.tsm.time.sleep", self.pauses.append)
        return self

    def mkdir(self, path, mode):
        if Path(path).parent != tsm.ROOT:
            raise self.os.fail(2, path)
        request = Request(self)
        self.requests.append(request)
        self.open_directories.add(Path(path))
        files = {
            "provider": PseudoFile(lambda: f"{self.provider}\n".encode()),
            "generation": PseudoFile(lambda: b"%d\n" % request.generation),
            "inblob": PseudoFile(bytes, lambda content: self.take(request, "inblob", content)),
            "outblob": PseudoFile(lambda: self.outblob(request)),
        }
        if self.provider == "sev_guest":
            files["privlevel"] = PseudoFile(bytes, lambda content: self.take(request, "privlevel", int(content)))
            files["auxblob"] = PseudoFile(lambda: self.auxblob)
        for name, file in files.items():
            self.os.files[Path(path) / name] = file

    def rmdir(self, path):
        self.open_directories.remove(Path(path))
        for file in [file for file in self.os.files if file.parent == Path(path)]:
            del self.os.files[file]

    def take(self, request: Request, name: str, content) -> int:
        if name in self.drops:
            self.drops.remove(name)
        else:
            setattr(request, name, content)
            request.generation += 1
        return len(content) if isinstance(content, bytes) else len(str(content))

    def outblob(self, request: Request) -> bytes:
        self.before_outblob(request)
        if not request.inblob:
            raise self.os.fail(22, "outblob")
        return self.make(request.inblob)
