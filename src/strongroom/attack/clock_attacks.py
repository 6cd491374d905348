"""What a host can do with the clock of its machine."""

from __future__ import annotations

from typing import Final

from strongroom.attack.clock import Clock
from strongroom.attack.local import LocalPlay
from strongroom.attack.outcomes import CannotRun, Seen, not_started, outcome
from strongroom.attack.people import RECIPIENT
from strongroom.attack.play import Play
from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import When
from strongroom.attack.registry import Reach, attack

_DAY: Final = 24 * 3600.0
_HALF_AN_HOUR: Final = 1800.0


@attack("clock-back", "the machine's clock is set back by a day, and the Vault started", Reach.MACHINE)
async def clock_back(play: Play) -> Seen:
    return await _turned(play, -_DAY, When.NEXT_READ)


@attack("clock-forward", "the machine's clock is set ahead by a day, and the Vault started", Reach.MACHINE)
async def clock_forward(play: Play) -> Seen:
    return await _turned(play, _DAY, When.NEXT_CONTACT)


@attack("clock-forward-a-little", "the same, by half an hour", Reach.MACHINE)
async def clock_forward_a_little(play: Play) -> Seen:
    return await _turned(play, _HALF_AN_HOUR, When.NEXT_READ)


async def _turned(play: Play, offset: float, when: When) -> Seen:
    if not isinstance(play, LocalPlay):
        raise CannotRun("it takes a machine of the kit's own: --local")
    try:
        await play.start(Clock(play.directory, offset).environment)
    except DidNotStart as error:
        return not_started(error)
    async with play.client(RECIPIENT) as bob:
        return await outcome(bob.collect(play.history.address("kept")), when, "it served by a wrong clock")
