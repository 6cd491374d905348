"""The council that follows the one in office: set up by the owner, endorsed by the old, accepted by the new."""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.cluster_messages import Accept, Convene, Convened, Endorse, Seated
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.status import SeatStatus


class Councils:
    """Of one cluster."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, keeping: Keeping) -> None:
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._keeping = keeping

    @property
    def pending(self) -> bytes:
        """Statement of the council that is being set up; empty: none is."""
        return b""

    @property
    def pending_seats(self) -> list[SeatStatus]:
        return []

    async def convene(self, caller: Caller, request: Convene) -> Convened:
        raise Misuse(Number.UNSUPPORTED)

    async def accept(self, request: Accept) -> Seated:
        raise Misuse(Number.UNSUPPORTED)

    async def endorse(self, request: Endorse) -> Seated:
        raise Misuse(Number.UNSUPPORTED)
