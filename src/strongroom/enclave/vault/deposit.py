"""Taking in: `store`, and namespaces. What changes records afterwards is in `revision`.

A `store` names the version it replaces, so a retry is the same success or a conflict (RULES 19). Attacks stopped here:

1. Somebody else's record under a person's own address: the person whom the `create` decision permits must be the one
   that the address names.
2. A record that names another one's blob, so that its depositor can have the host erase or prolong that: whose a blob
   is, is claimed by the first record that names it, in the same commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker
from strongroom.enclave.vault.decisions import Verdict
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.intake import Intake
from strongroom.enclave.vault.people import ITSELF, Named, are_called
from strongroom.enclave.vault.quotas import Quotas
from strongroom.enclave.vault.records import LastWrite, Quota, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.terms import blob_of, verify_terms
from strongroom.enclave.vault.writer import Change, Writer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.messages import ByName, ByPerson, OfNamespace, Person
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.vault_messages import CreateNamespace, NamespaceCreated, Store, Stored, StoreItem

OWNER: Final = "owner"
"""Principal written for the owner of the cluster; no ticket names it, they all hold a method digest and a colon."""


class Deposit:
    """Operations that write records."""

    def __init__(
        self,
        clock: Clock,
        owner_key: bytes,
        shelf: Shelf,
        writer: Writer,
        gate: Gate,
        intake: Intake,
        quotas: Quotas,
    ) -> None:
        self._clock = clock
        self._owner_key = owner_key
        self._shelf = shelf
        self._writer = writer
        self._gate = gate
        self._intake = intake
        self._quotas = quotas

    # --- store ------------------------------------------------------------------------------------------------

    async def store(self, caller: Caller, request: Store) -> Stored:
        handles = [self._item_handle(request.namespace, at, item) for at, item in enumerate(request.items)]
        if len(set(handles)) != len(handles):
            raise Misuse(Number.MALFORMED, "an address is listed twice")
        blobs = {at: item.terms.blob for at, item in enumerate(request.items) if item.terms and item.terms.blob}
        if len(set(blobs.values())) != len(blobs):
            raise Misuse(Number.MALFORMED, "a blob is listed twice")
        await until_settled(lambda: self._store(caller, request, handles, blobs))
        return Stored(versions=[item.replaces + 1 for item in request.items])

    def _item_handle(self, namespace: str, at: int, item: StoreItem) -> bytes:
        if isinstance(item.address, ByName | ByPerson) and item.address.namespace != namespace:
            raise Misuse(Number.MALFORMED, "a name of another namespace", index=at)
        verify_terms(item.terms, at)
        return self._shelf.handle(item.address)

    async def _store(self, caller: Caller, request: Store, handles: list[bytes], blobs: dict[int, bytes]) -> None:
        namespace = self._shelf.handle(OfNamespace(namespace=request.namespace))
        claims = {at: self._shelf.claim_key(blob) for at, blob in blobs.items()}
        async with self._writer.watching([namespace, *handles, *claims.values()]) as watches:
            space, *found = await self._shelf.find([namespace, *handles])
            claimed = dict(zip(claims, await self._shelf.find_claims(list(claims.values())), strict=True))
            change = Change(watches=list(watches.values()))
            asker = Asker.of(caller, request.tickets, request.request_id)
            _, permitted = await self._gate.pass_or_refuse(asker, ["create"], space, space.live, change)
            person = permitted.person
            await self._verify_own(space, request.items, permitted)
            # After the gate: whoever may not create here makes the Vault call nobody.
            await self._verify_intake(request.items)
            for at, (one, item) in enumerate(zip(found, request.items, strict=True)):
                last = LastWrite(
                    request_id=request.request_id,
                    payload=digest(Domain.PAYLOAD, request.namespace.encode(), encode(item)),
                    identity=person.principal,
                )
                if one.record is not None and one.record.last == last:
                    continue  # The same request again: the same success, nothing written.
                await self._verify_vacant(asker, request, at, one, change)
                if one.record is not None:
                    change.charges += self._quotas.charges(space, one.record, -1, -one.record.size)
                record = self._fresh_record(request.namespace, item, permitted, last)
                change.charges += self._quotas.charges(space, record, 1, record.size)
                change.puts.append(self._shelf.put(one, record))
                if at in claims and claimed[at] != one.handle:
                    if claimed[at] is not None:
                        raise Misuse(Number.CONFLICT, "this blob is another record's", index=at)
                    change.puts.append(self._shelf.put_claim(claims[at], one.handle))
                self._gate.trace_new(change, one, record, permitted)
            if change.puts:
                await self._writer.submit(change)

    async def _verify_own(self, space: Found, items: Sequence[StoreItem], permitted: Verdict) -> None:
        """Under a person's own address nobody else stores anything. Raises `Refused` for the first that is not."""
        for at, item in enumerate(items):
            if not isinstance(item.address, ByPerson):
                continue
            if not are_called(permitted.people, item.address.person, permitted.quorum):
                await self._gate.write_refusals("create", [(space, permitted.but(Number.REFUSED))])
                raise Refused(index=at)

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

    async def _verify_vacant(self, asker: Asker, request: Store, at: int, one: Found, change: Change) -> None:
        """Nothing is there, or a tombstone that this caller may put something in place of (RULES 19)."""
        item, old = request.items[at], one.record
        if one.version != item.replaces or (old is not None and not old.deleted):
            raise Misuse(Number.CONFLICT, index=at)
        if old is None:
            return
        await self._gate.pass_or_refuse(asker, ["update"], one, old, change)
        if blob_of(old.terms) != blob_of(item.terms):
            # Else a loop of `store` and `delete` would fill the database with claims.
            raise Misuse(Number.MALFORMED, "what is stored in the place of a deleted record keeps its blob", index=at)

    def _fresh_record(self, namespace: str, item: StoreItem, permitted: Verdict, last: LastWrite) -> Record:
        now = self._clock.now()
        return Record(
            kind="secret",
            deleted=False,
            namespace=namespace,
            secret=item.secret,
            metadata=item.metadata,
            instructions=item.instructions,
            depositor=permitted.person.principal,
            author=permitted.agreed,
            terms=item.terms,
            quota=None,
            created_at=now,
            updated_at=now,
            last=last,
        )

    # --- namespaces -------------------------------------------------------------------------------------------

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
            now, owner = self._clock.now(), Person(principal=OWNER, email="")
            record = Record(
                kind="namespace",
                deleted=False,
                namespace=request.namespace,
                secret=b"",
                metadata=b"",
                instructions=request.instructions,
                depositor=OWNER,
                author=owner,
                terms=None,
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
            entry = self._gate.entry("admin", one, Verdict(0, (Named(cluster=ITSELF, person=owner),)))
            change = Change(puts=[self._shelf.put(one, record)], log=[entry], watches=list(watches.values()))
            await self._writer.submit(change)
            return one.version + 1
