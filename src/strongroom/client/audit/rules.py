"""What leaves must be, one after the other (`spec/log.md`). Signatures and the root come from elsewhere.

What a Vault never writes, and what it would mean:

1. A leaf that is none, an entry without a commit: somebody else wrote here, or a commit was cut in two.
2. Another owner without a start, or one that is back: two instances served at once, or a log was spliced.
3. A clock floor, generation, release or recovery count that falls: an older state was taken up.
4. Another sealed ring without a start, and without a word of why: somebody exchanged it under a running Vault.
5. A list of releases or a recovery that no line tells, or a line that no commit bears out: whoever watches the lines
   for a program that nobody approved would have missed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from strongroom.client.audit.report import Check, Event, Facts
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.leaves import CommitLeaf, EntryLeaf, LifeEvent, LifeLeaf, parse_leaf
from strongroom.protocol.limits import MAX_COUNCILS, MAX_RECOVERIES

_NEVER_FALL: Final = ("generation", "release", "recoveries")
_NOTHING: Final = bytes(32)
_TOLD: Final[dict[str, LifeEvent]] = {"release": "released", "recoveries": "recovered"}
"""Fields of a commit, and the line that changes each."""
_MOST_AT_ONCE: Final = 64
"""Lines about the ring in one commit."""


class Released(NamedTuple):
    """A list of releases, as the log tells of it."""

    serial: int
    about: bytes
    council: int
    """In office when it was taken."""


class Begun(NamedTuple):
    """A generation of the log."""

    generation: int
    size: int
    """Leaves before the commit that began it."""


class Life:
    """What the lines about the key ring tell, in order. Bounded, whatever a log says."""

    def __init__(self) -> None:
        self.councils: list[bytes] = []
        """`statement_digest` of each that took office after the first one."""
        self.released: Released | None = None
        self.gaps: deque[bytes] = deque(maxlen=MAX_RECOVERIES + 1)
        """Digest of each that was signed: the newest ones."""
        self.begun: deque[Begun] = deque(maxlen=MAX_RECOVERIES + 1)
        """The newest ones."""
        self.times = 0
        """That the log began anew."""
        self.epoch = 1
        self.oldest_epoch = 1

    def take(self, leaf: LifeLeaf) -> str:
        """What can't be about the next line; empty: it fits those before."""
        about, number = leaf.about, leaf.number
        match leaf.event:
            case "given":
                return ""
            case "rotated":
                before, self.epoch = self.epoch, number
                return "" if number == before + 1 else f"epoch {number} begins after {before}"
            case "erased":
                before, self.oldest_epoch = self.oldest_epoch, number
                fits = before < number <= self.epoch
                return "" if fits else f"epochs before {number} are erased, of {before} to {self.epoch}"
            case "governed":
                before = len(self.councils)
                if before < MAX_COUNCILS:
                    self.councils.append(about)
                return "" if number == before + 1 else f"council {number} takes office after {before}"
            case "released":
                released, self.released = self.released, Released(number, about, len(self.councils))
                return _follows(released, self.released)
            case "recovered":
                if about != _NOTHING:
                    self.gaps.append(about)
                return ""

    def begin(self, generation: int, size: int) -> None:
        """The log goes on under another name."""
        self.times += 1
        self.begun.append(Begun(generation, size))


def _follows(before: Released | None, released: Released) -> str:
    """What is wrong with the serial; empty: nothing."""
    serial = 0 if before is None else before.serial
    if before is not None and (serial, before.about) == (released.serial, released.about):
        # The very same list: approved by those whom another council has named since.
        fits = before.council < released.council
    else:
        fits = released.serial == serial + 1
    return "" if fits else f"list {released.serial} of releases follows list {serial}"


