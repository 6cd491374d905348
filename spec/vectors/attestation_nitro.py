"""Vectors of Nitro attestation documents, signed up to a root whose digest stands in the vector.

Each refused one is wrong in the one thing that its name says, and signed after it was made wrong, where a signature
covers it. Signatures are those of RFC 6979, so every run makes the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cbor2
from case import Case, Cases, accepted, refused

import strongroom
from strongroom.attestation.nitro import CLOCK_SKEW, verify_nitro_document
from strongroom.protocol.errors import Number

# Documents are bent here as they are in the tests.
sys.path.append(str(Path(strongroom.__file__).resolve().parents[2]))
from tests.support.synthetic_nitro import ABSENT, CERTIFICATES, NOW, Certificate, SyntheticNitro

HERE = "attestation/nitro"
RUN = "verify quote"
PKI = SyntheticNitro("strongroom vectors")
STRANGER = SyntheticNitro("strongroom vectors: stranger")
GOOD = PKI.document()


def inputs(document: bytes | str, now: int = NOW) -> dict[str, Any]:
    return {"kind": "nitro", "quote": document, "collateral": b"", "root": PKI.root, "now": now}


def payload(**fields: Any) -> bytes:
    return PKI.document(payload=fields)


def certificates(**bends: dict[str, Any]) -> bytes:
    return PKI.document(certificates=bends)


def good() -> Cases:
    """Documents that verify."""
    whole = {
        "": ("a document as the Nitro Security Module makes it", GOOD, NOW),
        "-all-fields": (
            "with public key and nonce, and as much user data as there may be",
            payload(public_key=bytes(91), nonce=bytes(range(32)), user_data=bytes(512)),
            NOW,
        ),
        "-absent-fields": (
            "without the optional fields, instead of with null in them",
            payload(public_key=ABSENT, nonce=ABSENT, user_data=ABSENT),
            NOW,
        ),
        "-last-second": (
            "in the last second of the certificate that signed it",
            GOOD,
            NOW + CERTIFICATES["leaf"].after,
        ),
        "-ahead": (
            "its time is as far ahead of the verifier's clock as it may be",
            payload(timestamp=(NOW + CLOCK_SKEW) * 1000),
            NOW,
        ),
    }
    for name, (what, document, now) in whole.items():
        report = verify_nitro_document(document, now, root=PKI.root)
        quote = "@nitro" if name and document == GOOD else document
        yield accepted(HERE + name, what, RUN, inputs(quote, now), report=report)


def encoded() -> dict[str, tuple[str, bytes]]:
    """Wrong in CBOR or COSE."""
    protected, unprotected, _, signature = cbor2.loads(GOOD)
    fields = cbor2.dumps(PKI.payload())
    twice = bytes([fields[0] + 1]) + fields[1:] + cbor2.dumps("digest") + cbor2.dumps("SHA384")
    return {
        "trailing-byte": ("a byte after the end, which no signature covers", GOOD + b"\x00"),
        "tagged": ("under CBOR tag 18, which the security module does not set", b"\xd2" + GOOD),
        "longer-encoding": ("the length of the outer list in two bytes", b"\x98\x04" + GOOD[1:]),
        "indefinite": ("the outer list without a length", b"\x9f" + GOOD[1:] + b"\xff"),
        "field-twice": ("a field of the payload twice", PKI.document(payload=twice)),
        "es256": ("the header names another algorithm", PKI.document(protected=cbor2.dumps({1: -7}))),
        "unprotected": ("a header that no signature covers", PKI.document(unprotected={4: b"key"})),
        "user-data-changed": (
            "other user data under the same signature",
            cbor2.dumps([protected, unprotected, cbor2.dumps(PKI.payload(user_data=bytes(64))), signature]),
        ),
    }


def chained() -> dict[str, tuple[str, bytes]]:
    """Wrong in the chain."""
    root, region, zone, instance, leaf = PKI.chain().values()
    own = PKI.certificate(
        Certificate(name="own", issuer="leaf", before=-60, after=60, ca=False, usage=("digital_signature",))
    )
    return {
        "another-root": ("complete, under another root with the same names", STRANGER.document()),
        "chain-with-a-gap": ("an authority is missing", payload(cabundle=[root, region, instance])),
        "issued-by-an-enclave": (
            "an enclave's own certificate in the place of an authority",
            PKI.document(
                payload={"cabundle": [root, region, zone, instance, leaf], "certificate": own}, signed_by="own"
            ),
        ),
        "leaf-by-another-key": ("the leaf is not signed by its issuer", certificates(leaf={"signed_by": "somebody"})),
        "path-too-long": ("an authority permits a shorter chain", certificates(zone={"path_length": 0})),
        "no-authority": (
            "an authority's certificate is not one",
            certificates(zone={"ca": False, "path_length": None}),
        ),
        "certificate-sha256": ("a certificate is signed with SHA-256", certificates(instance={"algorithm": "SHA256"})),
        "zone-expired": ("an authority's certificate has expired", certificates(zone={"after": -1})),
    }


def stated() -> dict[str, tuple[str, bytes]]:
    """Wrong in what it says."""
    registers = PKI.payload()["pcrs"]
    return {
        "debug": (
            "a debug enclave: the image's registers are zero",
            payload(pcrs=registers | dict.fromkeys(range(3), bytes(48))),
        ),
        "pcr1-zero": ("one register of the image is zero", payload(pcrs=registers | {1: bytes(48)})),
        "unknown-field": ("a field that AWS does not define", payload(claims=b"")),
        "module-id-control": ("a module id that a terminal would act upon", payload(module_id="i-1\x1b[2J")),
        "before-its-certificate": (
            "made before the certificate that signed it",
            payload(timestamp=(NOW + CERTIFICATES["leaf"].before - 1) * 1000),
        ),
        "from-the-future": (
            "its time is a second too far ahead of the verifier's clock",
            payload(timestamp=(NOW + CLOCK_SKEW + 1) * 1000),
        ),
    }


def bad() -> Cases:
    for name, (what, document) in (encoded() | chained() | stated()).items():
        yield refused(f"{HERE}-{name}", what, RUN, inputs(document), Number.EVIDENCE, "quote")
    late = inputs("@nitro", NOW + CERTIFICATES["leaf"].after + 1)
    yield refused(HERE + "-leaf-expired", "a second too late for the leaf", RUN, late, Number.EVIDENCE, "quote")


def every() -> list[Case]:
    return [*good(), *bad()]
