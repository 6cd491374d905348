"""The ring, given to an enclave that joins (RULES 4 and 7)."""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.releasing import Releasing
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.cluster_messages import RingGiven, TakeRing
from strongroom.protocol.errors import Misuse, Number


class Giving:
    """Of one member."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, keeping: Keeping, releasing: Releasing) -> None:
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._keeping = keeping
        self._releasing = releasing
        self.handovers = 0
        """By this process."""

    async def give(self, caller: Caller, request: TakeRing) -> RingGiven:
        """Raises `Refused` PEER_REFUSED or NOT_RELEASED."""
        raise Misuse(Number.UNSUPPORTED)
