"""The Vault's operations by message: what they do is in `release`, `deposit`, `revision`, `statements`, `approvals`."""

from __future__ import annotations

from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.approvals import Approvals
from strongroom.enclave.vault.deposit import Deposit
from strongroom.enclave.vault.release import Release
from strongroom.enclave.vault.revision import Revision
from strongroom.enclave.vault.statements import Statements
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.vault_messages import (
    Approve,
    Ask,
    Collect,
    CreateNamespace,
    Delete,
    Describe,
    Fill,
    GrantBlob,
    History,
    Questions,
    Store,
    Update,
    VaultRequest,
)


class VaultService:
    """Serves clients whose session is proved."""

    requests = VaultRequest

    def __init__(
        self, release: Release, deposit: Deposit, revision: Revision, statements: Statements, approvals: Approvals
    ) -> None:
        self._release = release
        self._deposit = deposit
        self._revision = revision
        self._statements = statements
        self._approvals = approvals

    async def handle(self, caller: Caller, request: Message) -> Message:
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
