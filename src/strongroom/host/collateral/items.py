"""One piece of collateral: what is asked for, what was answered, until when it is good.

Nothing is verified: verifiers do that, and a host could lie to them anyway. What is read here decides two things only:
how long to keep an item, and whether it is plainly not the one that was asked for, which would cost people a refusal.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from cryptography import x509

MAX_ANSWER: Final = 64 * 1024
"""Bytes of one answer: as much as all collateral of one piece of evidence may have."""
MAX_CHAIN: Final = 16 * 1024
"""Characters of an issuer chain in a header, decoded."""

MALFORMED: Final = (
    ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What reading certificates and lists raises, at once or on access, depending on where they are broken."""


class Unusable(Exception):
    """An answer that is not the item asked for; the text says why, in words of ours only."""


class Answer(NamedTuple):
    """What a source said, before anything is read into it."""

    body: bytes
    chain: str
    """PEM of the issuer chain that came in a header; empty where there is none."""


class Item(NamedTuple):
    """An answer that was read."""

    parts: dict[str, str]
    """What goes into the collateral, by name."""
    issued: int
    """Unix seconds, by its own account."""
    expires: int
    """Unix seconds: the first of its own next update and the ends of the certificates that come with it."""
    number: int = 0
    """`tcbEvaluationDataNumber`; 0 where there is none."""


class Wanted(Protocol):
    """One item, named so that equal things share one request. Hashable."""

    @property
    def name(self) -> str:
        """File name in the cache."""

    @property
    def chain_headers(self) -> Sequence[str]:
        """Headers that may hold the issuer chain; none where the body holds all."""

    @property
    def changes(self) -> bool:
        """Whether its maker may replace it before it ends: certificates never change, lists and statements do."""

    def url(self, base: str) -> str:
        """Where a source has it."""

    def read(self, answer: Answer) -> Item:
        """Raises `Unusable`."""


def certificates(pem: str | bytes) -> list[x509.Certificate]:
    """At least one. Raises `Unusable`."""
    try:
        return x509.load_pem_x509_certificates(pem.encode() if isinstance(pem, str) else pem)
    except MALFORMED:
        raise Unusable("its certificates do not parse") from None


class RevocationList(NamedTuple):
    """A list and what is asked of it."""

    crl: x509.CertificateRevocationList
    issuer: x509.Name
    issued: int
    update: int
    """Next update; unix seconds both."""


def revocations(body: bytes) -> RevocationList:
    """A list in any of the three forms that are served: DER (Intel, AMD), its hex (PCCS), PEM. Raises `Unusable`."""
    try:
        if body.startswith(b"-----BEGIN"):
            crl = x509.load_pem_x509_crl(body)
        elif body.startswith(b"\x30"):
            crl = x509.load_der_x509_crl(body)
        else:
            crl = x509.load_der_x509_crl(binascii.unhexlify(body.strip()))
        # Parsed only now, one by one.
        issuer, issued, update = crl.issuer, crl.last_update_utc, crl.next_update_utc
    except MALFORMED:
        raise Unusable("the revocation list does not parse") from None
    if update is None:
        raise Unusable("the revocation list names no next update")
    return RevocationList(crl, issuer, seconds(issued), seconds(update))


def first_end(chain: Sequence[x509.Certificate]) -> int:
    """When the first of them ends, unix seconds. Raises `Unusable`."""
    try:
        return min(seconds(certificate.not_valid_after_utc) for certificate in chain)
    except MALFORMED:
        raise Unusable("a certificate's dates do not parse") from None


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def common_name(name: x509.Name) -> str:
    """Empty if there is not exactly one."""
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    value = found[0].value if len(found) == 1 else ""
    return value if isinstance(value, str) else ""
