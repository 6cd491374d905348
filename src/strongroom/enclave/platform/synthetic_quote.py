"""Complete SGX quotes of version 3 under a development root: what a quoting enclave would make, without hardware.

Layout as in Intel's "SGX ECDSA QuoteGenReference": header, enclave report, and the signature data that chain them to
the PCK certificate. Integers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.platform.synthetic_pki import (
    CPU_SVN,
    PCE_SVN,
    QE_PRODUCT_ID,
    QE_SIGNER,
    QE_SVN,
    SyntheticPki,
    raw_public_key,
    raw_signature,
)
from strongroom.protocol.primitives import fingerprint

INIT: Final = 0x01
MODE64: Final = 0x04
PROVISION_KEY: Final = 0x10

_VERSION: Final = 3
_ECDSA_P256: Final = 2
_TEE_SGX: Final = 0
_PCK_CHAIN: Final = 5
_INTEL_QE: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""Vendor id that the format demands."""
_QE_MEASUREMENT: Final = b"INSECURE DEVELOPMENT QE".ljust(32, b"\x00")


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """The 384 bytes that a processor would sign for."""

    measurement: bytes
    signer: bytes
    product_id: int
    svn: int
    report_data: bytes
    """64 bytes."""
    flags: int = INIT | MODE64

    def pack(self) -> bytes:
        return struct.pack(
            "<16sI28xQQ32s32x32s96xHH60x64s",
            CPU_SVN,
            0,
            self.flags,
            0x07,
            self.measurement,
            self.signer,
            self.product_id,
            self.svn,
            self.report_data,
        )


def synthetic_quote(pki: SyntheticPki, report: EnclaveReport) -> bytes:
    """A quote over `report`, signed all the way up to the root of `pki`."""
    header = struct.pack(
        "<HHIHH16s20s",
        _VERSION,
        _ECDSA_P256,
        _TEE_SGX,
        QE_SVN,
        PCE_SVN,
        _INTEL_QE,
        pki.bytes_for(b"platform", 16),
    )
    signed = header + report.pack()
    auth = pki.bytes_for(b"qe authentication data", 32)
    attestation_key = raw_public_key(pki.attestation_key)
    qe_report = EnclaveReport(
        measurement=_QE_MEASUREMENT,
        signer=QE_SIGNER,
        product_id=QE_PRODUCT_ID,
        svn=QE_SVN,
        report_data=fingerprint(attestation_key + auth) + bytes(32),
        flags=INIT | MODE64 | PROVISION_KEY,
    ).pack()
    chain = pki.pck_chain + b"\x00"
    signatures = b"".join(
        (
            raw_signature(pki.attestation_key, signed),
            attestation_key,
            qe_report,
            raw_signature(pki.pck_key, qe_report),
            struct.pack("<H", len(auth)),
            auth,
            struct.pack("<HI", _PCK_CHAIN, len(chain)),
            chain,
        )
    )
    return signed + struct.pack("<I", len(signatures)) + signatures
