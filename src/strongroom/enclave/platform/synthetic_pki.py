"""A development root and all that hangs below it, in the formats of Intel's provisioning certification service.

NOT Intel, no hardware: every certificate says so in its subject. A relying party accepts it only by naming this very
root. The formats are those of the "Intel SGX PCK Certificate and CRL" and "PCS API v4" documents; signatures are
Intel's formats, not Strongroom's, so they bypass the framing of `protocol.primitives`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from strongroom.protocol.primitives import Domain, derive_key

ORGANISATION: Final = "INSECURE DEVELOPMENT ROOT - NOT INTEL - NO HARDWARE"
CPU_SVN: Final = bytes([2] * 8 + [0] * 8)
PCE_SVN: Final = 13
QE_SVN: Final = 8
QE_PRODUCT_ID: Final = 1
QE_SIGNER: Final = b"INSECURE DEVELOPMENT QE SIGNER".ljust(32, b"\x00")

_DAY: Final = 86400
_CERTIFICATE_LIFE: Final = 3650 * _DAY
_COLLATERAL_LIFE: Final = 30 * _DAY
_CLOCK_SKEW: Final = 300
"""Seconds by which collateral is dated back: a verifier whose clock is behind refuses what is "from the future"."""
_FMSPC: Final = b"\xde\xad\xbe\xef\x00\x00"
_PCE_ID: Final = b"\x00\x00"
_SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256."""


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-256 with SHA-256 as quotes and collateral carry it: r ‖ s (64 bytes), with the nonce of RFC 6979."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """x ‖ y (64 bytes)."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


class Configuration(NamedTuple):
    """What a PCK certificate of a multi-package platform states about the machine."""

    dynamic_platform: bool
    cached_keys: bool
    smt: bool


