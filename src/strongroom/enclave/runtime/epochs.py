"""Epochs of the ring: a new one for all that is written from now on, and the end of old ones that nothing uses.

Attacks stopped here, or later because of this: who took an old ring, or a program that has been retired since, opens
nothing that was written after the epoch turned; and of what was deleted, copies that a host kept do not open any more
once their epoch has left the ring (RULES 8, 22). An older copy of the ring still opens what was sealed under it.

An old epoch leaves only when the service has seen all it keeps under a newer one, else its rows would be lost.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextvars import Context
from typing import Final

from msgspec.structs import replace as changed

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring, new_epoch
from strongroom.enclave.runtime.sealed_ring import Instance
from strongroom.enclave.runtime.service import Caller, Service
from strongroom.protocol.cluster_messages import Rotated
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from strongroom.protocol.governance import Charter
from strongroom.protocol.leaves import LifeLeaf

RETRY_SECONDS: Final = 10
"""Between attempts to seal old rows anew, or to let old epochs go, while the database or the witnesses fail."""
DAMAGED_SECONDS: Final = 600
"""The same, while the host withholds rows or shows altered ones: each attempt looks at all of them."""
_NOTHING: Final = bytes(32)


class Epochs:
    """Of one ring."""

    def __init__(self, platform: Platform, ring: Ring, keeping: Keeping, service: Service) -> None:
        self._platform = platform
        self._ring = ring
        self._keeping = keeping
        self._service = service
        self._tending: asyncio.Task[None] | None = None

    async def rotate(self, caller: Caller) -> Rotated:
        """Begin a new epoch, for the owner. Raises `Refused` NOT_OWNER_KEY, and as `begin`."""
        self._keeping.verify_owner(caller)
        async with self._keeping.one_change:
            return Rotated(epoch=await self.begin())

    async def begin(
        self,
        life: Sequence[LifeLeaf] = (),
        *,
        ring_token: bytes | None = None,
        charter: Charter | None = None,
        instances: Sequence[Instance] | None = None,
    ) -> int:
        """Begin a new epoch, in one change with whatever else is to change; `Keeping.one_change` must be held.

        `life` is what else the log is to say, `ring_token` (32 bytes) a new council's. Returns the epoch's number when
        it is durable; what is old is sealed anew in the background. Raises `Misuse` NOT_NOW while too many old epochs
        are kept, `StrongroomError` as `Service.keep`: then it may have begun all the same.
        """
        secrets = new_epoch(self._platform, self._ring.state.secrets)
        if ring_token is not None:
            secrets = changed(secrets, ring_token=ring_token)
        number = secrets.epochs[-1].number
        leaves = [*life, self._keeping.life("rotated", _NOTHING, number)]
        try:
            await self._keeping.change(leaves, secrets=secrets, charter=charter, instances=instances)
        finally:
            # Also when that failed: the change may be durable, and only the witnesses out of reach.
            self.tend()
        return number

    def tend(self) -> None:
        """Have what is old sealed anew, and old epochs leave the ring then, in the background: after an epoch has
        begun, and at a start that finds several."""
        if self._tending is None or self._tending.done():
            # In a context of its own: no answer rests on what it reads.
            self._tending = asyncio.create_task(self._tend(), context=Context())

    async def _tend(self) -> None:
        told: Number | None = None
        while True:
            try:
                oldest = await self._service.reseal()
                await self._erase(oldest)
                if oldest == self._ring.epoch:
                    return
            except StrongroomError as error:
                if error.number is not told:
                    told = error.number
                    print(f"old epochs are still in use: {error.reason or error}", file=sys.stderr, flush=True)
                await asyncio.sleep(RETRY_SECONDS if isinstance(error, Unavailable) else DAMAGED_SECONDS)

    async def _erase(self, oldest: int) -> None:
        """Let go of all epochs before `oldest`, under which nothing is sealed any more."""
        async with self._keeping.one_change:
            secrets = self._ring.state.secrets
            kept = [epoch for epoch in secrets.epochs if epoch.number >= oldest]
            if len(kept) < len(secrets.epochs):
                leaf = self._keeping.life("erased", _NOTHING, oldest)
                await self._keeping.change([leaf], secrets=changed(secrets, epochs=kept))
