"""/dev/sev-guest: an `ioctl` that reads and writes the memory which a call names, as the kernel does."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

KEY = bytes(range(32))


class FakeSevGuest:
    """Put in the place of `fcntl.ioctl`. `answer` is what the secure processor writes, `failure` an errno."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self.answer = bytes(32) + KEY
        self.failure = 0
        self.error = 0
        """`exitinfo2` of a call that fails: the host's error in its high half, the firmware's in its low half."""
        self.calls: list[tuple[int, bytes, bytes]] = []
        device.touch()

    def install(self, monkeypatch):
        monkeypatch.setattr("strongroom.enclave.platform.snp_device.fcntl.ioctl", self)
        return self

    def __call__(self, descriptor, number, call):
        version, request, response, _ = struct.unpack("<B7xQQQ", call)
        self.calls.append((number, bytes([version]), ctypes.string_at(request, 32)))
        call[24:] = struct.pack("<Q", self.error)
        if self.failure:
            raise OSError(self.failure, "it failed")
        ctypes.memmove(response, self.answer, 64)
