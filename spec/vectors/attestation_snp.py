"""Vectors of SEV-SNP reports with their certificates, signed up to a root that stands in the vector.

Certificates are signed with RSA-PSS, which is randomised, under keys that nobody keeps. So those that stand in the
vectors are kept while all of them still do what their vector says; else all are made anew, under new keys. Reports are
made in every run, alike.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from case import VECTORS, Case, accepted, flipped, refused
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

import strongroom
from strongroom.attestation.amd_roots import AmdChain, AttestationKey, Product
from strongroom.attestation.snp import verify_snp_report
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

# Reports are bent here as they are in the tests.
sys.path.append(str(Path(strongroom.__file__).resolve().parents[2]))
from tests.support.synthetic_snp import (
    DAY,
    ISSUED,
    LISTED,
    NOW,
    POLICY,
    SIGNED,
    Amd,
    Revoked,
    amd,
    ec_key,
    pem,
    put,
    rsa_key,
)

HERE = "attestation/snp-"
RUN = "verify quote"
BITS = 4096
"""Of AMD's RSA keys."""
PRODUCTS: tuple[Product, ...] = ("Milan", "Genoa", "Turin")
CURRENT_TCB, REPORTED_TCB = 0x38, 0x180


class Wanted(NamedTuple):
    """A vector to be made. `reason` None: accepted."""

    what: str
    report: bytes
    collateral: str
    """Name of the vector that holds it."""
    chains: str
    reason: str | None
    now: int = NOW


def collaterals() -> dict[str, Callable[[], bytes]]:
    """How to make what stands in the vector of each name, if it must be made."""

    @cache
    def by(product: Product) -> Amd:
        return Amd(product, bits=BITS)

    def genoa(**leaf: Any) -> Callable[[], bytes]:
        return lambda: by("Genoa").collateral(leaf=by("Genoa").leaf(**leaf))

    def older(product: Product, **parts: int) -> Callable[[], bytes]:
        def make() -> bytes:
            maker = by(product)
            tcb = maker.tcb._replace(**parts)
            return maker.collateral(leaf=maker.leaf(extensions=maker.extensions(tcb=tcb)))

        return make

    def crl(*revoked: Revoked, **how: Any) -> bytes:
        return by("Genoa").collateral(crl=by("Genoa").crl(*revoked, **how))

    scope = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    narrow = x509.Extension(scope.oid, True, scope)
    made: dict[str, Callable[[], bytes]] = {}
    for product in PRODUCTS:
        made[product.lower()] = lambda product=product: by(product).collateral()
        made[f"{product.lower()}-vlek"] = lambda product=product: by(product).collateral("vlek")
    return made | {
        "genoa-crl": crl,
        "microcode-differs": older("Genoa", microcode=0xD8),
        "turin-fmc-differs": older("Turin", fmc=2),
        "leaf-pkcs1": genoa(rsa_padding=padding.PKCS1v15()),
        "leaf-p256": genoa(public_key=ec_key(b"P-256", ec.SECP256R1()).public_key()),
        "leaf-of-the-other-signing-key": lambda: by("Genoa").collateral(
            leaf=by("Genoa").leaf(issuer=by("Genoa").asvk.subject)
        ),
        "another-root": lambda: Amd("Genoa", root="attacker", bits=BITS).collateral(),
        "revoked": lambda: crl(Revoked(by("Genoa").ask.serial_number)),
        "crl-of-the-signing-key": lambda: crl(issuer=by("Genoa").ask.subject, signer=by("Genoa").ask_key),
        "crl-by-another-key": lambda: crl(signer=rsa_key("attacker ark", BITS)),
        "crl-of-a-part": lambda: crl(others=[narrow]),
    }


def genuine() -> dict[str, Wanted]:
    found = {}
    for product in PRODUCTS:
        name = product.lower()
        chip = f"a guest on {product}, under the key of the chip"
        cloud = f"a guest on {product}, under a key that AMD lends to a cloud provider"
        found[name] = Wanted(chip, report(product, version=3 if product == "Milan" else 5), name, name, None)
        found[f"{name}-vlek"] = Wanted(cloud, report(product, "vlek"), f"{name}-vlek", f"{name}-vlek", None)
    what = "with a list of revoked certificates, which names none"
    found["genoa-crl"] = Wanted(what, report("Genoa"), "genoa-crl", "genoa", None)
    what = "a report of version 2, which does not say which processor it is of"
    found["milan-2"] = Wanted(what, report("Milan", version=2), "milan", "milan", None)
    return found


