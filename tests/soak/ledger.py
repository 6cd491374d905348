"""What the checker knows: every write that was acknowledged, and every one whose outcome it never heard.

A record is then in exactly one of few states. Anything else is a violation, with the words for it:

1. Lost: an acknowledged write is not there, or an older version is.
2. Half: of a batch that is one commit, some is there and some is not.
3. Invented: a version or a secret that was never sent.
4. Counted down: a counter is lower than was acknowledged, or higher than was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Content = bytes | None
"""A secret; None: nothing can be collected there, because it was deleted or never stored."""


class Violation(AssertionError):
    """Something that must never happen, after all."""


@dataclass(slots=True, eq=False)
class Batch:
    """Writes of one request: all are done or none is."""

    name: str
    records: list[Record] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Write:
    """One that was sent. Until its outcome is known it may be done: it then makes the version after the last one."""

    content: Content
    batch: Batch | None = None


@dataclass(slots=True, eq=False)
class Record:
    """One record. `version` and `content` are acknowledged, or were seen since."""

    id: bytes
    version: int = 0
    content: Content = None
    unknown: list[Write] = field(default_factory=list)
    """Sent over `version` and never heard of again: at most one of them is done."""
    asked: int = 0
    """Collects sent by those who are refused."""
    refused: int = 0
    """Collects that were answered with a refusal."""
    opens_asked: int = 0
    opens: int = 0
    """The highest count of openings that was acknowledged."""

    def begin(self, content: Content, batch: Batch | None = None) -> Write:
        write = Write(content, batch)
        self.unknown.append(write)
        return write

    def acknowledged(self, write: Write, version: int) -> None:
        if version != self.version + 1:
            raise Violation(f"{self.name}: version {version} was acknowledged where {self.version + 1} had to come")
        self.version, self.content = version, write.content
        self.unknown.clear()  # what else was sent over the version before can't be done any more

    def refuted(self, write: Write) -> None:
        """The Vault itself said no, inside the session: it was not done."""
        if write in self.unknown:  # else another write won, and this one went with all that was open
            self.unknown.remove(write)

    def opened(self, count: int) -> None:
        """An acknowledged opening was the `count`th."""
        if not 0 < count <= self.opens_asked:
            raise Violation(f"{self.name}: opening {count} of at most {self.opens_asked}")
        self.opens = max(self.opens, count)

    def found(self, version: int | None, content: Content) -> set[Batch]:
        """What a collect shows when nothing is under way: `version` is None where nothing can be collected.

        Returns the batches whose writes turned out to be done. What was unknown is known from now on.
        """
        before = (self.version, self.content)
        if self._is(version, content, self.version, self.content):
            self.unknown.clear()
            return set()
        for write in self.unknown:
            if self._is(version, content, self.version + 1, write.content):
                self.version, self.content = self.version + 1, write.content
                self.unknown.clear()
                return set() if write.batch is None else {write.batch}
        raise Violation(
            f"{self.name}: version {version} with {_shown(content)} was found; acknowledged is {before[0]} with "
            f"{_shown(before[1])}, and {len(self.unknown)} writes over it were under way "
            f"({', '.join(_shown(write.content) for write in self.unknown) or 'none'})"
        )

    @staticmethod
    def _is(version: int | None, content: Content, known_version: int, known: Content) -> bool:
        return content == known and (version == known_version if content is not None else version is None)

    @property
    def name(self) -> str:
        return f"record {self.id.hex()[:8]}"


class Ledger:
    """All records of a run."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.acknowledged = 0
        """Writes."""
        self.unknown = 0
        """Writes of which it was never heard."""
        self._recent: dict[Record, None] = {}

    def new(self, record_id: bytes) -> Record:
        record = Record(record_id)
        self.records.append(record)
        return record

    def touch(self, record: Record) -> None:
        """It is looked at after the next kill."""
        self._recent[record] = None

    def recent(self) -> list[Record]:
        """What was touched since this was last asked."""
        found, self._recent = list(self._recent), {}
        return found

    def verify(self, shown: list[tuple[Record, int | None, Content]]) -> None:
        """What a look at some records shows. Raises `Violation`; it also sees half batches."""
        batches = {write.batch for record, _, _ in shown for write in record.unknown if write.batch is not None}
        self.unknown += sum(len(record.unknown) for record, _, _ in shown)
        done: dict[Batch, set[Record]] = {batch: set() for batch in batches}
        for record, version, content in shown:
            for batch in record.found(version, content):
                done[batch].add(record)
        for batch, records in done.items():
            if 0 < len(records) < len(batch.records):
                raise Violation(f"half of {batch.name}: {len(records)} of {len(batch.records)} records are there")


def _shown(content: Content) -> str:
    return "nothing" if content is None else content[:24].decode(errors="replace")
