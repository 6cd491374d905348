"""From a quote of any platform to a verified report. The relying party says which platforms and roots may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from strongroom.attestation.intel import root_certificate
from strongroom.attestation.nitro import verify_nitro_document
from strongroom.attestation.reports import AnyReport
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.snp import verify_snp_report
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import PlatformKind
from strongroom.protocol.primitives import fingerprint

HARDWARE: Final[tuple[PlatformKind, ...]] = ("sgx", "tdx", "snp", "nitro")


def verify_quote(
    kind: PlatformKind,
    untrusted_quote: bytes,
    untrusted_collateral: bytes,
    *,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> AnyReport:
    """Verify a quote up to its maker's root at `now`, unix seconds; software evidence up to one of `insecure_roots`,
    SHA-256 digests. Every state of the platform passes that the maker does not call revoked: the rest is policy.

    Raises `Untrusted`: POLICY for a platform or root that was not named, EVIDENCE for everything else.
    """
    if kind not in platforms:
        what = "software evidence" if kind == "insecure-software" else f"{kind} evidence"
        raise Untrusted(Number.POLICY, f"this is {what}, and the policy does not name {kind}")
    match kind:
        case "sgx":
            return verify_sgx_quote(untrusted_quote, untrusted_collateral, None, now)
        case "tdx":
            return verify_tdx_quote(untrusted_quote, untrusted_collateral, None, now)
        case "snp":
            return verify_snp_report(untrusted_quote, untrusted_collateral, now)
        case "nitro":
            if untrusted_collateral:
                # Nothing would look at it, so two evidences would stand for one document.
                raise Untrusted(Number.EVIDENCE, "a Nitro document needs no collateral, and some came along")
            return verify_nitro_document(untrusted_quote, now)
        case "insecure-software":
            root = root_certificate(untrusted_quote)
            if fingerprint(root) not in insecure_roots:
                raise Untrusted(Number.POLICY, f"the policy does not name the software root {fingerprint(root).hex()}")
            return verify_sgx_quote(untrusted_quote, untrusted_collateral, root, now)
