"""Runs attacks, and holds what came of each against what is promised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Final

from strongroom.attack import (  # noqa: F401 (each enters its attacks into the table)
    clock_attacks,
    database_attacks,
    instance_attacks,
    network_attacks,
)
from strongroom.attack.local import Founded, Stage, local_play
from strongroom.attack.outcomes import CannotRun, Line, Seen, SetUpFailed, Verdict, judge
from strongroom.attack.play import Play
from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import PROMISES, Scenario
from strongroom.attack.registry import ATTACKS, Attack, Reach
from strongroom.attack.remote import RemotePlay
from strongroom.protocol.errors import StrongroomError

Tell = Callable[[Line], None]
JOBS: Final = 2
"""Attacks at once: most of their time they wait for a server to start."""


def chosen(scenario: Scenario, only: Collection[str]) -> list[Attack]:
    """Attacks that make sense in a scenario, in the order of the promises."""
    return [
        ATTACKS[name]
        for name, promised in PROMISES.items()
        if scenario in promised and name in ATTACKS and (not only or name in only)
    ]


async def attack_local(stage: Stage, scenario: Scenario, only: Collection[str], tell: Tell) -> list[Line]:
    """All attacks of one scenario, on deployments of the kit's own. Raises `SetUpFailed` and `DidNotStart`."""
    attacks = chosen(scenario, only)
    founded = await stage.found(scenario)
    places = asyncio.Semaphore(JOBS)
    on_wire = [one for one in attacks if one.reach is Reach.NETWORK]
    others = [one for one in attacks if one.reach is not Reach.NETWORK]

    async def alone(one: Attack) -> Line:
        async with places, AsyncExitStack() as opened:
            began = time.monotonic()
            try:
                play = await opened.enter_async_context(local_play(stage, founded, one.name))
            except DidNotStart as error:
                raise SetUpFailed(f"a witness did not start: {error}") from None
            line = await attempt(one, play, began)
        tell(line)
        return line

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(alone(one)) for one in others]
        together = group.create_task(_one_after_the_other(stage, founded, on_wire, places, tell))
    lines = [*together.result(), *(task.result() for task in running)]
    order = list(PROMISES)
    return sorted(lines, key=lambda line: order.index(line.attack))


async def _one_after_the_other(
    stage: Stage, founded: Founded, attacks: Sequence[Attack], places: asyncio.Semaphore, tell: Tell
) -> list[Line]:
    """Those that leave no trace share a Vault."""
    if not attacks:
        return []
    lines = []
    async with places, local_play(stage, founded, "network") as play:
        await play.start()
        for one in attacks:
            lines.append(await attempt(one, play, time.monotonic()))
            tell(lines[-1])
    return lines


async def attack_remote(play: RemotePlay, only: Collection[str], tell: Tell) -> list[Line]:
    """All attacks that reach this deployment. Raises `SetUpFailed` when it can't be put back as it was."""
    lines = []
    for one in chosen(play.scenario, only):
        began = time.monotonic()
        try:
            play.verify_reach(one.reach)
        except CannotRun as error:
            promise = PROMISES[one.name][play.scenario]
            lines.append(Line(one.name, one.act, promise, None, str(error), Verdict.NOT_RUN, 0.0))
            continue
        try:
            if one.reach is Reach.DATABASE:
                await play.begin()
            lines.append(await attempt(one, play, began))
        finally:
            if one.reach is Reach.DATABASE:
                await to_the_end(play.put_back())
        tell(lines[-1])
    return lines


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Done also when the kit is told to end meanwhile, and then ended: half of it would leave the database attacked."""
    task = asyncio.ensure_future(work)
    told: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            told = error
    task.result()
    if told is not None:
        raise told


async def attempt(one: Attack, play: Play, began: float) -> Line:
    """One attack, judged."""
    promise = PROMISES[one.name][play.scenario]
    seen: Seen | None = None
    reason = ""
    try:
        seen = await one.run(play)
        verdict = judge(promise, seen)
    except CannotRun as error:
        reason, verdict = str(error), Verdict.NOT_RUN
    except (SetUpFailed, StrongroomError, DidNotStart) as error:
        reason, verdict = f"it could not be carried through: {_said(error)}", Verdict.FAIL
    return Line(one.name, one.act, promise, seen, reason, verdict, time.monotonic() - began)


def _said(error: Exception) -> str:
    return error.error if isinstance(error, StrongroomError) else str(error)
