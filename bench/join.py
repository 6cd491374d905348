"""`python -m bench join [TIMES] [--json FILE]`: a second Vault process, from its start until it stands by.

One Vault with named custodians serves; the others come one after the other, are appraised, and get the ring.
All that a start costs is in the figure: the processes of host and enclave, evidence, hand-over, a line of the log.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figures, finish
from tests.support.machines import Machine, People, Serving, founded, ports

TIMES: Final = 7
PROMISED_SECONDS: Final = 2.0


async def measured(root: Path, times: int, figures: Figures) -> None:
    """Found, and let others join."""
    machine = Machine(root / "machine")
    people = People(root, 3, 2, machine.roots)
    first, *others = ports(times + 1)
    serving = await founded(machine, people, "vault", first)
    joined = []
    try:
        for port in others:
            began = time.perf_counter()
            standby = Serving(
                machine, "vault", port, "--join", serving.url, "--owner-key", str(people.folder / "owner.key")
            )
            try:
                await asyncio.to_thread(standby.says, state="standing-by")
                joined.append(time.perf_counter() - began)
            finally:
                standby.end()
    finally:
        serving.end()
    median = statistics.median(joined)
    print(f"joined {times} times, start of the processes included: median {median:.2f} s, worst {max(joined):.2f} s")
    figures.more |= {"joined": joined}
    figures.promise(
        f"a second Vault stands by within {PROMISED_SECONDS:g} s of its start", median, median < PROMISED_SECONDS
    )


def main() -> int:
    times = int(sys.argv[2]) if sys.argv[2:3] and sys.argv[2].isdigit() else TIMES
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measured(Path(folder), times, figures))
    return finish(figures)
