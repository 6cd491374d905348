"""A Vault by itself: what a request costs, the first collect of somebody who comes anew, memory with many records."""

import os
import statistics
import time
from typing import Any, Final

import uvloop

from bench.calibration import slowness
from bench.figures import SECONDS, by_clock, per_core
from bench.load import CLIENTS
from bench.scene import scene
from bench.strongroom import Ours

RECORDS: Final = int(os.environ.get("BENCH_RECORDS", "100000"))
COLD: Final = 40


def report(name: str, turn: dict[str, Any]) -> None:
    slow, _ = slowness()
    servers = ", ".join(f"{server} {1e6 * seconds / turn['count']:.0f}" for server, seconds in turn["cpu"].items())
    print(
        f"{name}: {by_clock(turn):,.0f} a second by the clock with {CLIENTS} clients "
        f"({slow * by_clock(turn):,.0f} at reference speed); "
        f"{per_core(turn):,.0f} a second per core of Vault plus Authenticator CPU "
        f"({slow * per_core(turn):,.0f} at reference speed; {1e6 / per_core(turn):.0f} µs: {servers})"
    )


async def cold_collects(ours: Ours) -> list[float]:
    """Milliseconds from nothing to a secret: connect, evidence, appraisal, session, collect; sign-in excluded."""
    times = []
    for _ in range(COLD):
        began = time.perf_counter()
        wire = await ours.wire()
        await ours.collected(wire)
        times.append(1e3 * (time.perf_counter() - began))
        wire.close()
    return times


async def measure() -> None:
    async with scene() as it:
        print(
            f"start to ready: vault {it.vault.start_seconds:.2f} s, "
            f"authenticator {it.authenticator.start_seconds:.2f} s"
        )
        ours = await Ours(it).open()
        report("store 1 KiB", await ours.store(SECONDS))
        report("collect", await ours.collect(SECONDS))
        print(f"cold first collect: {statistics.median(await cold_collects(ours)):.1f} ms median of {COLD}")
        await ours.open()  # a key keeps 64 sessions; the cold ones pushed out the oldest
        await ours.fill(RECORDS)
        sizes = await ours.memory()
        print(
            f"vault with {RECORDS:,} records: {sum(sizes.values()) / 1e6:.0f} MB resident "
            f"({', '.join(f'{name} {size / 1e6:.0f}' for name, size in sizes.items())})"
        )
        report("collect after that", await ours.collect(SECONDS))


def main() -> None:
    uvloop.run(measure())
