"""Taking in: `store`, `update`, `delete`, and namespaces.

Every write names the version it replaces, so a retry is the same success or a conflict, and no retry ever resets
anything. "The same success" means same request id, same payload and same person (RULES 19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.counters import Charge, charges_for
from strongroom.enclave.vault.decisions import Verdict
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.intake import Intake
from strongroom.enclave.vault.records import Handles, LastWrite, LogEntry, Quota, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.writer import Change, Watch, Writer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.instructions import Action
from strongroom.protocol.messages import (
    ByName,
    CreateNamespace,
    Delete,
    Deleted,
    NamespaceCreated,
    OfNamespace,
    Store,
    Stored,
    StoreItem,
    Update,
    Updated,
)
from strongroom.protocol.primitives import Domain, digest

T = TypeVar("T")

OWNER: Final = "owner"
"""Principal written for the owner of the cluster; no ticket names it, they all hold a method digest and a colon."""
NO_QUOTA: Final = Quota(max_records=0, max_bytes=0, max_records_per_identity=0, max_bytes_per_identity=0)


class Deposit:
    """Operations that write records."""

    def __init__(
        self,
        clock: Clock,
        owner_key: bytes,
        epoch: int,
        handles: Handles,
        shelf: Shelf,
        writer: Writer,
        gate: Gate,
        intake: Intake,
    ) -> None:
        self._clock = clock
        self._owner_key = owner_key
        self._epoch = epoch
        self._handles = handles
        self._shelf = shelf
        self._writer = writer
        self._gate = gate
        self._intake = intake

    # --- store ------------------------------------------------------------------------------------------------

    async def store(self, caller: Caller, request: Store) -> Stored:
        handles = [self._item_handle(request.namespace, at, item) for at, item in enumerate(request.items)]
        if len(set(handles)) != len(handles):
            raise Misuse(Number.MALFORMED, "an address is listed twice")
        await until_settled(lambda: self._store(caller, request, handles))
        return Stored(versions=[item.replaces + 1 for item in request.items])

    def _item_handle(self, namespace: str, at: int, item: StoreItem) -> bytes:
        if isinstance(item.address, ByName) and item.address.namespace != namespace:
            raise Misuse(Number.MALFORMED, "a name of another namespace", index=at)
        return self._shelf.handle(item.address)

    async def _store(self, caller: Caller, request: Store, handles: list[bytes]) -> None:
        namespace = self._shelf.handle(OfNamespace(namespace=request.namespace))
        async with self._writer.watching([namespace, *handles]) as watches:
            space, *found = await self._shelf.find([namespace, *handles])
            identity, entry = await self._gate.pass_or_refuse("create", space, caller, request.tickets, space.live)
            # After the gate: whoever may not create here makes the Vault call nobody.
            await self._verify_intake(request.items)
            quota = (space.live and space.live.quota) or NO_QUOTA
            change = Change(log=[entry], watches=list(watches.values()))
            for at, (one, item) in enumerate(zip(found, request.items, strict=True)):
                last = LastWrite(
                    request_id=request.request_id,
                    payload=digest(Domain.PAYLOAD, request.namespace.encode(), encode(item)),
                    identity=identity,
                )
                if one.record is not None and one.record.last == last:
                    continue  # The same request again: the same success, nothing written.
                change.log += await self._verify_vacant(caller, request, at, one, item.replaces)
                if one.record is not None:
                    change.charges += self._charges(quota, one.record, -1, -one.record.size)
                record = self._fresh_record(request.namespace, item, last)
                change.charges += self._charges(quota, record, 1, record.size)
                change.puts.append(self._shelf.put(one, record))
                change.log.append(self._gate.entry_at("create", one.handle, one.version + 1, Verdict(0, (identity,))))
            if change.puts:
                await self._writer.submit(change)

    async def _verify_intake(self, items: Sequence[StoreItem]) -> None:
        distinct: dict[bytes, int] = {}
        for at, item in enumerate(items):
            distinct.setdefault(item.instructions, at)
        await asyncio.gather(*(self._verify_instructions(at, data) for data, at in distinct.items()))

    async def _verify_instructions(self, at: int, data: bytes) -> None:
        try:
            await self._intake.verify_instructions(data)
        except StrongroomError as error:
            raise type(error)(error.number, error.reason, index=at, place=error.place) from None

    async def _verify_vacant(
        self, caller: Caller, request: Store, at: int, one: Found, replaces: int
    ) -> list[LogEntry]:
        """Nothing is there, or a tombstone that this caller may put something in place of (RULES 19)."""
        if one.version != replaces or (one.record is not None and not one.record.deleted):
            raise Misuse(Number.CONFLICT, index=at)
        if one.record is None:
            return []
        _, entry = await self._gate.pass_or_refuse("update", one, caller, request.tickets, one.record)
        return [entry]

    def _fresh_record(self, namespace: str, item: StoreItem, last: LastWrite) -> Record:
        now = self._clock.now()
        return Record(
            kind="secret",
            deleted=False,
            namespace=namespace,
            secret=item.secret,
            metadata=item.metadata,
            instructions=item.instructions,
            depositor=last.identity,
            quota=None,
            created_at=now,
            updated_at=now,
            last=last,
        )

    # --- update and delete ------------------------------------------------------------------------------------

    async def update(self, caller: Caller, request: Update) -> Updated:
        return Updated(version=await until_settled(lambda: self._update(caller, request)))

    async def _update(self, caller: Caller, request: Update) -> int:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            one, old, identity, change = await self._enter(caller, request, handle, watches)
            if request.instructions is not None:
                await self._intake.verify_instructions(request.instructions)
            parts = (request.secret, request.metadata, request.instructions)
            payload = digest(Domain.PAYLOAD, *(b"" if part is None else b"\x01" + part for part in parts))
            last = LastWrite(request_id=request.request_id, payload=payload, identity=identity)
            if old.last == last and one.version == request.replaces + 1:
                return one.version
            if one.version != request.replaces:
                raise Misuse(Number.CONFLICT, version=one.version)
            secret, metadata, instructions = (
                kept if part is None else part
                for kept, part in zip((old.secret, old.metadata, old.instructions), parts, strict=True)
            )
            record = msgspec.structs.replace(
                old,
                secret=secret,
                metadata=metadata,
                instructions=instructions,
                updated_at=self._clock.now(),
                last=last,
            )
            change.puts.append(self._shelf.put(one, record))
            change.charges = await self._charges_of(old, record.size - old.size)
            await self._writer.submit(change)
            return one.version + 1

    async def delete(self, caller: Caller, request: Delete) -> Deleted:
        return Deleted(version=await until_settled(lambda: self._delete(caller, request)), epoch=self._epoch)

    async def _delete(self, caller: Caller, request: Delete) -> int:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            one, old, identity, change = await self._enter(caller, request, handle, watches)
            last = LastWrite(request_id=request.request_id, payload=bytes(32), identity=identity)
            if old.deleted:
                if old.last != last:
                    raise Refused
                return one.version
            if one.version != request.replaces:
                raise Misuse(Number.CONFLICT, version=one.version)
            # The tombstone keeps who may re-create, never the secret.
            tombstone = msgspec.structs.replace(
                old, deleted=True, secret=b"", metadata=b"", updated_at=self._clock.now(), last=last
            )
            change.puts.append(self._shelf.put(one, tombstone))
            change.charges = await self._charges_of(old, tombstone.size - old.size)
            await self._writer.submit(change)
            return one.version + 1

    async def _enter(
        self, caller: Caller, request: Update | Delete, handle: bytes, watches: dict[bytes, Watch]
    ) -> tuple[Found, Record, str, Change]:
        """Through the gate: what was found, the record, who it is, and a change that already logs it.

        A tombstone is entered by a retried `delete` only; everything else that is gone is `Refused`.
        """
        found = await self._shelf.find_one(handle)
        record = found.record if isinstance(request, Delete) else found.live
        action: Action = "delete" if isinstance(request, Delete) else "update"
        if record is not None and record.kind == "namespace":
            record = None
        entry_and_identity = self._gate.pass_or_refuse(action, found, caller, request.tickets, record)
        if isinstance(request.address, ByName):
            told = self._gate.may_describe(caller, request.address.namespace, request.tickets)
            outcome, (allowed, log) = await asyncio.gather(_outcome(entry_and_identity), told)
            if isinstance(outcome, StrongroomError):
                raise outcome if allowed else Refused()
            (identity, entry), entries = outcome, log
        else:
            (identity, entry), entries = await entry_and_identity, []
        if record is None:
            raise Refused
        return found, record, identity, Change(log=[*entries, entry], watches=list(watches.values()))

    # --- namespaces and quotas --------------------------------------------------------------------------------

    async def create_namespace(self, caller: Caller, request: CreateNamespace) -> NamespaceCreated:
        if caller.binding_key != self._owner_key:
            raise Refused
        await self._intake.verify_instructions(request.instructions)
        return NamespaceCreated(version=await until_settled(lambda: self._create_namespace(request)))

    async def _create_namespace(self, request: CreateNamespace) -> int:
        handle = self._shelf.handle(OfNamespace(namespace=request.namespace))
        async with self._writer.watching([handle]) as watches:
            one = await self._shelf.find_one(handle)
            last = LastWrite(
                request_id=request.request_id, payload=digest(Domain.PAYLOAD, encode(request)), identity=OWNER
            )
            if one.record is not None and one.record.last == last:
                return one.version
            if one.version != request.replaces:
                raise Misuse(Number.CONFLICT, version=one.version)
            now = self._clock.now()
            record = Record(
                kind="namespace",
                deleted=False,
                namespace=request.namespace,
                secret=b"",
                metadata=b"",
                instructions=request.instructions,
                depositor=OWNER,
                quota=Quota(
                    max_records=request.max_records,
                    max_bytes=request.max_bytes,
                    max_records_per_identity=request.max_records_per_identity,
                    max_bytes_per_identity=request.max_bytes_per_identity,
                ),
                created_at=now if one.record is None else one.record.created_at,
                updated_at=now,
                last=last,
            )
            entry = self._gate.entry("admin", one, Verdict(0, (OWNER,)))
            change = Change(puts=[self._shelf.put(one, record)], log=[entry], watches=list(watches.values()))
            await self._writer.submit(change)
            return one.version + 1

    async def _charges_of(self, record: Record, size: int) -> list[Charge]:
        """Charges of a change in size of an existing record, against whoever stored it."""
        space = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=record.namespace)))
        return self._charges((space.live and space.live.quota) or NO_QUOTA, record, 0, size)

    def _charges(self, quota: Quota, record: Record, records: int, size: int) -> list[Charge]:
        total = self._handles.usage(record.namespace, "")
        return charges_for(quota, total, self._handles.usage(record.namespace, record.depositor), records, size)


async def _outcome(work: Coroutine[Any, Any, T]) -> T | StrongroomError:
    try:
        return await work
    except StrongroomError as error:
        return error
