"""The files of `strongroom appraise`: a quote as the hardware gave it, and what its maker says of the machine."""

from __future__ import annotations

import binascii
import json
import re
import struct
import sys
from pathlib import Path
from typing import Final

from cryptography import x509

from strongroom.cli.files import STDIN
from strongroom.cli.terminal import Failure
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import PlatformKind, parse_evidence

LIMIT: Final = 64 * 1024
"""Bytes of each file."""

_SNP_REPORT: Final = 1184
_TEES: Final[dict[int, PlatformKind]] = {0x00: "sgx", 0x81: "tdx"}
_COSE: Final = (b"\x84", b"\xd2\x84")
"""COSE_Sign1 begins as a CBOR array of four, with or without its tag."""
_HEX: Final = re.compile(rb"(?:0x)?[0-9A-Fa-f]+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]+=*")
_HEADER, _SGX_REPORT, _TD_REPORT = 48, 384, 584
"""Bytes of a quote's header, and of the reports of SGX and TDX 1.0 ("TDX DCAP Quoting Library API", appendix A)."""
_CHAINS: Final = "AMD gives it at https://kdsintf.amd.com/vcek/v1/PRODUCT/cert_chain, lists at …/crl; vlek for a VLEK"


def read_bounded(source: str | Path, what: str) -> bytes:
    """The bytes of a small file, or of stdin for `-`. Raises `Failure` for more than `LIMIT`, and for none."""
    if source == STDIN:
        if sys.stdin.isatty():
            raise Failure(f"{what} would be read from this terminal", f"pipe it in, or name a file instead of {STDIN}")
        data = sys.stdin.buffer.read(LIMIT + 1)
    else:
        try:
            with open(source, "rb") as file:
                data = file.read(LIMIT + 1)
        except OSError as error:
            raise Failure(f"can't read {what} from {source}: {error.strerror}", "name the file that holds it") from None
        except ValueError:
            raise Failure(f"can't read {what}: that is no file name", "name the file that holds it") from None
    if len(data) > LIMIT:
        raise Failure(f"{what} is larger than {LIMIT:,} bytes", "name the file that holds it, and nothing else")
    if not data:
        raise Failure(f"{what} is empty", "check the file or the command before the pipe")
    return data


def guess_kind(untrusted_quote: bytes) -> PlatformKind:
    """The platform that a quote looks like; its verification decides. Raises `Failure` when it looks like none."""
    if len(untrusted_quote) == _SNP_REPORT and struct.unpack_from("<I", untrusted_quote)[0] < 256:
        return "snp"
    if untrusted_quote.startswith(_COSE):
        return "nitro"
    if len(untrusted_quote) >= 8:
        version, _, tee = struct.unpack_from("<HHI", untrusted_quote)
        if 3 <= version <= 5 and tee in _TEES:
            return _TEES[tee]
    raise Failure("this looks like evidence of no platform", _hint(untrusted_quote))


def _hint(data: bytes) -> str:
    """What it may be instead."""
    if data.lstrip().startswith(b"-----BEGIN"):
        return "that is a certificate: FILE is the quote, report or document itself"
    text = b"".join(data.split())
    if _HEX.fullmatch(text):
        return "it is hex; give the bytes themselves: xxd -r -p FILE | strongroom appraise -"
    if _BASE64.fullmatch(text):
        return "it may be base64; give the bytes themselves: base64 -d FILE | strongroom appraise -"
    try:
        parse_evidence(data)
    except Untrusted:
        return "give an SGX or TDX quote, an SNP report of 1184 bytes or a Nitro document, or say --kind"
    return "it is the evidence of a Strongroom server: strongroom verify URL looks at that"


def without_padding(untrusted_quote: bytes) -> bytes:
    """A quote of Intel's without the zeros behind it, with which interfaces of TDX fill their buffers.

    Appraisal knows no padding: bytes that no signature covers have no place in evidence. In a file they are usual.
    """
    try:
        (version,) = struct.unpack_from("<H", untrusted_quote)
        at = _HEADER + (_SGX_REPORT if version == 3 else _TD_REPORT)
        if version == 5:
            (size,) = struct.unpack_from("<I", untrusted_quote, _HEADER + 2)
            at = _HEADER + 6 + size
        (signatures,) = struct.unpack_from("<I", untrusted_quote, at)
    except struct.error:
        return untrusted_quote  # it is cut short: appraisal says so
    end = at + 4 + signatures
    return untrusted_quote if any(untrusted_quote[end:]) else untrusted_quote[:end]


def verify_is_collateral(data: bytes) -> None:
    """Raises `Failure` for what is plainly another file; appraisal judges the contents."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "tcb_info" not in found or "qe_identity" not in found:
        raise Failure(
            "the file of --collateral is not Intel's collateral",
            "it is a JSON object with tcb_info, qe_identity and seven more fields: spec/evidence.md, Platforms",
        )


def snp_collateral(leaf: bytes, chain: bytes, crl: bytes | None) -> bytes:
    """PEM text as the appraisal of SNP reports wants it: leaf, its signing key, the root, AMD's list if there is one.

    Each is DER or PEM; `chain` holds signing key and root, in either order. Raises `Failure`.
    """
    leaves = _ders(leaf, "CERTIFICATE")
    if len(leaves) != 1:
        raise Failure(
            "the file of --leaf is not one certificate",
            "AMD's key service (KDS) gives it for each chip and version of its firmware",
        )
    signers: list[bytes] = []
    roots: list[bytes] = []
    for der in _ders(chain, "CERTIFICATE"):
        (roots if _issued_itself(der) else signers).append(der)
    if len(roots) != 1 or len(signers) != 1:
        raise Failure("the file of --chain is not AMD's signing key (ASK or ASVK) and root (ARK)", _CHAINS)
    lists = [] if crl is None else _ders(crl, "X509 CRL")
    if crl is not None and len(lists) != 1:
        raise Failure("the file of --crl is not one list of revoked certificates", _CHAINS)
    certificates = [_pem(der, "CERTIFICATE") for der in (*leaves, *signers, *roots)]
    return b"".join([*certificates, *(_pem(der, "X509 CRL") for der in lists)])


def _ders(data: bytes, label: str) -> list[bytes]:
    """What a file of DER or PEM holds. Only taken apart here: appraisal parses it, and is strict about it."""
    if data.startswith(b"\x30"):
        return [data]
    found = re.findall(rb"-----BEGIN %b-----\s([A-Za-z0-9+/=\s]+)-----END %b-----" % ((label.encode(),) * 2), data)
    try:
        return [binascii.a2b_base64(b"".join(one.split()), strict_mode=True) for one in found]
    except binascii.Error:
        return []


def _issued_itself(der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate.subject == certificate.issuer
    except (ValueError, x509.InvalidVersion):
        raise Failure("a certificate in the file of --chain does not parse", _CHAINS) from None


def _pem(der: bytes, label: str) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), lines, label.encode())