def report(product: Product, key: AttestationKey = "vcek", **how: Any) -> bytes:
    return amd(product).report(key, **how)


def broken() -> dict[str, Wanted]:
    good = report("Genoa")

    def bad(what: str, reason: str, report: bytes = good, collateral: str = "genoa", **how: Any) -> Wanted:
        return Wanted(what, report, collateral, how.pop("chains", "genoa"), reason, **how)

    def bent(at: int, *values: int, **how: Any) -> bytes:
        return report(how.pop("product", "Genoa"), how.pop("key", "vcek"), bend=put(at, *values), **how)

    masked = bent(0x1A0, *bytes(64))
    unsigned = bent(0x48, 7 << 2)[:SIGNED] + bytes(512)
    parent = "not signed by its issuer"
    return {
        "changed": bad("a bit of the measurement differs", "not signed by the key", flipped(good, 0x90)),
        "trailing-byte": bad("a byte after the report's end", "1184 bytes long", good + b"\x00"),
        "version-6": bad("a version of the future", "version 6", bent(0, 6)),
        "signature-algorithm": bad("an algorithm without a meaning", "not signed with ECDSA", bent(0x34, 2)),
        "reserved": bad("something in a reserved part", "a reserved part of the report", bent(0x4C, 1)),
        "mitigations-too-early": bad(
            "a field of version 5 in version 3", "a reserved part of the report", bent(0x1F8, 1, version=3)
        ),
        "debug": bad("a guest that its host may debug", "may be debugged", report("Genoa", policy=POLICY | 1 << 19)),
        "policy-bit": bad(
            "a bit of the guest policy without a meaning", "the guest policy", report("Genoa", policy=POLICY | 1 << 26)
        ),
        "of-the-host": bad("asked for by the host", "the host asked", report("Genoa", vmpl=0xFFFFFFFF)),
        "unsigned": bad("the report says that no key signed it", "no key signed it", unsigned),
        "stray-author": bad("an author key that the flags do not announce", "an author key", bent(0x110, 1)),
        "another-chip": bad("the certificate is another chip's", "for another chip", bent(0x1A0, 0xEE)),
        "masked-chip": bad("the chip's name is masked", "masks the chip's name", masked),
        "vlek-as-vcek": bad(
            "the report says that the chip's key signed, the certificate is a cloud provider's",
            "another kind of key",
            collateral="genoa-vlek",
            chains="genoa-vlek",
        ),
        "vlek-with-chip": bad(
            "a chip's name for which no certificate vouches",
            "names no chip",
            bent(0x1A0, 1, key="vlek"),
            "genoa-vlek",
            chains="genoa-vlek",
        ),
        "another-processor": bad("model and family of Milan", "family and model", bent(0x188, 0x19, 0x01)),
        "above-current": bad(
            "firmware that reports a higher microcode than it runs on",
            "is above CURRENT_TCB",
            bent(CURRENT_TCB + 7, 0xD8),
        ),
        "reserved-tcb": bad("a reserved part of a TCB version", "TCB is not zero", bent(CURRENT_TCB + 3, 1)),
        "microcode-differs": bad(
            "the key of older microcode, for which it was certified",
            "microcode differs",
            collateral="microcode-differs",
        ),
        "turin-fmc-differs": bad(
            "the key of an older part that only Turin has",
            "fmc differs",
            report("Turin"),
            "turin-fmc-differs",
            chains="turin",
        ),
        "turin-read-as-genoa": bad(
            "the layout of TCB versions before Turin in a report of Turin",
            "differs",
            bent(REPORTED_TCB, *amd("Genoa").report()[REPORTED_TCB : REPORTED_TCB + 8], product="Turin"),
            "turin",
            chains="turin",
        ),
        "product-not-pinned": bad("a chain of another product than the ones to trust", "none of AMD's", chains="turin"),
        "another-root": bad("a root of the same name with another key", "none of AMD's", collateral="another-root"),
        "leaf-pkcs1": bad("a certificate signed as AMD does not sign", parent, collateral="leaf-pkcs1"),
        "leaf-p256": bad("a key on another curve", "not on the curve", collateral="leaf-p256"),
        "leaf-of-the-other-signing-key": bad(
            "a certificate that names another issuer", "another issuer", collateral="leaf-of-the-other-signing-key"
        ),
        "leaf-expired": bad("the certificate's last second is over", "has expired", now=ISSUED + 2555 * DAY + 1),
        "leaf-not-yet": bad("a second before the certificate begins", "not valid yet", now=ISSUED - 1),
        "root-first": bad("certificates in the reverse order", "none of AMD's", collateral="root-first"),
        "root-twice": bad("one certificate more", "leaf, signing key and root", collateral="root-twice"),
        "hidden-text": bad("text between certificates", "not PEM text", collateral="hidden-text"),
        "revoked": bad("AMD has revoked the signing key", "AMD has revoked", collateral="revoked"),
        "crl-expired": bad(
            "the list's last second is over",
            "list has expired",
            collateral="genoa-crl",
            now=LISTED + 30 * DAY + 1,
        ),
        "crl-of-the-signing-key": bad("a list of another issuer", parent, collateral="crl-of-the-signing-key"),
        "crl-by-another-key": bad("a list of a forger", parent, collateral="crl-by-another-key"),
        "crl-of-a-part": bad(
            "a list that speaks of some certificates only", "a critical extension", collateral="crl-of-a-part"
        ),
    }


