"""AMD SEV-SNP: a confidential virtual machine whose reports come from configfs-tsm and its sealing key from sev-guest.

The image is ours from the first instruction on: it runs at privilege level (VMPL) 0, above it there is nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from strongroom.enclave.platform.port import Quoted, SealingKey
from strongroom.enclave.platform.pseudo_files import unavailable
from strongroom.enclave.platform.snp_device import DEVICE, derived_key
from strongroom.enclave.platform.tsm import ROOT, TsmReport, TsmReports
from strongroom.enclave.platform.vsock import HOST, Guest, network_through
from strongroom.protocol.primitives import Domain, derive_key

VMPL: Final = 0

# Offsets in ATTESTATION_REPORT ("SEV Secure Nested Paging Firmware ABI Specification", table of that name).
_REPORT: Final = 1184
_GUEST_POLICY: Final = slice(0x08, 0x10)
_REPORT_DATA: Final = slice(0x50, 0x90)
_MEASUREMENT: Final = slice(0x90, 0xC0)


class Snp(Guest):
    """`Platform` of an SNP guest."""

    def __init__(self, root: Path = ROOT, device: Path = DEVICE) -> None:
        super().__init__(network_through(HOST))
        self._reports: Final = TsmReports("sev_guest", root, privilege_level=VMPL)
        self._device: Final = device

    @property
    def kind(self) -> Literal["snp"]:
        return "snp"

    def quote(self, report_data: bytes) -> Quoted:
        """Raises ValueError unless there are exactly 64 bytes to quote, and `Unavailable` QUOTE_UNAVAILABLE."""
        answer = self._ask(report_data)
        return Quoted(answer.report, None, answer.auxiliary)

    def sealing_key(self) -> SealingKey:
        """Derived by AMD's secure processor from this chip, this measurement and this guest policy.

        The policy is in it because the host chooses it: a guest of the same measurement whose policy allows debugging
        gets another key. Raises `Unavailable` QUOTE_UNAVAILABLE.
        """
        report = self._ask(bytes(64)).report
        policy = int.from_bytes(report[_GUEST_POLICY], "little")
        label = f"SEV-SNP, MEASUREMENT {report[_MEASUREMENT].hex()}, POLICY {policy:#x}, this chip and its firmware"
        return SealingKey(derive_key(derived_key(self._device, VMPL), Domain.PLATFORM_SEALING, b"snp"), label)

    def _ask(self, report_data: bytes) -> TsmReport:
        answer = self._reports.ask(report_data)
        if len(answer.report) != _REPORT:
            raise unavailable(f"a report of {len(answer.report)} bytes is none")
        if answer.report[_REPORT_DATA] != report_data:
            raise unavailable("the report is over other report data")
        return answer
