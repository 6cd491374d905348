"""Reading records: from an address to an opened record, with what a decision on it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.records import BlobClaim, Handles, Record, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.authenticator_messages import RecordRef
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.link import Put, Row
from strongroom.protocol.messages import Address, OfNamespace

READ_AT_ONCE: Final = 64
"""Rows of one answer of the host: 64 of the largest (a quarter of a MiB) fit one frame of the link."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record as read; `version` 0 and `record` None when there is no row."""

    handle: bytes
    version: int
    record: Record | None
    damaged: Number | None = None
    """Why the row is not to be believed: INTEGRITY when it was altered, ROLLED_BACK when it is not the last one."""

    @property
    def ref(self) -> RecordRef:
        return RecordRef(handle=self.handle, version=self.version)

    @property
    def size(self) -> int:
        """Bytes that this record takes in a reply."""
        return 0 if self.record is None else len(self.record.secret) + len(self.record.metadata) + 64

    @property
    def live(self) -> Record | None:
        """The record unless it is missing or a tombstone."""
        return None if self.record is None or self.record.deleted else self.record


class Shelf:
    """Opens and seals the rows of records."""

    def __init__(self, sealer: RowSealer, handles: Handles, ledger: Ledger) -> None:
        self._sealer = sealer
        self._handles = handles
        self._ledger = ledger

    def handle(self, address: Address | OfNamespace) -> bytes:
        return self._handles.of(address)

    def attempts_key(self, handle: bytes) -> bytes:
        """Row key of the attempt counters of a record."""
        return self._handles.attempts(handle)

    def journal_key(self, handle: bytes) -> bytes:
        """Row key of the journal of a record."""
        return self._handles.journal(handle)

    def standing_key(self, handle: bytes) -> bytes:
        """Row key of what stands open at a record."""
        return self._handles.standing(handle)

    def marks_key(self, cluster: bytes, principal: str) -> bytes:
        """Row key of what one Authenticator cluster says of a person's sign-ins."""
        return self._handles.marks(cluster, principal)

    def claim_key(self, blob: bytes) -> bytes:
        """Row key of the claim to a blob."""
        return self._handles.claim(blob)

    async def find_claims(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Handles of the records that claimed these blobs, in order. Raises `Untrusted` INTEGRITY."""
        rows = await self._ledger.read(keys) if keys else []
        return [
            None if row is None else parse_payload(self._sealer.open(key, row), BlobClaim).handle
            for key, row in zip(keys, rows, strict=True)
        ]

    def put_claim(self, key: bytes, handle: bytes) -> Put:
        """The row that claims a blob for a record, for ever: the host obeys whoever speaks for the blob."""
        return Put(key, 0, 1, self._sealer.seal(key, 1, encode(BlobClaim(handle=handle))))

    async def find_each(self, handles: Sequence[bytes]) -> list[Found]:
        """Records by handle, in order; one that was tampered with, or is an older one, is `damaged` and takes no other
        along."""
        rows: list[Row | Untrusted | None] = []
        for at in range(0, len(handles), READ_AT_ONCE):
            rows += await self._ledger.read_each(handles[at : at + READ_AT_ONCE])
        return [self._open(handle, row) for handle, row in zip(handles, rows, strict=True)]

    async def find(self, handles: Sequence[bytes]) -> list[Found]:
        """Records by handle, in order. Raises `Untrusted` INTEGRITY for a row that lies."""
        found = await self.find_each(handles)
        for one in found:
            if one.damaged is not None:
                raise Untrusted(one.damaged)
        return found

    async def find_one(self, handle: bytes) -> Found:
        return (await self.find([handle]))[0]

    def put(self, found: Found, record: Record) -> Put:
        """The row that replaces what was found by `record`, one version on."""
        version = found.version + 1
        return Put(found.handle, found.version, version, self._sealer.seal(found.handle, version, encode(record)))

    def _open(self, handle: bytes, row: Row | Untrusted | None) -> Found:
        if row is None:
            return Found(handle, 0, None)
        try:
            if isinstance(row, Untrusted):
                raise row
            record = parse_payload(self._sealer.open(handle, row), Record)
        except Untrusted as error:
            return Found(handle, 0, None, error.number)
        return Found(handle, row.version, record)
