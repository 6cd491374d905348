"""A server on loopback that has collateral in the makers' own formats, and misbehaves as told.

`intel_pages` makes what Intel's PCS or a PCCS serves out of collateral as evidence carries it, `amd_pages` what AMD's
key service has of a synthetic chip. A fault replaces what would be answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.synthetic_snp import Amd, pem

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


def amd_pages(amd: Amd, *, at: int, days: int = 30) -> dict[str, Page]:
    """What the key service has of a chip: its certificate and the root's list as of `at` in DER, the chains in PEM."""
    crl = amd.crl(starts=at, ends=at + days * 86400).public_bytes(Encoding.DER)
    turin = amd.product == "Turin"
    query = {"blSPL": amd.tcb.bootloader, "teeSPL": amd.tcb.tee, "snpSPL": amd.tcb.snp, "ucodeSPL": amd.tcb.microcode}
    query |= {"fmcSPL": amd.tcb.fmc} if turin else {}
    leaf = Page(amd.leaf().public_bytes(Encoding.DER), {}, {name: f"{value:02}" for name, value in query.items()})
    pages = {f"/vcek/v1/{amd.product}/{amd.chip[: 8 if turin else 64].hex()}": leaf}
    for key, issuer in (("vcek", amd.ask), ("vlek", amd.asvk)):
        pages[f"/{key}/v1/{amd.product}/cert_chain"] = Page(pem(issuer, amd.ark), {}, {})
        pages[f"/{key}/v1/{amd.product}/crl"] = Page(crl, {}, {})
    return pages
