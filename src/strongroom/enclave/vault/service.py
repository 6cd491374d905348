"""The Vault's operations by message: what they do is in `release`, `deposit`, `revision`, `statements`, `approvals`,
`trails`.

Every answer comes with a checkpoint of the log that covers all it rests on, and leaves when the witnesses, where there
are any, have seen what a rollback would undo of that: a no as well, since it counts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from strongroom.enclave.runtime.ring import RingDraft, SealedState
from strongroom.enclave.runtime.service import Caller, ServiceFacts
from strongroom.enclave.vault.approvals import Approvals
from strongroom.enclave.vault.deposit import Deposit
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.release import Release
from strongroom.enclave.vault.resealing import Resealing
from strongroom.enclave.vault.revision import Revision
from strongroom.enclave.vault.statements import Statements
from strongroom.enclave.vault.trails import Trails
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.log_messages import Freshen, Logged, Trail
from strongroom.protocol.vault_messages import (
    Approve,
    Ask,
    Collect,
    Collected,
    CreateNamespace,
    Delete,
    Describe,
    Fill,
    GrantBlob,
    History,
    Item,
    Questions,
    Store,
    Update,
    VaultRequest,
)


class VaultService:
    """Serves clients whose session is proved."""

    requests = VaultRequest

    def __init__(
        self,
        ledger: Ledger,
        witnessing: Witnessing,
        release: Release,
        deposit: Deposit,
        revision: Revision,
        statements: Statements,
        approvals: Approvals,
        trails: Trails,
        resealing: Resealing,
    ) -> None:
        self._ledger = ledger
        self._resealing = resealing
        self._witnessing = witnessing
        self._release = release
        self._deposit = deposit
        self._revision = revision
        self._statements = statements
        self._approvals = approvals
        self._trails = trails

    async def start(self, state: SealedState) -> None:
        await self._ledger.take_up(state)
        if self._witnessing.exists:
            # Before anybody can ask for evidence: the witnesses may have to be told of this log.
            print(f"the log's verifier key is {self._ledger.log.verifier}", file=sys.stderr, flush=True)
            if state.found is not None:
                # Before anything is written: of a database that was put back, nothing should be changed.
                await self._witnessing.know(self._ledger.log.checkpoint)
        await self._ledger.begin(state)
        await self._witnessing.start(lambda: self._ledger.log.checkpoint, lambda: self._ledger.commit([], []))

    async def survey(self, found: bytes) -> tuple[int, bytes]:
        await self._ledger.take_up(SealedState(found, None))
        checkpoint = self._ledger.log.checkpoint.checkpoint
        return checkpoint.size, checkpoint.root

    async def keep(self, draft: RingDraft | None, life: Sequence[LifeLeaf]) -> None:
        with self._witnessing.resting() as rest:
            await self._ledger.keep(draft, life)
            self._witnessing.rest_on_size(self._ledger.log.size)
            await self._witnessing.settle(rest)

    async def reseal(self) -> int:
        return await self._resealing.run()

    def facts(self) -> ServiceFacts:
        seen = self._witnessing.seen
        return ServiceFacts(
            log_size=self._ledger.log.size,
            witnessed=self._witnessing.time or 0,
            seen_size=seen.size,
            seen_at=seen.at,
            rows=self._ledger.listings,
            resealed=self._resealing.seen,
        )

    def checkpoint(self) -> bytes:
        return self._trails.shown

    async def handle(self, caller: Caller, request: Message) -> Message:
        if isinstance(request, Freshen):
            return await self._trails.freshen(request)
        await self._witnessing.verify_lease()
        with self._witnessing.resting() as rest:
            try:
                reply = await self._answer(caller, request)
            finally:
                await self._witnessing.settle(rest)
        if isinstance(reply, Collected):
            self._witnessing.spend(sum(isinstance(result, Item) for result in reply.results))
        return Logged(checkpoint=self._trails.checkpoint, reply=encode(reply))

    async def _answer(self, caller: Caller, request: Message) -> Message:
        match request:
            case Collect():
                return await self._release.collect(caller, request)
            case Describe():
                return await self._release.describe(caller, request)
            case Store():
                return await self._deposit.store(caller, request)
            case Update():
                return await self._revision.update(caller, request)
            case Fill():
                return await self._revision.fill(caller, request)
            case Delete():
                return await self._revision.delete(caller, request)
            case History():
                return await self._statements.history(caller, request)
            case Trail():
                return await self._trails.trail(caller, request)
            case GrantBlob():
                return await self._statements.grant_blob(caller, request)
            case Ask():
                return await self._approvals.ask(caller, request)
            case Questions():
                return await self._approvals.questions(caller, request)
            case Approve():
                return await self._approvals.approve(caller, request)
            case CreateNamespace():
                return await self._deposit.create_namespace(caller, request)
            case _:
                raise Misuse(Number.UNSUPPORTED)
