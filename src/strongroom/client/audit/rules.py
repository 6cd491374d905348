"""What leaves must be, one after the other (`spec/log.md`). Signatures and the root come from elsewhere.

What a Vault never writes, and what it would mean:

1. A leaf that is none, an entry without a commit: somebody else wrote here, or a commit was cut in two.
2. Another owner without a start, or one that is back: two instances served at once, or a log was spliced.
3. A clock floor, generation, release or recovery count that falls: an older state was taken up.
4. Another sealed ring without a start: somebody exchanged it under a running Vault.
"""

from __future__ import annotations

from typing import Final

from strongroom.client.audit.report import Check, Facts
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.leaves import CommitLeaf, EntryLeaf, parse_leaf

_NEVER_FALL: Final = ("generation", "release", "recoveries")


class Rules:
    """Takes leaves in order; `last` is the commit that the last whole one of them is."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.last: CommitLeaf | None = None
        self.open_entries = 0
        """Since that commit."""
        self.order = Check("leaves", "every leaf is an entry or a commit, and entries come before their commit")
        self.owners = Check("owners", "one run of a Vault after the other, each beginning with a start")
        self.times = Check("times", "the time of commits does not fall, and is not behind the clock floor")
        self.floor = Check("clock-floor", "the clock floor does not fall")
        self.serials = Check("serials", "generation, release and recoveries do not fall; the shard stays")
        self.ring = Check("ring", "the sealed key ring changes at a start only")
        self._owners: set[bytes] = set()
        self._ended = 0

    @property
    def checks(self) -> list[Check]:
        return [self.order, self.owners, self.times, self.floor, self.serials, self.ring]

    def take(self, index: int, leaf: bytes) -> None:
        """The next leaf."""
        self.facts.size = index + 1
        try:
            parsed = parse_leaf(leaf)
        except Untrusted as error:
            self.order.fail(f"leaf {index}: {error.reason}")
            return
        self.order.hold()
        if isinstance(parsed, EntryLeaf):
            self.facts.entries += 1
            self.open_entries += 1
        elif isinstance(parsed, CommitLeaf):
            self._commit(index, parsed)
            self.open_entries = 0
            self.last = parsed

    def end(self, size: int, what: str) -> None:
        """The leaves so far are all that `what` covers: the last must be a commit."""
        if size == self._ended:
            return
        self._ended = size
        if self.open_entries or (size and self.last is None):
            self.order.fail(f"{what} ends with {self.open_entries} entries that no commit made true")

    def _commit(self, index: int, commit: CommitLeaf) -> None:
        facts, before = self.facts, self.last
        facts.commits += 1
        facts.starts += commit.start
        facts.changes += commit.changes
        facts.unticketed += commit.unticketed
        facts.last = commit.at
        facts.first = facts.first or commit.at
        self._owner(index, commit)
        if commit.at < commit.clock_floor:
            self.times.fail(f"leaf {index}: {commit.at} is behind the clock floor, {commit.clock_floor}")
        else:
            self.times.hold()
        if before is None:
            return
        if commit.at < before.at:
            self.times.notice(
                f"leaf {index}: {before.at - commit.at} s before the commit before it: a clock was set back"
            )
        if commit.clock_floor < before.clock_floor:
            self.floor.fail(f"leaf {index}: falls from {before.clock_floor} to {commit.clock_floor}")
        else:
            self.floor.hold()
        self._never_fall(index, commit, before)
        if commit.ring != before.ring and not commit.start:
            self.ring.fail(f"leaf {index}: another sealed ring, {commit.ring.hex()[:16]}…, and no start")
        else:
            self.ring.hold()

    def _owner(self, index: int, commit: CommitLeaf) -> None:
        owner, name = commit.owner, commit.owner.hex()
        if self.last is not None and owner == self.last.owner:
            if commit.start:
                self.owners.fail(f"leaf {index}: run {name} starts a second time")
                return
        elif owner in self._owners:
            self.owners.fail(f"leaf {index}: run {name} is back after another one took over: two served at once")
            return
        elif not commit.start:
            self.owners.fail(f"leaf {index}: run {name} takes over without a start")
        self._owners.add(owner)
        self.owners.hold()

    def _never_fall(self, index: int, commit: CommitLeaf, before: CommitLeaf) -> None:
        fallen = [name for name in _NEVER_FALL if getattr(commit, name) < getattr(before, name)]
        fallen += ["shard"] if commit.shard != before.shard else []
        for name in fallen:
            self.serials.fail(f"leaf {index}: {name} goes from {getattr(before, name)} to {getattr(commit, name)}")
        if not fallen:
            self.serials.hold()
