"""Epochs of the ring: a new one for all that is written from now on, and the end of old ones that nothing uses."""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring, new_epoch
from strongroom.enclave.runtime.service import Caller, Service
from strongroom.protocol.cluster_messages import Rotated


class Epochs:
    """Of one ring."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, keeping: Keeping, service: Service) -> None:
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._keeping = keeping
        self._service = service

    async def rotate(self, caller: Caller) -> Rotated:
        """Begin a new epoch, for the owner. Raises `Refused` NOT_OWNER_KEY, `Misuse` NOT_NOW."""
        self._keeping.verify_owner(caller)
        async with self._keeping.one_change:
            secrets = new_epoch(self._platform, self._ring.state.secrets)
            number = secrets.epochs[-1].number
            await self._keeping.change([self._keeping.life("rotated", bytes(32), number)], secrets=secrets)
        self._service.rotated()
        return Rotated(epoch=number)
