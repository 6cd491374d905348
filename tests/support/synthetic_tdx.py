"""Synthetic evidence of Intel's platforms for tests: signed all the way up to an own root, bendable in any one part.

`TdxPki` states what Intel would state of a TDX platform; `tdx_quote(pki, TdReport(xfam=0))` is a quote of another TD,
`tdx_quote(pki, parts={"after_chain": b"x"})` one whose framing is bent. Layouts as in Intel's "TDX DCAP Quoting
Library API", A.3 and A.4, and "SGX ECDSA QuoteGenReference", A.4. The same input always gives the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TypedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from strongroom.enclave.platform.synthetic_pki import (
    PCE_SVN,
    QE_PRODUCT_ID,
    QE_SIGNER,
    QE_SVN,
    Configuration,
    SyntheticPki,
    raw_public_key,
    raw_signature,
)
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, PROVISION_KEY, EnclaveReport
from strongroom.protocol.primitives import fingerprint

TDX: Final = 0x81
VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
TD_QE_PRODUCT_ID: Final = 2
SEPT_VE_DISABLE: Final = 1 << 28
XFAM: Final = 0x061AE7
MODULE: Final = (5, 3)
"""Security version and major version of the TDX module."""
_END: Final = "-----END CERTIFICATE-----\n"


class BentPki(SyntheticPki):
    """The development root, where something may be wrong with what it has certified."""

    def __init__(
        self,
        seed: bytes,
        founded_at: int,
        configuration: Configuration | None = None,
        *,
        root_founded_at: int | None = None,
        revoked: Collection[str] = (),
        identifiers: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        """`root_founded_at`: ten years before the root expires; `revoked`: common names of certificates;
        `identifiers`: burnt-in values by label, instead of those that follow from the seed."""
        super().__init__(seed, founded_at, configuration)
        self._identifiers = identifiers
        self._revoked = revoked
        self._root = SyntheticPki(seed, root_founded_at or founded_at).root

    @property
    def root(self) -> x509.Certificate:
        # At any date it has the same key and name.
        return self._root

    @property
    def pck_pem(self) -> tuple[str, str, str]:
        """PCK certificate, its issuer, the root."""
        pck, issuer, root = (text + _END for text in self.pck_chain.decode().split(_END)[:-1])
        return pck, issuer, root

    def bytes_for(self, label: bytes, size: int) -> bytes:
        return self._identifiers.get(label) or super().bytes_for(label, size)

    def _revocations(self, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey, at: int) -> bytes:
        when = datetime.fromtimestamp(at - 300, UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(when)
            .next_update(datetime.fromtimestamp(at + 30 * 86400, UTC))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        for pem in self.pck_pem:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            if name.value in self._revoked and certificate.issuer == issuer.subject:
                entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(when)
                builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


class TdxPki(BentPki):
    """The development root, speaking of a TDX platform."""

    def tcb_info(self, at: int) -> dict[str, Any]:
        info = super().tcb_info(at)
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        tcb_level = info["tcbLevels"][0]
        tcb_level["tcb"]["tdxtcbcomponents"] = [{"svn": svn} for svn in (MODULE[0], 0, *[0] * 14)]
        level = {"tcb": {"isvsvn": MODULE[0]}, "tcbDate": tcb_level["tcbDate"], "tcbStatus": "UpToDate"}
        identity = {"id": f"TDX_{MODULE[1]:02X}", **module, "tcbLevels": [level]}
        return info | {"id": "TDX", "tdxModule": module, "tdxModuleIdentities": [identity]}

    def qe_identity(self, at: int) -> dict[str, Any]:
        return super().qe_identity(at) | {"id": "TD_QE", "isvprodid": TD_QE_PRODUCT_ID}


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module would report of a TD."""

    report_data: bytes = bytes(range(64))
    mr_td: bytes = b"\x01" * 48
    rtmrs: tuple[bytes, bytes, bytes, bytes] = (b"\x10" * 48, b"\x11" * 48, b"\x12" * 48, b"\x13" * 48)
    td_attributes: int = SEPT_VE_DISABLE
    xfam: int = XFAM
    tee_tcb_svn: bytes = bytes(MODULE) + bytes(14)
    mr_seam: bytes = b"\x20" * 48
    mr_signer_seam: bytes = bytes(48)
    seam_attributes: int = 0
    mr_config_id: bytes = b"\x30" * 48
    mr_owner: bytes = b"\x31" * 48
    mr_owner_config: bytes = b"\x32" * 48
    tee_tcb_svn2: bytes = bytes(MODULE) + bytes(14)
    mr_service_td: bytes = bytes(48)

    def pack(self) -> bytes:
        """The 584 bytes of TDX 1.0."""
        return struct.pack(
            "<16s48s48sQQQ48s48s48s48s192s64s",
            self.tee_tcb_svn,
            self.mr_seam,
            self.mr_signer_seam,
            self.seam_attributes,
            self.td_attributes,
            self.xfam,
            self.mr_td,
            self.mr_config_id,
            self.mr_owner,
            self.mr_owner_config,
            b"".join(self.rtmrs),
            self.report_data,
        )

    def pack_15(self) -> bytes:
        """The 648 bytes of TDX 1.5."""
        return self.pack() + struct.pack("<16s48s", self.tee_tcb_svn2, self.mr_service_td)


