"""What an audit found: a list of checks, each with what it looked at and what it found wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

State = Literal["holds", "fails", "noticed", "not checked"]
"""`noticed`: an honest Vault can do that, and its operator should know."""

SHOWN: Final = 5
"""Findings of one check that are kept in words; the rest are counted."""
EVENTS: Final = 100
"""The newest lines about the key ring that are kept; the rest are counted."""


@dataclass(slots=True)
class Check:
    """One promise, and whether the log keeps it."""

    name: str
    """For programs."""
    promise: str
    """For people."""
    count: int = 0
    """Things looked at."""
    failures: int = 0
    notices: int = 0
    findings: list[str] = field(default_factory=list)
    detail: str = ""
    """What was found where it holds, or why it was not checked."""

    def hold(self, detail: str = "", *, count: int = 1) -> None:
        """So much more was looked at and is as it should be."""
        self.count += count
        self.detail = detail or self.detail

    def reach(self, so_far: int, detail: str) -> None:
        """The first `so_far` things are as they should be."""
        self.count = max(self.count, so_far)
        self.detail = detail

    def fail(self, finding: str) -> None:
        self.count += 1
        self.failures += 1
        self._find(finding, self.failures)

    def notice(self, finding: str) -> None:
        self.notices += 1
        self._find(finding, self.notices)

    def skip(self, why: str) -> None:
        """It was not looked at."""
        self.detail = why

    @property
    def state(self) -> State:
        if self.failures:
            return "fails"
        if self.notices:
            return "noticed"
        return "holds" if self.count else "not checked"

    def _find(self, finding: str, number: int) -> None:
        if number <= SHOWN:
            self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log about the key ring, `LifeLeaf`."""

    index: int
    event: str
    at: int
    number: int
    text: str
    """The cluster's words."""
    about: bytes


@dataclass(slots=True)
class Facts:
    """What the log says of itself."""

    size: int = 0
    commits: int = 0
    entries: int = 0
    starts: int = 0
    changes: int = 0
    unticketed: int = 0
    first: int = 0
    last: int = 0
    """Unix seconds of the first and of the last commit, by the Vault's clock."""
    root: bytes = b""
    events: int = 0
    newest: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))

    def note(self, event: Event) -> None:
        """One more."""
        self.events += 1
        self.newest.append(event)


@dataclass(slots=True)
class Report:
    """The outcome of an audit."""

    cluster: bytes
    facts: Facts
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.state == "fails"]


def shown_time(at: int) -> str:
    """UTC, as RFC 3339 has it."""
    return datetime.fromtimestamp(min(at, 253402300799), UTC).isoformat().replace("+00:00", "Z")
