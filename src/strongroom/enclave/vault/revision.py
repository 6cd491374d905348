"""Changing what is there: `update`, `fill`, `delete`.

Every write names the version it replaces, so a retry is the same success or a conflict, and no retry ever resets
anything. "The same success" means same request id, same payload and same person (RULES 19).

Attack stopped here: a secret that seems to be from somebody else. A record's depositor chooses who recognises people
for it, and could choose a provider or an Authenticator of their own, which calls them by any name and address. So
nobody becomes the author of a secret whom the owner's instructions for the namespace would not recognise in that way.
Nor on the word of fewer Authenticators than those instructions want.
"""

from __future__ import annotations

import msgspec

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker
from strongroom.enclave.vault.gate import Entry, Gate, until_settled
from strongroom.enclave.vault.intake import Intake
from strongroom.enclave.vault.people import NOBODY, agreed
from strongroom.enclave.vault.plans import plan_of
from strongroom.enclave.vault.quotas import Quotas
from strongroom.enclave.vault.records import LastWrite, Record
from strongroom.enclave.vault.shelf import Shelf
from strongroom.enclave.vault.terms import filled, of_tombstone, verify_new_terms
from strongroom.enclave.vault.writer import Writer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.messages import OfNamespace, Person
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.vault_messages import Delete, Deleted, Fill, Update, Updated


class Revision:
    """Operations that change existing records."""

    def __init__(
        self, clock: Clock, ring: Ring, shelf: Shelf, writer: Writer, gate: Gate, intake: Intake, quotas: Quotas
    ) -> None:
        self._clock = clock
        self._ring = ring
        self._shelf = shelf
        self._writer = writer
        self._gate = gate
        self._intake = intake
        self._quotas = quotas

    async def update(self, caller: Caller, request: Update) -> Updated:
        return Updated(version=await until_settled(lambda: self._update(caller, request)))

    async def _update(self, caller: Caller, request: Update) -> int:
        handle = self._shelf.handle(request.address)
        asker = Asker.of(caller, request.tickets, request.request_id)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            entry = await self._gate.enter(asker, request.address, ["update"], found, found.live, watches[handle])
            if request.instructions is not None:
                await self._intake.verify_instructions(request.instructions)
            terms = None if request.terms is None else encode(request.terms)
            last = _last(request, entry.person, request.secret, request.metadata, request.instructions, terms)
            if _is_repeated(entry, request, last):
                return found.version
            _verify_version(entry, request)
            old = entry.record
            if request.terms is not None:
                verify_new_terms(old.terms, request.terms)
            record = msgspec.structs.replace(
                old,
                secret=old.secret if request.secret is None else request.secret,
                metadata=old.metadata if request.metadata is None else request.metadata,
                instructions=old.instructions if request.instructions is None else request.instructions,
                author=old.author if request.secret is None else await self._author(entry),
                terms=old.terms if request.terms is None else request.terms,
            )
            if request.instructions is not None:
                # Where the new rules ask for how long the owner was not there, that counts from now.
                seeing = self._gate.seeing(found, request.instructions)
                entry.change.steps += [] if seeing is None else [seeing]
            return await self._replace(entry, record, last)

    async def fill(self, caller: Caller, request: Fill) -> Updated:
        return Updated(version=await until_settled(lambda: self._fill(caller, request)))

    async def _fill(self, caller: Caller, request: Fill) -> int:
        handle = self._shelf.handle(request.address)
        asker = Asker.of(caller, request.tickets, request.request_id)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            entry = await self._gate.enter(asker, request.address, ["fill"], found, found.live, watches[handle])
            last = _last(request, entry.person, request.secret, request.metadata)
            if _is_repeated(entry, request, last):
                return found.version
            await self._gate.verify_open(entry)
            terms = entry.record.terms
            if terms is None or not terms.fillable:
                raise Misuse(Number.CONFLICT, "there is nothing to fill, or not any more", version=found.version)
            _verify_version(entry, request)
            record = msgspec.structs.replace(
                entry.record,
                secret=request.secret,
                metadata=request.metadata,
                author=await self._author(entry),
                terms=filled(terms),
            )
            return await self._replace(entry, record, last)

    async def delete(self, caller: Caller, request: Delete) -> Deleted:
        return Deleted(version=await until_settled(lambda: self._delete(caller, request)), epoch=self._ring.epoch)

    async def _delete(self, caller: Caller, request: Delete) -> int:
        handle = self._shelf.handle(request.address)
        asker = Asker.of(caller, request.tickets, request.request_id)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            # A tombstone is entered by a retry only; everything else that is gone is `Refused`.
            entry = await self._gate.enter(asker, request.address, ["delete"], found, found.record, watches[handle])
            last = LastWrite(request_id=request.request_id, payload=bytes(32), identity=entry.person.principal)
            if entry.record.deleted:
                if entry.record.last != last:
                    raise Refused
                return found.version
            _verify_version(entry, request)
            # The tombstone keeps who may re-create, never the secret.
            tombstone = msgspec.structs.replace(
                entry.record, deleted=True, secret=b"", metadata=b"", terms=of_tombstone(entry.record.terms)
            )
            return await self._replace(entry, tombstone, last)

    async def _author(self, entry: Entry) -> Person:
        """Who entered, if by methods and Authenticators of the record's namespace; else nobody."""
        space = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=entry.record.namespace)))
        if space.live is None:
            return NOBODY
        plan = plan_of(space.live.instructions)
        clusters = {cluster for accepted in plan.clusters for cluster in accepted}
        methods = {method.hex() for method in plan.methods}
        known = [
            one
            for one in entry.verdict.people
            if one.cluster in clusters and one.principal.partition(":")[0] in methods
        ]
        return agreed(known, plan.instructions.quorum)

    async def _replace(self, entry: Entry, record: Record, last: LastWrite) -> int:
        """Write `record` over what was found, at the next version."""
        record = msgspec.structs.replace(record, updated_at=self._clock.now(), last=last)
        entry.change.puts.append(self._shelf.put(entry.found, record))
        entry.change.charges = await self._quotas.charges_of(entry.record, record.size - entry.record.size)
        await self._writer.submit(entry.change)
        return entry.found.version + 1


def _last(request: Update | Fill, person: Person, *parts: bytes | None) -> LastWrite:
    payload = digest(Domain.PAYLOAD, *(b"" if part is None else b"\x01" + part for part in parts))
    return LastWrite(request_id=request.request_id, payload=payload, identity=person.principal)


def _is_repeated(entry: Entry, request: Update | Fill, last: LastWrite) -> bool:
    return entry.record.last == last and entry.found.version == request.replaces + 1


def _verify_version(entry: Entry, request: Update | Fill | Delete) -> None:
    if entry.found.version != request.replaces:
        raise Misuse(Number.CONFLICT, version=entry.found.version)
