"""From anybody's PEM text to an attestation key of AMD's: leaf, signing key, root, and perhaps a revocation list.

AMD signs with RSASSA-PSS, SHA-384 and a salt of 48 bytes throughout (57230, chapter 3). That is what is verified
here, whatever algorithm a certificate declares: evidence does not choose how it is checked.

Limits that come with AMD's formats:
* Every leaf has the serial number zero, so that a list can revoke a signing key, and no single chip.
* AMD serves one list under `/vcek/` and one under `/vlek/`, both signed by the root. Either counts for either key.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.utils import CryptographyDeprecationWarning

from strongroom.attestation.amd_roots import AmdChain
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

MAX_COLLATERAL: Final = 64 * 1024
"""Bytes of PEM."""

_BLOCK: Final = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----\n([0-9A-Za-z+/=\n]+)-----END \1-----(?:\n|\Z)")
_CHAIN: Final = [b"CERTIFICATE"] * 3
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
_AMD: Final = "1.3.6.1.4.1.3704.1."
"""Arc of the extensions that describe a chip and its firmware (57230, chapter 3)."""

# AMD numbers every VCEK and VLEK zero, which RFC 5280 forbids. Said once, here, and not on everybody's terminal.
warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning, re.escape(__name__))

_Parsed = TypeVar("_Parsed", x509.Certificate, x509.CertificateRevocationList)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement:
    """An attestation key and what AMD's certificate says of it."""

    chain: AmdChain
    key: ec.EllipticCurvePublicKey
    """On P-384."""
    extensions: Mapping[str, bytes]
    """Exact contents of AMD's extensions, by the end of their OID: "3.8" is the microcode's version."""
    proven_at: int
    """Unix seconds: latest date that AMD signed as past."""
    valid_until: int
    """Unix seconds: the first expiry."""
    crl_checked: bool


class _Issuers(NamedTuple):
    ark: x509.Certificate
    ark_key: rsa.RSAPublicKey
    ask: x509.Certificate
    ask_key: rsa.RSAPublicKey


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _blocks(untrusted_pem: bytes) -> tuple[list[bytes], bytes | None]:
    """DER of leaf, signing key and root, in this order, and of the revocation list if there is one."""
    if len(untrusted_pem) > MAX_COLLATERAL:
        raise _refuse(f"the collateral is longer than {MAX_COLLATERAL} bytes")
    labels, contents, at = [], [], 0
    while at < len(untrusted_pem):
        block = _BLOCK.match(untrusted_pem, at)
        if block is None:
            raise _refuse("the collateral is not PEM text of certificates and a revocation list")
        labels.append(block[1])
        contents.append(block[2])
        at = block.end()
    if labels not in (_CHAIN, [*_CHAIN, b"X509 CRL"]):
        raise _refuse("the collateral is not leaf, signing key and root, then at most one revocation list")
    try:
        ders = [base64.b64decode(content.replace(b"\n", b""), validate=True) for content in contents]
    except ValueError:
        raise _refuse("the collateral is not PEM text of certificates and a revocation list") from None
    return ders[:3], ders[3] if len(ders) > len(_CHAIN) else None


def _parse(load: Callable[[bytes], _Parsed], der: bytes, what: str) -> _Parsed:
    try:
        return load(der)
    except (ValueError, x509.InvalidVersion):
        raise _refuse(f"the {what} does not parse") from None


def _verify_signed(key: rsa.RSAPublicKey, signed: x509.Certificate | x509.CertificateRevocationList, what: str) -> None:
    body = signed.tbs_certificate_bytes if isinstance(signed, x509.Certificate) else signed.tbs_certlist_bytes
    try:
        key.verify(signed.signature, body, _PSS, hashes.SHA384())
    except InvalidSignature:
        raise _refuse(f"the {what} is not signed by its issuer") from None


def _rsa_key(certificate: x509.Certificate, what: str) -> rsa.RSAPublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise _refuse(f"the {what} has no RSA key")
    return key


@lru_cache(maxsize=16)
def _issuers(ark_der: bytes, ask_der: bytes) -> _Issuers:
    """A pinned root and the signing key below it, verified once. Only pinned bytes come here, so that nobody else fills
    the cache. Their dates are looked at every time."""
    ark = _parse(x509.load_der_x509_certificate, ark_der, "root")
    ask = _parse(x509.load_der_x509_certificate, ask_der, "signing key")
    ark_key = _rsa_key(ark, "root")
    _verify_signed(ark_key, ark, "root")
    _verify_signed(ark_key, ask, "signing key")
    return _Issuers(ark, ark_key, ask, _rsa_key(ask, "signing key"))


