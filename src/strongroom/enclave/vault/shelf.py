"""Reading records: from an address to an opened record, with what a decision on it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.vault.records import NO_ATTEMPTS, Attempts, Handles, Record, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.authenticator_messages import RecordRef
from strongroom.protocol.codec import encode
from strongroom.protocol.link import Put, Row
from strongroom.protocol.messages import ById, ByName, OfNamespace

Read = Callable[[Sequence[bytes]], Awaitable[list[Row | None]]]


READ_AT_ONCE: Final = 64
"""Rows of one answer of the host: 64 of the largest (a quarter of a MiB) fit one frame of the link."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record as read; `version` 0 and `record` None when there is no row."""

    handle: bytes
    version: int
    record: Record | None
    attempts_version: int
    attempts: Attempts

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

    def __init__(self, sealer: RowSealer, handles: Handles, read: Read) -> None:
        self._sealer = sealer
        self._handles = handles
        self._read = read

    def handle(self, address: ById | ByName | OfNamespace) -> bytes:
        return self._handles.of(address)

    def keys(self, handles: Sequence[bytes]) -> list[bytes]:
        """Row keys of the records and of their attempt counters: what to watch before `find`."""
        return [key for handle in handles for key in (handle, self._handles.attempts(handle))]

    async def find(self, handles: Sequence[bytes]) -> list[Found]:
        """Records by handle, in order. Raises `Untrusted` INTEGRITY for a row that lies."""
        keys = self.keys(handles)
        rows: list[Row | None] = []
        for at in range(0, len(keys), READ_AT_ONCE):
            rows += await self._read(keys[at : at + READ_AT_ONCE])
        return [
            self._open(handle, rows[2 * at], keys[2 * at + 1], rows[2 * at + 1]) for at, handle in enumerate(handles)
        ]

    async def find_one(self, handle: bytes) -> Found:
        return (await self.find([handle]))[0]

    def put(self, found: Found, record: Record) -> Put:
        """The row that replaces what was found by `record`, one version on."""
        version = found.version + 1
        return Put(found.handle, found.version, version, self._sealer.seal(found.handle, version, encode(record)))

    def put_attempts(self, found: Found, attempts: Attempts) -> Put:
        key, version = self._handles.attempts(found.handle), found.attempts_version + 1
        return Put(key, found.attempts_version, version, self._sealer.seal(key, version, encode(attempts)))

    def _open(self, handle: bytes, row: Row | None, attempts_key: bytes, attempts: Row | None) -> Found:
        return Found(
            handle=handle,
            version=0 if row is None else row.version,
            record=None if row is None else parse_payload(self._sealer.open(handle, row), Record),
            attempts_version=0 if attempts is None else attempts.version,
            attempts=NO_ATTEMPTS
            if attempts is None
            else parse_payload(self._sealer.open(attempts_key, attempts), Attempts),
        )
