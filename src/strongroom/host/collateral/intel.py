"""What SGX and TDX quotes need from Intel's Provisioning Certification Service, or from a cache of it (PCCS).

"Intel SGX and Intel TDX services API", version 4: /sgx/certification/v4/{pckcrl,tcb,qe/identity} and
/tdx/certification/v4/{tcb,qe/identity}. TCB info and QE identity are signed as the exact characters that stand in the
answer, so they are cut out and never written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import dcap_qvl  # type: ignore[import-untyped]
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.host.collateral.items import (
    MALFORMED,
    Answer,
    Item,
    RevocationList,
    Unusable,
    certificates,
    first_end,
    revocations,
    seconds,
)
from strongroom.protocol.errors import Number, Unavailable

Tee = Literal["sgx", "tdx"]
Authority = Literal["platform", "processor"]
TEES: Final[dict[str, Tee]] = {"sgx": "sgx", "tdx": "tdx"}
"""By platform kind."""
_AUTHORITIES: Final[dict[str, Authority]] = {"platform": "platform", "processor": "processor"}

SERVICE: Final = "https://api.trustedservices.intel.com"
"""Intel's own. Unlike a PCCS it has no revocation list of the root: that lies where the root's certificate says."""
_ROOT_CRL: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
# Not "early": that judges machines by fixes that their makers have had no time to ship yet, and would turn them away
# on the day of publication. "standard" is Intel's default as well; said, so that no cache chooses for us.
_UPDATE: Final = "update=standard"

_FMSPC: Final = re.compile(r"[0-9A-F]{12}")
_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{128}")

_FIELDS: Final = (
    "pck_crl_issuer_chain", "root_ca_crl", "pck_crl",
    "tcb_info_issuer_chain", "tcb_info", "tcb_info_signature",
    "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature",
)  # fmt: skip
"""Of `QuoteCollateralV3` in dcap-qvl."""


class IntelItems(NamedTuple):
    """All that one quote needs."""

    pck_crl: PckCrl
    root_crl: RootCrl
    tcb_info: TcbInfo
    qe_identity: QeIdentity


@dataclass(frozen=True, slots=True)
class PckCrl:
    """Revocations by the authority that certified the processor's key."""

    ca: Authority
    issuer: x509.Name

    chain_headers: ClassVar[Sequence[str]] = ("SGX-PCK-CRL-Issuer-Chain",)
    changes: ClassVar = True

    @property
    def name(self) -> str:
        return f"intel-pck-crl-{self.ca}"

    def url(self, base: str) -> str:
        return f"{base}/sgx/certification/v4/pckcrl?ca={self.ca}&encoding=der"

    def read(self, answer: Answer) -> Item:
        found = _by(self.issuer, answer.body)
        parts = {"pck_crl_issuer_chain": answer.chain, "pck_crl": _hex(found)}
        return Item(parts, found.issued, min(found.update, first_end(certificates(answer.chain))))


@dataclass(frozen=True, slots=True)
class RootCrl:
    """Revocations by the root."""

    issuer: x509.Name

    name: ClassVar = "intel-root-crl"
    chain_headers: ClassVar[Sequence[str]] = ()
    changes: ClassVar = True

    def url(self, base: str) -> str:
        # Never the address inside a quote's certificates: a quote would choose whom this host calls.
        return (
            _ROOT_CRL
            if urlsplit(base).hostname == urlsplit(SERVICE).hostname
            else f"{base}/sgx/certification/v4/rootcacrl"
        )

    def read(self, answer: Answer) -> Item:
        found = _by(self.issuer, answer.body)
        return Item({"root_ca_crl": _hex(found)}, found.issued, found.update)


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Dated(msgspec.Struct):
    """What TCB info and QE identity have in common; fields unknown here are skipped."""

    id: str
    issued: _Moment = msgspec.field(name="issueDate")
    update: _Moment = msgspec.field(name="nextUpdate")
    number: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = msgspec.field(name="tcbEvaluationDataNumber")
    fmspc: str = ""


class _SignedTcbInfo(msgspec.Struct):
    signature: str
    statement: msgspec.Raw = msgspec.field(name="tcbInfo")


