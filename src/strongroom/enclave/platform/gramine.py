"""SGX under Gramine: quotes and the sealing key come from the pseudo-files of /dev/attestation.

Written after Gramine 1.9's "Attestation and Secret Provisioning" (low-level interface) and "Manifest syntax" (SGX
sealing keys). Gramine itself is measured with the program; what lies behind it, the quoting enclave's service, is the
host's. So a quote is looked at before it is handed on: it may be late, missing, or another one.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, Literal

from strongroom.enclave.platform.hardware import Hardware
from strongroom.enclave.platform.machine_network import MachineNetwork
from strongroom.enclave.platform.port import Quoted, SealingKey
from strongroom.enclave.platform.pseudo_files import read_pseudo_file, unavailable, write_pseudo_file
from strongroom.protocol.evidence import Role
from strongroom.protocol.primitives import Domain, derive_key

ROOT: Final = Path("/dev/attestation")

# Offsets in an enclave report body ("Intel SDM" volume 3D, REPORT; the quote holds it behind its header).
_CPU_SVN: Final = slice(0, 16)
_MEASUREMENT: Final = slice(64, 96)
_SVN: Final = slice(258, 260)
_REPORT_DATA: Final = slice(320, 384)
_REPORT: Final = 432
_REPORT_BODY: Final = 384
_QUOTE_HEADER: Final = 48
_SHORTEST_QUOTE: Final = _QUOTE_HEADER + _REPORT_BODY + 4 + 576
"""Header, report, length, and an ECDSA signature section with nothing of variable length."""
_LONGEST_QUOTE: Final = 32 * 1024
_TARGET_INFO: Final = 512
_SEALING_KEY: Final = 16

_device = threading.Lock()
"""The pseudo-files keep what was written last for the whole process: another thread's report data must not get
between our writing and our reading."""


class Gramine(MachineNetwork, Hardware):
    """`Platform` of an enclave of role `role`. Raises `Unavailable` where there is no quote to be had."""

    def __init__(self, role: Role, root: Path = ROOT) -> None:
        # Seen by the files, which exist inside an SGX enclave only; an environment variable says what its author
        # likes (`gramine-direct` runs the same manifest without any enclave).
        try:
            kind = read_pseudo_file(root / "attestation_type", most=64)
            os.stat(root / "quote")
        except OSError as error:
            raise unavailable(f"this is no SGX enclave with remote attestation: {error.strerror}") from None
        if kind != b"dcap":
            raise unavailable("the manifest's sgx.remote_attestation is not dcap")
        self._role: Final = role
        self._root: Final = root

    @property
    def kind(self) -> Literal["sgx"]:
        return "sgx"

    def quote(self, report_data: bytes) -> Quoted:
        """Raises ValueError unless there are exactly 64 bytes to quote, and `Unavailable` QUOTE_UNAVAILABLE."""
        if len(report_data) != 64:
            raise ValueError("report data are 64 bytes")
        try:
            with _device:
                write_pseudo_file(self._root / "user_report_data", report_data)
                quote = read_pseudo_file(self._root / "quote", most=_LONGEST_QUOTE)
        except OSError as error:
            raise unavailable(f"no quote: {error.strerror}; does the quoting service (aesmd) run?") from None
        if len(quote) < _SHORTEST_QUOTE:
            raise unavailable(f"a quote of {len(quote)} bytes is none")
        if quote[_QUOTE_HEADER:][_REPORT_DATA] != report_data:
            raise unavailable("the quote is over other report data")
        return Quoted(quote, None)

    def sealing_key(self) -> SealingKey:
        """From EGETKEY's key for this MRENCLAVE (128 bits). Raises `Unavailable` QUOTE_UNAVAILABLE.

        Gramine also offers `_sgx_mrsigner`. It is never used: whoever holds the signing key could sign a program that
        prints what ours has sealed (RULES 8). No encrypted mount may use `_sgx_mrenclave` beside us: two uses of one
        key may give it away.

        The key changes with the processor's microcode and with the enclave's security version, which is what makes
        it safe: an older, broken state can't get it. Gramine asks for the key of the present state only, so after
        either update the ring opens by its other wrap.
        """
        try:
            secret = read_pseudo_file(self._root / "keys" / "_sgx_mrenclave", most=_SEALING_KEY)
            report = self._own_report()
        except OSError as error:
            raise unavailable(f"no sealing key: {error.strerror}") from None
        if len(secret) != _SEALING_KEY or not any(secret):
            raise unavailable("the sealing key is not set")
        label = (
            f"SGX, MRENCLAVE {report[_MEASUREMENT].hex()}, CPUSVN {report[_CPU_SVN].hex()}, "
            f"ISVSVN {int.from_bytes(report[_SVN], 'little')}"
        )
        return SealingKey(derive_key(secret, Domain.PLATFORM_SEALING, b"sgx", self._role.encode()), label)

    def _own_report(self) -> bytes:
        """EREPORT's answer (432 bytes) to ourselves: it does not leave the processor, unlike a quote."""
        with _device:
            target = read_pseudo_file(self._root / "my_target_info", most=_TARGET_INFO)
            write_pseudo_file(self._root / "target_info", target)
            write_pseudo_file(self._root / "user_report_data", bytes(64))
            report = read_pseudo_file(self._root / "report", most=_REPORT)
        if len(report) != _REPORT:
            raise unavailable(f"a report of {len(report)} bytes is none")
        return report
