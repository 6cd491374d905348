"""SGX quotes of version 3 (ECDSA P-256, "DCAP"): from untrusted bytes to a verified report.

`dcap-qvl` verifies signatures, chains, revocation lists and the TCB level. What it leaves open is checked here:
exact lengths (it lets trailing bytes pass), the production attributes, and expiry of everything it relied on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import dcap_qvl  # type: ignore[import-untyped]
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

INTEL_ROOT: Final = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
"""SHA-256 of the DER of the "Intel SGX Root CA" that `dcap-qvl` has built in."""

_VERSION: Final = 3
_TEE_SGX: Final = 0
_SIZE_AT: Final = 48 + 384
"""Offset of the signature data's size: after the header and the enclave report."""
_FLAGS_AT: Final = 48 + 48
_AUTH_AT: Final = _SIZE_AT + 4 + 64 + 64 + 384 + 64
"""Offset of the size of the QE's authentication data: after both signatures, the attestation key, the QE report."""
_PCK_CHAIN: Final = 5
"""Certification data type: PEM chain of the PCK certificate, its issuer and the root."""

_INIT: Final = 0x01
_DEBUG: Final = 0x02
_MODE64: Final = 0x04


@dataclass(frozen=True, slots=True)
class SgxReport:
    """What a verified quote says about an enclave and the machine below it."""

    measurement: bytes
    """MRENCLAVE (32)."""
    signer: bytes
    """MRSIGNER (32)."""
    product_id: int
    svn: int
    report_data: bytes
    """64 bytes."""
    tcb_status: str
    advisories: tuple[str, ...]
    tcb_evaluation_number: int
    """The lower one of TCB info and QE identity."""
    collateral_date: int
    """When the signer of the TCB info issued it, unix seconds: a time that is proven past."""
    root: bytes
    """SHA-256 of the DER of the root certificate under which all this verified."""


class _Tcb(msgspec.Struct):
    status: str
    advisory_ids: list[str]
    eval_data_number: int


class _Qe(msgspec.Struct):
    tcb_eval_data_number: int


class _Enclave(msgspec.Struct):
    attributes: str
    mr_enclave: str
    mr_signer: str
    isv_prod_id: int
    isv_svn: int
    report_data: str


class _Report(msgspec.Struct):
    enclave: _Enclave = msgspec.field(name="SgxEnclave")


class _Verdict(msgspec.Struct):
    """The part of `dcap-qvl`'s claims that is used; fields unknown here are skipped."""

    tcb: _Tcb
    qe: _Qe
    report: _Report
    earliest_expiration_date: int


class _TcbInfo(msgspec.Struct):
    issued: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="issueDate")


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _plain(error: Exception) -> str:
    """The library's reason, fit for a terminal: it may quote bytes of the evidence, thus control sequences."""
    text = " ".join(str(error).removeprefix("Verification failed: ").split())
    return "".join(c for c in text if c.isascii() and c.isprintable())[:200]


def _pck_chain(untrusted_quote: bytes) -> bytes:
    """PEM chain inside a quote whose every length field adds up exactly. Nothing is verified yet."""
    try:
        version, _, tee = struct.unpack_from("<HHI", untrusted_quote)
        (size,) = struct.unpack_from("<I", untrusted_quote, _SIZE_AT)
        if version != _VERSION or tee != _TEE_SGX:
            raise _refuse("this is not an SGX quote of version 3")
        # Read unverified on purpose: it only makes a refusal that comes anyway say what is wrong.
        (flags,) = struct.unpack_from("<Q", untrusted_quote, _FLAGS_AT)
        if flags & _DEBUG:
            raise _refuse("this is a debug enclave: its host can read all of its memory")
        (auth,) = struct.unpack_from("<H", untrusted_quote, _AUTH_AT)
        chain_at = _AUTH_AT + 2 + auth + 6
        kind, chain = struct.unpack_from("<HI", untrusted_quote, chain_at - 6)
    except struct.error:
        raise _refuse("the quote is cut short") from None
    # Bytes after the end are covered by no signature, and dcap-qvl lets them pass: two evidences for one quote.
    if _SIZE_AT + 4 + size != len(untrusted_quote) or chain_at + chain != len(untrusted_quote):
        raise _refuse("the quote is not exactly as long as it says")
    if kind != _PCK_CHAIN:
        raise _refuse("the quote does not carry its certificate chain")
    return untrusted_quote[chain_at:]


def root_certificate(untrusted_quote: bytes) -> bytes:
    """DER of the last certificate that a quote carries. Trust it only if its digest is one you know.

    Raises `Untrusted` EVIDENCE.
    """
    try:
        chain = x509.load_pem_x509_certificates(_pck_chain(untrusted_quote).rstrip(b"\x00"))
    except ValueError:
        raise _refuse("the quote's certificate chain does not parse") from None
    return chain[-1].public_bytes(Encoding.DER)


def verify_sgx_quote(
    untrusted_quote: bytes, untrusted_collateral: bytes, root_der: bytes | None, now: int
) -> SgxReport:
    """Verify a quote against its collateral (JSON) at `now`, unix seconds.

    `root_der` None stands for Intel's root. Any TCB status but "Revoked" passes: what to make of it is policy.
    Raises `Untrusted` EVIDENCE.
    """
    _pck_chain(untrusted_quote)
    try:
        collateral = dcap_qvl.QuoteCollateralV3.from_json(untrusted_collateral.decode("utf-8"))
        # claims_only: all cryptography and expiry; status and advisories are left to our policy.
        claims = dcap_qvl.QuoteVerifier(root_der).verify_with_policy(
            untrusted_quote, collateral, now, dcap_qvl.QuotePolicy.claims_only(now)
        )
        verdict = msgspec.json.decode(claims.to_json(), type=_Verdict)
        issued = msgspec.json.decode(collateral.tcb_info, type=_TcbInfo).issued
    except ValueError as error:
        raise _refuse(f"the quote does not verify: {_plain(error)}") from None
    # dcap-qvl takes the root as given and does not look at its dates.
    if verdict.earliest_expiration_date < now:
        raise _refuse("the quote does not verify: a certificate that it rests on has expired")
    enclave = verdict.report.enclave
    flags = int.from_bytes(bytes.fromhex(enclave.attributes)[:8], "little")
    if flags & (_INIT | _MODE64 | _DEBUG) != _INIT | _MODE64:
        raise _refuse("the enclave's attributes are not those of an initialised 64-bit production enclave")
    return SgxReport(
        measurement=bytes.fromhex(enclave.mr_enclave),
        signer=bytes.fromhex(enclave.mr_signer),
        product_id=enclave.isv_prod_id,
        svn=enclave.isv_svn,
        report_data=bytes.fromhex(enclave.report_data),
        tcb_status=verdict.tcb.status,
        advisories=tuple(verdict.tcb.advisory_ids),
        tcb_evaluation_number=min(verdict.tcb.eval_data_number, verdict.qe.tcb_eval_data_number),
        collateral_date=int(issued.timestamp()),
        root=INTEL_ROOT if root_der is None else fingerprint(root_der),
    )
