"""From start to serving: get a ring, make the identity, build the service, answer at the door.

A ring is opened or founded at once, or waited for in a nursery: then START is answered when the nursery is, and SERVE
when there is a ring and it is served.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from strongroom.attestation.candidates import OWNER
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.cluster import Cluster
from strongroom.enclave.runtime.door import Door
from strongroom.enclave.runtime.drilling import Drilling
from strongroom.enclave.runtime.founding import Founding
from strongroom.enclave.runtime.genesis import found_for_development, verify_watched_by
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.joining import Joining
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.nursery import Opened, Place, Waiting
from strongroom.enclave.runtime.recovering import Recovering
from strongroom.enclave.runtime.ring import Ring, SealedState, open_ring
from strongroom.enclave.runtime.sealed_ring import instance_key
from strongroom.enclave.runtime.service import Service
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted
from strongroom.protocol.evidence import Role
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.link import Operation, Row, Start, parse_start
from strongroom.protocol.status import encode_status

Build = Callable[[Platform, Clock, Ring, Identity, HostLink, Mapping[str, str]], Service]


class Enclave:
    """One enclave instance of one role."""

    def __init__(self, platform: Platform, role: Role, build: Build, link: HostLink) -> None:
        self._platform = platform
        self._role: Role = role
        self._build = build
        self._link = link
        self._clock = Clock(platform)
        self._key = instance_key(platform)
        self._door: Door | None = None
        self._start: Start | None = None
        self._nursery: Waiting | None = None
        self._nursed: Identity | None = None
        self._cluster: Cluster | None = None

    async def handle(self, operation: Operation, body: bytes) -> bytes:
        """Answer one call of the host. Raises `StrongroomError`."""
        match operation:
            case Operation.START:
                if self._start is not None:
                    # Before the first wait: two at once would be two of one cluster in one enclave.
                    raise Misuse(Number.MALFORMED, "started already")
                self._start = parse_start(body)
                await self._begin(self._start)
                return b""
            case Operation.SERVE:
                nursery, identity = self._nursery, self._nursed
                if nursery is None or identity is None:
                    raise Misuse(Number.MALFORMED, "nothing is waited for")
                self._nursed = None
                await self._serve(await nursery.opened(identity))
                return b""
            case Operation.STATUS:
                return encode_status((self._cluster or self._waiting()).status())
            case _:
                if self._door is None:
                    raise Unavailable(Number.BUSY, "not started yet")
                return await self._door.handle(operation, body)

    def _waiting(self) -> Waiting:
        if self._nursery is None:
            raise Unavailable(Number.BUSY, "not started yet")
        return self._nursery

    async def _begin(self, start: Start) -> None:
        row, head = await self._link.read([RING_KEY, HEAD_KEY]) if start.mode != "join" else (None, None)
        match start.mode:
            case "open":
                await self._serve(self._open(row, start))
            case "develop":
                _verify_new(row, head)
                ring = found_for_development(
                    self._platform, self._role, self._key, start.owner_key, start.witnesses, start.cosignatures
                )
                await self._serve(Opened(ring, SealedState(None, None)))
            case "found":
                _verify_new(row, head)
                # In the claims: whoever founds sees that this enclave takes its owner's word and nobody else's.
                config = {**start.config, OWNER: start.owner_key.hex()}
                await self._nurse(Founding(self._place(start)), config)
            case "recover":
                await self._nurse(Recovering(self._place(start), _found(row), self._survey), start.config)
            case "drill":
                await self._nurse(Drilling(self._place(start), _found(row), self._survey), start.config)
            case "join":
                await self._nurse(Joining(self._place(start)), start.config)

    def _place(self, start: Start) -> Place:
        return Place(self._platform, self._clock, self._link, self._role, start, self._key, int(self._platform.now()))

    async def _nurse(self, nursery: Waiting, config: Mapping[str, str]) -> None:
        self._nursery = nursery
        identity = Identity(self._platform, self._clock, nursery.hopes, self._role, config, self._link.collateral)
        await identity.evidence()
        self._nursed = identity
        self._door = Door(self._platform, self._clock, identity, nursery)
        await nursery.begin(identity)

    async def _serve(self, opened: Opened) -> None:
        ring, state, rewrap = opened
        service, identity = self._built(ring)
        await identity.evidence()
        ring.know_self(self._platform.kind, identity.report.measurement)
        if state.draft is None and (state.found is None or rewrap):
            state = replace(state, draft=ring.draft(self._platform, now=self._clock.now()))
        try:
            await service.start(state)
        except Untrusted as error:
            _tell(error)
            raise
        self._cluster = Cluster(self._platform, self._clock, ring, identity, service, int(self._platform.now()))
        self._door = Door(self._platform, self._clock, identity, service, self._cluster)
        if len(ring.epochs) > 1:
            self._cluster.epochs.tend()

    def _built(self, ring: Ring) -> tuple[Service, Identity]:
        config = {} if self._start is None else self._start.config
        identity = Identity(self._platform, self._clock, ring, self._role, config, self._link.collateral)
        return self._build(self._platform, self._clock, ring, identity, self._link, config), identity

    async def _survey(self, ring: Ring, found: bytes) -> tuple[int, bytes]:
        """Where the log in the database ends, by a service that is for nothing else."""
        return await self._built(ring)[0].survey(found)

    def _open(self, row: Row | None, start: Start) -> Opened:
        found = _found(row)
        try:
            ring, rewrap = open_ring(self._platform, found, self._role, self._key)
        except Untrusted as error:
            _tell(error)
            raise
        verify_watched_by(ring.watching, start)
        if rewrap is not None:
            print(f"key ring sealed anew: {rewrap}", file=sys.stderr)
        return Opened(ring, SealedState(found.sealed, None), rewrap is not None)


def _verify_new(row: Row | None, head: Row | None) -> None:
    """Nothing of a cluster is there. Raises `Misuse` CONFLICT, `Untrusted` ROLLED_BACK."""
    if row is not None:
        # A second genesis would orphan every record under the first ring.
        raise Misuse(Number.CONFLICT, "this database has a key ring already")
    if head is not None:
        # Before custodians are troubled: only the ring is missing, and a backup has it.
        raise Untrusted(Number.ROLLED_BACK, "a new cluster finds the log of another one")


def _tell(error: Untrusted) -> None:
    """The number alone crosses the link; the operator needs to know what changed."""
    print(f"strongroom: {error.reason or error.error}", file=sys.stderr, flush=True)


def _found(row: Row | None) -> Row:
    if row is None:
        raise Misuse(Number.CONFLICT, "this database has no key ring")
    return row