class _SignedQeIdentity(msgspec.Struct):
    signature: str
    statement: msgspec.Raw = msgspec.field(name="enclaveIdentity")


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """How good each security version of one kind of machine is."""

    tee: Tee
    fmspc: str
    """12 hex digits, upper case."""

    # SGX-TCB-Info… is version 3's word, which some caches still use.
    chain_headers: ClassVar[Sequence[str]] = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
    changes: ClassVar = True

    @property
    def name(self) -> str:
        return f"intel-tcb-{self.tee}-{self.fmspc}"

    def url(self, base: str) -> str:
        return f"{base}/{self.tee}/certification/v4/tcb?fmspc={self.fmspc}&{_UPDATE}"

    def read(self, answer: Answer) -> Item:
        signed = _decode(answer.body, _SignedTcbInfo)
        dated, item = _read_statement("tcb_info", signed.statement, signed.signature, answer.chain)
        if dated.id != self.tee.upper():
            raise Unusable("the TCB info is another technology's")
        if dated.fmspc.upper() != self.fmspc:
            raise Unusable("the TCB info is another machine's (FMSPC)")
        return item


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """Which quoting enclaves are good."""

    tee: Tee

    chain_headers: ClassVar[Sequence[str]] = ("SGX-Enclave-Identity-Issuer-Chain",)
    changes: ClassVar = True

    @property
    def name(self) -> str:
        return f"intel-qe-{self.tee}"

    def url(self, base: str) -> str:
        return f"{base}/{self.tee}/certification/v4/qe/identity?{_UPDATE}"

    def read(self, answer: Answer) -> Item:
        signed = _decode(answer.body, _SignedQeIdentity)
        dated, item = _read_statement("qe_identity", signed.statement, signed.signature, answer.chain)
        if dated.id != {"sgx": "QE", "tdx": "TD_QE"}[self.tee]:
            raise Unusable("the identity is another enclave's")
        return item


def wanted(tee: Tee, quote: bytes) -> IntelItems:
    """What this quote is appraised with. Raises `Unavailable` COLLATERAL_UNAVAILABLE if it does not say."""
    try:
        parsed = dcap_qvl.Quote.parse(quote)
        kind, fmspc, ca = str(parsed.quote_type()), str(parsed.fmspc()).upper(), str(parsed.ca())
        chain = x509.load_pem_x509_certificates(parsed.cert_chain_pem_bytes().rstrip(b"\x00"))
        issuer, root = chain[0].issuer, chain[-1].subject
    except (*MALFORMED, AttributeError):  # AttributeError: there is no chain in it
        raise _unclear("the quote does not parse, or carries no certificate chain") from None
    if kind != tee.upper():
        raise _unclear(f"the quote is not one of {tee.upper()}")
    if not _FMSPC.fullmatch(fmspc):
        raise _unclear("the quote's certificate names no FMSPC")
    if ca not in _AUTHORITIES:
        raise _unclear("the quote's certificates are of no known authority")
    return IntelItems(PckCrl(_AUTHORITIES[ca], issuer), RootCrl(root), TcbInfo(tee, fmspc), QeIdentity(tee))


def collateral(items: Sequence[Item]) -> bytes:
    """JSON as `QuoteCollateralV3.from_json` of dcap-qvl reads it, of the items of one `IntelItems`."""
    parts = {name: part for item in items for name, part in item.parts.items()}
    return json.dumps({field: parts[field] for field in _FIELDS}, separators=(",", ":")).encode()


def plain_base(base: str) -> str:
    """Without the path that Intel's own configuration files give with a PCCS (`pccs_url`)."""
    return base.removesuffix("/sgx/certification/v4")


def _read_statement(field: str, statement: msgspec.Raw, signature: str, chain: str) -> tuple[_Dated, Item]:
    dated = _decode(bytes(statement), _Dated)
    try:
        text = bytes(statement).decode()  # these characters exactly: they are what is signed
    except UnicodeDecodeError:  # in a field that is not read here
        raise Unusable("it is not the JSON that it should be") from None
    if not _SIGNATURE.fullmatch(signature):
        raise Unusable("the signature is not one of ECDSA P-256 in hex")
    parts = {
        f"{field}_issuer_chain": chain,
        field: text,
        f"{field}_signature": signature,
    }
    expires = min(seconds(dated.update), first_end(certificates(chain)))
    return dated, Item(parts, seconds(dated.issued), expires, dated.number)


_Decoded = TypeVar("_Decoded")


def _decode(body: bytes, kind: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unusable("it is not the JSON that it should be") from None


def _by(issuer: x509.Name, body: bytes) -> RevocationList:
    found = revocations(body)
    if found.issuer != issuer:
        raise Unusable("the revocation list is another authority's")
    return found


def _hex(found: RevocationList) -> str:
    return found.crl.public_bytes(Encoding.DER).hex()


def _unclear(reason: str) -> Unavailable:
    return Unavailable(Number.COLLATERAL_UNAVAILABLE, reason)
