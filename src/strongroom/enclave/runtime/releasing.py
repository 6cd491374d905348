"""The list of releases: taken from its approvers, and asked when a program wants the ring (RULES 7)."""

from __future__ import annotations

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Service
from strongroom.protocol.cluster_messages import Publish, Published
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.evidence import PlatformKind


class Releasing:
    """Of one cluster."""

    def __init__(self, clock: Clock, ring: Ring, keeping: Keeping, service: Service) -> None:
        self._clock = clock
        self._ring = ring
        self._keeping = keeping
        self._service = service

    async def publish(self, request: Publish) -> Published:
        """Raises `Misuse` RELEASE_INVALID, `Untrusted`."""
        raise Misuse(Number.UNSUPPORTED)

    def verify_admitted(self, kind: PlatformKind, measurement: bytes) -> None:
        """This program may have the ring now. Raises `Refused` NOT_RELEASED."""
        if (kind, measurement) != self._ring.own:
            raise Refused(Number.NOT_RELEASED)

    def admitted(self, kind: PlatformKind, measurement: bytes) -> bool:
        """The same, for the status."""
        return (kind, measurement) == self._ring.own
