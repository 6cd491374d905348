"""The platform port: all that an enclave asks of the machine it runs on.

Clock, randomness, quotes, sealing and outbound connections reach the services only through here. Which back end
is used is fixed by the measured entry file, never by the environment.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

from strongroom.protocol.evidence import PlatformKind

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LOOKUPS: Final = 24
"""Names that are resolved at once. `images/sgx` gives an enclave 40 threads, and these may all be waiting."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote and the collateral to appraise it with."""

    quote: bytes
    collateral: bytes | None
    """None: the host's collateral service has it."""
    endorsements: bytes = b""
    """What the machine handed over for that service, as it stands: on SNP the hypervisor's table of certificates."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key that only this exact program on this machine can get."""

    key: bytes = field(repr=False)
    """32 bytes."""
    label: str
    """What it is bound to, in words: kept in clear beside what it seals, so that a failure can say what changed."""


class Platform(Protocol):
    """One trusted execution environment."""

    @property
    def kind(self) -> PlatformKind:
        """Platform kind as evidence names it."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """SHA-256 of the roots that peers of this platform may have besides the vendor's own; none on hardware."""

    def now(self) -> float:
        """The host's clock, unix seconds: untrusted, see `runtime.clock`."""

    def random(self, size: int) -> bytes:
        """Random bytes from the processor or the kernel that the enclave trusts."""

    def quote(self, report_data: bytes) -> Quoted:
        """A quote over exactly these 64 bytes. Raises `Unavailable` QUOTE_UNAVAILABLE."""

    def sealing_key(self) -> SealingKey | None:
        """Bound to the exact measurement, never to the signer (RULES 8). None where the platform has no such key."""

    def development_custodian(self) -> bytes | None:
        """Seed (32 bytes) of the automatic custodian of development clusters; None on hardware, always."""

    async def connect(self, host: str, port: int) -> Connection:
        """A TCP connection to a numeric address. What may be called is decided by `runtime.egress`."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Numeric addresses of a name, as the host says (untrusted). Called by `runtime.lookups`, LOOKUPS at once."""
