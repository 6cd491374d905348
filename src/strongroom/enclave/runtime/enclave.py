"""From start to serving: open or found the ring, make the identity, build the service, answer at the door."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.door import Door
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.ring import Ring, SealedState, found_cluster, open_ring
from strongroom.enclave.runtime.service import Service
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted
from strongroom.protocol.evidence import Role
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.link import Operation, Put, Start, parse_start

Build = Callable[[Platform, Clock, Ring, Identity, HostLink, Mapping[str, str]], Service]


class Enclave:
    """One enclave instance of one role."""

    def __init__(self, platform: Platform, role: Role, build: Build, link: HostLink) -> None:
        self._platform = platform
        self._role: Role = role
        self._build = build
        self._link = link
        self._door: Door | None = None
        self._is_started = False

    async def handle(self, operation: Operation, body: bytes) -> bytes:
        """Answer one call of the host. Raises `StrongroomError`."""
        if operation is Operation.START:
            if self._is_started:
                # Before the first wait: two at once would be two of one cluster in one enclave.
                raise Misuse(Number.MALFORMED, "started already")
            self._is_started = True
            self._door = await self._start(parse_start(body))
            return b""
        if self._door is None:
            raise Unavailable(Number.BUSY, "not started yet")
        return await self._door.handle(operation, body)

    async def _start(self, start: Start) -> Door:
        ring, state = await self._ring(start)
        clock = Clock(self._platform)
        identity = Identity(self._platform, clock, ring, self._role, start.config, self._link.collateral)
        service = self._build(self._platform, clock, ring, identity, self._link, start.config)
        await service.start(state)
        await identity.evidence()
        return Door(self._platform, clock, identity, service)

    async def _ring(self, start: Start) -> tuple[Ring, SealedState]:
        row = (await self._link.read([RING_KEY]))[0]
        if start.genesis:
            if row is not None:
                # A second genesis would orphan every record under the first ring.
                raise Misuse(Number.CONFLICT, "this database has a key ring already")
            ring = found_cluster(self._platform, self._role, start.owner_key, start.witnesses, start.cosignatures)
            kept = ring.seal(self._platform)
            return ring, SealedState(None, kept, [Put(RING_KEY, 0, 1, kept)])
        if row is None:
            raise Misuse(Number.CONFLICT, "this database has no key ring")
        try:
            ring, rewrap = open_ring(self._platform, row.sealed, self._role)
        except Untrusted as error:
            # The number alone crosses the link; the operator needs to know what changed.
            print(f"strongroom: {error.reason}", file=sys.stderr, flush=True)
            raise
        if (set(start.witnesses), start.cosignatures) != (set(ring.statement.witnesses), ring.statement.cosignatures):
            # They count as they were founded; a host that names others has made a mistake, and should hear of it.
            raise Untrusted(Number.POLICY, "the cluster was founded with other witnesses")
        if rewrap is None:
            return ring, SealedState(row.sealed, row.sealed, [])
        print(f"key ring sealed anew: {rewrap}", file=sys.stderr)
        kept = ring.seal(self._platform)
        return ring, SealedState(row.sealed, kept, [Put(RING_KEY, row.version, row.version + 1, kept)])
