"""AMD's keys and SEV-SNP reports for tests: an ARK, ASK and ASVK of our own, leaves with the extensions of KDS, lists
of revoked certificates, and reports signed for real. Each part can be bent.

`Amd("Genoa")` has everything; `amd.report()` with `amd.collateral()` is genuine under `amd.chains`. Bent:
`amd.report(policy=…)`, `amd.report(bend=lambda body: …)` before it is signed, `amd.collateral(leaf=amd.leaf(tcb=…))`.
Leaves and lists are signed with RSA-PSS, which is randomised: no two runs make the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from textwrap import wrap

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from strongroom.attestation.amd_roots import AmdChain, AttestationKey, Product
from strongroom.attestation.reports import SnpTcb
from strongroom.protocol.primitives import fingerprint

NOW = 1_790_000_000
DAY = 86400
FOUNDED = NOW - 900 * DAY
ISSUED = NOW - 100 * DAY
LISTED = NOW - DAY
MEASUREMENT = bytes(range(48))
REPORT_DATA = bytes(range(64))
POLICY = 0x3001F
TCB = SnpTcb(bootloader=10, tee=1, snp=23, microcode=0xD9, fmc=0)
TURIN_TCB = SnpTcb(bootloader=2, tee=1, snp=4, microcode=0x54, fmc=3)
CPUIDS: dict[Product, tuple[int, int, int]] = {"Milan": (0x19, 1, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 2, 1)}
FIRMWARE = bytes((40, 55, 1, 0))
"""Build, minor, major."""
UNUSED_REPORT_ID = b"\xff" * 32
SIGNED = 0x2A0

Extensions = dict[str, bytes]
Bend = Callable[[bytearray], None]


@cache
def rsa_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    """AMD's have 4,096 bits, which take seconds to make."""
    return rsa.generate_private_key(65537, bits)


def ec_key(seed: bytes, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(seed, "big"), curve or ec.SECP384R1())


def as_is(body: bytearray) -> None:
    """Leaves a report as it is."""


def put(at: int, *values: int) -> Bend:
    """Other bytes in one place."""

    def bend(body: bytearray) -> None:
        body[at : at + len(values)] = bytes(values)

    return bend


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "INSECURE TEST ROOT - NOT AMD - NO HARDWARE"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def date(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def pss(digest: hashes.HashAlgorithm | None = None) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest or hashes.SHA384()), 48)


def integer(value: int) -> bytes:
    return bytes((2, 1, value)) if value < 0x80 else bytes((2, 2, 0, value))


def text(value: str) -> bytes:
    return bytes((0x16, len(value))) + value.encode()


def tcb_version(tcb: SnpTcb, product: Product) -> bytes:
    """8 bytes, as reports of that product hold them."""
    if product == "Turin":
        return bytes((tcb.fmc, tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode))
    return bytes((tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode))


