"""The Vault's operations by message. What they do is in `release` and `deposit`."""

from __future__ import annotations

from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.deposit import Deposit
from strongroom.enclave.vault.release import Release
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.messages import Collect, CreateNamespace, Delete, Describe, Store, Update, VaultRequest


class VaultService:
    """Serves clients whose session is proved."""

    requests = VaultRequest

    def __init__(self, release: Release, deposit: Deposit) -> None:
        self._release = release
        self._deposit = deposit

    async def handle(self, caller: Caller, request: Message) -> Message:
        match request:
            case Collect():
                return await self._release.collect(caller, request)
            case Describe():
                return await self._release.describe(caller, request)
            case Store():
                return await self._deposit.store(caller, request)
            case Update():
                return await self._deposit.update(caller, request)
            case Delete():
                return await self._deposit.delete(caller, request)
            case CreateNamespace():
                return await self._deposit.create_namespace(caller, request)
            case _:
                raise Misuse(Number.UNSUPPORTED)