def derived(made: dict[str, bytes]) -> dict[str, bytes]:
    """Collateral that is other collateral put together wrongly."""
    leaf, ask, ark = x509.load_pem_x509_certificates(made["genoa"])
    return made | {
        "root-first": pem(ark, ask, leaf),
        "root-twice": pem(leaf, ask, ark, ark),
        "hidden-text": pem(leaf) + b"hidden\n" + pem(ask, ark),
    }


def chain_of(collateral: bytes, product: Product, key: AttestationKey) -> AmdChain:
    _, ask, ark = (fingerprint(one.public_bytes(Encoding.DER)) for one in x509.load_pem_x509_certificates(collateral))
    return AmdChain(product, key, ark, ask)


def standing() -> dict[str, bytes]:
    """Collateral that stands in the vectors. Raises OSError, ValueError or KeyError where some is missing."""
    found = {}
    for name in collaterals():
        found[name] = bytes.fromhex(json.loads((VECTORS / f"{HERE}{name}.json").read_text())["inputs"]["collateral"])
    return found


def cases(made: dict[str, bytes]) -> list[Case]:
    """Every vector. Raises ValueError where one does not do what it says."""
    everything = derived(made)
    chains = {}
    for product in PRODUCTS:
        for name, key in ((product.lower(), "vcek"), (f"{product.lower()}-vlek", "vlek")):
            chains[name] = [chain_of(made[name], product, key)]  # type: ignore[arg-type]
    found = []
    for name, wanted in (genuine() | broken()).items():
        given = {
            "kind": "snp",
            "quote": wanted.report,
            "collateral": everything[wanted.collateral] if wanted.collateral == name else f"@snp-{wanted.collateral}",
            "chains": [one._asdict() for one in chains[wanted.chains]]
            if wanted.chains == name
            else f"@snp-{wanted.chains}",
            "now": wanted.now,
        }
        try:
            report = verify_snp_report(
                wanted.report, everything[wanted.collateral], wanted.now, chains=chains[wanted.chains]
            )
        except Untrusted as refusal:
            if wanted.reason is None or wanted.reason not in refusal.reason:
                raise ValueError(f"{name} is refused because {refusal.reason}") from None
            found.append(refused(HERE + name, wanted.what, RUN, given, Number.EVIDENCE, "quote"))
        else:
            if wanted.reason is not None:
                raise ValueError(f"{name} is accepted")
            found.append(accepted(HERE + name, wanted.what, RUN, given, report=report))
    return found


def every() -> list[Case]:
    try:
        return cases(standing())
    except (OSError, ValueError, KeyError):  # missing, damaged or outdated: made anew, all of them
        return cases({name: make() for name, make in collaterals().items()})
