"""What SEV-SNP reports need from AMD's Key Distribution Service.

"VCEK Certificate and KDS Interface Specification" (57230), chapter 4; layout of reports as in "SEV Secure Nested Paging
Firmware ABI Specification" (56860), ATTESTATION_REPORT and TCB_VERSION.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from strongroom.host.collateral.items import (
    MALFORMED,
    Answer,
    Item,
    Unusable,
    certificates,
    common_name,
    first_end,
    revocations,
    seconds,
)
from strongroom.protocol.errors import Number, Unavailable

# AMD numbers every chip's certificate zero, which RFC 5280 forbids: an operator can do nothing about it.
warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning, re.escape(__name__))

Product = Literal["Milan", "Genoa", "Turin"]
Key = Literal["vcek", "vlek"]

SERVICE: Final = "https://kdsintf.amd.com"
PRODUCTS: Final[tuple[Product, ...]] = ("Milan", "Genoa", "Turin")

_SIZE: Final = 1184
_KEY_AT: Final = 0x48
_TCB_AT: Final = 0x180
_CPUID_AT: Final = 0x188
"""Family and model, a byte each; from version 3 of the report."""
_CHIP_AT: Final = 0x1A0
_KEYS: Final[dict[int, Key]] = {0: "vcek", 1: "vlek"}

_OID: Final = "1.3.6.1.4.1.3704.1"
_PARTS_OF_TCB: Final = {"fmc": "3.9", "bl": "3.1", "tee": "3.2", "snp": "3.3", "ucode": "3.8"}
_HWID: Final = "4"


class Report(NamedTuple):
    """The part of a report that says which certificates it is appraised with."""

    key: Key
    products: tuple[Product, ...]
    """The one that it says; all, where it does not (version 2)."""
    chip_id: bytes
    tcb: bytes
    """REPORTED_TCB, 8 bytes."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Certificate of the chip's own key for one level of its firmware."""

    product: Product
    hwid: bytes
    tcb: tuple[tuple[str, int], ...]
    """Security version of each part, in the order in which the service lists them."""

    chain_headers: ClassVar[Sequence[str]] = ()
    changes: ClassVar = False

    @property
    def name(self) -> str:
        parts = "-".join(str(version) for _, version in self.tcb)
        return f"amd-vcek-{self.product}-{self.hwid.hex()}-{parts}"

    def url(self, base: str) -> str:
        query = "&".join(f"{part}SPL={version:02}" for part, version in self.tcb)
        return f"{base}/vcek/v1/{self.product}/{self.hwid.hex()}?{query}"

    def read(self, answer: Answer) -> Item:
        leaf = _certificate(answer.body)
        try:
            issuer = common_name(leaf.issuer)
            extensions = {
                extension.oid.dotted_string: extension.value.value
                for extension in leaf.extensions
                if isinstance(extension.value, x509.UnrecognizedExtension)
            }
        except MALFORMED:
            raise Unusable("the certificate does not parse") from None
        if issuer != f"SEV-{self.product}":
            raise Unusable("the certificate is another product's")
        if extensions.get(f"{_OID}.{_HWID}") != self.hwid:
            raise Unusable("the certificate is another chip's")
        for part, version in self.tcb:
            # DER of a small INTEGER: tag, length, value.
            if int.from_bytes(extensions.get(f"{_OID}.{_PARTS_OF_TCB[part]}", b"")[2:], "big") != version:
                raise Unusable("the certificate is for another level of the firmware")
        return _leaf_item(leaf)


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates of AMD's intermediate key (ASK, for VLEKs ASVK) and of its root (ARK)."""

    key: Key
    product: Product

    chain_headers: ClassVar[Sequence[str]] = ()
    changes: ClassVar = False

    @property
    def name(self) -> str:
        return f"amd-chain-{self.key}-{self.product}"

    def url(self, base: str) -> str:
        return f"{base}/{self.key}/v1/{self.product}/cert_chain"

    def read(self, answer: Answer) -> Item:
        chain = certificates(answer.body)
        try:
            names = [common_name(certificate.subject) for certificate in chain]
        except MALFORMED:
            raise Unusable("its certificates do not parse") from None
        middle = {"vcek": "SEV", "vlek": "SEV-VLEK"}[self.key]
        if names != [f"{middle}-{self.product}", f"ARK-{self.product}"]:
            raise Unusable("the chain is another product's or key's")
        issued = max(seconds(certificate.not_valid_before_utc) for certificate in chain)
        return Item({"pem": "".join(_pem(certificate) for certificate in chain)}, issued, first_end(chain))


