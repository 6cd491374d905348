"""What the Vault says about a record without its secret: its journal to auditors, its blob to the host."""

from __future__ import annotations

from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.shelf import Shelf
from strongroom.enclave.vault.standing import Using
from strongroom.enclave.vault.writer import Writer
from strongroom.protocol.blobs import BlobStatement, sign_statement
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import Action
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import BlobGranted, GrantBlob, History, HistoryOf


class Statements:
    """Operations that tell about records."""

    def __init__(self, cluster_key: SigningKey, shelf: Shelf, writer: Writer, gate: Gate) -> None:
        self._cluster_key = cluster_key
        self._shelf = shelf
        self._writer = writer
        self._gate = gate

    async def history(self, caller: Caller, request: History) -> HistoryOf:
        return await until_settled(lambda: self._history(caller, request))

    async def _history(self, caller: Caller, request: History) -> HistoryOf:
        entry = await self._gate.audit(Asker.of(caller, request.tickets), request.address)
        if entry.record.terms is None:
            raise Misuse(Number.UNSUPPORTED, "only a record with terms has a journal")
        journal = entry.change.notes[0].journal
        return HistoryOf(
            version=entry.found.version, opens=journal.opens, terms=entry.record.terms, visits=journal.visits
        )

    async def grant_blob(self, caller: Caller, request: GrantBlob) -> BlobGranted:
        return await until_settled(lambda: self._grant_blob(caller, request))

    async def _grant_blob(self, caller: Caller, request: GrantBlob) -> BlobGranted:
        handle = self._shelf.handle(request.address)
        async with self._writer.watching([handle]) as watches:
            found = await self._shelf.find_one(handle)
            record = found.record
            fillable = record is not None and record.terms is not None and record.terms.fillable
            actions: list[Action] = ["update", "fill"] if fillable else ["update"]
            asker = Asker.of(caller, request.tickets)
            entry = await self._gate.enter(asker, request.address, actions, found, record, watches[handle])
            if entry.action == "fill":
                await self._gate.verify_open(entry)
            # Into the log only: of the record itself nothing was released or changed, so that an approval of the
            # change that the bytes are for is still there when it comes.
            entry.change.notes.clear()
            entry.change.steps = [step for step in entry.change.steps if not isinstance(step, Using)]
            await self._writer.submit(entry.change)
        terms = entry.record.terms
        if terms is None or terms.blob is None:
            raise Misuse(Number.UNSUPPORTED, "the record was stored without a blob")
        statement, signature = sign_statement(
            self._cluster_key,
            BlobStatement(
                blob=terms.blob,
                version=found.version,
                max_bytes=terms.blob_bytes,
                expires_at=terms.expires_at,
                live=not terms.closed,
            ),
        )
        return BlobGranted(statement=statement, signature=signature)
