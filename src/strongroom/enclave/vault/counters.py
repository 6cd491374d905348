"""Rows that outlive the process and only the writer changes: what is stored (quotas), who was refused (attempts), who
opened (journals), which sign-ins must not come twice (marks), what waits for approval (standing).

Refusals that arrive together are merged here and never compete for a row: a flood of guesses can't outrun its own
counting. Nor do two sign-ins with one bearer token, or two releases by one approval: the second sees the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.enclave.vault.attempts import NO_ATTEMPTS, Attempts
from strongroom.enclave.vault.journal import EMPTY, Journal, Note
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.marks import NO_MARKS, Marking, Marks
from strongroom.enclave.vault.records import NO_USAGE, Charge, Quota, Usage
from strongroom.enclave.vault.rows import RowSealer
from strongroom.enclave.vault.standing import NO_STANDING, Standing, Step
from strongroom.enclave.vault.tables import Draft, Stale, Table
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.link import Put

CACHED: Final = 32_768
CACHED_MARKS: Final = 4096
CACHED_STANDING: Final = 1024
CACHED_JOURNALS: Final = 1024
"""A full one takes some 50 kB of memory."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refusal to count: row key, who was refused by which Authenticator, when."""

    key: bytes
    cluster: bytes
    identity: str
    at: int


def charges_for(quota: Quota, total: bytes, mine: bytes, records: int, size: int) -> list[Charge]:
    """Charges against a namespace's quota: the namespace as a whole, and one identity in it."""
    return [
        Charge(total, records, size, quota.max_records, quota.max_bytes),
        Charge(mine, records, size, quota.max_records_per_identity, quota.max_bytes_per_identity),
    ]


class Counters:
    """The tables: loaded on demand, changed in a `Tally`, kept when its commit succeeded."""

    def __init__(self, sealer: RowSealer, ledger: Ledger, witnessing: Witnessing) -> None:
        self._sealer = sealer
        self._read = ledger.read
        self._witnessing = witnessing
        self.usage = Table(Usage, NO_USAGE, CACHED)
        self.attempts = Table(Attempts, NO_ATTEMPTS, CACHED)
        self.journals = Table(Journal, EMPTY, CACHED_JOURNALS)
        self.marks = Table(Marks, NO_MARKS, CACHED_MARKS)
        self.standing = Table(Standing, NO_STANDING, CACHED_STANDING)

    async def load(self, *wanted: tuple[Table[Any], Sequence[bytes]]) -> None:
        """Have rows of these tables at hand. Raises `Untrusted` for a row that lies."""
        missing = True
        while missing:
            # Anew until nothing was missing: while some rows are read, somebody else may make room where the others
            # were.
            missing = False
            for table, keys in wanted:
                if keys:
                    missing |= await table.load(self._sealer, self._read, keys)
        for table, keys in wanted:
            if table is not self.attempts:
                # Also on those that are at hand. Not on refusals: whose word counts does not rest on somebody else's,
                # and in an outage of the witnesses anybody's would stop everybody.
                self._witnessing.rest_on(keys)

    def journal(self, key: bytes) -> Journal:
        """Of a row that was loaded. Raises `Untrusted` INTEGRITY when it is gone."""
        return _kept(self.journals, key)

    def tally(self) -> Tally:
        """A group's changes, on top of what is at hand."""
        return Tally(self._sealer, self)

    def forget(self) -> None:
        """After a commit whose outcome is unknown: read everything again."""
        for table in (self.usage, self.attempts, self.journals, self.marks, self.standing):
            table.forget()


class Tally:
    """Changes to these rows in one group commit."""

    def __init__(self, sealer: RowSealer, counters: Counters) -> None:
        self._sealer = sealer
        self._journal_rows = counters.journals
        self._usage = Draft(counters.usage)
        self._attempts = Draft(counters.attempts)
        self._journals = Draft(counters.journals)
        self._marks = Draft(counters.marks)
        self._standing = Draft(counters.standing)

    def charge(self, charges: Sequence[Charge]) -> None:
        """All of them or none. Raises `Misuse` QUOTA_EXCEEDED. What shrinks is never refused."""
        result: dict[bytes, Usage] = {}
        grown: dict[bytes, Charge] = {}
        for charge in charges:
            now = result.get(charge.key) or self._usage.value(charge.key)
            result[charge.key] = Usage(
                records=max(0, now.records + charge.records), bytes=max(0, now.bytes + charge.size)
            )
            if charge.records > 0 or charge.size > 0:
                grown[charge.key] = charge
        for key, charge in grown.items():
            if result[key].records > charge.max_records or result[key].bytes > charge.max_size:
                raise Misuse(Number.QUOTA_EXCEEDED)
        for key, usage in result.items():
            self._usage.set(key, usage)

    def count(self, attempts: Sequence[Attempt]) -> None:
        """Count refusals."""
        for attempt in attempts:
            now = self._attempts.value(attempt.key)
            self._attempts.set(attempt.key, now.add(attempt.cluster, attempt.identity, attempt.at))

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
            note.journal = before.add(note.visit, note.token)
            self._journals.set(note.key, note.journal)

    def _journal(self, key: bytes) -> Journal:
        return self._journals.value(key) if self._journals.is_changed(key) else _kept(self._journal_rows, key)

    def marked(self, markings: Sequence[Marking]) -> dict[bytes, Marks]:
        """The rows with these marks. Raises as `Marks.add` when one of them came before."""
        after: dict[bytes, Marks] = {}
        for marking in markings:
            before = after.get(marking.key) or self._marks.value(marking.key)
            after[marking.key] = before.add(marking.marks, marking.at)
        return after

    def charges_of(self, markings: Sequence[Marking]) -> list[Charge]:
        """For the rows that these marks open."""
        return [charge for one in markings if not self._marks.value(one.key).marks for charge in one.charges]

    def stepped(self, steps: Sequence[Step]) -> dict[bytes, Standing]:
        """The rows with these steps taken. Raises `Stale` when the same commit holds what stands against one."""
        after: dict[bytes, Standing] = {}
        for step in steps:
            before = after.get(step.key) or self._standing.value(step.key)
            result = step.apply(before)
            if result is not before:
                after[step.key] = result
        return after

    def set(self, marked: dict[bytes, Marks], stepped: dict[bytes, Standing]) -> None:
        """Write what `marked` and `stepped` said, once nothing else stands against the change."""
        for key, marks in marked.items():
            self._marks.set(key, marks)
        for key, standing in stepped.items():
            self._standing.set(key, standing)

    @property
    def _drafts(self) -> tuple[Draft[Any], ...]:
        return self._usage, self._attempts, self._journals, self._marks, self._standing

    def puts(self) -> list[Put]:
        """The rows to write."""
        return [put for draft in self._drafts for put in draft.puts(self._sealer)]

    def keep(self) -> None:
        """The commit succeeded."""
        for draft in self._drafts:
            draft.keep()


def _kept(journals: Table[Journal], key: bytes) -> Journal:
    """The `store` of a record with terms writes its journal: where there is none, somebody took it away."""
    if not journals.version(key):
        raise Untrusted(Number.INTEGRITY, "the journal of a record is gone")
    return journals.value(key)
