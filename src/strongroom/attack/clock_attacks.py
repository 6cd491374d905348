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
_A_LITTLE: Final = 1000.0
"""Seconds: more than a lease and what clocks may differ, and less than evidence lives."""


@attack("clock-back", "the machine's clock is set back by a day, and the Vault started", Reach.MACHINE)
async def clock_back(play: Play) -> Seen:
    return await _started_at(play, -_DAY)


@attack("clock-back-running", "the clock is set back by a quarter of an hour while the Vault serves", Reach.MACHINE)
async def clock_back_running(play: Play) -> Seen:
    return await _turned_while_serving(play, -_A_LITTLE)


@attack("clock-forward", "the machine's clock is set ahead by a day, and the Vault started", Reach.MACHINE)
async def clock_forward(play: Play) -> Seen:
    return await _started_at(play, _DAY)


@attack("clock-forward-running", "the clock is set ahead by a quarter of an hour while the Vault serves", Reach.MACHINE)
async def clock_forward_running(play: Play) -> Seen:
    return await _turned_while_serving(play, _A_LITTLE)


def _clock(play: Play, offset: float) -> Clock:
    if not isinstance(play, LocalPlay):
        raise CannotRun("it takes a machine of the kit's own: --local")
    return Clock(play.directory, offset)


async def _started_at(play: Play, offset: float) -> Seen:
    clock = _clock(play, offset)
    try:
        await play.start(clock.environment)
    except DidNotStart as error:
        return not_started(error)
    async with play.client(RECIPIENT) as bob:
        look = bob.collect(play.history.address("kept"))
        return await outcome(look, When.NEXT_CONTACT, "a secret was released by a wrong clock")


async def _turned_while_serving(play: Play, offset: float) -> Seen:
    clock = _clock(play, 0.0)
    await play.start(clock.environment)
    async with play.client(RECIPIENT) as bob:
        await bob.collect(play.history.address("last"))
        clock.turn(offset)
        look = bob.collect(play.history.address("kept"))
        return await outcome(look, When.NEXT_READ, "a secret was released by a wrong clock")