@dataclass(frozen=True, slots=True)
class Revocations:
    """The root's list, which covers the intermediate keys."""

    key: Key
    product: Product

    chain_headers: ClassVar[Sequence[str]] = ()
    changes: ClassVar = True

    @property
    def name(self) -> str:
        return f"amd-crl-{self.key}-{self.product}"

    def url(self, base: str) -> str:
        return f"{base}/{self.key}/v1/{self.product}/crl"

    def read(self, answer: Answer) -> Item:
        found = revocations(answer.body)
        if common_name(found.issuer) != f"ARK-{self.product}":
            raise Unusable("the revocation list is another product's")
        return Item({"pem": found.crl.public_bytes(Encoding.PEM).decode()}, found.issued, found.update)


def read_report(report: bytes) -> Report:
    """Raises `Unavailable` COLLATERAL_UNAVAILABLE."""
    if len(report) != _SIZE:
        raise _unclear(f"an SEV-SNP report has {_SIZE} bytes")
    (version,) = struct.unpack_from("<I", report)
    (flags,) = struct.unpack_from("<I", report, _KEY_AT)
    key = _KEYS.get(flags >> 2 & 0x7)
    if key is None:
        raise _unclear("the report is signed by no key that AMD certifies")
    chip_id = report[_CHIP_AT : _CHIP_AT + 64]
    if key == "vcek" and not any(chip_id):
        raise _unclear("the report names no chip, so there is no certificate to ask for (MASK_CHIP_ID is set)")
    products = (_product(report[_CPUID_AT], report[_CPUID_AT + 1]),) if version >= 3 else PRODUCTS
    return Report(key, products, chip_id, report[_TCB_AT : _TCB_AT + 8])


def leaf(report: Report, product: Product) -> Leaf:
    """Turin numbers its chips and its firmware in a way of its own."""
    at: dict[str, int]
    if product == "Turin":
        at, hwid = {"fmc": 0, "bl": 1, "tee": 2, "snp": 3, "ucode": 7}, report.chip_id[:8]
    else:
        at, hwid = {"bl": 0, "tee": 1, "snp": 6, "ucode": 7}, report.chip_id
    return Leaf(product, hwid, tuple((part, report.tcb[index]) for part, index in at.items()))


def read_provided_leaf(certificate: bytes, key: Key) -> tuple[Product, str]:
    """Product and PEM of the certificate (DER or PEM) that a cloud provider hands over with a report.

    Raises `Unusable`.
    """
    leaf = _certificate(certificate)
    try:
        issuer = common_name(leaf.issuer)
    except MALFORMED:
        raise Unusable("the certificate does not parse") from None
    product = issuer.removeprefix({"vcek": "SEV-", "vlek": "SEV-VLEK-"}[key])
    if product not in PRODUCTS:
        raise Unusable(f"the certificate is not a {key.upper()}'s")
    return product, _pem(leaf)


def collateral(leaf: str, chain: str, crl: str) -> bytes:
    """PEM: leaf, intermediate and root, revocation list (if there is one)."""
    return (leaf + chain + crl).encode()


def _product(family: int, model: int) -> Product:
    """By CPUID; Bergamo and Siena are Genoa to the key service."""
    match family, model >> 4:
        case 0x19, 0x0:
            return "Milan"
        case 0x19, 0x1 | 0xA:
            return "Genoa"
        case 0x1A, 0x0 | 0x1:
            return "Turin"
    raise _unclear(f"the report is by a processor of unknown kind (family {family:#x}, model {model:#x})")


def _certificate(body: bytes) -> x509.Certificate:
    """DER, as AMD serves it, or the first one of PEM."""
    if body.startswith(b"-----BEGIN"):
        return certificates(body)[0]
    try:
        return x509.load_der_x509_certificate(body)
    except MALFORMED:
        raise Unusable("the certificate does not parse") from None


def _leaf_item(leaf: x509.Certificate) -> Item:
    return Item({"pem": _pem(leaf)}, seconds(leaf.not_valid_before_utc), seconds(leaf.not_valid_after_utc))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _unclear(reason: str) -> Unavailable:
    return Unavailable(Number.COLLATERAL_UNAVAILABLE, reason)
