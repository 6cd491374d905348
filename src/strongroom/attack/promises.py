"""What is promised of each attack, in each scenario: the one place where that stands, and what the kit holds us to.

`docs/threat-model.md` and `docs/howto/attack.md` quote it. Where nothing is promised the kit says so, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Scenario(StrEnum):
    """Who else sees the log of the Vault that is attacked."""

    ALONE = "no-witness"
    """SQLite and clients, nobody else."""
    ONE = "one-witness"
    TWO_OF_THREE = "two-of-three"


class Who(StrEnum):
    """By whom an attack is noticed."""

    VAULT = "Vault"
    WITNESS = "witness"
    """It refuses, and the Vault does nothing without it."""
    CLIENT = "client"
    """One that was there before."""
    AUDITOR = "auditor"
    """Whoever reads a record's history, or audits the log."""
    NOBODY = "nobody"


class When(StrEnum):
    """At which moment."""

    AT_ONCE = "at once"
    AT_START = "at its start"
    NEXT_READ = "at the next read of it"
    NEXT_WRITE = "at the next change"
    NEXT_CONTACT = "at the next contact"
    NEXT_AUDIT = "at the next audit"
    LEASE_END = "when the lease ends"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Promise:
    """Who notices, and when. NOBODY and NEVER: either it changes nothing, or nothing is promised."""

    who: Who
    when: When
    harmless: bool = False
    """Nobody need notice: whoever is attacked sees the right answer, and everything has happened once."""
    why: str = ""
    """Where nothing is promised."""

    def __str__(self) -> str:
        if self.harmless:
            return "no effect"
        return "not promised" if self.who is Who.NOBODY else f"{self.who}, {self.when}"


HARMLESS: Final = Promise(Who.NOBODY, When.NEVER, harmless=True)

_AT_START: Final = Promise(Who.VAULT, When.AT_START)
_AT_READ: Final = Promise(Who.VAULT, When.NEXT_READ)
_AT_WRITE: Final = Promise(Who.VAULT, When.NEXT_WRITE)
_AT_ONCE: Final = Promise(Who.VAULT, When.AT_ONCE)
_AUDITED: Final = Promise(Who.AUDITOR, When.NEXT_AUDIT)
_CLIENT: Final = Promise(Who.CLIENT, When.NEXT_CONTACT)
_CLIENT_AT_ONCE: Final = Promise(Who.CLIENT, When.AT_ONCE)
_WITNESSED: Final = Promise(Who.WITNESS, When.AT_START)
_OUTRUN: Final = Promise(Who.WITNESS, When.NEXT_WRITE)
_ELSEWHERE: Final = Promise(
    Who.NOBODY, When.NEVER, why="without witnesses only a client that has seen more knows that there was more"
)

_NO_CLOCK: Final = Promise(Who.NOBODY, When.NEVER, why="without witnesses nobody but the host tells the Vault the time")


def _always(promise: Promise) -> Mapping[Scenario, Promise]:
    return dict.fromkeys(Scenario, promise)


def _by_witnesses(alone: Promise, otherwise: Promise) -> Mapping[Scenario, Promise]:
    return {Scenario.ALONE: alone, Scenario.ONE: otherwise, Scenario.TWO_OF_THREE: otherwise}


PROMISES: Final[Mapping[str, Mapping[Scenario, Promise]]] = {
    # The whole database, or the whole instance.
    "old-database": _by_witnesses(_CLIENT, _WITNESSED),
    "old-database-newcomer": _by_witnesses(_ELSEWHERE, _WITNESSED),
    "old-database-and-back": _by_witnesses(_ELSEWHERE, _WITNESSED),
    "old-database-mid-session": _by_witnesses(_CLIENT, _WITNESSED),
    "lost-commit": _by_witnesses(_CLIENT, _WITNESSED),
    "clone": _by_witnesses(_ELSEWHERE, _OUTRUN),
    "clone-older": _by_witnesses(_ELSEWHERE, _WITNESSED),
    "fork": _by_witnesses(_CLIENT, _OUTRUN),
    "lying-witness": {Scenario.ONE: _CLIENT, Scenario.TWO_OF_THREE: _WITNESSED},
    "unheard-witness": {Scenario.ONE: _WITNESSED, Scenario.TWO_OF_THREE: _WITNESSED},
    "unheard-witness-clone": {Scenario.ONE: _OUTRUN, Scenario.TWO_OF_THREE: _OUTRUN},
    "cut-off": {Scenario.ONE: _AT_WRITE, Scenario.TWO_OF_THREE: _AT_WRITE},
    "lease": {
        Scenario.ONE: Promise(Who.VAULT, When.LEASE_END),
        Scenario.TWO_OF_THREE: Promise(Who.VAULT, When.LEASE_END),
    },
    # Single rows.
    "old-record": _always(_AT_READ),
    "undelete": _always(_AT_READ),
    "old-attempts": _always(_AT_READ),
    "old-standing": _always(_AT_READ),
    "old-journal": _always(_AT_READ),
    "old-marks": _always(_AT_READ),
    "old-usage": _always(_AT_READ),
    "altered-row": _always(_AT_READ),
    "absent-row": _always(_AT_READ),
    "absent-row-running": _always(_AT_READ),
    "old-record-running": _always(_AT_READ),
    "old-bucket": _always(_AT_START),
    "forged-bucket": _always(_AT_START),
    "absent-bucket": _always(_AT_START),
    "old-head": _always(_AT_START),
    "old-head-running": _always(_AT_WRITE),
    "old-ring": _always(_AT_START),
    # The log, and the order of commits.
    "drop-leaf": _always(_AUDITED),
    "drop-leaf-audit": _always(_AUDITED),
    "altered-leaf": _always(_AUDITED),
    "altered-leaf-audit": _always(_AUDITED),
    "truncate-log": _always(_AT_START),
    "reorder-commits": _always(_AT_START),
    "replay-commit": _always(_AT_START),
    # Time.
    "clock-back": _always(_CLIENT),
    "clock-back-running": _always(_AT_READ),
    "clock-forward": _always(_CLIENT),
    "clock-forward-running": _by_witnesses(_NO_CLOCK, _AT_READ),
    # The network.
    "replay-hello": _always(HARMLESS),
    "replay-frame": _always(_AT_ONCE),
    "replay-answer": _always(_CLIENT_AT_ONCE),
    "swap-answers": _always(_CLIENT_AT_ONCE),
    "reorder-frames": _always(HARMLESS),
    "flip-request": _always(_AT_ONCE),
    "flip-answer": _always(_CLIENT_AT_ONCE),
    "flip-evidence": _always(_CLIENT_AT_ONCE),
    "flip-hello-answer": _always(_CLIENT_AT_ONCE),
    "truncate-answer": _always(_CLIENT_AT_ONCE),
    "drop-answer": _always(HARMLESS),
    "delay": _always(HARMLESS),
    "invent-refusal": _always(_CLIENT_AT_ONCE),
    "old-evidence": _always(_AT_ONCE),
    "other-role": _always(_CLIENT_AT_ONCE),
    "other-cluster": _always(_CLIENT_AT_ONCE),
    "other-answers": _always(_CLIENT_AT_ONCE),
}
"""(attack, scenario) → promise. An attack that makes no sense in a scenario is not in it."""
