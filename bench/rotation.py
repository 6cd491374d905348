"""`python -m bench rotation [RECORDS] [store=postgresql] [--json FILE]`: until all is sealed under a new epoch.

A Vault of so many records, its processes on one core. It rotates three times: left alone, under as much load as it
takes, and killed near the end, started again. Each time ends when the old epoch has left the ring; collects meanwhile
are held against those before.
"""

import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.calibration import slowness
from bench.figures import SECONDS, Figures, by_clock, finish
from bench.load import CLIENTS
from bench.scene import Scene, scene
from bench.strongroom import Ours
from bench.wire import Wire
from strongroom.protocol.cluster_messages import AskStatus, ClusterReply, Rotate
from strongroom.protocol.status import EpochStatus, decode_status

RECORDS: Final = 100_000
PROMISED_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.25
GIVE_UP_SECONDS: Final = 900.0
FEW: Final = 4
"""Clients that do not keep the Vault busy all the time."""
TURN_SECONDS: Final = 2.0


def on_one_core(it: Scene) -> None:
    """All threads of the Vault's host and enclave on the first core that this process may use."""
    core = {min(os.sched_getaffinity(0))}
    for pid in it.vault.pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), core)


@asynccontextmanager
async def desk(it: Scene) -> AsyncIterator[Wire]:
    """A session of the owner's."""
    wire = Wire(it.vault.url, "vault", it.policy("vault"), it.owner)
    wire._replies |= ClusterReply
    await wire.open()
    try:
        yield wire
    finally:
        wire.close()


async def epochs(wire: Wire) -> EpochStatus:
    found = decode_status((await wire.ask(AskStatus())).status).epochs
    assert found is not None
    return found


class Rotation:
    """One, from the owner's word to the old epoch's end."""

    def __init__(self, it: Scene) -> None:
        self._it = it
        self._began = time.perf_counter()
        self.done = asyncio.Event()
        self.seconds = 0.0

    async def run(self) -> None:
        """Begin an epoch, and wait."""
        async with desk(self._it) as wire:
            await wire.ask(Rotate())
        await self.wait()

    async def wait(self, *, stop_at: float = 2.0) -> None:
        """Until nothing is left to do, or until that part of the rows is done."""
        async with desk(self._it) as wire:
            ends = time.monotonic() + GIVE_UP_SECONDS
            while len((now := await epochs(wire)).kept) > 1 and now.resealed < stop_at * now.rows:
                if time.monotonic() > ends:
                    raise RuntimeError(f"after {GIVE_UP_SECONDS:g} s the ring still has the epochs {now.kept}")
                await asyncio.sleep(POLL_SECONDS)
        self.seconds = time.perf_counter() - self._began
        self.done.set()


def cpu(it: Scene) -> float:
    return sum(it.vault.cpu_seconds())


async def served(ours: Ours, rotation: Rotation, clients: int) -> list[dict[str, Any]]:
    """Collects while it lasts."""
    turns = []
    while not rotation.done.is_set():
        turns.append(await ours.collect(TURN_SECONDS, clients))
    return turns


def beside(name: str, before: dict[str, Any], turns: list[dict[str, Any]]) -> None:
    if not turns:
        return
    rate = statistics.median(map(by_clock, turns))
    middle, worst = (statistics.median(turn[which] for turn in turns) for which in ("median_ms", "p99_ms"))
    print(
        f"  collects {name}: {rate:,.0f} a second ({rate / by_clock(before):.2f} × before), "
        f"median {middle:.1f} ms ({middle / before['median_ms']:.2f} ×), 99 % {worst:.1f} ms "
        f"({worst / before['p99_ms']:.2f} ×)"
    )


async def measure(figures: Figures, records: int, options: dict[str, str]) -> None:
    async with scene(**options) as it:
        ours = await Ours(it).open()
        filled = await ours.fill(records)
        print(f"{records:,} records filled in {filled['seconds']:,.0f} s", file=sys.stderr)
        on_one_core(it)
        for name, clients in (("alone", 0), (f"{FEW} clients", FEW), (f"{CLIENTS} clients", CLIENTS)):
            before = await ours.collect(SECONDS, clients or 1)
            spent, rotation = cpu(it), Rotation(it)
            running = asyncio.create_task(rotation.run())
            turns = await served(ours, rotation, clients) if clients else []
            await running
            print(f"rotation, {name}: {rotation.seconds:.1f} s; {cpu(it) - spent:.1f} s of the Vault's CPU in all")
            beside("meanwhile", before, turns)
            what = f"{records:,} records sealed anew on one core in less than {PROMISED_SECONDS:g} s, {name}"
            figures.promise(what, rotation.seconds, rotation.seconds < PROMISED_SECONDS)
            figures.more[name] = {"seconds": rotation.seconds, "before": before, "meanwhile": turns}
        await killed(it, figures)


async def killed(it: Scene, figures: Figures) -> None:
    async with desk(it) as wire:
        await wire.ask(Rotate())
    await Rotation(it).wait(stop_at=0.9)
    for pid in it.vault.pids:
        os.kill(pid, signal.SIGKILL)
    it.vault.ended()
    it.restart_vault()
    on_one_core(it)
    again = Rotation(it)
    await again.wait()
    started = f"started in {it.vault.start_seconds:.1f} s"
    print(f"killed when nine of ten rows were done: {started}, and {again.seconds:.1f} s later the old epoch was gone")
    figures.more["after a kill"] = again.seconds


def main() -> int:
    records = int(sys.argv[2]) if sys.argv[2:3] and sys.argv[2].isdigit() else RECORDS
    figures = Figures()
    figures.slow.append(slowness()[0])
    options = dict(argument.split("=", 1) for argument in sys.argv[2:] if argument.startswith("store="))
    uvloop.run(measure(figures, records, options))
    return finish(figures)
