"""/dev/attestation as Gramine shows it to one SGX enclave, with a synthetic processor behind it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from strongroom.enclave.platform import gramine, pseudo_files
from strongroom.enclave.platform.synthetic_pki import CPU_SVN, SyntheticPki
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from tests.support.fake_files import FakeFiles, PseudoFile

ROOT = Path("/dev/attestation")
MEASUREMENT = hashlib.sha256(b"this enclave").digest()
SIGNER = hashlib.sha256(b"its signer").digest()
SVN = 7
TARGET = bytes(range(256)) * 2


class FakeGramine:
    """`install` makes the back end see it. Every file is in `files`, for a test to bend."""

    def __init__(self) -> None:
        self.os = FakeFiles()
        self.user_report_data = bytes(64)
        self.target_info = b""
        self.mrenclave_key = hashlib.md5(b"EGETKEY, MRENCLAVE").digest()
        self.pki = SyntheticPki(bytes(32), 1_700_000_000)
        self.files = self.os.files
        for name, file in {
            "attestation_type": PseudoFile(lambda: b"dcap"),
            "user_report_data": PseudoFile(lambda: self.user_report_data, self._take_report_data),
            "quote": PseudoFile(self.quote),
            "my_target_info": PseudoFile(lambda: TARGET),
            "target_info": PseudoFile(lambda: self.target_info, self._take_target),
            "report": PseudoFile(self.report),
            "keys/_sgx_mrenclave": PseudoFile(lambda: self.mrenclave_key),
            "keys/_sgx_mrsigner": PseudoFile(lambda: hashlib.md5(b"EGETKEY, MRSIGNER").digest()),
        }.items():
            self.files[ROOT / name] = file

    def install(self, monkeypatch):
        monkeypatch.setattr(pseudo_files, "os", self.os)
        monkeypatch.setattr(gramine, "os", self.os)
        return self

    def body(self) -> bytes:
        return EnclaveReport(MEASUREMENT, SIGNER, 1, SVN, self.user_report_data).pack()

    def quote(self) -> bytes:
        report = EnclaveReport(MEASUREMENT, SIGNER, 1, SVN, self.user_report_data)
        return synthetic_quote(self.pki, report)

    def report(self) -> bytes:
        assert self.target_info == TARGET, "Gramine makes a report for whoever is in target_info"
        return self.body() + bytes(48)  # key id and MAC

    def _take_report_data(self, content: bytes) -> int:
        self.user_report_data = content[:64].ljust(64, b"\0")  # each write replaces the whole
        return len(content)

    def _take_target(self, content: bytes) -> int:
        self.target_info = content
        return len(content)


LABEL = f"SGX, MRENCLAVE {MEASUREMENT.hex()}, CPUSVN {CPU_SVN.hex()}, ISVSVN {SVN}"
