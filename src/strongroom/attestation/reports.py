"""What verified evidence says, one type for each platform: read by policies, shown to people, decided by nobody here.

Every value stands under the signature of the platform's maker. Whether it is good enough is `acceptance`'s question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the hardware of every platform vouches for."""

    registers: tuple[tuple[str, bytes], ...]
    """Name and value of each register that says which program this is, in the maker's order and words."""
    report_data: bytes
    """64 bytes that the program chose: for us, the commitment to the claims."""
    root: bytes
    """SHA-256 of the DER of the root certificate under which all this verified."""
    proven_at: int
    """Unix seconds: the latest time that maker or hardware signed as past. May raise a clock floor (RULES 24)."""
    valid_until: int
    """Unix seconds at which the first of the things that it rests on (certificate, list, statement) expires."""

    @property
    def measurement(self) -> bytes:
        """The registers, one behind the other: 32 bytes on SGX, 48 on SNP, 240 on TDX, 144 on Nitro."""
        return b"".join(value for _, value in self.registers)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelState:
    """State of the machine below an enclave or TD, as Intel sees it."""

    tcb_status: str
    advisories: tuple[str, ...]
    tcb_evaluation_number: int
    """The lower one of TCB info and QE identity."""
    tcb_date: int
    """Unix seconds of the TCB level that the machine reaches; the earlier one of platform and quoting enclave."""
    platform_id: bytes
    """PPID (16): names the processor package."""
    smt: bool | None
    """Simultaneous multithreading; None, here and below, where the PCK certificate doesn't state it."""
    dynamic_platform: bool | None
    """Packages may be added to the machine."""
    cached_keys: bool | None
    """Platform root keys are kept by Intel's registration service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxReport(Report):
    """An SGX quote of version 3. Register: MRENCLAVE (32)."""

    signer: bytes
    """MRSIGNER (32)."""
    product_id: int
    svn: int
    intel: IntelState


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxReport(Report):
    """A TDX quote of version 4 or 5. Registers: MRTD, RTMR0 to RTMR3 (48 each)."""

    td_attributes: int
    """64 bits, as the "Intel TDX Module ABI" numbers them."""
    xfam: int
    mr_seam: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    """48 bytes each; the last three are chosen by the host, and our programs never read them."""
    intel: IntelState


class SnpTcb(NamedTuple):
    """Security versions of the parts of an AMD platform; `fmc` is 0 before Turin."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport(Report):
    """An SEV-SNP attestation report. Register: MEASUREMENT (48)."""

    product: Literal["Milan", "Genoa", "Turin"]
    """By the pinned chain under which it verified."""
    key: Literal["vcek", "vlek"]
    """VLEK: a key that AMD lends to a cloud provider; it names no chip."""
    provider: str
    """Whom AMD lent the VLEK to, as its certificate says ("CN=cc-us-east-2.amazonaws.com"); empty under a VCEK."""
    guest_policy: int
    """64 bits, as AMD's "SEV Secure Nested Paging Firmware ABI" numbers them."""
    vmpl: int
    guest_svn: int
    family_id: bytes
    image_id: bytes
    """16 bytes each, from the ID block."""
    id_key_digest: bytes
    author_key_digest: bytes
    """48 bytes each: SHA-384 of the keys that signed the ID block; zero where there is none."""
    tcb: SnpTcb
    """REPORTED_TCB, which the leaf certificate repeats."""
    committed_tcb: SnpTcb
    """COMMITTED_TCB: what the host can still go back to."""
    launch_tcb: SnpTcb
    """LAUNCH_TCB: what measured the guest when it started, or when it last moved."""
    chip_id: bytes
    """64 bytes; zero under a VLEK."""
    crl_checked: bool
    """True: a current list of AMD's was there, and revokes nothing that this rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroReport(Report):
    """An AWS Nitro attestation document. Registers: PCR0 to PCR2 (48 each)."""

    pcrs: dict[int, bytes]
    """Every locked register, 48 bytes each."""
    module_id: str
    """`i-INSTANCE-encENCLAVE`."""
    signed_at: int
    """Unix seconds: time of the document, which the hypervisor signs."""


AnyReport = SgxReport | TdxReport | SnpReport | NitroReport
