"""Intel's quotes (ECDSA P-256, "DCAP"), as far as SGX and TDX have them in common.

`dcap-qvl` verifies signatures, chains, revocation lists and the TCB level. What its version 0.7.0 leaves open is
closed here:

* It lets bytes pass that no signature covers: behind the quote, at every level of its nesting, and around its
  certificates. So every length must add up, and a chain is exactly its certificates.
* It takes TCB info and QE identity from any certificate below the root, also from a PCK certificate. Whoever takes the
  key out of one machine (WireTap, TEE.fail) could then declare it up to date. Intel's own verifier knows the signer by
  its name; here its issuer must be the root itself, which holds for no PCK certificate.
* A PCK chain in the collateral would replace the one in the quote. Collateral has no such field here.
* It does not compare the PCE id, and takes the root as given; a chain must end in that root, so that it expires too.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Final, Literal, NamedTuple

import dcap_qvl  # type: ignore[import-untyped]
import msgspec

from strongroom.attestation.reports import IntelState
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

INTEL_ROOT: Final = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
"""SHA-256 of the DER of the "Intel SGX Root CA" that `dcap-qvl` has built in."""

Kind = Literal["sgx", "tdx"]

_HEADER: Final = 48
_REPORT: Final = 384
_TD_REPORT: Final = 584
_DESCRIBED: Final = ((2, 584), (3, 648))
"""Types and sizes in the descriptor of version 5 ("TDX DCAP Quoting Library API", A.4): TDX 1.0 and 1.5. Type 4, "1.5
extended", names service TDs in ways that nothing here appraises."""
_QE_REPORT: Final = 384 + 64
_PCK_CHAIN: Final = 5
_QE_CERTIFICATION: Final = 6
"""Types of certification data: PEM of the PCK certificate, its issuer and the root; data that contain those."""

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----\n"
_END: Final = b"-----END CERTIFICATE-----\n"
_PEM: Final = re.compile(_BEGIN + rb"((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/=]{1,64}\n)" + _END)
"""RFC 7468, strict: lines of 64."""
_FLAGS: Final[Mapping[str, bool | None]] = {"True": True, "False": False, "Undefined": None}


DEBUG: Final = "this is a debug enclave or TD: its host can read all of its memory"
_PLAIN: Final = {
    "Debug mode is enabled": DEBUG,
    "CrlExpired": "a list of revoked certificates has expired",
    "CertExpired": "a certificate has expired",
    "CertNotValidYet": "a certificate is not valid yet",
}
"""What people meet most, in words for them."""


class _Tee(IntEnum):
    """Type of the trusted execution environment, in a quote's header."""

    SGX = 0x00
    TDX = 0x81


class Quote(NamedTuple):
    """A quote taken apart. Nothing in it is verified before `verify_quote` has been."""

    exact: bytes
    """The whole quote."""
    kind: Kind
    header: bytes
    """48 bytes."""
    body: bytes
    """The report: 384 bytes of SGX, 584 (1.0) or 648 (1.5) of TDX."""
    chain: tuple[bytes, ...]
    """DER of the PCK certificate, its issuer and the root."""


