"""The council that follows the one in office: set up by the owner, endorsed by the old, accepted by the new (RULES 6).

What takes office is a new recovery key, so the ring is sealed anew to that one; a new token in the ring; and a new
epoch. Old shares open nothing that is written from then on, and whoever has an old ring can't make one of now. They
still open what was written before: an older copy of the database, with the old ring in it, stays open to the old
council for as long as somebody has that copy and its shares. Nothing can change that.

What is set up is in memory only: a restart, or a hand-over to another instance, forgets it, and nothing has changed.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace as changed

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.convening import Drawn, Forming
from strongroom.enclave.runtime.epochs import Epochs
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.cluster_messages import Accept, Convene, Convened, Endorse, Seated
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.governance import MAX_CHARTER, Charter, SignedSuccession, Succession, statement_digest
from strongroom.protocol.limits import MAX_COUNCILS, MAX_CUSTODIANS
from strongroom.protocol.status import SeatStatus

ROOM: Final = MAX_CHARTER // 2
"""Bytes of a charter that councils may fill: the rest is for recoveries and releases."""
_SIGNATURES: Final = 2 * MAX_CUSTODIANS * 96
"""Bytes of all signatures under one statement, and more."""


class Councils:
    """Of one cluster."""

    def __init__(self, platform: Platform, ring: Ring, keeping: Keeping, epochs: Epochs) -> None:
        self._platform = platform
        self._ring = ring
        self._keeping = keeping
        self._epochs = epochs
        self._forming: Forming | None = None
        self._ring_token = b""
        """Of the council that is being set up."""

    @property
    def pending(self) -> bytes:
        """Statement of the council that is being set up; empty: none is."""
        forming = self._set_up()
        return b"" if forming is None else forming.statement

    @property
    def pending_seats(self) -> list[SeatStatus]:
        forming = self._set_up()
        return [] if forming is None else forming.status

    @property
    def missing_endorsements(self) -> int:
        """Of custodians in office, for the council that is being set up."""
        forming = self._set_up()
        return 0 if forming is None else forming.missing_endorsements

    async def convene(self, caller: Caller, request: Convene) -> Convened:
        """Raises `Refused` NOT_OWNER_KEY, and `Misuse` for a council that can't be."""
        self._keeping.verify_owner(caller)
        ring = self._ring
        if ring.statement.development:
            # Its automatic custodian signs nothing, and whoever has the machine has its share.
            raise Misuse(Number.COUNCIL_INVALID, "a development cluster keeps its automatic custodian: found another")
        if request.witnesses or request.cosignatures:
            raise Misuse(Number.COUNCIL_INVALID, "witnesses are those of the genesis statement, and stay")
        async with self._keeping.one_change:
            serial = len(ring.councils)
            if serial > MAX_COUNCILS:
                raise Misuse(Number.COUNCIL_INVALID, "this cluster has had as many councils as it can")
            drawn = Drawn(self._platform, request)
            statement = encode(
                Succession(
                    version=1,
                    cluster=ring.cluster_id,
                    serial=serial,
                    previous=statement_digest(newest_statement(ring.state.charter)),
                    council=drawn.council,
                )
            )
            _verify_room(ring.state.charter, statement)
            forming = Forming(statement, drawn.council, before=ring.council)
            shares = drawn.share_files(ring.cluster_id, ring.statement.role, serial)
            self._forming, self._ring_token = forming, drawn.ring_token
        return Convened(statement=statement, shares=shares)

    async def accept(self, request: Accept) -> Seated:
        """Raises `Misuse` NOT_NOW, `Untrusted` INTEGRITY, and as `Keeping.change`."""
        async with self._keeping.one_change:
            if self._in_office(request.statement):
                return Seated(missing=0)
            forming = self._meant(request.statement)
            forming.accept(request)
            return await self._seated(forming)

    async def endorse(self, request: Endorse) -> Seated:
        """Raises as `accept`."""
        async with self._keeping.one_change:
            if self._in_office(request.statement):
                return Seated(missing=0)
            forming = self._meant(request.statement)
            forming.endorse(request.index, request.signature)
            return await self._seated(forming)

    def _in_office(self, digest: bytes) -> bool:
        """It was the last signature whose answer was lost."""
        charter = self._ring.state.charter
        return bool(charter.successions) and digest == statement_digest(newest_statement(charter))

    def _set_up(self) -> Forming | None:
        """What is being set up: nothing that is in office, by a change that was durable though witnesses were away."""
        if self._forming is not None and self._in_office(self._forming.digest):
            self._forming = None
        return self._forming

    def _meant(self, digest: bytes) -> Forming:
        forming = self._set_up()
        if forming is None:
            raise Misuse(Number.NOT_NOW, "no council is being set up")
        forming.verify_meant(digest)
        return forming

    async def _seated(self, forming: Forming) -> Seated:
        if forming.missing:
            return Seated(missing=forming.missing)
        charter, serial = self._ring.state.charter, len(self._ring.councils)
        signed = SignedSuccession(statement=forming.statement, accepted=forming.accepted, endorsed=forming.endorsed)
        # If this fails, the signatures stay: any of them, sent once more, tries again.
        await self._epochs.begin(
            [self._keeping.life("governed", forming.digest, serial)],
            ring_token=self._ring_token,
            charter=changed(charter, successions=[*charter.successions, signed]),
        )
        self._forming = None
        return Seated(missing=0)


def _verify_room(charter: Charter, statement: bytes) -> None:
    """The charter stays readable with one more council. Raises `Misuse` COUNCIL_INVALID."""
    used = sum(len(encode(one)) for one in (charter.genesis, *charter.successions))
    if used + len(statement) + _SIGNATURES > ROOM:
        raise Misuse(Number.COUNCIL_INVALID, "the statements of all councils so far leave no room for another")


def newest_statement(charter: Charter) -> bytes:
    """Of the council in office: the genesis statement, or the last succession."""
    return charter.successions[-1].statement if charter.successions else charter.genesis.statement
