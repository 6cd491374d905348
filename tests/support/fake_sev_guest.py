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


GUIDS = {  # in the order of their text: "SEV-ES Guest-Hypervisor Communication Block Standardization", 4.1.8.1
    "VCEK": "63da758de6644564adc5f4b93be8accd",
    "VLEK": "a8074bc2a25a483eaae639c045a0b8a1",
    "ASK": "4ab7b379bbac4fe4a02f05aef327c782",
    "ARK": "c0b406a4a80349529743" + "3fb6014cd0ae",
    "CRL": "92f81bc358114d3d97ffd19f88dc67ea",
    "other": "00112233445566778899aabbccddeeff",
}


def table(*entries):
    """The host's certificate table of (name, DER)."""
    offset = (len(entries) + 1) * 24
    head, body = b"", b""
    for name, der in entries:
        head += bytes.fromhex(GUIDS[name]) + struct.pack("<II", offset + len(body), len(der))
        body += der
    return head + bytes(24) + body