def _seconds(date: datetime) -> int:
    return int(date.timestamp())


def _verify_dates(certificate: x509.Certificate, now: int, what: str) -> tuple[int, int]:
    """Both ends of its validity, unix seconds."""
    start, end = _seconds(certificate.not_valid_before_utc), _seconds(certificate.not_valid_after_utc)
    if now < start:
        raise _refuse(f"the {what} is not valid yet")
    if now > end:
        raise _refuse(f"the {what} has expired")
    return start, end


def _extensions(signed: x509.Certificate | x509.CertificateRevocationList, what: str) -> x509.Extensions:
    """None of them critical: AMD marks none so in what it signs here, and a critical one that is skipped unread may
    narrow what the rest means."""
    try:
        found = signed.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _refuse(f"the {what} has extensions that do not parse") from None
    if any(extension.critical for extension in found):
        raise _refuse(f"the {what} has a critical extension that is not known here")
    return found


def _verify_crl(der: bytes, issuers: _Issuers, leaf: x509.Certificate, now: int) -> tuple[int, int]:
    """Dates of this list and of the next one. Raises `Untrusted` unless it is the root's, current, and revokes
    nothing that the evidence rests on."""
    crl = _parse(x509.load_der_x509_crl, der, "revocation list")
    _verify_signed(issuers.ark_key, crl, "revocation list")
    _extensions(crl, "revocation list")
    try:
        issuer, revoked = crl.issuer, {one.serial_number for one in crl}
    except ValueError:
        raise _refuse("the revocation list does not parse") from None
    if issuer != issuers.ark.subject:
        raise _refuse("the revocation list is not the root's")
    issued, following = crl.last_update_utc, crl.next_update_utc
    if following is None:
        raise _refuse("the revocation list does not say until when it holds")
    if now < _seconds(issued):
        raise _refuse("the revocation list is not valid yet")
    if now > _seconds(following):
        raise _refuse("the revocation list has expired")
    if revoked & {issuers.ark.serial_number, issuers.ask.serial_number, leaf.serial_number}:
        raise _refuse("AMD has revoked a certificate of the chain")
    return _seconds(issued), _seconds(following)


def verify_amd_chain(untrusted_collateral: bytes, now: int, chains: Sequence[AmdChain]) -> Endorsement:
    """Verify PEM text of a leaf, its signing key and its root, in this order, optionally followed by the root's
    revocation list, at `now` (unix seconds).

    Raises `Untrusted` EVIDENCE. The leaf's extensions are genuine then, and not yet compared with anything.
    """
    (leaf_der, ask_der, ark_der), crl_der = _blocks(untrusted_collateral)
    digests = fingerprint(ark_der), fingerprint(ask_der)
    chain = next((one for one in chains if (one.ark, one.ask) == digests), None)
    if chain is None:
        raise _refuse("the signing key and its root are none of AMD's that are known here")
    issuers = _issuers(ark_der, ask_der)
    leaf = _parse(x509.load_der_x509_certificate, leaf_der, "attestation key's certificate")
    _verify_signed(issuers.ask_key, leaf, "attestation key's certificate")
    try:
        issuer, key = leaf.issuer, leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise _refuse("the attestation key's certificate does not parse") from None
    if issuer != issuers.ask.subject:
        raise _refuse("the attestation key's certificate names another issuer")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _refuse("the attestation key is not on the curve P-384")
    dates = [
        _verify_dates(leaf, now, "attestation key's certificate"),
        _verify_dates(issuers.ask, now, "signing key"),
        _verify_dates(issuers.ark, now, "root"),
    ]
    if crl_der is not None:
        dates.append(_verify_crl(crl_der, issuers, leaf, now))
    found = {
        extension.oid.dotted_string.removeprefix(_AMD): extension.value.value
        for extension in _extensions(leaf, "attestation key's certificate")
        if extension.oid.dotted_string.startswith(_AMD) and isinstance(extension.value, x509.UnrecognizedExtension)
    }
    return Endorsement(
        chain=chain,
        key=key,
        extensions=found,
        proven_at=max(start for start, _ in dates),
        valid_until=min(end for _, end in dates),
        crl_checked=crl_der is not None,
    )
