"""An enclave that founds a cluster: its owner convenes a council, every custodian accepts, and only then is anything
written (RULES 6).

Attacks stopped here, each with a test in `tests/hostile/test_founding.py`:

1. Whoever calls first founds: only the owner's key may convene, and it stands in the claims, so that the founder sees
   whether a host has put in another one.
2. A host names witnesses of its own: the owner names them, in a session with the enclave, and the statement holds the
   owner's. A host that was started with others is refused, since its courier would ask the wrong ones.
3. A cluster whose custodians have nothing: each signs with a key that is derived from his share, over exactly this
   statement.
4. A second genesis over what is left of a database.
"""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.enclave.runtime.convening import Drawn, Forming
from strongroom.enclave.runtime.genesis import draw_secrets, genesis_of, new_charter
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.nursery import Hopes, Opened, Place, Waiting
from strongroom.enclave.runtime.ring import Ring, SealedState
from strongroom.enclave.runtime.sealed_ring import RingSecrets, RingState
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.cluster_messages import Accept, AskCharter, CharterIs, Convene, Convened, Seated
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.governance import SignedGenesis
from strongroom.protocol.status import Status


class Founding(Waiting):
    """See `nursery.Waiting`. Nothing is kept but in memory: after a restart the owner convenes anew, and shares that
    were handed out before are worth nothing."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, Hopes("founding", bytes(32), b"", None, 0))
        self._forming: Forming | None = None
        self._secrets: RingSecrets | None = None

    async def begin(self, identity: Identity) -> None:
        """Raises `Misuse` CONFLICT for a database that has a log, though neither ring nor head are in it."""
        if self.place.role == "vault" and (await self.place.link.leaves([0]))[0] is not None:
            raise Misuse(Number.CONFLICT, "this database has no key ring, and yet is not empty: a part of it is lost")

    def status(self) -> Status:
        blank, forming = super().status(), self._forming
        if forming is None:
            return blank
        return msgspec.structs.replace(
            blank,
            state="starting" if self._ring.done() else blank.state,
            threshold=forming.council.threshold,
            approvals=forming.council.approvals,
            pending=forming.status,
            witnesses=len(self.place.start.witnesses),
            cosignatures=self.place.start.cosignatures,
        )

    async def handle(self, caller: Caller, request: Any) -> Message:
        match request:
            case Convene():
                return self._convene(caller, request)
            case Accept():
                return self._accept(request)
            case AskCharter():
                return CharterIs(charter=b"", pending=self._forming.statement if self._forming else b"")
            case _:
                return await super().handle(caller, request)

    def _convene(self, caller: Caller, request: Convene) -> Convened:
        start = self.place.start
        if caller.binding_key != start.owner_key:
            raise Refused(Number.NOT_OWNER_KEY)
        if self._ring.done():
            raise Misuse(Number.NOT_NOW, "all custodians have accepted")
        if (set(request.witnesses), request.cosignatures) != (set(start.witnesses), start.cosignatures):
            raise Misuse(Number.COUNCIL_INVALID, "the host was started with other witnesses than the owner names")
        drawn = Drawn(self.place.platform, request)
        secrets = draw_secrets(self.place.platform, drawn.ring_token)
        statement = encode(
            genesis_of(
                secrets,
                role=self.place.role,
                owner_key=start.owner_key,
                council=drawn.council,
                witnesses=request.witnesses,
                cosignatures=request.cosignatures,
                development=False,
            )
        )
        forming = Forming(statement, drawn.council)
        shares = drawn.share_files(cluster_id(statement), self.place.role, serial=0)
        self._forming, self._secrets = forming, secrets
        return Convened(statement=statement, shares=shares)

    def _accept(self, request: Accept) -> Seated:
        forming, secrets = self._forming, self._secrets
        if forming is None or secrets is None:
            raise Misuse(Number.NOT_NOW, "the owner has convened nobody")
        forming.verify_meant(request.statement)
        forming.accept(request)
        if not forming.missing and not self._ring.done():
            charter = new_charter(SignedGenesis(statement=forming.statement, accepted=forming.accepted))
            ring = Ring(RingState(secrets, charter, ()), self.place.key, 0)
            self._ring.set_result(Opened(ring, SealedState(None, None)))
        return Seated(missing=forming.missing)
