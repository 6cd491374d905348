"""Quotas: what a namespace allows, and what a change to a record counts against it."""

from __future__ import annotations

from typing import Final

from strongroom.enclave.vault.counters import charges_for
from strongroom.enclave.vault.marks import MAX_ROW
from strongroom.enclave.vault.records import Charge, Handles, Quota, Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.protocol.messages import OfNamespace

_NOTHING: Final = Quota(max_records=0, max_bytes=0, max_records_per_identity=0, max_bytes_per_identity=0)


class Quotas:
    """Charges to commit with a change."""

    def __init__(self, handles: Handles, shelf: Shelf) -> None:
        self._handles = handles
        self._shelf = shelf

    def charges(self, space: Found, record: Record, records: int, size: int) -> list[Charge]:
        """Charges in the namespace `space` as found, against it and against whoever stored the record."""
        quota = (space.live and space.live.quota) or _NOTHING
        total = self._handles.usage(record.namespace, "")
        return charges_for(quota, total, self._handles.usage(record.namespace, record.depositor), records, size)

    async def charges_of_marks(self, record: Record) -> tuple[Charge, ...]:
        """Charges of a new row of marks, for a decision on this record: against its namespace and whoever stored it.

        That much again as they may store, counted apart: a store that is full locks nobody out. What stands on the
        namespace itself counts against it as a whole.
        """
        space = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=record.namespace)))
        quota = (space.live and space.live.quota) or _NOTHING
        total = self._handles.marks_usage(record.namespace, "")
        mine = self._handles.marks_usage(record.namespace, record.depositor)
        charges = charges_for(quota, total, mine, 0, MAX_ROW)
        return tuple(charges if record.kind == "secret" else charges[:1])

    async def charges_of(self, record: Record, size: int) -> list[Charge]:
        """Charges of a change in size of an existing record."""
        space = await self._shelf.find_one(self._shelf.handle(OfNamespace(namespace=record.namespace)))
        return self.charges(space, record, 0, size)
