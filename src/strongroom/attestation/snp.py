"""AMD SEV-SNP attestation reports: from untrusted bytes to a verified report.

Layouts are those of AMD's "SEV Secure Nested Paging Firmware ABI Specification" (56860, revision 1.58): the report in
table 23, TCB_VERSION in section 2.2, the signature in chapter 10. Certificates are those of the "VCEK Certificate and
KDS Interface Specification" (57230).

What verifiers of these reports have got wrong elsewhere, and is refused here:
* The product decides how a TCB_VERSION is read. Taken from the report, or guessed from the chip's name, it lets the
  host choose the reading. It is taken from the pinned chain.
* A certificate endorses a key for one chip and one state of its firmware. Every part must be the report's, byte for
  byte: to compare with "at least", or to leave out a part, revives a key whose firmware is known to be broken.
* A report that the host asked for, that nobody signed, or whose guest may be debugged is well-formed all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from strongroom.attestation.amd_chain import Endorsement, verify_amd_chain
from strongroom.attestation.amd_roots import AMD_CHAINS, AmdChain, Product
from strongroom.attestation.reports import SnpReport, SnpTcb
from strongroom.protocol.errors import Number, Untrusted

_LENGTH: Final = 0x4A0
_SIGNED: Final = 0x2A0
"""The signature covers everything before this offset, and stands behind it."""
_ECDSA_P384_SHA384: Final = 1

_WITH_CPUID: Final = 3
_WITH_MITIGATIONS: Final = 5
_VERSIONS: Final = (2, 3, 4, 5)
"""2: the first in the field. 3 adds the processor's family, model and stepping; 4 has the layout of 3; 5 adds the
vectors of mitigations that were verified."""

_RESERVED: Final = ((0x4C, 0x50), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, _SIGNED), (0x330, _LENGTH))
_CPUID: Final = (0x188, 0x18B)
_MITIGATIONS: Final = (0x1F8, 0x208)

_KEYS: Final = {0: "vcek", 1: "vlek"}
_UNSIGNED: Final = 7
_AUTHOR_KEY_EN: Final = 1
_MASK_CHIP_KEY: Final = 2

_POLICY_ONE: Final = 1 << 17
_POLICY_DEBUG: Final = 1 << 19
_POLICY_BITS: Final = 26
"""Bits that the ABI defines; PAGE_SWAP_DISABLE is the highest."""
_LOWEST_VMPL: Final = 3
_HOST: Final = 0xFFFFFFFF
"""VMPL of a report that the host asked for (SNP_HV_REPORT_REQ)."""

_REPORTED_TCB: Final = 0x180
_TCBS: Final = {"CURRENT_TCB": 0x38, "REPORTED_TCB": _REPORTED_TCB, "COMMITTED_TCB": 0x1E0, "LAUNCH_TCB": 0x1F0}
_EARLY: Final = ("3.1", "3.2", "3.4", "3.5", "3.6", "3.7", "3.3", "3.8")
_TCB_LAYOUTS: Final[dict[Product, tuple[str, ...]]] = {
    "Milan": _EARLY,
    "Genoa": _EARLY,
    "Turin": ("3.9", "3.1", "3.2", "3.3", "3.5", "3.6", "3.7", "3.8"),
}
"""For each byte of a TCB_VERSION, the certificate extension that repeats it."""
_PARTS: Final = {"3.1": "bootloader", "3.2": "tee", "3.3": "snp", "3.8": "microcode", "3.9": "fmc"}
"""What these extensions stand for; the others are reserved."""

_NAMES: Final[dict[Product, re.Pattern[bytes]]] = {
    "Milan": re.compile(rb"Milan(-[A-Z][0-9])?"),
    "Genoa": re.compile(rb"(Genoa|Bergamo|Siena)(-[A-Z][0-9])?"),
    "Turin": re.compile(rb"Turin(-[A-Z][0-9])?"),
}
"""Product names in certificates, with the stepping in some; three lines of processors share the Genoa keys."""
_MODELS: Final[dict[Product, tuple[int, tuple[range, ...]]]] = {
    "Milan": (0x19, (range(0x00, 0x10),)),
    "Genoa": (0x19, (range(0x10, 0x20), range(0xA0, 0xB0))),
    "Turin": (0x1A, (range(0x00, 0x20),)),
}
"""CPUID family, and models, of each."""
_TURIN_CHIP: Final = 8
"""Bytes of CHIP_ID that Turin uses; the other products use all 64."""
_STRUCT_VERSIONS: Final = (b"\x02\x01\x00", b"\x02\x01\x01")
_IA5_STRING: Final = 0x16
_OCTET_STRING: Final = 0x04
_PROVIDER: Final = re.compile(rb"\x16(.)([ -~]{1,127})", re.DOTALL)
"""IA5String, short form."""


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _number(report: bytes, at: int, size: int) -> int:
    return int.from_bytes(report[at : at + size], "little")


def _integer(value: int) -> bytes:
    """DER of an INTEGER below 256."""
    return bytes((2, 1, value)) if value < 0x80 else bytes((2, 2, 0, value))


def _verify_form(report: bytes) -> None:
    """Whatever can be told from the report alone. Nothing of it is verified yet, and all that this does is refuse."""
    if len(report) != _LENGTH:
        raise _refuse(f"an SNP report is {_LENGTH} bytes long, and this is {len(report)}")
    version = _number(report, 0, 4)
    if version not in _VERSIONS:
        raise _refuse(f"version {version} of SNP reports is not known here")
    if _number(report, 0x34, 4) != _ECDSA_P384_SHA384:
        raise _refuse("the report is not signed with ECDSA P-384 and SHA-384")
    empty = list(_RESERVED)
    if version < _WITH_CPUID:
        empty.append(_CPUID)
    if version < _WITH_MITIGATIONS:
        empty.append(_MITIGATIONS)
    if any(any(report[start:end]) for start, end in empty) or _number(report, 0x48, 4) >> 5:
        raise _refuse("a reserved part of the report is not zero")
    policy = _number(report, 0x08, 8)
    if not policy & _POLICY_ONE or policy >> _POLICY_BITS:
        raise _refuse("the guest policy has bits that are not known here")
    vmpl = _number(report, 0x30, 4)
    if vmpl == _HOST:
        raise _refuse("the host asked for this report, not the guest")
    if vmpl > _LOWEST_VMPL:
        raise _refuse("there is no such privilege level (VMPL)")
    # The signer of a guest is known by this digest, so that a stray one would let anybody be an author.
    if bool(_number(report, 0x48, 4) & _AUTHOR_KEY_EN) != any(report[0x110:0x140]):
        raise _refuse("the report has an author key without saying so, or the reverse")


def _verify_tcbs(report: bytes, product: Product) -> None:
    """What no firmware reports. COMMITTED_TCB and REPORTED_TCB are at most CURRENT_TCB, each part by itself (56860,
    SNP_COMMIT and SNP_CONFIG). Nothing else holds: on provisional firmware the host may report more than is committed,
    and a guest that migrated keeps the LAUNCH_TCB of the machine on which it started."""
    for name, at in _TCBS.items():
        for offset, extension in enumerate(_TCB_LAYOUTS[product]):
            if report[at + offset] and extension not in _PARTS:
                raise _refuse(f"a reserved part of {name} is not zero")
    for name in ("COMMITTED_TCB", "REPORTED_TCB"):
        for offset, extension in enumerate(_TCB_LAYOUTS[product]):
            if report[_TCBS[name] + offset] > report[_TCBS["CURRENT_TCB"] + offset]:
                raise _refuse(f"{name} is above CURRENT_TCB in {_PARTS[extension]}")


def _verify_key(report: bytes, endorsement: Endorsement) -> None:
    """Raises `Untrusted` unless the report names the kind of key that the chain endorses."""
    flags = _number(report, 0x48, 4)
    selected = flags >> 2 & 7
    if selected == _UNSIGNED:
        raise _refuse("the report says that no key signed it")
    if _KEYS.get(selected) != endorsement.chain.key:
        raise _refuse("the report says that another kind of key signed it than the certificate is for")
    if endorsement.chain.key == "vcek" and flags & _MASK_CHIP_KEY:
        raise _refuse("the report says that the chip's own key is masked, yet that it signed")


def _verify_endorsed(report: bytes, endorsement: Endorsement) -> None:
    """Raises `Untrusted` unless the certificate is for this product, chip and firmware, and says no more than that."""
    product, key = endorsement.chain.product, endorsement.chain.key
    extensions = endorsement.extensions
    layout = _TCB_LAYOUTS[product]
    if set(extensions) != {"1", "2", *layout, "4" if key == "vcek" else "5"}:
        raise _refuse(f"the certificate has not exactly the extensions of a {key.upper()} for {product}")
    if extensions["1"] not in _STRUCT_VERSIONS:
        raise _refuse("the certificate's extensions are of a version that is not known here")
    name = _NAMES[product].fullmatch(extensions["2"][2:])
    if name is None or extensions["2"][:2] != bytes((_IA5_STRING, len(name[0]))):
        raise _refuse(f"the certificate does not name {product} as its product")
    for offset, extension in enumerate(layout):
        if extensions[extension] != _integer(report[_REPORTED_TCB + offset]):
            part = _PARTS.get(extension, "a reserved part")
            raise _refuse(f"the certificate is for another TCB than REPORTED_TCB: {part} differs")
    if _number(report, 0, 4) >= _WITH_CPUID:
        family, models = _MODELS[product]
        if report[0x188] != family or not any(report[0x189] in some for some in models):
            raise _refuse(f"the processor's family and model are not those of {product}")
    chip = report[0x1A0:0x1E0]
    if key == "vlek":
        # No certificate vouches for a chip here, and a policy may list chips.
        if any(chip):
            raise _refuse("a report under a VLEK names no chip, and this one does")
        return
    if not any(chip):
        raise _refuse("the host masks the chip's name (CHIP_ID), so that no certificate of the chip fits")
    used = _TURIN_CHIP if product == "Turin" else len(chip)
    # Contents of the extension are the bytes themselves, or an OCTET STRING of them in some of KDS's certificates.
    if any(chip[used:]) or extensions["4"] not in (chip[:used], bytes((_OCTET_STRING, used)) + chip[:used]):
        raise _refuse("the certificate is for another chip than CHIP_ID")


def _verify_signature(report: bytes, key: ec.EllipticCurvePublicKey) -> None:
    """Little-endian r and s in 72 bytes each (56860, chapter 10)."""
    der = encode_dss_signature(_number(report, _SIGNED, 72), _number(report, _SIGNED + 72, 72))
    try:
        key.verify(der, report[:_SIGNED], ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise _refuse("the report is not signed by the key that AMD's certificate endorses") from None


def _tcb(report: bytes, name: str, product: Product) -> SnpTcb:
    parts = {_PARTS[one]: report[_TCBS[name] + at] for at, one in enumerate(_TCB_LAYOUTS[product]) if one in _PARTS}
    return SnpTcb(**({"fmc": 0} | parts))


def _provider(endorsement: Endorsement) -> str:
    """To whom AMD lent a VLEK. Raises `Untrusted` unless the certificate says it in characters fit to be shown."""
    if endorsement.chain.key != "vlek":
        return ""
    found = _PROVIDER.fullmatch(endorsement.extensions["5"])
    if found is None or len(found[2]) != found[1][0]:
        raise _refuse("the certificate does not say to which provider its key was lent")
    return found[2].decode("ascii")


def verify_snp_report(
    untrusted_report: bytes, untrusted_collateral: bytes, now: int, *, chains: Sequence[AmdChain] = AMD_CHAINS
) -> SnpReport:
    """Verify a report (1,184 bytes) against its collateral at `now`, unix seconds.

    Collateral is PEM text (at most 64 KiB): certificates of attestation key (VCEK or VLEK), signing key (ASK or ASVK)
    and root (ARK), in this order, optionally followed by the root's revocation list. `chains` are the roots and signing
    keys to trust. A guest that may be debugged is refused; all else that it, its machine and its firmware are is for
    the relying party's policy to judge. Raises `Untrusted` EVIDENCE.
    """
    report = untrusted_report
    _verify_form(report)
    endorsement = verify_amd_chain(untrusted_collateral, now, chains)
    product = endorsement.chain.product
    _verify_key(report, endorsement)
    _verify_endorsed(report, endorsement)
    _verify_tcbs(report, product)
    _verify_signature(report, endorsement.key)
    # Last, or a reason would be the word of whoever set a bit in a good report.
    if _number(report, 0x08, 8) & _POLICY_DEBUG:
        raise _refuse("this guest may be debugged: its host can read all of its memory")
    return SnpReport(
        registers=(("MEASUREMENT", report[0x90:0xC0]),),
        report_data=report[0x50:0x90],
        root=endorsement.chain.ark,
        proven_at=endorsement.proven_at,
        valid_until=endorsement.valid_until,
        product=product,
        key=endorsement.chain.key,
        guest_policy=_number(report, 0x08, 8),
        vmpl=_number(report, 0x30, 4),
        guest_svn=_number(report, 0x04, 4),
        family_id=report[0x10:0x20],
        image_id=report[0x20:0x30],
        id_key_digest=report[0xE0:0x110],
        author_key_digest=report[0x110:0x140],
        provider=_provider(endorsement),
        tcb=_tcb(report, "REPORTED_TCB", product),
        committed_tcb=_tcb(report, "COMMITTED_TCB", product),
        launch_tcb=_tcb(report, "LAUNCH_TCB", product),
        chip_id=report[0x1A0:0x1E0],
        crl_checked=endorsement.crl_checked,
    )
