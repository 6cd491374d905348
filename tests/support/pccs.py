"""A server on loopback that has collateral in the makers' own formats, and misbehaves as told.

`intel_pages` makes what Intel's PCS or a PCCS serves out of collateral as evidence carries it; `Chip` is an AMD chip
with certificates of its own (`amd_pages`: what the key service has of it). A fault replaces what would be answered.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

Bytes = AsyncIterator[bytes]
Fault = Callable[[str], Bytes | None]
"""Of the target of a request: the bytes to send instead of an answer; None: behave."""


class Page(NamedTuple):
    """What stands at one path."""

    body: bytes
    headers: dict[str, str]
    query: dict[str, str]
    """Parameters that a request must have; otherwise there is no such page."""


class LocalSource:
    """`async with LocalSource() as source`: answers at `source.url` with `pages`, by path."""

    def __init__(self, pages: dict[str, Page] | None = None) -> None:
        self.pages = pages or {}
        self.requests: list[str] = []
        self.fault: Fault = lambda target: None
        self.url = ""

    async def __aenter__(self) -> LocalSource:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen, on a port that was had before to come back at the same address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Connections are refused from here on."""
        self._server.close()

    def asked(self, part: str) -> int:
        """How many requests had this in their target."""
        return sum(part in target for target in self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            self.requests.append(target)
            async for piece in self.fault(target) or self._answer(target):
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, target: str) -> Bytes:
        parts = urlsplit(target)
        page = self.pages.get(parts.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if page is None or any(query.get(name, "").upper() != value.upper() for name, value in page.query.items()):
            yield response(404, b"no such page")
        else:
            yield response(200, page.body, page.headers)


def response(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


# --- faults -------------------------------------------------------------------------------------------------------


def always(status: int, body: bytes = b"", **headers: str) -> Fault:
    """One and the same answer; `_` in a header's name stands for `-`."""

    async def say(_: str) -> Bytes:
        yield response(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    return say


async def silent(_: str) -> Bytes:
    await asyncio.sleep(3600)
    yield b""


async def dripping(_: str) -> Bytes:
    """Always within a time-out for each read."""
    yield b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n"
    while True:
        await asyncio.sleep(0.02)
        yield b"0"


async def cut_short(_: str) -> Bytes:
    yield b"HTTP/1.1 200 X\r\ncontent-length: 5000\r\n\r\n" + b"{" * 100


async def no_http(_: str) -> Bytes:
    yield b"\x16\x03\x01 this is not the protocol you are looking for\r\n\r\n"


async def ten_megabytes(_: str) -> Bytes:
    yield b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n"
    for piece in [bytes(65536)] * 160:
        yield piece


def http_date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


# --- Intel --------------------------------------------------------------------------------------------------------


def intel_pages(
    collateral: bytes, tee: Literal["sgx", "tdx"], *, style: Literal["pcs", "pccs"] = "pccs"
) -> dict[str, Page]:
    """Collateral as its maker would have served it: a PCCS writes revocation lists in hex and has the root's."""
    parts: dict[str, str] = json.loads(collateral)
    fmspc = json.loads(parts["tcb_info"])["fmspc"]
    authority = "platform" if "Platform CA" in _first_subject(parts["pck_crl_issuer_chain"]) else "processor"
    update = {"update": "standard"}

    def chain(header: str, field: str) -> dict[str, str]:
        return {header: quote(parts[f"{field}_issuer_chain"])}

    def signed(name: str, field: str) -> bytes:
        return f'{{"{name}":{parts[field]},"signature":"{parts[f"{field}_signature"]}"}}'.encode()

    def crl(field: str) -> bytes:
        return parts[field].encode() if style == "pccs" else bytes.fromhex(parts[field])

    pages = {
        "/sgx/certification/v4/pckcrl": Page(
            crl("pck_crl"),
            chain("SGX-PCK-CRL-Issuer-Chain", "pck_crl"),
            {"ca": authority, "encoding": "der"},
        ),
        f"/{tee}/certification/v4/tcb": Page(
            signed("tcbInfo", "tcb_info"), chain("TCB-Info-Issuer-Chain", "tcb_info"), {"fmspc": fmspc, **update}
        ),
        f"/{tee}/certification/v4/qe/identity": Page(
            signed("enclaveIdentity", "qe_identity"), chain("SGX-Enclave-Identity-Issuer-Chain", "qe_identity"), update
        ),
    }
    if style == "pccs":
        pages["/sgx/certification/v4/rootcacrl"] = Page(crl("root_ca_crl"), {}, {})
    return pages


def _first_subject(pem: str) -> str:
    return x509.load_pem_x509_certificates(pem.encode())[0].subject.rfc4514_string()


# --- AMD ----------------------------------------------------------------------------------------------------------

_OID = "1.3.6.1.4.1.3704.1"
_CPUID = {"Milan": (0x19, 0x01), "Genoa": (0x19, 0x11), "Turin": (0x1A, 0x02)}
_KEY_SIZE = ec.SECP256R1()  # AMD's are RSA-4096; nobody verifies here


class Chip:
    """One chip of a product with firmware at one level: its reports (unsigned) and its certificates."""

    def __init__(self, product: str, at: int, *, chip_id: bytes = bytes(range(1, 65))) -> None:
        self.product = product
        self.at = at
        self.chip_id = chip_id[:8] + bytes(56) if product == "Turin" else chip_id
        self.tcb = {"bl": 3, "tee": 1, "snp": 8, "ucode": 0xD9} | ({"fmc": 2} if product == "Turin" else {})

    @property
    def hwid(self) -> bytes:
        return self.chip_id[:8] if self.product == "Turin" else self.chip_id

    def report(self, *, version: int = 3, key: int = 0) -> bytes:
        """What decides which certificates it needs; everything else is zero."""
        report = bytearray(1184)
        struct.pack_into("<I", report, 0, version)
        struct.pack_into("<I", report, 0x48, key << 2)
        places = {"fmc": 0, "bl": 1, "tee": 2, "snp": 3, "ucode": 7}
        if self.product != "Turin":
            places = {"bl": 0, "tee": 1, "snp": 6, "ucode": 7}
        for part, place in places.items():
            report[0x180 + place] = self.tcb[part]
        if version >= 3:
            report[0x188:0x18A] = _CPUID[self.product]
        if key == 0:
            report[0x1A0:0x1E0] = self.chip_id
        return bytes(report)

    def certificate(self, kind: Literal["VCEK", "VLEK"] = "VCEK") -> x509.Certificate:
        oids = {"bl": "3.1", "tee": "3.2", "snp": "3.3", "ucode": "3.8", "fmc": "3.9"}
        extensions = {oids[part]: _der_integer(version) for part, version in self.tcb.items()}
        if kind == "VCEK":
            extensions["4"] = self.hwid
        issuer = f"SEV-{self.product}" if kind == "VCEK" else f"SEV-VLEK-{self.product}"
        return _certificate(f"SEV-{kind}", issuer, self.at, 7 * 365, extensions)

    def chain(self, kind: Literal["VCEK", "VLEK"] = "VCEK") -> str:
        middle, root = f"SEV-{self.product}" if kind == "VCEK" else f"SEV-VLEK-{self.product}", f"ARK-{self.product}"
        both = (_certificate(middle, root, self.at, 9000), _certificate(root, root, self.at, 9000))
        return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in both)

    @property
    def query(self) -> dict[str, str]:
        return {f"{part}SPL": f"{version:02}" for part, version in self.tcb.items()}


def amd_pages(chip: Chip, *, days: int = 30) -> dict[str, Page]:
    """What the key service has of this chip: certificates in DER and PEM, the list in DER."""
    crl = revocations(f"ARK-{chip.product}", chip.at, days).public_bytes(Encoding.DER)
    leaf = chip.certificate().public_bytes(Encoding.DER)
    pages = {f"/vcek/v1/{chip.product}/{chip.hwid.hex()}": Page(leaf, {}, chip.query)}
    for key, kind in (("vcek", "VCEK"), ("vlek", "VLEK")):
        pages[f"/{key}/v1/{chip.product}/crl"] = Page(crl, {}, {})
        pages[f"/{key}/v1/{chip.product}/cert_chain"] = Page(chip.chain(kind).encode(), {}, {})  # type: ignore[arg-type]
    return pages


def revocations(issuer: str, at: int, days: int) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(issuer))
        .last_update(_date(at))
        .next_update(_date(at) + timedelta(days=days))
    )
    return builder.sign(_key(), hashes.SHA256(), ecdsa_deterministic=True)


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(_KEY_SIZE)


def _certificate(
    subject: str, issuer: str, at: int, days: int, extensions: dict[str, bytes] | None = None
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(_key().public_key())
        .serial_number(1)
        .not_valid_before(_date(at))
        .not_valid_after(_date(at) + timedelta(days=days))
    )
    for arc, value in (extensions or {}).items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_OID}.{arc}"), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(_key(), hashes.SHA256(), ecdsa_deterministic=True)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _date(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _der_integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(body)]) + body
