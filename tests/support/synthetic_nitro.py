"""Nitro attestation documents for tests, signed for real under a root of our own, and bendable in any one part.

`SyntheticNitro().document()` is what AWS's hardware would make. `document(payload={"digest": "SHA512"})` changes a
field of the payload (`ABSENT` removes it), `document(certificates={"zone": {"path_length": 0}})` a certificate.
Everything is signed after that, so nothing else is wrong. All of it is deterministic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW: Final = 1_790_000_000
INSTANCE: Final = "i-0123456789abcdef0"
MODULE: Final = f"{INSTANCE}-enc0123456789abcdef"
ABSENT: Final = object()
PROTECTED: Final = bytes.fromhex("a1013822")
HASHES: Final[dict[str, hashes.SHA256 | hashes.SHA384]] = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384()}
LEVELS: Final = ("root", "region", "zone", "instance", "leaf")

_DAY: Final = 86400
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
"""Of the group of P-384."""
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)

Bend = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate says. `before` and `after`: seconds from NOW."""

    name: str
    issuer: str
    before: int
    after: int
    ca: bool | None = True
    """None, here and below: the extension is left out."""
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("digital_signature", "key_cert_sign", "crl_sign")
    curve: ec.EllipticCurve | None = None
    """None: P-384."""
    algorithm: str = "SHA384"
    signed_by: str = ""
    """Label of the key, if it is not the issuer's."""
    extra: x509.ExtensionType | None = None
    """A critical extension."""


CERTIFICATES: Final = {
    "root": Certificate(name="root", issuer="root", before=-300 * _DAY, after=9000 * _DAY),
    "region": Certificate(name="region", issuer="root", before=-4 * _DAY, after=16 * _DAY, path_length=2),
    "zone": Certificate(name="zone", issuer="region", before=-_DAY, after=5 * _DAY, path_length=1),
    "instance": Certificate(
        name="instance", issuer="zone", before=-3600, after=_DAY - 3600, path_length=0, usage=("key_cert_sign",)
    ),
    "leaf": Certificate(
        name="leaf",
        issuer="instance",
        before=-60,
        after=3 * 3600 - 57,
        ca=False,
        usage=("digital_signature", "content_commitment"),
    ),
}


def pcr(index: int) -> bytes:
    """A register as a signed production image has it: PCR0 to PCR4 and PCR8 are set."""
    return hashlib.sha384(b"pcr%d" % index).digest() if index in (0, 1, 2, 3, 4, 8) else bytes(48)


class SyntheticNitro:
    """A public key infrastructure in the manner of AWS's, and a security module below it."""

    def __init__(self, seed: str = "synthetic nitro") -> None:
        self._seed = seed

    @property
    def root(self) -> bytes:
        """SHA-256 of the DER of the root."""
        return hashlib.sha256(self.certificate(CERTIFICATES["root"])).digest()

    def key(self, label: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
        digest = hashlib.shake_256(f"{self._seed} {label}".encode()).digest(64)
        curve = curve or ec.SECP384R1()
        order = _ORDER if curve.key_size == 384 else 1 << 255  # less than that of the other curves used
        return ec.derive_private_key(int.from_bytes(digest, "big") % (order - 1) + 1, curve)

    def certificate(self, wanted: Certificate) -> bytes:
        """DER."""
        return _certificate(self, wanted)

    def chain(self, bends: Mapping[str, Bend] = MappingProxyType({})) -> dict[str, bytes]:
        """DER of every certificate, by level; `bends`: other values of a level's `Certificate`."""
        return {level: self.certificate(replace(CERTIFICATES[level], **bends.get(level, {}))) for level in LEVELS}

    def payload(self, chain: Mapping[str, bytes] | None = None, **fields: Any) -> dict[str, Any]:
        *authorities, leaf = (chain or self.chain()).values()
        values: dict[str, Any] = {
            "module_id": MODULE,
            "digest": "SHA384",
            "timestamp": NOW * 1000 + 123,
            "pcrs": {index: pcr(index) for index in range(16)},
            "certificate": leaf,
            "cabundle": authorities,
            "public_key": None,
            "user_data": bytes(range(64)),
            "nonce": None,
        }
        return {name: value for name, value in (values | fields).items() if value is not ABSENT}

    def document(
        self,
        *,
        payload: Bend | bytes | None = None,
        protected: bytes = PROTECTED,
        unprotected: Mapping[Any, Any] | None = None,
        signature: Callable[[bytes], bytes] = bytes,
        signed_by: str = "leaf",
        algorithm: str = "SHA384",
        certificates: Mapping[str, Bend] = MappingProxyType({}),
    ) -> bytes:
        """A signed document. `payload`: other values of its fields, or its complete bytes; `signature`: changes the
        finished signature; `certificates`: as for `chain`."""
        chain = self.chain(certificates)
        if not isinstance(payload, bytes):
            payload = cbor2.dumps(self.payload(chain, **dict(payload or {})))
        key = self.key(signed_by)
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(HASHES[algorithm], deterministic_signing=True)))
        raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        return cbor2.dumps([protected, dict(unprotected or {}), payload, signature(raw)])


@cache
def _certificate(pki: SyntheticNitro, wanted: Certificate) -> bytes:
    key = pki.key(wanted.name, wanted.curve)
    signing_key = pki.key(wanted.signed_by or wanted.issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(wanted.name))
        .issuer_name(_name(wanted.issuer))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(wanted.name.encode()).digest()[:8], "big") | 1)
        .not_valid_before(datetime.fromtimestamp(NOW + wanted.before, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + wanted.after, UTC))
    )
    if wanted.ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(wanted.ca, wanted.path_length), critical=True)
    if wanted.usage is not None:
        builder = builder.add_extension(
            x509.KeyUsage(**{name: name in wanted.usage for name in _USAGES}), critical=bool(wanted.ca)
        )
    if wanted.extra is not None:
        builder = builder.add_extension(wanted.extra, critical=True)
    return builder.sign(signing_key, HASHES[wanted.algorithm], ecdsa_deterministic=True).public_bytes(Encoding.DER)


def _name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SYNTHETIC - NOT AMAZON - NO HARDWARE"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.synthetic.nitro-enclaves"),
        ]
    )
