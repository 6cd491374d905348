"""Vectors of what a Vault says about blobs: exact bytes, signature, and what a host must not believe."""

from __future__ import annotations

import msgspec
from case import Case, Cases, accepted, fixed, flipped, refused, sign

from strongroom.protocol.blobs import BlobStatement
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.primitives import Domain, SigningKey

HERE = "blobs/"
CLUSTER = SigningKey.from_scalar(fixed("cluster scalar"))
LIVE = BlobStatement(blob=fixed("blob", 16), version=3, max_bytes=5_000_000_000, expires_at=1_800_000_000, live=True)
ERASE = BlobStatement(blob=LIVE.blob, version=4, max_bytes=LIVE.max_bytes, expires_at=LIVE.expires_at, live=False)
LARGER = msgspec.structs.replace(LIVE, max_bytes=LIVE.max_bytes + 1)


def _signed(statement: bytes, domain: Domain = Domain.BLOB) -> dict[str, bytes]:
    signature = sign(CLUSTER.scalar, domain, statement)
    return {"cluster_key": CLUSTER.public, "statement": statement, "signature": signature}


def every() -> list[Case]:
    return [*_good(), *_bad()]


def _good() -> Cases:
    for name, what, statement in (
        ("statement", "may be kept, up to a size and a time", LIVE),
        ("statement-erase", "the record is closed: erase the blob", ERASE),
    ):
        yield accepted(HERE + name, what, "blob statement", _signed(encode(statement)), value=statement)


def _bad() -> Cases:
    good = _signed(encode(LIVE))
    other = SigningKey.from_scalar(fixed("other scalar"))
    for name, what, change in (
        ("larger", "the size raised after it was signed", {"statement": encode(LARGER)}),
        ("revived", "live set to true after it was signed", _signed(encode(ERASE)) | {"statement": encode(LIVE)}),
        ("flipped", "a bit of the signature flipped", {"signature": flipped(good["signature"], 40)}),
        ("of-another-cluster", "signed by another Vault's cluster", {"cluster_key": other.public}),
        (
            "of-another-domain",
            "the cluster key's signature over the same bytes as claims",
            _signed(encode(LIVE), Domain.CLAIMS_SIGNATURE),
        ),
    ):
        yield refused(HERE + name, what, "blob statement", good | change, Number.INTEGRITY, "signature")
    for name, what, statement in (
        ("no-statement", "something else, signed", b"\xc0"),
        ("one-more-field", "a field that no statement has", b"\x86" + encode(LIVE)[1:] + b"\xa4more\x01"),
        ("trailing-byte", "a byte after the end", encode(LIVE) + b"\xc0"),
    ):
        yield refused(HERE + name, what, "blob statement", _signed(statement), Number.MALFORMED, "encoding")