class Parts(TypedDict, total=False):
    """Parts of a quote that no signature of the quoting enclave covers, besides those which are signatures."""

    chain: bytes
    """Certification data of type 5."""
    kind: int
    """Type that it claims to be."""
    outer_kind: int
    """Type that the data around it claims to be (6); TDX only."""
    authentication: bytes
    """The quoting enclave's own 32 bytes."""
    after_chain: bytes
    after_certification: bytes
    after_signatures: bytes
    """Bytes that follow at each level of nesting and are counted in its length."""
    after: bytes
    """Bytes that follow the quote and are counted nowhere."""


NO_PARTS: Final = Parts()
TDX_10: Final = (2, 584)
TDX_15: Final = (3, 648)


def tdx_quote(
    pki: SyntheticPki,
    report: TdReport | None = None,
    *,
    version: int = 4,
    body: tuple[int, int] = TDX_15,
    tee: int = TDX,
    key_type: int = 2,
    reserved: bytes = bytes(4),
    vendor: bytes = VENDOR,
    parts: Parts = NO_PARTS,
) -> bytes:
    """A TDX quote; `body` is type and size in the descriptor of version 5."""
    report = report or TdReport()
    header = struct.pack("<HHI4s16s20s", version, key_type, tee, reserved, vendor, pki.bytes_for(b"platform", 16))
    if version == 5:
        packed = report.pack() if body[0] == TDX_10[0] else report.pack_15()
        signed = header + struct.pack("<HI", *body) + packed
    else:
        signed = header + report.pack()
    return sign_tdx(pki, signed, parts)


def sign_tdx(pki: SyntheticPki, signed: bytes, parts: Parts = NO_PARTS) -> bytes:
    """A TDX quote over any header and report: certification data of type 6, which holds type 5."""
    certification = _certification(pki, TD_QE_PRODUCT_ID, parts) + parts.get("after_certification", b"")
    wrapped = struct.pack("<HI", parts.get("outer_kind", 6), len(certification)) + certification
    return _finish(pki, signed, wrapped, parts)


def sign_sgx(pki: SyntheticPki, signed: bytes, parts: Parts = NO_PARTS) -> bytes:
    """An SGX quote over any header and report."""
    return _finish(pki, signed, _certification(pki, QE_PRODUCT_ID, parts), parts)


def sgx_quote(
    pki: SyntheticPki,
    report: EnclaveReport,
    *,
    version: int = 3,
    tee: int = 0,
    key_type: int = 2,
    vendor: bytes = VENDOR,
    parts: Parts = NO_PARTS,
) -> bytes:
    """An SGX quote of version 3 whose header and framing can be bent."""
    platform = pki.bytes_for(b"platform", 16)
    header = struct.pack("<HHIHH16s20s", version, key_type, tee, QE_SVN, PCE_SVN, vendor, platform)
    return sign_sgx(pki, header + report.pack(), parts)


def _certification(pki: SyntheticPki, product_id: int, parts: Parts) -> bytes:
    auth = parts.get("authentication", pki.bytes_for(b"qe authentication data", 32))
    report = EnclaveReport(
        measurement=b"SYNTHETIC QE".ljust(32, b"\x00"),
        signer=QE_SIGNER,
        product_id=product_id,
        svn=QE_SVN,
        report_data=fingerprint(raw_public_key(pki.attestation_key) + auth) + bytes(32),
        flags=INIT | MODE64 | PROVISION_KEY,
    ).pack()
    chain = parts.get("chain", pki.pck_chain + b"\x00") + parts.get("after_chain", b"")
    return b"".join(
        (
            report,
            raw_signature(pki.pck_key, report),
            struct.pack("<H", len(auth)),
            auth,
            struct.pack("<HI", parts.get("kind", 5), len(chain)),
            chain,
        )
    )


def _finish(pki: SyntheticPki, signed: bytes, certification: bytes, parts: Parts) -> bytes:
    signatures = raw_signature(pki.attestation_key, signed) + raw_public_key(pki.attestation_key) + certification
    signatures += parts.get("after_signatures", b"")
    return signed + struct.pack("<I", len(signatures)) + signatures + parts.get("after", b"")