class Level(msgspec.Struct):
    """A TCB level of Intel's."""

    date: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="tcbDate")
    status: str = msgspec.field(name="tcbStatus")
    advisories: list[str] = msgspec.field(name="advisoryIDs", default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verified quote and its collateral say of the machine."""

    intel: IntelState
    root: bytes
    proven_at: int
    valid_until: int
    current: Level | None
    """TDX 1.5 only: the level that the module which runs now reaches, beside the one under which the TD started."""


def refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def parse_quote(untrusted_quote: bytes) -> Quote:
    """Take a quote apart whose every length adds up exactly. Verifies nothing. Raises `Untrusted` EVIDENCE."""
    quote = _Reader(untrusted_quote)
    header = quote.take(_HEADER)
    version, _, tee = struct.unpack_from("<HHI", header)
    kind: Kind = "sgx" if tee == _Tee.SGX else "tdx"
    match version, tee:
        case 3, _Tee.SGX:
            size = _REPORT
        case 4, _Tee.TDX:
            size = _TD_REPORT
        case 5, _Tee.TDX:
            body_type, size = quote.unpack("<HI")
            if (body_type, size) not in _DESCRIBED:
                raise refuse("the quote describes a report that is neither of TDX 1.0 nor of TDX 1.5")
        case _:
            raise refuse("this is neither an SGX quote of version 3 nor a TDX quote of version 4 or 5")
    body = quote.take(size)
    signatures = quote.nested(quote.size32())
    quote.end()
    signatures.take(64 + 64)  # the attestation key's signature, and that key
    certification = signatures
    if kind == "tdx":
        certification = signatures.typed(_QE_CERTIFICATION)
        signatures.end()
    certification.take(_QE_REPORT)
    certification.take(*certification.unpack("<H"))  # the quoting enclave's authentication data
    chain = certification.typed(_PCK_CHAIN)
    certification.end()
    # Intel's own library ends the chain with one NUL, others don't.
    return Quote(untrusted_quote, kind, header, body, _certificates(chain.rest().removesuffix(b"\x00"), 3, "the quote"))


def root_certificate(untrusted_quote: bytes) -> bytes:
    """DER of the last certificate that a quote carries. Trust it only if its digest is one you know.

    Raises `Untrusted` EVIDENCE.
    """
    return parse_quote(untrusted_quote).chain[-1]


def verify_quote(untrusted: Quote, untrusted_collateral: bytes, root_der: bytes | None, now: int) -> Verdict:
    """Verify a quote, already taken apart, up to the root, against its collateral (JSON) at `now`, unix seconds.

    `root_der` None stands for Intel's root. Any TCB status but "Revoked" passes: what to make of it is policy.
    Raises `Untrusted` EVIDENCE.
    """
    root = INTEL_ROOT if root_der is None else fingerprint(root_der)
    try:
        given = msgspec.json.decode(untrusted_collateral, type=_Collateral)
        collateral = given.for_library()
    except ValueError:
        raise refuse("the collateral does not parse") from None
    _verify_ends(untrusted, given, root)
    try:
        # claims_only: all cryptography and expiry; status and advisories are left to the relying party's policy.
        claims = dcap_qvl.QuoteVerifier(root_der).verify_with_policy(
            untrusted.exact, collateral, now, dcap_qvl.QuotePolicy.claims_only(now)
        )
    except (ValueError, OverflowError) as error:  # OverflowError: a time that is none
        cause = _cause(untrusted, collateral, root_der, now)
        raise refuse(f"the quote does not verify: {_plain(cause or error)}") from None
    try:
        found = msgspec.json.decode(claims.to_json(), type=_Claims)
        info = msgspec.json.decode(given.tcb_info, type=_TcbInfo)
        identity = msgspec.json.decode(given.qe_identity, type=_QeIdentity)
    except (ValueError, RecursionError) as error:  # RecursionError: fields unknown here, nested thousands deep
        raise refuse(f"the quote verifies, but says what is not understood: {_plain(error)}") from None
    # dcap-qvl takes the list's issuer from the quote and never reads this chain: any text would do, and pass.
    if _certificates(given.pck_crl_issuer_chain.encode(), 2, "the PCK CRL") != untrusted.chain[1:]:
        raise refuse("the certificate chain of the PCK CRL is not that of the quote's issuer")
    # All three certificates of the quote's chain are among what expires; the root is one of them.
    if found.earliest_expiration_date <= now:
        raise refuse("the quote does not verify: a certificate that it rests on has expired")
    pck = found.platform.pck
    # PCEs of different ids count their security versions apart.
    if info.pce_id.lower() != bytes(pck.pce_id).hex():
        raise refuse("the TCB info is about machines with another provisioning enclave (PCE id)")
    if len(pck.ppid) != 16:
        raise refuse("the PCK certificate does not name the machine")
    return Verdict(
        intel=IntelState(
            tcb_status=found.tcb.status,
            advisories=tuple(found.tcb.advisory_ids),
            tcb_evaluation_number=found.tcb.eval_data_number,
            tcb_date=min(found.platform.tcb_date_tag, int(found.qe.tcb_level.date.timestamp())),
            platform_id=bytes(pck.ppid),
            smt=_FLAGS[pck.smt_enabled],
            dynamic_platform=_FLAGS[pck.dynamic_platform],
            cached_keys=_FLAGS[pck.cached_keys],
        ),
        root=root,
        # Of both, and of nothing else: dcap-qvl's latest date also looks at certificates that nobody verified.
        proven_at=int(max(info.issued, identity.issued).timestamp()),
        valid_until=found.earliest_expiration_date,
        current=found.platform.current_tcb_level,
    )


class _Reader:
    """Reads bytes whose every length is checked. Raises `Untrusted` EVIDENCE."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise refuse("the quote is cut short")
        self._at += size
        return taken

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def size32(self) -> int:
        (size,) = self.unpack("<I")
        return size

    def nested(self, size: int) -> _Reader:
        return _Reader(self.take(size))

    def typed(self, kind: int) -> _Reader:
        """Certification data: type, size, content."""
        found, size = self.unpack("<HI")
        if found != kind:
            raise refuse("the quote does not carry its certificate chain")
        return self.nested(size)

    def rest(self) -> bytes:
        return self._data[self._at :]

    def end(self) -> None:
        # Bytes after the end are covered by no signature: one quote could be shown in endless guises.
        if self._at != len(self._data):
            raise refuse("the quote is not exactly as long as it says")


def _certificates(untrusted_pem: bytes, count: int, where: str) -> tuple[bytes, ...]:
    """DER of exactly `count` certificates. Nothing hides between them, nor in bits that base64 leaves over."""
    blocks = _PEM.findall(untrusted_pem)
    texts = [block.replace(b"\n", b"") for block in blocks]
    try:
        found = tuple(map(binascii.a2b_base64, texts))
    except binascii.Error:
        found = ()
    if (
        len(found) != count
        or len(b"".join(blocks)) + count * len(_BEGIN + _END) != len(untrusted_pem)
        or [binascii.b2a_base64(der, newline=False) for der in found] != texts
    ):
        raise refuse(f"the certificate chain of {where} is not exactly {count} certificates")
    return found


def _verify_ends(untrusted: Quote, given: _Collateral, root: bytes) -> None:
    """Every chain ends in the root, and between it and who signs for Intel stands nobody."""
    for chain, where in (
        (untrusted.chain, "the quote"),
        (_certificates(given.tcb_info_issuer_chain.encode(), 2, "the TCB info"), "the TCB info"),
        (_certificates(given.qe_identity_issuer_chain.encode(), 2, "the QE identity"), "the QE identity"),
    ):
        if fingerprint(chain[-1]) != root:
            raise refuse(f"the certificate chain of {where} does not end in the root that is trusted")


def _cause(
    untrusted: Quote, collateral: dcap_qvl.QuoteCollateralV3, root_der: bytes | None, now: int
) -> ValueError | None:
    """Why a quote that was refused is refused: only the library's older function tells revoked from expired."""
    try:
        if root_der is None:
            dcap_qvl.verify(untrusted.exact, collateral, now)
        else:
            dcap_qvl.verify_with_root_ca(untrusted.exact, collateral, root_der, now)
    except ValueError as error:
        return error
    except OverflowError:
        return None
    return None


def _plain(error: Exception) -> str:
    """The library's reason, fit for a terminal: it may quote bytes of the evidence, thus control sequences."""
    text = " ".join(str(error).removeprefix("Verification failed: ").split())
    for words, plain in _PLAIN.items():
        if words in text:
            return plain
    return "".join(c for c in text if c.isascii() and c.isprintable())[:200]


class _Collateral(msgspec.Struct, forbid_unknown_fields=True):
    """The form of Intel's `sgx_ql_qve_collateral_t` as JSON; lists and signatures as hexadecimal digits."""

    pck_crl_issuer_chain: str
    root_ca_crl: str
    pck_crl: str
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: str
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: str

    def for_library(self) -> dcap_qvl.QuoteCollateralV3:
        """Raises `ValueError`."""
        return dcap_qvl.QuoteCollateralV3(
            self.pck_crl_issuer_chain,
            binascii.unhexlify(self.root_ca_crl),
            binascii.unhexlify(self.pck_crl),
            self.tcb_info_issuer_chain,
            self.tcb_info,
            binascii.unhexlify(self.tcb_info_signature),
            self.qe_identity_issuer_chain,
            self.qe_identity,
            binascii.unhexlify(self.qe_identity_signature),
        )


class _TcbInfo(msgspec.Struct):
    issued: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="issueDate")
    pce_id: str = msgspec.field(name="pceId")


class _QeIdentity(msgspec.Struct):
    issued: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="issueDate")


class _Tcb(msgspec.Struct):
    status: str
    advisory_ids: list[str]
    eval_data_number: int
    """The lower one of TCB info and QE identity."""


class _Pck(msgspec.Struct):
    ppid: list[int]
    pce_id: list[int]
    dynamic_platform: Literal["True", "False", "Undefined"]
    cached_keys: Literal["True", "False", "Undefined"]
    smt_enabled: Literal["True", "False", "Undefined"]


class _Platform(msgspec.Struct):
    tcb_date_tag: int
    pck: _Pck
    current_tcb_level: Level | None


class _Qe(msgspec.Struct):
    tcb_level: Level


class _Claims(msgspec.Struct):
    """The part of `dcap-qvl`'s claims that is used; fields unknown here are skipped."""

    tcb: _Tcb
    platform: _Platform
    qe: _Qe
    earliest_expiration_date: int