def signature(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
    """As reports carry it (512 bytes); the same for the same key and body."""
    der = key.sign(body, ec.ECDSA(hashes.SHA384(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return (r.to_bytes(72, "little") + s.to_bytes(72, "little")).ljust(512, b"\x00")


def pem(*parts: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return b"".join(part.public_bytes(Encoding.PEM) for part in parts)


def pem_text(label: str, der: bytes) -> bytes:
    lines = b64encode(der).decode()
    return "\n".join([f"-----BEGIN {label}-----", *wrap(lines, 64), f"-----END {label}-----", ""]).encode()


def tlv(tag: int, content: bytes) -> bytes:
    """DER of one value below 64 KiB."""
    size = len(content)
    short = (
        bytes((size,)) if size < 0x80 else bytes((0x81, size)) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes((tag,)) + short + content


def resigned(der: bytes, body: bytes, bent: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A certificate or list with a bent body and a signature that holds: what only AMD could make, in error."""
    end = der.index(body) + len(body)
    algorithm = der[end : end + 2 + der[end + 1]]
    return tlv(0x30, bent + algorithm + tlv(0x03, b"\x00" + key.sign(bent, pss(), hashes.SHA384())))


@dataclass(frozen=True)
class Revoked:
    """An entry of a list."""

    serial: int
    at: int = LISTED


class Amd:
    """One product's keys and certificates, and a chip below them."""

    def __init__(self, product: Product, *, root: str = "amd", bits: int = 2048) -> None:
        self.product = product
        self.tcb = TURIN_TCB if product == "Turin" else TCB
        self.chip = bytes(range(1, 9)).ljust(64, b"\x00") if product == "Turin" else bytes(range(1, 65))
        self.attestation_key = ec_key(b"attestation key of " + product.encode())
        self.ark_key = rsa_key(f"{root} ark", bits)
        # One key for ASK and ASVK: what tells them apart must be their certificates.
        self.ask_key = rsa_key(f"{root} ask", bits)
        self.ark = self._issuer(f"ARK-{product}", self.ark_key, 0x10000, ends=FOUNDED + 8000 * DAY)
        self.ask = self._issuer(f"SEV-{product}", self.ask_key, 0x10001)
        self.asvk = self._issuer(f"SEV-VLEK-{product}", self.ask_key, 0x10101)

    @property
    def chains(self) -> list[AmdChain]:
        ark = fingerprint(self.ark.public_bytes(Encoding.DER))
        keys: list[tuple[AttestationKey, x509.Certificate]] = [("vcek", self.ask), ("vlek", self.asvk)]
        return [
            AmdChain(self.product, key, ark, fingerprint(issuer.public_bytes(Encoding.DER))) for key, issuer in keys
        ]

    def _issuer(
        self,
        common: str,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        serial: int,
        ends: int = FOUNDED + 9000 * DAY,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(name(f"ARK-{self.product}"))
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(date(FOUNDED))
            .not_valid_after(date(ends))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        return builder.sign(self.ark_key, hashes.SHA384(), rsa_padding=pss())

    def extensions(self, key: AttestationKey = "vcek", tcb: SnpTcb | None = None, **changes: bytes) -> Extensions:
        """Contents of the extensions of KDS, by the end of their OID. `tcb`: other than the chip's."""
        parts = tcb or self.tcb
        turin = self.product == "Turin"
        found = {"1": integer(int(turin)), "2": text(self.product if key == "vlek" or turin else f"{self.product}-B0")}
        found |= {"3.1": integer(parts.bootloader), "3.2": integer(parts.tee), "3.3": integer(parts.snp)}
        found |= {f"3.{spare}": integer(0) for spare in range(5 if turin else 4, 8)}
        found |= {"3.8": integer(parts.microcode)} | ({"3.9": integer(parts.fmc)} if turin else {})
        found |= {"5": text("CN=cloud.example")} if key == "vlek" else {"4": self.chip[: 8 if turin else 64]}
        return found

    def leaf(
        self,
        key: AttestationKey = "vcek",
        *,
        extensions: Extensions | None = None,
        critical: Iterable[str] = (),
        others: Iterable[x509.Extension[x509.ExtensionType]] = (),
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | None = None,
        serial: int = 0x5EED,
        starts: int = ISSUED,
        ends: int = ISSUED + 2555 * DAY,
        issuer: x509.Name | None = None,
        signer: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
        rsa_padding: padding.PSS | padding.PKCS1v15 | None = None,
        digest: hashes.SHA256 | hashes.SHA384 | None = None,
    ) -> x509.Certificate:
        """A VCEK's or VLEK's certificate. AMD numbers them all zero, which `cryptography` does not do; nothing here
        looks at the number but a list of revoked ones."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(f"SEV-{key.upper()}"))
            .issuer_name(issuer or (self.ask if key == "vcek" else self.asvk).subject)
            .public_key(public_key or self.attestation_key.public_key())
            .serial_number(serial)
            .not_valid_before(date(starts))
            .not_valid_after(date(ends))
        )
        for end, value in (self.extensions(key) if extensions is None else extensions).items():
            oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.3704.1.{end}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=end in critical)
        for other in others:
            builder = builder.add_extension(other.value, other.critical)
        by = signer or self.ask_key
        chosen = (rsa_padding or pss()) if isinstance(by, rsa.RSAPrivateKey) else None
        return builder.sign(by, digest or hashes.SHA384(), rsa_padding=chosen)

    def crl(
        self,
        *revoked: Revoked,
        starts: int = LISTED,
        ends: int = LISTED + 30 * DAY,
        issuer: x509.Name | None = None,
        signer: rsa.RSAPrivateKey | None = None,
        others: Iterable[x509.Extension[x509.ExtensionType]] = (),
    ) -> x509.CertificateRevocationList:
        """The root's list of revoked certificates."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer or self.ark.subject)
            .last_update(date(starts))
            .next_update(date(ends))
        )
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(date(one.at)).build()
            builder = builder.add_revoked_certificate(entry)
        for other in others:
            builder = builder.add_extension(other.value, other.critical)
        return builder.sign(signer or self.ark_key, hashes.SHA384(), rsa_padding=pss())

    def collateral(
        self,
        key: AttestationKey = "vcek",
        *,
        leaf: x509.Certificate | None = None,
        crl: x509.CertificateRevocationList | None = None,
    ) -> bytes:
        issuer = self.ask if key == "vcek" else self.asvk
        return pem(leaf or self.leaf(key), issuer, self.ark, *([] if crl is None else [crl]))  # an empty list is false

    def report(
        self,
        key: AttestationKey = "vcek",
        *,
        version: int = 5,
        measurement: bytes = MEASUREMENT,
        report_data: bytes = REPORT_DATA,
        policy: int = POLICY,
        vmpl: int = 0,
        bend: Bend = as_is,
        signer: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """A report (1,184 bytes). `bend` changes its body (672 bytes) in place before it is signed."""
        body = bytearray(SIGNED)

        def fill(at: int, value: bytes) -> None:
            body[at : at + len(value)] = value

        fill(0x00, version.to_bytes(4, "little"))
        fill(0x04, (7).to_bytes(4, "little"))
        fill(0x08, policy.to_bytes(8, "little"))
        fill(0x10, b"family".ljust(16, b"\x00") + b"image".ljust(16, b"\x00"))
        fill(0x30, vmpl.to_bytes(4, "little"))
        fill(0x34, (1).to_bytes(4, "little"))
        fill(0x40, (0x25).to_bytes(8, "little"))
        fill(0x48, (4 if key == "vlek" else 0).to_bytes(4, "little"))
        fill(0x50, report_data)
        fill(0x90, measurement)
        fill(0xE0, b"\x1d" * 48)
        fill(0x140, bytes(range(32)) + UNUSED_REPORT_ID)
        for at in (0x38, 0x180, 0x1E0, 0x1F0):
            fill(at, tcb_version(self.tcb, self.product))
        if version >= 3:
            fill(0x188, bytes(CPUIDS[self.product]))
        if key == "vcek":
            fill(0x1A0, self.chip)
        fill(0x1E8, FIRMWARE * 2)
        if version >= 5:
            fill(0x1F8, (3).to_bytes(8, "little") * 2)
        bend(body)
        return bytes(body) + signature(signer or self.attestation_key, bytes(body))


@cache
def amd(product: Product = "Genoa") -> Amd:
    return Amd(product)
