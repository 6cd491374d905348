"""The one way in which a ring changes: drafted from what is durable, written with a line of the log, and true then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.ring import Ring, RingDraft
from strongroom.enclave.runtime.sealed_ring import Instance, RingSecrets
from strongroom.enclave.runtime.service import Caller, Service
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.governance import Charter
from strongroom.protocol.leaves import LifeEvent, LifeLeaf


class Keeping:
    """Changes of one ring, one after the other."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, identity: Identity, service: Service) -> None:
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._identity = identity
        self._service = service
        self.one_change: Final = asyncio.Lock()
        """Held by whoever changes the ring, from reading what it is until it is another."""

    async def change(
        self,
        life: Sequence[LifeLeaf],
        *,
        secrets: RingSecrets | None = None,
        charter: Charter | None = None,
        instances: Sequence[Instance] | None = None,
    ) -> RingDraft:
        """Make a change true; `one_change` must be held. Raises `StrongroomError`, as `Service.keep`."""
        if not self.one_change.locked():
            raise Misuse(Number.INTERNAL, "nobody holds the ring")
        draft = self._ring.draft(
            self._platform, secrets=secrets, charter=charter, instances=instances, now=self._clock.now()
        )
        try:
            await self._service.keep(draft, life)
        finally:
            # Also when that failed: it may be durable, and only the witnesses out of reach. Not for an instance that
            # was admitted: evidence says nothing of those, and a quote costs.
            if secrets is not None or charter is not None:
                self._identity.renew()
        return draft

    async def note(self, life: Sequence[LifeLeaf]) -> None:
        """Write what the log says where the ring stays as it is. Raises `StrongroomError`, as `Service.keep`."""
        await self._service.keep(None, life)

    def life(self, event: LifeEvent, about: bytes, number: int, text: str = "") -> LifeLeaf:
        """A line of the log, of now."""
        return LifeLeaf(event=event, at=self._clock.now(), about=about, number=number, text=text)

    def verify_owner(self, caller: Caller) -> None:
        """Raises `Refused` NOT_OWNER_KEY unless the session is the owner's."""
        if caller.binding_key != self._ring.statement.owner_key:
            raise Refused(Number.NOT_OWNER_KEY)
