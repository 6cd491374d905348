"""AWS Nitro attestation documents: from untrusted bytes to a verified report.

The rules are those of AWS's "Nitro Enclaves Attestation Process" (`aws-nitro-enclaves-nsm-api`,
docs/attestation_process.md), whose sections are cited as §. Stricter in four points, to which AWS's hardware keeps:

* one encoding: what is decoded must encode to the same bytes, so that nobody makes two evidences of one document;
* a PCR0, PCR1 or PCR2 of all zero is refused: it means a debug enclave, whose console its host can read;
* every key is of P-384 and every signature made with SHA-384: nothing in a document chooses an algorithm;
* the document's time lies within the life of the certificate that signed it (about three hours).

There is no revocation: AWS says not to use its lists (§3.2.4), and the short lives stand in for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeVar

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from strongroom.attestation.reports import NitroReport
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

AWS_ROOT: Final = bytes.fromhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b")
"""SHA-256 of the DER of "aws.nitro-enclaves" (root G1), as the "AWS Nitro Enclaves User Guide" prints it under
"Verifying the root of trust"."""

MAX_CA_CERTIFICATES: Final = 8
"""Twice what AWS uses: root, region, zone, instance."""
CLOCK_SKEW: Final = 300
"""Seconds by which a document, and the first second of a certificate, may lie ahead of the verifier's clock."""

_PROTECTED: Final = bytes.fromhex("a1013822")
"""{1: -35}: algorithm ES384 (§3.1, RFC 9053 §2.1)."""
_MAX_PAYLOAD: Final = 16384
_MAX_DOCUMENT: Final = _MAX_PAYLOAD + 128
_INTEGER: Final = 48
"""Bytes of r, of s, and of a SHA-384 register."""
_MAX_CERTIFICATE: Final = 1024
_REGISTERS: Final = 32
_IMAGE: Final = (0, 1, 2)
"""Registers of the image: all of it, kernel and boot, application."""
_MODULE_ID: Final = re.compile(r"[!-~]{1,128}")
_MANDATORY: Final = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
_OPTIONAL: Final = {"public_key": 1024, "user_data": 512, "nonce": 512}
"""Longest value of each (§3.2.2.2)."""