class SyntheticPki:
    """Root, intermediate, PCK and TCB signing certificates; the same seed and dates always give the same bytes.

    Without a `configuration` the PCK certificate states none, as those of single packages: software can't know.
    """

    def __init__(self, seed: bytes, founded_at: int, configuration: Configuration | None = None) -> None:
        self._seed = seed
        self._founded_at = founded_at
        self._configuration = configuration
        self._root_key = self._key(b"root")
        self._issuer_key = self._key(b"pck issuer")
        self._tcb_key = self._key(b"tcb signing")
        self.pck_key: Final = self._key(b"pck")
        self.attestation_key: Final = self._key(b"attestation")

    def bytes_for(self, label: bytes, size: int) -> bytes:
        """Identifiers that hardware would have burnt in."""
        return derive_key(self._seed, Domain.SYNTHETIC_PKI, b"bytes", label, length=size)

    @cached_property
    def root(self) -> x509.Certificate:
        return self._certificate("Development SGX Root CA", self._root_key, None, self._root_key, path_length=1)

    @property
    def root_der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)

    @cached_property
    def _issuer(self) -> x509.Certificate:
        name = "Development SGX PCK Platform CA"
        return self._certificate(name, self._issuer_key, self.root, self._root_key, path_length=0)

    @cached_property
    def _tcb_signing(self) -> x509.Certificate:
        return self._certificate("Development SGX TCB Signing", self._tcb_key, self.root, self._root_key)

    @cached_property
    def _pck(self) -> x509.Certificate:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(_SGX_EXTENSION), self._sgx_extension())
        name = "Development SGX PCK Certificate"
        return self._certificate(name, self.pck_key, self._issuer, self._issuer_key, extension=extension)

    @cached_property
    def pck_chain(self) -> bytes:
        """PEM of the PCK certificate, its issuer and the root."""
        return _pem(self._pck, self._issuer, self.root).encode()

    def collateral(self, at: int) -> bytes:
        """JSON of all that a verifier needs besides a quote, as of `at` (unix seconds), good for 30 days."""
        return self.signed_collateral(self.tcb_info(at), self.qe_identity(at), at)

    def tcb_info(self, at: int) -> dict[str, Any]:
        """What the platform's maker would say of this platform: current."""
        level = {
            "tcb": {"sgxtcbcomponents": [{"svn": svn} for svn in CPU_SVN], "pcesvn": PCE_SVN},
            "tcbDate": _iso(self._founded_at),
            "tcbStatus": "UpToDate",
        }
        return {
            "id": "SGX",
            "version": 3,
            **_dates(at),
            "fmspc": _FMSPC.hex().upper(),
            "pceId": _PCE_ID.hex().upper(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": 1,
            "tcbLevels": [level],
        }

    def qe_identity(self, at: int) -> dict[str, Any]:
        """What the platform's maker would say of its quoting enclave."""
        return {
            "id": "QE",
            "version": 2,
            **_dates(at),
            "tcbEvaluationDataNumber": 1,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15,
            "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": QE_PRODUCT_ID,
            "tcbLevels": [{"tcb": {"isvsvn": QE_SVN}, "tcbDate": _iso(self._founded_at), "tcbStatus": "UpToDate"}],
        }

    def signed_collateral(self, tcb_info: dict[str, Any], qe_identity: dict[str, Any], at: int) -> bytes:
        """Collateral of the given statements with revocation lists as of `at`."""
        tcb, qe = _json(tcb_info), _json(qe_identity)
        tcb_chain = _pem(self._tcb_signing, self.root)
        return _json(
            {
                "pck_crl_issuer_chain": _pem(self._issuer, self.root),
                "root_ca_crl": self._revocations(self.root, self._root_key, at).hex(),
                "pck_crl": self._revocations(self._issuer, self._issuer_key, at).hex(),
                "tcb_info_issuer_chain": tcb_chain,
                "tcb_info": tcb,
                "tcb_info_signature": raw_signature(self._tcb_key, tcb.encode()).hex(),
                "qe_identity_issuer_chain": tcb_chain,
                "qe_identity": qe,
                "qe_identity_signature": raw_signature(self._tcb_key, qe.encode()).hex(),
            }
        ).encode()

    def _key(self, label: bytes) -> ec.EllipticCurvePrivateKey:
        # 48 bytes reduced modulo the order: as good as uniform (FIPS 186-5, A.2.1).
        number = int.from_bytes(derive_key(self._seed, Domain.SYNTHETIC_PKI, b"key", label, length=48), "big")
        return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Certificate | None,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        path_length: int | None = None,
        extension: x509.ExtensionType | None = None,
    ) -> x509.Certificate:
        """A certificate; an authority exactly when `path_length` is given. Deterministic: two processes with one
        seed must make the very same root."""
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ"),
            ]
        )
        authority = path_length is not None
        usage = x509.KeyUsage(
            digital_signature=not authority,
            content_commitment=not authority,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=authority,
            crl_sign=authority,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(b"\x01" + self.bytes_for(name.encode(), 15), "big"))
            .not_valid_before(_date(self._founded_at - _DAY))
            .not_valid_after(_date(self._founded_at + _CERTIFICATE_LIFE))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256(), ecdsa_deterministic=True)

    def _revocations(self, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey, at: int) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(_date(at - _CLOCK_SKEW))
            .next_update(_date(at + _COLLATERAL_LIFE))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)

    def _sgx_extension(self) -> bytes:
        """DER of the PCK certificate's extension: platform id, TCB, PCE id, FMSPC, SGX type, configuration."""
        components = [_entry(f"2.{i}", _integer(svn)) for i, svn in enumerate(CPU_SVN, start=1)]
        components += [_entry("2.17", _integer(PCE_SVN)), _entry("2.18", _tlv(_OCTETS, CPU_SVN))]
        return _tlv(
            _SEQUENCE,
            _entry("1", _tlv(_OCTETS, self.bytes_for(b"ppid", 16))),
            _entry("2", _tlv(_SEQUENCE, *components)),
            _entry("3", _tlv(_OCTETS, _PCE_ID)),
            _entry("4", _tlv(_OCTETS, _FMSPC)),
            _entry("5", _tlv(_ENUMERATED, b"\x00")),
            *self._multi_package_entries(),
        )

    def _multi_package_entries(self) -> list[bytes]:
        if self._configuration is None:
            return []
        flags = [_entry(f"7.{i}", _boolean(flag)) for i, flag in enumerate(self._configuration, start=1)]
        instance = _tlv(_OCTETS, self.bytes_for(b"platform instance id", 16))
        return [_entry("6", instance), _entry("7", _tlv(_SEQUENCE, *flags))]


_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_ENUMERATED: Final = 0x0A
_SEQUENCE: Final = 0x30


def _tlv(tag: int, *content: bytes) -> bytes:
    """DER of one value."""
    body = b"".join(content)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    long_form = bytes([0x80 | len(size)]) if len(body) >= 0x80 else b""
    return bytes([tag]) + long_form + size + body


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _boolean(value: bool) -> bytes:
    return _tlv(_BOOLEAN, b"\xff" if value else b"\x00")


def _entry(arc: str, value: bytes) -> bytes:
    """SEQUENCE of an object identifier below Intel's SGX extension and its value."""
    first, second, *rest = (int(number) for number in f"{_SGX_EXTENSION}.{arc}".split("."))
    encoded = bytearray([first * 40 + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(groups))
    return _tlv(_SEQUENCE, _tlv(_OID, bytes(encoded)), value)


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _date(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _iso(at: int) -> str:
    return _date(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dates(at: int) -> dict[str, str]:
    return {"issueDate": _iso(at - _CLOCK_SKEW), "nextUpdate": _iso(at + _COLLATERAL_LIFE)}
