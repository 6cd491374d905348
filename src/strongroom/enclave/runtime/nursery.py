"""What an enclave without a ring is: it waits for one, says how it stands, and takes what is meant for its stage.

Three stages, each in a file of its own: `founding`, `recovering`, `joining`. None serves clients. `drilling` looks
like recovering, and never becomes anything else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.ring import Ring, SealedState
from strongroom.enclave.runtime.sealed_ring import InstanceKey
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.runtime.status import blank_status
from strongroom.protocol.cluster_messages import AskStatus, NurseryRequest, StatusIs
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Attempt, Role, Stage
from strongroom.protocol.link import Start
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.status import Status, encode_status


@dataclass(frozen=True, slots=True)
class Place:
    """Where a nursery is: what every stage works with."""

    platform: Platform
    clock: Clock
    link: HostLink
    role: Role
    start: Start
    key: InstanceKey
    started: int
    """Unix time of this process."""


class Opened(NamedTuple):
    """A ring at last."""

    ring: Ring
    state: SealedState
    """Without a draft: the ring as it was found, or one that was never written."""
    rewrap: bool = False
    """It has to be sealed anew for this machine and program."""


class Hopes:
    """`identity.Credentials` of an enclave that holds no ring."""

    generation: Final = 0
    release: Final = 0
    releases: Final = b""
    watchers: Final = None

    def __init__(
        self, stage: Stage, cluster_id: bytes, genesis: bytes, attempt: Attempt | None, recoveries: int
    ) -> None:
        """`cluster_id` is zeros while founding, and `genesis` empty where the statement is not known."""
        self.stage: Final[Stage] = stage
        self.cluster_id: Final = cluster_id
        self.genesis: Final = genesis
        self.attempt: Final = attempt
        self.recoveries: Final = recoveries
        self.council_serial: Final = attempt.council if attempt is not None else 0
        self.receipt_key: Final = SigningKey.generate().public

    def sign(self, claims: bytes) -> bytes:
        return b""


class Waiting:
    """A service for the door until there is a ring. Stages build on this."""

    requests: Any = NurseryRequest

    def __init__(self, place: Place, hopes: Hopes) -> None:
        self.place: Final = place
        self.hopes = hopes
        self._ring: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()

    async def begin(self, identity: Identity) -> None:
        """Within START, when the door is open. Raises `StrongroomError` when there is no hope."""

    async def opened(self, identity: Identity) -> Opened:
        """Within SERVE: returns when there is a ring, however long that takes. Raises `StrongroomError` when there
        never will be."""
        return await asyncio.shield(self._ring)

    def status(self) -> Status:
        """How it stands."""
        return blank_status(self.place, self.hopes)

    async def handle(self, caller: Caller, request: Any) -> Message:
        """Answer one request. Raises `StrongroomError`."""
        if isinstance(request, AskStatus):
            return StatusIs(status=encode_status(self.status()))
        return self.not_now()

    def checkpoint(self) -> bytes:
        raise Misuse(Number.NOT_NOW)

    def not_now(self) -> NoReturn:
        raise Misuse(Number.NOT_NOW, f"this enclave is {self.hopes.stage}")