_BYTES: Final = 2
_TEXT: Final = 3
_TAG: Final = 6
_SIMPLE: Final = 7
"""Major types of CBOR (RFC 8949 §3.1)."""
_NULL: Final = 0xF6
_DEPTH: Final = 2
"""Containers within containers: no document has more."""

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""All that `cryptography` raises for certificates that do not parse, some of it only when a field is looked at."""
_UNDERSTOOD: Final = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})


Extension = TypeVar("Extension", x509.BasicConstraints, x509.KeyUsage)


@dataclass(frozen=True, slots=True)
class NitroDocument:
    """A document whose form is right. Nothing in it is verified."""

    payload: bytes
    """What the signature covers, besides the algorithm."""
    signature: bytes
    """r ‖ s (96)."""
    module_id: str
    timestamp: int
    """Unix milliseconds."""
    pcrs: dict[int, bytes]
    certificate: bytes
    cabundle: list[bytes]
    """DER; the root first."""
    user_data: bytes


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def verify_nitro_document(untrusted_document: bytes, now: int, *, root: bytes = AWS_ROOT) -> NitroReport:
    """Verify an attestation document, as the Nitro Security Module makes it, at `now` (unix seconds).

    `root`: SHA-256 of the DER of the root certificate that it must rest on. `report_data` of the report is the
    document's `user_data`, up to 512 bytes, empty where it has none. Raises `Untrusted` EVIDENCE.
    """
    document = parse_nitro_document(untrusted_document)
    # Everything that costs next to nothing comes before the first signature.
    if fingerprint(document.cabundle[0]) != root:
        raise _refuse("the document does not rest on the root certificate of AWS Nitro Enclaves")
    chain = [_Certificate(der) for der in (*document.cabundle, document.certificate)]
    *authorities, leaf = chain
    for below, authority in enumerate(reversed(authorities)):
        authority.verify_authority(below)
    leaf.verify_signer()
    for certificate in chain:
        certificate.verify_validity(now)
    signed_at = document.timestamp // 1000
    if not leaf.not_before <= signed_at <= leaf.not_after:
        raise _refuse("the document's time is not within the life of the certificate that signed it")
    if signed_at > now + CLOCK_SKEW:
        raise _refuse("the document is from the future")
    # From the root down: a key is used only after its own certificate is verified. The root is, by its digest.
    for issuer, issued in pairwise(document.cabundle):
        _verify_authority_issued(issuer, issued)
    leaf.verify_issued_by(authorities[-1])
    _verify_document_signature(document, leaf.key)
    # Last, or a reason would be the word of whoever wrote zeros over the registers of a good document.
    verify_not_debug(document)
    return NitroReport(
        registers=tuple((f"PCR{index}", document.pcrs[index]) for index in _IMAGE),
        report_data=document.user_data,
        root=root,
        proven_at=signed_at,
        valid_until=min(certificate.not_after for certificate in chain),
        pcrs=document.pcrs,
        module_id=document.module_id,
        signed_at=signed_at,
    )


def parse_nitro_document(untrusted_document: bytes) -> NitroDocument:
    """Take a COSE_Sign1 apart (§3.1) and hold it against AWS's bounds (§3.2.2). Verifies nothing that is signed.

    Raises `Untrusted` EVIDENCE.
    """
    if len(untrusted_document) > _MAX_DOCUMENT:
        raise _refuse("the document is larger than any attestation document")
    match _decode(untrusted_document):
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]:
            pass
        case _:
            raise _refuse("the document is not a COSE_Sign1 structure")
    # The signature covers the protected header but not the choice of how to verify, so there is no choice.
    if protected != _PROTECTED or unprotected:
        raise _refuse("the document's header does not say ES384 and nothing else")
    if not 1 <= len(payload) <= _MAX_PAYLOAD:
        raise _refuse("the document's payload is not as large as any may be")
    if len(signature) != 2 * _INTEGER:
        raise _refuse("the document's signature is not one of ES384")
    fields = _decode(payload)
    if not isinstance(fields, dict) or not _MANDATORY <= fields.keys() <= _MANDATORY | _OPTIONAL.keys():
        raise _refuse("the payload does not have the fields of an attestation document")
    optional = {name: _optional(fields, name) for name in _OPTIONAL}
    if fields["digest"] != "SHA384":
        raise _refuse("the registers are not SHA-384 digests")
    return NitroDocument(
        payload=payload,
        signature=signature,
        module_id=_module_id(fields["module_id"]),
        timestamp=_timestamp(fields["timestamp"]),
        pcrs=_registers(fields["pcrs"]),
        certificate=_der(fields["certificate"]),
        cabundle=_cabundle(fields["cabundle"]),
        user_data=optional["user_data"],
    )


def verify_not_debug(document: NitroDocument) -> None:
    """Zeros instead of measurements mean debug mode ("AWS Nitro Enclaves User Guide", "Debug mode"): the host can read
    the console. Raises `Untrusted` EVIDENCE."""
    if any(not any(document.pcrs[index]) for index in _IMAGE):
        raise _refuse("this is a debug enclave: its host can read its console")


# --- CBOR -----------------------------------------------------------------------------------------------------------


def _decode(data: bytes) -> Any:
    """One data item, of plain types, in its one encoding, and nothing after it."""
    _verify_plain(data)
    try:
        item = cbor2.loads(data, max_depth=_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
    except cbor2.CBORDecodeError:
        raise _refuse("the document is not CBOR, repeats a key, or is nested deeper than any") from None
    # Longer forms of a length or a number, and bytes after the end, are all caught by this one comparison.
    if cbor2.dumps(item) != data:
        raise _refuse("the document is not in its one encoding, or bytes follow its end")
    return item


def _verify_plain(data: bytes) -> None:
    """Look at every head, before a general decoder does: it would act on tags (dates, regular expressions, numbers
    with a thousand million digits), and no document has any, nor floating-point numbers, nor simple values but null."""
    at = 0
    while at < len(data):
        first = data[at]
        major, short = first >> 5, first & 0x1F
        if major == _TAG or (major == _SIMPLE and first != _NULL) or short > 27:
            raise _refuse("the document contains CBOR that no attestation document has")
        size = 1 << (short - 24) if short > 23 else 0
        value = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else short
        at += 1 + size + (value if major in (_BYTES, _TEXT) else 0)


def _module_id(value: object) -> str:
    # Narrower than "text": it is shown in terminals, and policies compare it.
    if not isinstance(value, str) or not _MODULE_ID.fullmatch(value):
        raise _refuse("the document's module id is not one")
    return value


def _timestamp(value: object) -> int:
    if not isinstance(value, int) or value <= 0:
        raise _refuse("the document's timestamp is not one")
    return value


def _registers(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict) or not set(_IMAGE) <= value.keys():
        raise _refuse("the document lacks a register of the image")
    for index, register in value.items():
        if not isinstance(index, int) or not 0 <= index < _REGISTERS:
            raise _refuse("the document has a register that does not exist")
        if not isinstance(register, bytes) or len(register) != _INTEGER:
            raise _refuse("a register of the document is not a SHA-384 digest")
    return value


def _der(value: object) -> bytes:
    if not isinstance(value, bytes) or not 1 <= len(value) <= _MAX_CERTIFICATE:
        raise _refuse("the document has a certificate that is none")
    return value


def _cabundle(value: object) -> list[bytes]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CA_CERTIFICATES:
        raise _refuse("the document does not have as many CA certificates as any has")
    return [_der(der) for der in value]


def _optional(fields: dict[str, Any], name: str) -> bytes:
    # AWS's text knows no null here; its security module writes one for each value that was not asked for.
    value = fields.get(name)
    if value is None:
        return b""
    if not isinstance(value, bytes) or len(value) > _OPTIONAL[name]:
        raise _refuse(f"the document's {name} is not as AWS defines it")
    return value


# --- certificates (§3.2.3) ------------------------------------------------------------------------------------------


class _Certificate:
    """One certificate of the chain, with all that is looked at, read once."""

    def __init__(self, untrusted_der: bytes) -> None:
        try:
            self._certificate = x509.load_der_x509_certificate(untrusted_der)
            key = self._certificate.public_key()
            self._extensions = list(self._certificate.extensions)
            self.not_before = int(self._certificate.not_valid_before_utc.timestamp())
            self.not_after = int(self._certificate.not_valid_after_utc.timestamp())
            algorithm = self._certificate.signature_algorithm_oid
        except _UNREADABLE:
            raise _refuse("a certificate of the document does not parse") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise _refuse("a certificate of the document has a key that is not of P-384")
        if algorithm != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            raise _refuse("a certificate of the document is not signed by ECDSA with SHA-384")
        if any(extension.critical and extension.oid not in _UNDERSTOOD for extension in self._extensions):
            raise _refuse("a certificate of the document has a critical extension that is not understood")
        self.key: Final = key

    def verify_authority(self, below: int) -> None:
        """It may issue, with `below` other authorities between itself and the leaf (§3.2.3.2, §3.2.3.3)."""
        constraints, usage = self._constraints(), self._usage()
        if not constraints.ca or not usage.key_cert_sign:
            raise _refuse("a certificate of the document was issued by one that must not issue any")
        if constraints.path_length is not None and constraints.path_length < below:
            raise _refuse("the document's chain is longer than one of its certificates permits")

    def verify_signer(self) -> None:
        """It may sign documents, and can't issue certificates (§3.2.3.3)."""
        if self._constraints().ca or not self._usage().digital_signature or self._usage().key_cert_sign:
            raise _refuse("the document's certificate is not one for signing documents")

    def verify_validity(self, now: int) -> None:
        # A leaf begins with its document: without the skew, a clock a second behind would refuse every fresh enclave.
        if not self.not_before - CLOCK_SKEW <= now <= self.not_after:
            raise _refuse("a certificate of the document is not valid now: not yet, or no longer")

    def verify_issued_by(self, issuer: _Certificate) -> None:
        """By name and by signature."""
        try:
            self._certificate.verify_directly_issued_by(issuer._certificate)
        except (InvalidSignature, *_UNREADABLE):
            raise _refuse("a certificate of the document was not issued by the one before it") from None

    def _constraints(self) -> x509.BasicConstraints:
        return self._extension(x509.BasicConstraints)

    def _usage(self) -> x509.KeyUsage:
        return self._extension(x509.KeyUsage)

    def _extension(self, kind: type[Extension]) -> Extension:
        for extension in self._extensions:
            if isinstance(extension.value, kind):
                return extension.value
        raise _refuse("a certificate of the document does not say what it is for")


@lru_cache(maxsize=64)
def _verify_authority_issued(issuer: bytes, issued: bytes) -> None:
    """By DER. Whether one certificate issued another does not change; what was found true is not asked twice, and what
    was not is no answer to keep. Certificates of AWS's authorities last for days; dates are looked at every time."""
    _Certificate(issued).verify_issued_by(_Certificate(issuer))


def _verify_document_signature(document: NitroDocument, key: ec.EllipticCurvePublicKey) -> None:
    """ES384 over the Sig_structure (RFC 9052 §4.4), without external data."""
    signed = cbor2.dumps(["Signature1", _PROTECTED, b"", document.payload])
    r, s = (int.from_bytes(document.signature[at : at + _INTEGER], "big") for at in (0, _INTEGER))
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise _refuse("the document's signature is not that of its certificate") from None
