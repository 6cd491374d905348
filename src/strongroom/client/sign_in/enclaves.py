"""Sign-in of a program that runs in an enclave or a confidential machine, by a quote over a challenge that it computed
for its own session.

The binding key, the session and what is collected are then in the memory of that same enclave: whoever quotes for
others what they choose, lends them its name. `EnclaveSignIn` asks for a quote over challenges of this client alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from strongroom.client.errors import BadInput
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.evidence import PlatformKind

TSM: Final = Path("/sys/kernel/config/tsm/report")
GRAMINE: Final = Path("/dev/attestation")

_LONGEST: Final = 32 * 1024
_MAX_COLLATERAL: Final = 64 * 1024
_ELSEWHERE: Final = "run this inside of an enclave, or sign in by another way"


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote, and what its verifier needs beside it (`spec/evidence.md`)."""

    kind: PlatformKind
    quote: bytes = field(repr=False)
    collateral: bytes = field(repr=False)
    """Of SGX and TDX the JSON text, of SNP the PEM text; empty for Nitro."""


@runtime_checkable
class Quoter(Protocol):
    """Makes quotes of the enclave in which it runs."""

    async def quote(self, report_data: bytes) -> Quote:
        """Over exactly these 64 bytes. Raises `StrongroomError`."""


CollateralSource = Callable[[PlatformKind, bytes], Awaitable[bytes]]
"""Collateral for a quote."""


class EnclaveSignIn:
    """Signs in as the workload that this program is."""

    def __init__(self, quoter: Quoter) -> None:
        self._quoter: Final = quoter

    def fits(self, method: Method) -> bool:
        return method.kind == "enclave"

    async def run(self, flow: Flow) -> wire.SignedIn:
        ceremony = await flow.begin_ceremony()
        quoted = await self._quoter.quote(ceremony.challenge + bytes(32))
        return await flow.server.ask(
            wire.EnclaveSignIn(
                capsule=flow.place.capsule,
                handle=ceremony.handle,
                kind=quoted.kind,
                quote=quoted.quote,
                collateral=quoted.collateral,
                with_ticket=flow.with_ticket,
            ),
            wire.SignedIn,
        )


def collateral_of_file(path: str | Path) -> CollateralSource:
    """From a file that whoever runs the machine renews. It is read at each sign-in."""

    async def give(kind: PlatformKind, quote: bytes) -> bytes:
        return await asyncio.to_thread(_read_collateral, path)

    return give


class TsmQuoter:
    """TDX and SEV-SNP, by Linux's configfs-tsm ("Documentation/ABI/testing/configfs-tsm-report")."""

    def __init__(self, kind: Literal["tdx", "snp"], collateral: CollateralSource) -> None:
        self._kind: Final = kind
        self._collateral: Final = collateral

    async def quote(self, report_data: bytes) -> Quote:
        """Raises `BadInput` where there is no such device, and what the source of collateral raises."""
        quote = await asyncio.to_thread(_ask_tsm, report_data)
        if self._kind == "tdx":
            quote = _without_padding(quote)
        return Quote(self._kind, quote, await self._collateral(self._kind, quote))


class GramineQuoter:
    """SGX under Gramine with `sgx.remote_attestation = "dcap"`."""

    def __init__(self, collateral: CollateralSource) -> None:
        self._collateral: Final = collateral
        self._one_at_a_time: Final = asyncio.Lock()

    async def quote(self, report_data: bytes) -> Quote:
        """Raises `BadInput` where there is no such device, and what the source of collateral raises."""
        # The files keep what was written last for the whole process.
        async with self._one_at_a_time:
            quote = await asyncio.to_thread(_ask_gramine, report_data)
        return Quote("sgx", quote, await self._collateral("sgx", quote))


def _ask_tsm(report_data: bytes) -> bytes:
    request = TSM / f"strongroom-{os.urandom(8).hex()}"
    try:
        os.mkdir(request, 0o700)
        try:
            _write(request / "inblob", report_data)
            return _read(request / "outblob")
        finally:
            with suppress(OSError):  # a request left lying costs the kernel a little memory, us nothing
                os.rmdir(request)
    except OSError as error:
        raise BadInput(f"no report from {TSM}: {error.strerror}", _ELSEWHERE) from None


def _ask_gramine(report_data: bytes) -> bytes:
    try:
        _write(GRAMINE / "user_report_data", report_data)
        return _read(GRAMINE / "quote")
    except OSError as error:
        raise BadInput(f"no quote from {GRAMINE}: {error.strerror}", _ELSEWHERE) from None


def _without_padding(buffer: bytes) -> bytes:
    """Some hosts hand quotes out in larger buffers, and a quote is exactly as long as it says ("TDX DCAP Quoting
    Library API", appendix 3). Anything else is left for the Authenticator to refuse."""
    version = int.from_bytes(buffer[:2], "little")
    body = 6 + int.from_bytes(buffer[50:54], "little") if version == 5 else 584
    end = 48 + body + 4
    end += int.from_bytes(buffer[end - 4 : end], "little")
    return buffer if any(buffer[end:]) else buffer[:end]


def _write(path: Path, content: bytes) -> None:
    """In one write: to these files it is one request."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while len(content) <= _LONGEST and (part := os.read(descriptor, _LONGEST)):
            content += part
        return content
    finally:
        os.close(descriptor)


def _read_collateral(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_COLLATERAL + 1)
    except OSError as error:
        raise BadInput(f"can't read the collateral in {path}: {error.strerror}", "name another file") from None
    if len(content) > _MAX_COLLATERAL:
        raise BadInput(f"{path} is too large to be collateral", "name another file")
    return content
