"""An enclave that recovers a ring whose machines are gone: custodians bring the shares of its recovery key (RULES 25).

1. Shares are sealed to one attempt: a key that lives as long as this process, the row that is to be opened, the council
   whose shares are wanted. What was sealed to another process, row or cluster, or is played again, does not open.
2. A share is its custodian's by the key that it is, so nobody needs to say who he is; of other clusters, and of former
   councils, it is told apart. One that its custodian has bent spoils nothing: those of others do without it.
3. A database that is older than the log which witnesses have seen would revive what was revoked since. As many
   custodians as could recover the ring have to sign exactly what is given up; the log then goes on under another name.
   Of a Vault without witnesses nobody knows whether it is older, and they sign that.
   The same holds for witnesses other than those in office, whom the host names: only custodians replace witnesses, by
   the names that they sign, and a host that names its own waits for their signatures for ever.
4. A host that has one database looked at and signed for, and then shows another one, in which what custodians saw
   revoked is not revoked yet. What was surveyed is what is served, to the leaf.
5. Two that recover one database: the first writes ring and log anew, and the second finds neither as it was.

Before it serves, nothing is written. Who ends it, begins anew: with an attempt to which shares are sealed again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, ClassVar, Final, TypeVar

from msgspec.structs import replace as changed

from strongroom.enclave.runtime.gaps import NOBODY, Head, Known, Logs, Loss, Words, last_known, lost
from strongroom.enclave.runtime.genesis import named_by, verify_can_watch
from strongroom.enclave.runtime.nursery import Hopes, Opened, Place, Waiting
from strongroom.enclave.runtime.ring import Ring, SealedState, facts_of
from strongroom.enclave.runtime.sealed_ring import RingState, charter_of, open_by_recovery_key, parse_sealed
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.runtime.status import blank_status, seats
from strongroom.protocol.cluster_messages import (
    ApproveGap,
    AskCharter,
    CharterIs,
    GapApproved,
    ShareSecret,
    ShareTaken,
    SubmitShare,
)
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.evidence import Attempt, cluster_id
from strongroom.protocol.governance import (
    Gap,
    Seat,
    SignedGap,
    attempt_digest,
    named_watchers,
    verify_charter,
    watchers_of,
    with_gap,
)
from strongroom.protocol.index import row_digest
from strongroom.protocol.leaves import LifeLeaf, log_verifier
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Row
from strongroom.protocol.notes import COSIGNATURE, parse_verifier
from strongroom.protocol.primitives import Domain, KemKey, digest, verify_signature
from strongroom.protocol.shares import Share, combine, parse_share
from strongroom.protocol.status import GapStatus, State, Status

Survey = Callable[[Ring, bytes], Awaitable[tuple[int, bytes]]]
"""Ring and row of the ring as found → size and root of the log in the database."""

PURPOSE: Final = b"recover"
"""In what a share is sealed with, beside cluster id and attempt."""
RETRY_SECONDS: Final = 2.0
"""After witnesses or database did not answer."""
PATIENCE_SECONDS: Final = 20.0
"""For which witnesses that are to be replaced may leave their word out."""

T = TypeVar("T")


@dataclass(slots=True)
class _ToSign:
    """A gap, until custodians have signed it."""

    statement: bytes
    """Encoded `Gap`."""
    known: Known
    ring: RingState = field(repr=False)
    signed: dict[int, Seat]

    @property
    def digest(self) -> bytes:
        return digest(Domain.GAP, self.statement)


class Recovering(Waiting):
    """See `nursery.Waiting`."""

    DRILL: ClassVar = False
    """Whether it never serves: what custodians see in the attempt is what the program does."""

    def __init__(self, place: Place, found: Row, survey: Survey) -> None:
        """Raises `Untrusted` for a charter that nobody signed, another role, or other witnesses than the host names;
        `Misuse` UNSUPPORTED for a development cluster."""
        self._row = parse_sealed(found.sealed)
        self._charter = charter_of(self._row)
        self._statement, self._councils = verify_charter(self._charter)
        if self._statement.role != place.role:
            raise Untrusted(Number.INTEGRITY, f"the key ring is of the role {self._statement.role}, not {place.role}")
        if self._statement.development:
            raise Misuse(Number.UNSUPPORTED, "a development cluster has no custodians: it opens by itself")
        self._watching = watchers_of(self._charter)
        # A drill asks no witnesses, so its host names none.
        self._named = self._watching if self.DRILL else named_by(place.start)
        self._replaces = not self._named.are(self._watching)
        if self._replaces:
            verify_can_watch(place.role, self._watching, self._named)
        self._council = self._councils[-1]
        self._generation = facts_of(self._charter).generation
        self._cluster = cluster_id(self._charter.genesis.statement)
        self._key = KemKey(place.platform.random(32))
        self._attempt = Attempt(
            key=self._key.public,
            ring=row_digest(found.sealed),
            council=len(self._councils) - 1,
            recoveries=self._charter.recoveries,
            drill=self.DRILL,
        )
        hopes = Hopes(
            "recovering", self._cluster, self._charter.genesis.statement, self._attempt, self._charter.recoveries
        )
        super().__init__(place, hopes)
        self._found = found
        self._survey = survey
        self._shares: dict[int, Share] = {}
        """By custodian, until the ring is open."""
        self._state: State = "recovering"
        self._surveyed = Head(0, b"")
        """The log in the database, once the ring is open."""
        self._to_sign: _ToSign | None = None
        self._comparing: asyncio.Task[None] | None = None

    # --- what is asked ------------------------------------------------------------------------------------------------

    async def handle(self, caller: Caller, request: Any) -> Message:
        match request:
            case AskCharter():
                return CharterIs(charter=self._row.charter, pending=b"")
            case SubmitShare():
                return self._take(request)
            case ApproveGap():
                return self._approve(request)
            case _:
                return await super().handle(caller, request)

    def status(self) -> Status:
        done = list(self._shares)
        if self._state != "recovering":
            done = list(self._to_sign.signed) if self._to_sign is not None else []
        return changed(
            blank_status(self.place, self.hopes),
            state=self._state,
            council=self._attempt.council,
            threshold=self._council.threshold,
            approvals=self._council.approvals,
            custodians=seats(self._council, done),
            generation=self._generation,
            log_size=self._surveyed.size,
            witnesses=len(self._named.witnesses),
            cosignatures=self._named.cosignatures,
            gap=None if self._to_sign is None else self._gap_status(self._to_sign),
        )

    def _gap_status(self, gap: _ToSign) -> GapStatus:
        return GapStatus(self._surveyed.size, gap.known.head.size, gap.known.at, gap.statement.hex())

    # --- shares -------------------------------------------------------------------------------------------------------

    def _take(self, request: SubmitShare) -> ShareTaken:
        """Raises `Misuse`: SHARE_WRONG, SHARE_FOREIGN, SHARE_STALE, SHARE_REPEATED, ATTEMPT_OVER, NOT_NOW."""
        if self._state != "recovering":
            raise Misuse(Number.NOT_NOW, "the ring is open already")
        share = self._opened(request.sealed)
        index = self._custodian(share)
        if index in self._shares:
            raise Misuse(Number.SHARE_REPEATED)
        missing = self._council.threshold - len(self._shares) - 1
        recovery = self._combined(share) if missing <= 0 else None
        self._shares[index] = share
        name = self._council.custodians[index].name
        if recovery is not None:
            self._open(recovery)
            return ShareTaken(name=name, missing=0)
        if missing <= 0:
            _say("the shares are those of these custodians, and one of them was altered: another custodian's is wanted")
        # One more at least, as long as they do not make the key.
        return ShareTaken(name=name, missing=max(missing, 1))

    def _opened(self, sealed: bytes) -> Share:
        try:
            words = self._key.open(sealed, Domain.SHARE, self._cluster, PURPOSE, encode(self._attempt))
        except Untrusted:
            raise Misuse(Number.ATTEMPT_OVER) from None
        try:
            secret = decode(words, ShareSecret, limit=MAX_MESSAGE)
        except Misuse:
            raise Misuse(Number.SHARE_WRONG) from None
        return parse_share(secret.words)

    def _custodian(self, share: Share) -> int:
        """Index of whose share it is in the council in office. Raises `Misuse` SHARE_STALE or SHARE_FOREIGN."""
        for index, custodian in enumerate(self._council.custodians):
            if custodian.key == share.key.public:
                return index
        if any(one.key == share.key.public for council in self._councils[:-1] for one in council.custodians):
            raise Misuse(Number.SHARE_STALE, f"an earlier one; council {self._attempt.council} is in office")
        raise Misuse(Number.SHARE_FOREIGN)

    def _combined(self, share: Share) -> KemKey | None:
        """The recovery key, from this share and so many of those before that make it; None if they do not."""
        # All choices, since one bent share must not stop the others. Those that fail cost no key derivation.
        for others in combinations(self._shares.values(), self._council.threshold - 1):
            try:
                key = KemKey(combine((share, *others)))
            except Misuse:
                continue
            if key.public == self._council.recovery_key:
                return key
        return None

    def _open(self, recovery: KemKey) -> None:
        self._shares.clear()
        self._state = "starting"
        try:
            ring = open_by_recovery_key(self._row, recovery)
            # Of one cluster with its charter, and that what the genesis statement names: tried before it is gone into.
            Ring(ring, self.place.key, self._found.version)
        except (StrongroomError, ValueError):
            self._fail(Untrusted(Number.INTEGRITY, "the key ring in the database was altered"))
            return
        _say("custodians have opened the key ring")
        self._comparing = asyncio.get_running_loop().create_task(self._compare(ring))
        self._comparing.add_done_callback(self._compared)

    # --- the database beside the witnesses ----------------------------------------------------------------------------

    async def _compare(self, ring: RingState) -> None:
        """Serve what was found if nothing is lost with it, or else have custodians sign. Raises `StrongroomError`."""
        found = Head(*await self._survey(Ring(ring, self.place.key, self._found.version), self._found.sealed))
        self._surveyed = found
        loss = await self._lost(found) if self._statement.role == "vault" else None
        if loss is None:
            self._serve(ring, None)
            return
        known, at = loss.known, self.place.clock.now()
        # Where not all can be known, by the time: of one old backup, recovered twice, the logs must not have one name.
        # And by the same time that custodians are shown, or a host would number it as it likes.
        is_dated = self._replaces or not self._watching.witnesses
        statement = Gap(
            version=1,
            cluster=self._cluster,
            recoveries=self._charter.recoveries + 1,
            generation=max(loss.generation, at) if is_dated else loss.generation,
            attempt=attempt_digest(self._attempt.key),
            found_size=found.size,
            found_root=found.root,
            known_size=known.head.size,
            known_root=known.head.root,
            at=at,
            watchers=self._named if self._replaces else named_watchers(self._charter),
        )
        self._to_sign = _ToSign(encode(statement), known, ring, {})
        self._state = "gap"
        seen = f"witnesses have seen {known.head.size}" if known.head != NOBODY else "nobody says that it knows more"
        others = ", and that other witnesses watch it from here on" if self._replaces else ""
        _say(f"the database ends at {found.size} of the log, {seen}: custodians must sign that{others}")

    async def _lost(self, found: Head) -> Loss | None:
        """What witnesses know and the database lacks; waits for them. Where there are none nobody can say that it lacks
        nothing, and clients who have seen more would take it for a rollback for ever: custodians sign there, too."""
        if not self._watching.witnesses:
            return Loss(Known(NOBODY, 0), self._generation + 1)
        logs = Logs(
            lambda generation: log_verifier(self._cluster, self._statement.log_key, generation),
            [parse_verifier(text, COSIGNATURE) for text in self._watching.witnesses],
            self._watching.cosignatures,
        )
        link = self.place.link
        if self._replaces:
            words = _AsFarAsHeard(link)
            return await _retried(lambda: last_known(words, logs, self._generation, found))
        return await _retried(lambda: lost(link, logs, self._generation, found))

    def _approve(self, request: ApproveGap) -> GapApproved:
        """Raises `Misuse` NOT_NOW, ATTEMPT_OVER for another gap, SHARE_FOREIGN; `Untrusted` INTEGRITY."""
        gap, council = self._to_sign, self._council
        if gap is None:
            raise Misuse(Number.NOT_NOW, "there is no gap to sign")
        if request.gap != gap.digest:
            raise Misuse(Number.ATTEMPT_OVER, "this is a signature of another gap")
        if request.index >= len(council.custodians):
            raise Misuse(Number.SHARE_FOREIGN, "there is no such custodian")
        verify_signature(council.custodians[request.index].key, request.signature, Domain.GAP, gap.statement)
        gap.signed[request.index] = Seat(index=request.index, signature=request.signature)
        missing = council.threshold - len(gap.signed)
        if missing == 0:
            seats = [gap.signed[index] for index in sorted(gap.signed)]
            self._serve(gap.ring, SignedGap(statement=gap.statement, council=self._attempt.council, signed=seats))
        return GapApproved(missing=max(missing, 0))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _serve(self, ring: RingState, gap: SignedGap | None) -> None:
        """The ring as it is to be written: who could open it before is gone, or must join again."""
        charter = with_gap(self._charter, gap)
        after = Ring(RingState(ring.secrets, charter, ()), self.place.key, self._found.version)
        life = LifeLeaf(
            event="recovered",
            at=self.place.clock.now(),
            about=bytes(32) if gap is None else digest(Domain.GAP, gap.statement),
            number=charter.recoveries,
            text="",
        )
        self._state = "starting"
        self._to_sign = None
        state = SealedState(self._found.sealed, None, (life,), self._surveyed)
        self._ring.set_result(Opened(after, state, rewrap=True))

    def _compared(self, comparing: asyncio.Task[None]) -> None:
        if not comparing.cancelled() and (error := comparing.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """There never will be a ring: SERVE says so."""
        if isinstance(error, StrongroomError):
            # The number alone crosses the link; the operator needs to know what is wrong.
            _say(error.error)
        self._ring.set_exception(error)


class _AsFarAsHeard:
    """Words of witnesses who are to be replaced: after `PATIENCE_SECONDS` nobody's silence is waited out any more."""

    def __init__(self, words: Words) -> None:
        self.consistency = words.consistency
        self._words = words
        self._until = asyncio.get_running_loop().time() + PATIENCE_SECONDS

    async def witnessed(self, origin: str) -> list[bytes]:
        while True:
            try:
                return await self._words.witnessed(origin)
            except Unavailable:
                if asyncio.get_running_loop().time() >= self._until:
                    return []
            await asyncio.sleep(RETRY_SECONDS)


async def _retried(ask: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(RETRY_SECONDS)


def _say(text: str) -> None:
    print(f"recovery: {text}", file=sys.stderr, flush=True)
