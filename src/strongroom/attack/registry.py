"""The attacks there are, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from strongroom.attack.outcomes import Seen
from strongroom.attack.play import Play


class Reach(Enum):
    """What an attack needs to get at."""

    NETWORK = auto()
    """The way between clients and the Vault: it leaves the deployment as it was."""
    DATABASE = auto()
    """The database, and stopping and starting the Vault."""
    MACHINE = auto()
    """All of a host that the kit itself runs."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `run` does it and says what came of it; it raises `CannotRun` and `SetUpFailed`."""

    name: str
    act: str
    """What the host does, in words."""
    reach: Reach
    run: Callable[[Play], Awaitable[Seen]]


ATTACKS: Final[dict[str, Attack]] = {}
"""In the order of the table."""


def attack(
    name: str, act: str, reach: Reach
) -> Callable[[Callable[[Play], Awaitable[Seen]]], Callable[[Play], Awaitable[Seen]]]:
    """Enter the function into the table."""

    def entered(run: Callable[[Play], Awaitable[Seen]]) -> Callable[[Play], Awaitable[Seen]]:
        ATTACKS[name] = Attack(name, act, reach, run)
        return run

    return entered