class Rules:
    """Takes leaves in order; `last` is the commit that the last whole one of them is."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.last: CommitLeaf | None = None
        self.open_entries = 0
        """Since that commit."""
        self.order = Check("leaves", "every leaf is one of a Vault, and what a commit makes true comes before it")
        self.owners = Check("owners", "one run of a Vault after the other, each beginning with a start")
        self.times = Check("times", "the time of commits does not fall, and is not behind the clock floor")
        self.floor = Check("clock-floor", "the clock floor does not fall")
        self.serials = Check("serials", "generation, release and recoveries do not fall; the shard stays")
        self.ring = Check("ring", "the sealed key ring changes at a start only, or where the log says why")
        self.told = Check("life", "what happened to the key ring is told in order, and commits agree with it")
        self.told.hold("nothing happened to it", count=0)
        self.life = Life()
        self._open_life: list[tuple[int, LifeLeaf]] = []
        self._open_first = 0
        """Index of the first leaf after the commit before."""
        self._untimed = False
        """A list of releases was taken, and the ring may change once more, when witnesses have seen that."""
        self._owners: set[bytes] = set()
        self._ended = 0

    @property
    def checks(self) -> list[Check]:
        return [self.order, self.owners, self.times, self.floor, self.serials, self.ring, self.told]

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
        elif isinstance(parsed, LifeLeaf):
            self._take_life(index, parsed)
            self.open_entries += 1
        elif isinstance(parsed, CommitLeaf):
            self._commit(index, parsed)
            self._open_life.clear()
            self._open_first = index + 1
            self.open_entries = 0
            self.last = parsed

    def end(self, size: int, what: str) -> None:
        """The leaves so far are all that `what` covers: the last must be a commit."""
        if size == self._ended:
            return
        self._ended = size
        if self.open_entries or (size and self.last is None):
            self.order.fail(f"{what} ends with {self.open_entries} entries that no commit made true")

    def _take_life(self, index: int, leaf: LifeLeaf) -> None:
        self.facts.note(Event(index, leaf.event, leaf.at, leaf.number, leaf.text, leaf.about))
        if wrong := self.life.take(leaf):
            self.told.fail(f"leaf {index}: {wrong}")
        else:
            self.told.hold(f"the newest is leaf {index}: {leaf.event} {leaf.number}")
        if len(self._open_life) < _MOST_AT_ONCE:
            self._open_life.append((index, leaf))
        else:
            self.told.fail(f"leaf {index}: more happened in one commit than a Vault does")

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
        self._agree(index, commit, before)
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
        self._ring(index, commit, before)

    def _ring(self, index: int, commit: CommitLeaf, before: CommitLeaf) -> None:
        if commit.ring == before.ring or commit.start or self._open_life:
            self.ring.hold()
        elif self._untimed:
            self._untimed = False
            self.ring.hold()
        else:
            self.ring.fail(f"leaf {index}: another sealed ring, {commit.ring.hex()[:16]}…, no start and no reason")
        self._untimed |= bool(self._numbers("released"))

    def _numbers(self, event: LifeEvent) -> Sequence[int]:
        """Of the lines of this event that the next commit makes true."""
        return [leaf.number for _, leaf in self._open_life if leaf.event == event]

    def _agree(self, index: int, commit: CommitLeaf, before: CommitLeaf | None) -> None:
        """Serial of releases and recoveries rise with a line that says so, and with nothing else."""
        self.told.hold()
        for name, event in _TOLD.items():
            value, was = getattr(commit, name), 0 if before is None else getattr(before, name)
            said = self._numbers(event)
            if (said[-1] if said else was) != value:
                what = f"no line says {event}" if not said else f"the line says {said[-1]}"
                self.told.fail(f"leaf {index}: {name} goes from {was} to {value}, and {what}")
        generation = 0 if before is None else before.generation
        if commit.generation != generation:
            self.life.begin(commit.generation, self._open_first)
            if not commit.start or not self._numbers("recovered"):
                self.told.fail(f"leaf {index}: generation {commit.generation} begins without a recovery")

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
