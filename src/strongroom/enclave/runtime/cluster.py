"""What a member answers about its cluster: state, charter, councils, releases, epochs, and the ring for who joins.

Every change of the ring goes one at a time through `Keeping`: drafted from what is durable, written with what the log
says of it, and true only then.
"""

from __future__ import annotations

from typing import Any, Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.councils import Councils
from strongroom.enclave.runtime.epochs import Epochs
from strongroom.enclave.runtime.giving import Giving
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.releasing import Releasing
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller, Service
from strongroom.enclave.runtime.status import member_status
from strongroom.protocol.cluster_messages import (
    Accept,
    ApproveGap,
    AskCharter,
    AskStatus,
    CharterIs,
    Convene,
    Endorse,
    Publish,
    Rotate,
    StatusIs,
    SubmitShare,
    TakeRing,
)
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.status import Status, encode_status


class Cluster:
    """Serves sessions with a member, beside its role's own operations."""

    def __init__(
        self, platform: Platform, clock: Clock, ring: Ring, identity: Identity, service: Service, started: int
    ) -> None:
        self._ring = ring
        self._service = service
        self._started: Final = started
        keeping = Keeping(platform, clock, ring, identity, service)
        self.epochs: Final = Epochs(platform, ring, keeping, service)
        self._releasing = Releasing(clock, ring, keeping, self.epochs, service)
        self._giving = Giving(platform, clock, ring, identity, keeping, self._releasing)
        self._councils = Councils(platform, ring, keeping, self.epochs)

    def status(self) -> Status:
        """How this member stands."""
        return member_status(
            self._ring,
            self._service.facts(),
            self._releasing,
            started=self._started,
            handovers=self._giving.handovers,
            pending=self._councils.pending_seats,
            endorsements=self._councils.missing_endorsements,
        )

    async def handle(self, caller: Caller, request: Any) -> Message:
        """Answer one request. Raises `StrongroomError`."""
        match request:
            case AskStatus():
                return StatusIs(status=encode_status(self.status()))
            case AskCharter():
                return CharterIs(charter=encode(self._ring.state.charter), pending=self._councils.pending)
            case Convene():
                return await self._councils.convene(caller, request)
            case Accept():
                return await self._councils.accept(request)
            case Endorse():
                return await self._councils.endorse(request)
            case TakeRing():
                return await self._giving.give(caller, request)
            case Publish():
                return await self._releasing.publish(request)
            case Rotate():
                return await self.epochs.rotate(caller)
            case SubmitShare() | ApproveGap():
                raise Misuse(Number.NOT_NOW, "this cluster is not being recovered")
            case _:
                raise Misuse(Number.UNSUPPORTED)
