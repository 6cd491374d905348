"""Counters that outlive the process: what is stored (quotas), who was refused (attempts), who opened (journals).

Only the writer changes these rows, one group at a time, so its copy in memory is the truth until a commit fails.
Refusals that arrive together are merged here and never compete for a row: a flood of guesses can't outrun its own
counting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from strongroom.enclave.vault.journal import EMPTY, Journal, Note
from strongroom.enclave.vault.records import NO_ATTEMPTS, NO_USAGE, Attempts, Quota, Usage, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.link import Put, Row

CACHED: Final = 32_768
CACHED_JOURNALS: Final = 1024
"""A full one takes some 50 kB of memory."""

Read = Callable[[Sequence[bytes]], Awaitable[list[Row | None]]]
Counter = TypeVar("Counter", Usage, Attempts, Journal)


class Stale(Misuse):
    """What a decision was based on has changed: decide again."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a change adds to a usage row, and how much that row may reach (records, bytes)."""

    key: bytes
    records: int
    size: int
    max_records: int
    max_size: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refusal to count: row key, who was refused, when."""

    key: bytes
    identity: str
    at: int


def charges_for(quota: Quota, total: bytes, mine: bytes, records: int, size: int) -> list[Charge]:
    """Charges against a namespace's quota: the namespace as a whole, and one identity in it."""
    return [
        Charge(total, records, size, quota.max_records, quota.max_bytes),
        Charge(mine, records, size, quota.max_records_per_identity, quota.max_bytes_per_identity),
    ]


class Counters:
    """Rows of counters: loaded on demand, changed in a `Tally`, kept when its commit succeeded."""

    def __init__(self, sealer: RowSealer, read: Read) -> None:
        self._sealer = sealer
        self._read = read
        self._usage: dict[bytes, tuple[int, Usage]] = {}
        self._attempts: dict[bytes, tuple[int, Attempts]] = {}
        self._journals: dict[bytes, tuple[int, Journal]] = {}

    async def load(self, usage: Sequence[bytes], attempts: Sequence[bytes], journals: Sequence[bytes] = ()) -> None:
        """Have these rows at hand. Raises `Untrusted` INTEGRITY for a row that lies."""
        # Anew until nothing was missing: while some rows are read, somebody else may make room where the others were.
        while (
            await self._load(self._usage, usage, Usage, NO_USAGE, CACHED)
            or await self._load(self._attempts, attempts, Attempts, NO_ATTEMPTS, CACHED)
            or await self._load(self._journals, journals, Journal, EMPTY, CACHED_JOURNALS)
        ):
            pass

    async def _load(
        self,
        cache: dict[bytes, tuple[int, Counter]],
        keys: Sequence[bytes],
        kind: type[Counter],
        nothing: Counter,
        cached: int,
    ) -> bool:
        """Whether something was missing, and was read."""
        missing = list({key for key in keys if key not in cache})
        if not missing:
            return False
        if len(cache) > cached:
            cache.clear()
            missing = list(set(keys))
        for key, row in zip(missing, await self._read(missing), strict=True):
            value = nothing if row is None else parse_payload(self._sealer.open(key, row), kind)
            # Not over what a commit put here while this was read: that is newer.
            cache.setdefault(key, (0 if row is None else row.version, value))
        return True

    def attempts(self, key: bytes) -> Attempts:
        """Of a row that was loaded."""
        return self._attempts[key][1]

    def journal(self, key: bytes) -> Journal:
        """Of a row that was loaded. Raises `Untrusted` INTEGRITY when it is gone."""
        return _kept(self._journals[key])

    def tally(self) -> Tally:
        """A group's changes, on top of what is at hand."""
        return Tally(self._sealer, self._usage, self._attempts, self._journals)

    def forget(self) -> None:
        """After a commit whose outcome is unknown: read everything again."""
        self._usage.clear()
        self._attempts.clear()
        self._journals.clear()


class Tally:
    """Changes to counters of one group commit."""

    def __init__(
        self,
        sealer: RowSealer,
        usage: dict[bytes, tuple[int, Usage]],
        attempts: dict[bytes, tuple[int, Attempts]],
        journals: dict[bytes, tuple[int, Journal]],
    ) -> None:
        self._sealer = sealer
        self._old_usage = usage
        self._old_attempts = attempts
        self._old_journals = journals
        self._usage: dict[bytes, Usage] = {}
        self._attempts: dict[bytes, Attempts] = {}
        self._journals: dict[bytes, Journal] = {}
        self._versions: dict[bytes, int] = {}

    def charge(self, charges: Sequence[Charge]) -> None:
        """All of them or none. Raises `Misuse` QUOTA_EXCEEDED. What shrinks is never refused."""
        result: dict[bytes, Usage] = {}
        grown: dict[bytes, Charge] = {}
        for charge in charges:
            now = result.get(charge.key) or self._usage.get(charge.key) or self._old_usage[charge.key][1]
            result[charge.key] = Usage(
                records=max(0, now.records + charge.records), bytes=max(0, now.bytes + charge.size)
            )
            if charge.records > 0 or charge.size > 0:
                grown[charge.key] = charge
        for key, charge in grown.items():
            if result[key].records > charge.max_records or result[key].bytes > charge.max_size:
                raise Misuse(Number.QUOTA_EXCEEDED)
        self._usage |= result

    def count(self, attempts: Sequence[Attempt]) -> None:
        """Count refusals."""
        for attempt in attempts:
            now = self._attempts.get(attempt.key) or self._old_attempts[attempt.key][1]
            self._attempts[attempt.key] = now.add(attempt.identity, attempt.at)

    def verify_notes(self, notes: Sequence[Note]) -> None:
        """Raises `Stale` when somebody in the same commit has used up what these were to get, `Untrusted` INTEGRITY
        when a journal is gone."""
        for note in notes:
            if note.fresh:
                continue
            journal = self._journal(note.key)
            if note.token is not None and not journal.has_room(note.token, note.max_opens):
                raise Stale(Number.CONFLICT, "somebody else was released the last one")

    def write(self, notes: Sequence[Note]) -> None:
        """Write visits into journals, and show each note the journal that it stands in."""
        for note in notes:
            before = EMPTY if note.fresh else self._journal(note.key)
            note.journal = self._journals[note.key] = before.add(note.visit, note.token)

    def _journal(self, key: bytes) -> Journal:
        return self._journals.get(key) or _kept(self._old_journals[key])

    def puts(self) -> list[Put]:
        """The rows to write."""
        return [
            *self._rows(self._usage, self._old_usage),
            *self._rows(self._attempts, self._old_attempts),
            *self._rows(self._journals, self._old_journals),
        ]

    def _rows(self, new: Mapping[bytes, Counter], old: Mapping[bytes, tuple[int, Counter]]) -> list[Put]:
        rows = []
        for key, value in new.items():
            version = old[key][0]
            self._versions[key] = version + 1
            rows.append(Put(key, version, version + 1, self._sealer.seal(key, version + 1, encode(value))))
        return rows

    def keep(self) -> None:
        """The commit succeeded."""
        self._old_usage.update((key, (self._versions[key], value)) for key, value in self._usage.items())
        self._old_attempts.update((key, (self._versions[key], value)) for key, value in self._attempts.items())
        self._old_journals.update((key, (self._versions[key], value)) for key, value in self._journals.items())


def _kept(row: tuple[int, Journal]) -> Journal:
    """The `store` of a record with terms writes its journal: where there is none, somebody took it away."""
    version, journal = row
    if not version:
        raise Untrusted(Number.INTEGRITY, "the journal of a record is gone")
    return journal
