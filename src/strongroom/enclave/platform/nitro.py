"""AWS Nitro Enclaves: attestation documents and randomness of the Nitro Security Module, the way out over vsock.

The module is part of the hypervisor, which this platform trusts, and not of the parent instance, which it doesn't.
Still its answers are held against what was asked: a document over other data would tie our keys to nothing.

There is no sealing key: an enclave has no storage, and nothing that outlives it but what a key service outside keeps.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import cbor2

from strongroom.attestation.nitro import parse_nitro_document, verify_not_debug
from strongroom.enclave.platform.port import Quoted
from strongroom.enclave.platform.vsock import NITRO_PARENT, Guest, HostNetwork, network_through
from strongroom.protocol.errors import Number, Unavailable, Untrusted

NSM: Final = Path("/dev/nsm")
RANDOM: Final = Path("/dev/random")

# include/uapi/linux/nsm.h: _IOWR(0x0A, 0, struct nsm_raw), which is address and length of the request, then of the
# response; the driver sets the latter length to what it wrote.
_NSM_RAW: Final = 0xC0200A00
_MESSAGE: Final = struct.Struct("=QQQQ")
_MAX_REQUEST: Final = 0x1000
_MAX_RESPONSE: Final = 0x3000

# include/uapi/linux/random.h: _IOW('R', 3, int[2]), which is bits of entropy and size, then the bytes; _IO('R', 7).
_ADD_ENTROPY: Final = 0x40085203
_RESEED: Final = 0x5207
_LEAST_ENTROPY: Final = 32

Exchange = Callable[[bytes], bytes]
"""One request to the module and its answer, both CBOR. Raises OSError."""


class NsmDevice:
    """The module's device. `path` is opened for as long as the process lives. Raises OSError."""

    def __init__(self, path: Path = NSM) -> None:
        self._descriptor: Final = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def exchange(self, request: bytes) -> bytes:
        """Raises OSError; ValueError for a request that is larger than the driver takes."""
        if len(request) > _MAX_REQUEST:
            raise ValueError("larger than any request to the security module")
        asked = ctypes.create_string_buffer(request, len(request))
        answer = ctypes.create_string_buffer(_MAX_RESPONSE)
        message = bytearray(
            _MESSAGE.pack(ctypes.addressof(asked), len(asked), ctypes.addressof(answer), len(answer))
        )  # the kernel writes into it
        fcntl.ioctl(self._descriptor, _NSM_RAW, message)
        return answer.raw[: _MESSAGE.unpack(message)[3]]


class Nitro(Guest):
    """`Platform` in a Nitro enclave."""

    def __init__(self, exchange: Exchange, network: HostNetwork) -> None:
        super().__init__(network)
        self._exchange: Final = exchange

    @classmethod
    def open(cls) -> Nitro:
        """The platform of this enclave, its kernel's random numbers seeded. Raises OSError, `Unavailable`."""
        platform = cls(NsmDevice().exchange, network_through(NITRO_PARENT))
        seed_kernel(platform.entropy())
        return platform

    @property
    def kind(self) -> Literal["nitro"]:
        return "nitro"

    def quote(self, report_data: bytes) -> Quoted:
        """Raises `Unavailable` QUOTE_UNAVAILABLE, also in debug mode, where every verifier would refuse the document;
        ValueError unless there are exactly 64 bytes to quote."""
        if len(report_data) != 64:
            raise ValueError("report data are 64 bytes")
        document = self._ask(
            "Attestation", {"Attestation": {"user_data": report_data, "nonce": None, "public_key": None}}, "document"
        )
        try:
            found = parse_nitro_document(document)
            verify_not_debug(found)
        except Untrusted as error:
            raise _unavailable(error.reason) from None
        if found.user_data != report_data:
            raise _unavailable("the document is over other data than was asked for")
        return Quoted(document, b"")

    def entropy(self) -> bytes:
        """At least 32 random bytes of the hypervisor's. Raises `Unavailable` QUOTE_UNAVAILABLE."""
        found = self._ask("GetRandom", "GetRandom", "random")
        if len(found) < _LEAST_ENTROPY:
            raise _unavailable("too few random bytes")
        return found

    def sealing_key(self) -> None:
        return None

    def _ask(self, name: str, request: object, field: str) -> bytes:
        """`field` of the answer to `request` ("AWS Nitro Enclaves NSM API", src/api/mod.rs)."""
        try:
            answer = cbor2.loads(self._exchange(cbor2.dumps(request)))
        except OSError as error:
            raise _unavailable(os.strerror(error.errno) if error.errno else type(error).__name__) from None
        except cbor2.CBORDecodeError:
            raise _unavailable("the answer is not CBOR") from None
        match answer:
            case {"Error": str(code)} if code.isascii() and code.isalnum():
                raise _unavailable(code)
            case dict() if list(answer) == [name] and isinstance(answer[name], dict):
                value = answer[name].get(field)
                if isinstance(value, bytes):
                    return value
        raise _unavailable(f"the answer is none to {name}")


def seed_kernel(entropy: bytes, path: Path = RANDOM) -> None:
    """Mix `entropy` into the kernel's random numbers and have them start anew from it, before anything is drawn.

    A young enclave has few events of its own, and a processor's instruction is one party's word: the hypervisor's
    numbers are what AWS's own SDK seeds with. Where they add nothing, mixing does no harm. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _ADD_ENTROPY, struct.pack("=ii", 8 * len(entropy), len(entropy)) + entropy)
        fcntl.ioctl(descriptor, _RESEED)
    finally:
        os.close(descriptor)


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(Number.QUOTE_UNAVAILABLE, f"Nitro Security Module: {reason}")
