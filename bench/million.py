"""`python -m bench million [RECORDS] [--json FILE]`: what a Vault is like with a million records.

Two Vaults on each kind of database: one with ten thousand records, one with as many as promised, both filled by the
front door, so that every row, listing and leaf is one that a client had written. They take turns at `collect` of any of
their records; then each is started anew.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench.figures import Figures, by_clock, finish, per_core
from bench.turns import Contender

FEW, MANY = 10_000, 1_000_000
SLOWER = 1.3
START_SECONDS = 20.0
STEP = 50_000
KINDS = {"SQLite": (), "PostgreSQL": ("store=postgresql",)}


def fill(contender: Contender, records: int) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    for count in range(min(STEP, records), records + STEP, STEP):
        contender.turn("fill", count=min(count, records))
        passed = time.monotonic() - began
        print(f"  {contender.name}: {min(count, records):,} of {records:,} after {passed:,.0f} s", file=sys.stderr)
    return time.monotonic() - began


def main() -> int:
    many = int(sys.argv[2]) if sys.argv[2:3] and sys.argv[2].isdigit() else MANY
    figures = Figures()
    names: dict[str, tuple[str, str]] = {}
    with ExitStack() as stack:
        contenders, sizes = [], []
        for kind, options in KINDS.items():
            names[kind] = f"{kind}, {FEW:,} records", f"{kind}, {many:,} records"
            for name, records in zip(names[kind], (FEW, many), strict=True):
                contenders.append(Contender(name, "bench.strongroom", *options))
                stack.callback(contenders[-1].close)
                sizes.append(records)
        # All at once: each waits for its own Vault, and nothing is measured meanwhile.
        with ThreadPoolExecutor(len(contenders)) as pool:
            for contender, records, seconds in zip(contenders, sizes, pool.map(fill, contenders, sizes), strict=True):
                print(f"{contender.name}: filled in {seconds:,.0f} s, {records / seconds:,.0f} a second")
        figures.rounds(contenders, ("collect",))
        memory = {contender.name: contender.turn("memory") for contender in contenders}
        starts = {contender.name: contender.turn("restart")["seconds"] for contender in contenders}
        again = {contender.name: contender.turn("memory") for contender in contenders}
    figures.table()
    for name in starts:
        grown, fresh = (
            ", ".join(f"{process} {size / 1e6:.0f} MB" for process, size in found[name].items())
            for found in (memory, again)
        )
        print(f"{name}: in memory {grown}; started anew {fresh}")
    for few, large in names.values():
        for reading in (by_clock, per_core):
            ratio = figures.ratio(few, large, "collect", reading)
            what = f"collect, {ratio.reading}, no slower than {SLOWER:g} × of {FEW:,} records: {large}"
            figures.promise(what, ratio, ratio.median <= SLOWER)
        figures.promise(
            f"started in less than {START_SECONDS:g} s: {large}", starts[large], starts[large] < START_SECONDS
        )
    figures.more |= {"memory": memory, "memory after a start": again, "start seconds": starts}
    return finish(figures)
