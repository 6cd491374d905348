"""`make bench`: the figures that the project promises, measured in one run.

Ratios are what counts: machines are noisy, so each run also measures two primitives and says how slow this machine
is now against the one that the design's figures come from ("at reference speed"). A figure per core divides by the
CPU seconds that the server processes themselves used (host and enclave of Vault and Authenticator, and their database
where it is a server), so the load generator on the same machine does not distort it; figures "by the clock" share the
cores with it.

`python -m bench NAME` measures one thing: appraisal, vault, decisions, page, beside, before, million, witnesses,
rotation, recovery or join. The last seven write JSON with `--json FILE`; of those, all but the last three compare
contenders that take turns.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

from bench import appraisal, before, beside, decisions, join, million, page, recovery, rotation, vault, witnesses
from bench.calibration import slowness
from bench.figures import SECONDS

PARTS: Final[dict[str, Callable[[], int | None]]] = {
    "appraisal": appraisal.main,
    "vault": vault.main,
    "decisions": decisions.run,
    "page": lambda: page.main(*map(int, sys.argv[2:3])),
    "beside": beside.main,
    "before": before.main,
    "million": million.main,
    "witnesses": witnesses.main,
    "rotation": rotation.main,
    "recovery": recovery.main,
    "join": join.main,
}
ALL: Final = ("appraisal", "vault", "decisions", "page", "beside", "witnesses")
"""The others take long, or ask for the history of the source."""


def main() -> int:
    slow, primitives = slowness()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {SECONDS:g} s a figure")
    print(", ".join(f"{name} {value:.0f} µs" for name, value in primitives.items()), f"→ {slow:.1f} × the reference")
    names = sys.argv[1:2] or ALL
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"error: there is no {unknown[0]!r} to measure\nhint: {', '.join(PARTS)}")
    return max([PARTS[name]() or 0 for name in names])


if __name__ == "__main__":
    sys.exit(main())
