"""The log's entries about one record, as its owner checks them (`spec/log.md`).

The Vault opens the entries, its host brings the leaves and the proofs. What a host may try, and what stops it:

1. Leave an entry out: numbers of a record's entries have no gap, and each names the leaf of the one before it.
2. Bring a leaf that is in no log that others see: each is proven to be in the log of a checkpoint that the Vault
   signed, and that extends what this client has seen before.
3. Bring the leaf of another entry, or of another record: a leaf is committed to exactly what the Vault opened.
"""

from __future__ import annotations

from strongroom.client.results import LogEntry
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.leaves import MAX_LEAF, Entry, EntryLeaf, commitment, parse_leaf
from strongroom.protocol.log_messages import TrailEntry, TrailOf
from strongroom.protocol.notes import parse_checkpoint
from strongroom.protocol.tlog import leaf_hash, verify_inclusion


class TrailReader:
    """Verifies entries about one record, newest first, over as many answers as it takes."""

    def __init__(self, before: LogEntry | None = None) -> None:
        """`before`: only entries that came before this one; None: from the newest."""
        self.entries: list[LogEntry] = []
        self.version = 0
        """Of the record, as the newest answer has it."""
        self.size = 0
        """Of the log in which every entry was proven to be: of the smallest checkpoint that served."""
        self._number = before.number - 1 if before else None
        """Of the next entry; None: whatever is the newest."""
        self._place = before.previous if before else 0
        """Of its leaf, as the entry after it says: index + 1."""
        self._handle = b""

    @property
    def is_complete(self) -> bool:
        """The very first entry was read."""
        return self._number == 0

    @property
    def place(self) -> int:
        """What to ask for next: index + 1 of a leaf, 0 for the newest entry."""
        return self._place

    def read(self, answer: TrailOf, limit: int) -> None:
        """`answer` to a question for `limit` entries, whose checkpoint was verified. Raises `Untrusted` LOG_OMITTED for
        what is missing, INTEGRITY for what is altered."""
        checkpoint = parse_checkpoint(answer.checkpoint).checkpoint
        if len(answer.entries) > limit:
            raise Untrusted(Number.INTEGRITY, "the enclave answered with more entries than were asked for")
        for one in answer.entries:
            verify_inclusion(one.index, leaf_hash(one.leaf), checkpoint.size, checkpoint.root, one.proof)
            self._link(one, _opened(one))
        if not answer.entries and not self.is_complete:
            raise _omitted(f"entry {self._number or 'of this very question'} does not come")
        self.version = self.version or answer.version
        self.size = min(self.size or checkpoint.size, checkpoint.size)

    def _link(self, one: TrailEntry, entry: Entry) -> None:
        if self._number is not None and entry.number != self._number:
            raise _omitted(f"entry {entry.number} comes where {self._number} has to")
        if self._place and one.index + 1 != self._place:
            raise _omitted(f"entry {entry.number} is not the leaf that the entry after it names")
        if self._handle and entry.handle != self._handle:
            raise Untrusted(Number.INTEGRITY, "the enclave answered for another record")
        if not entry.number or (entry.previous == 0) != (entry.number == 1) or entry.previous > one.index:
            raise _omitted(f"entry {entry.number} does not say which entry comes before it")
        self._number, self._place, self._handle = entry.number - 1, entry.previous, entry.handle
        self.entries.append(
            LogEntry(
                number=entry.number,
                at=entry.at,
                version=entry.version,
                action=entry.action,
                principal=entry.identity,
                outcome=entry.outcome,
                leaf=one.index,
                previous=entry.previous,
            )
        )


def _opened(one: TrailEntry) -> Entry:
    leaf = parse_leaf(one.leaf)
    if not isinstance(leaf, EntryLeaf) or leaf.commitment != commitment(one.opened):
        raise Untrusted(Number.INTEGRITY, "a leaf of the log is committed to another entry")
    try:
        entry: Entry = decode(one.opened, Entry, limit=MAX_LEAF)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "a leaf of the log is committed to what is no entry") from None
    return entry


def _omitted(what: str) -> Untrusted:
    return Untrusted(Number.LOG_OMITTED, what)
