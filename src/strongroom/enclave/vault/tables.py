"""Rows that only the writer changes, one group of changes at a time: what is at hand, and what one commit changes.

So the copy in memory is the truth until a commit fails, and requests that change one row at the same time are put
one after the other instead of competing for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from strongroom.enclave.vault.records import parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse
from strongroom.protocol.link import Put, Row

Read = Callable[[Sequence[bytes]], Awaitable[list[Row | None]]]
T = TypeVar("T", bound=Message)


class Stale(Misuse):
    """What a decision was based on has changed: decide again."""


class Table(Generic[T]):
    """Rows of one kind, by key."""

    def __init__(self, kind: type[T], nothing: T, cached: int) -> None:
        self._kind = kind
        self._nothing = nothing
        self._cached = cached
        self._rows: dict[bytes, tuple[int, T]] = {}

    async def load(self, sealer: RowSealer, read: Read, keys: Sequence[bytes]) -> bool:
        """Have these rows at hand; whether something was missing, and was read. Raises `Untrusted` INTEGRITY."""
        missing = list({key for key in keys if key not in self._rows})
        if not missing:
            return False
        if len(self._rows) > self._cached:
            self._rows.clear()
            missing = list(set(keys))
        for key, row in zip(missing, await read(missing), strict=True):
            value = self._nothing if row is None else parse_payload(sealer.open(key, row), self._kind)
            # Not over what a commit put here while this was read: that is newer.
            self._rows.setdefault(key, (0 if row is None else row.version, value))
        return True

    def value(self, key: bytes) -> T:
        """Of a row that was loaded."""
        return self._rows[key][1]

    def version(self, key: bytes) -> int:
        """Of a row that was loaded; 0 when there is none."""
        return self._rows[key][0]

    def keep(self, key: bytes, version: int, value: T) -> None:
        """What a commit wrote."""
        self._rows[key] = (version, value)

    def forget(self) -> None:
        """After a commit whose outcome is unknown: read everything again."""
        self._rows.clear()


class Draft(Generic[T]):
    """What one commit changes in a table."""

    def __init__(self, table: Table[T]) -> None:
        self._table = table
        self._new: dict[bytes, T] = {}

    def value(self, key: bytes) -> T:
        """As it is with the changes so far."""
        return self._new.get(key) or self._table.value(key)

    def set(self, key: bytes, value: T) -> None:
        self._new[key] = value

    def is_changed(self, key: bytes) -> bool:
        return key in self._new

    def puts(self, sealer: RowSealer) -> list[Put]:
        """The rows to write."""
        rows = []
        for key, value in self._new.items():
            version = self._table.version(key)
            rows.append(Put(key, version, version + 1, sealer.seal(key, version + 1, encode(value))))
        return rows

    def keep(self) -> None:
        """The commit succeeded."""
        for key, value in self._new.items():
            self._table.keep(key, self._table.version(key) + 1, value)
