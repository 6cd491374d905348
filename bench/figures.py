"""Figures of contenders that took turns: a table for people, ratios against promises, and JSON for programs.

What counts are ratios of turns of the same round, since the machine's own pace changes within seconds. A ratio is the
median over the rounds; beside it stand the least and the greatest, which say how far to trust it.
"""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.calibration import slowness
from bench.turns import Contender

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "5"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "5"))
WARM_UP_SECONDS: Final = 1.0


def by_clock(turn: dict[str, Any]) -> float:
    """Requests a second; load generator and servers share the machine."""
    return float(turn["count"] / turn["seconds"])


def per_core(turn: dict[str, Any]) -> float:
    """Requests for each CPU second of the servers, all of them, their database included."""
    return float(turn["count"] / sum(turn["cpu"].values()))


def latency(turn: dict[str, Any]) -> float:
    """Milliseconds of the median request."""
    return float(turn["median_ms"])


Reading = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Ratio:
    """Of one contender's figure to another's, round by round."""

    of: str
    to: str
    operation: str
    reading: str
    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


class Figures:
    """Turns taken so far, in rounds."""

    def __init__(self) -> None:
        self.turns: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.promises: list[dict[str, Any]] = []
        self.slow: list[float] = []
        self.more: dict[str, Any] = {}

    def rounds(self, contenders: Sequence[Contender], operations: Sequence[str], count: int = ROUNDS) -> None:
        """So many rounds, after a short one that does not count. Who begins changes from round to round."""
        for contender in contenders:
            for operation in operations:
                contender.turn(operation, seconds=WARM_UP_SECONDS)
        for number in range(count):
            self.slow.append(slowness()[0])
            first = number % len(contenders)
            for operation in operations:
                for contender in [*contenders[first:], *contenders[:first]]:
                    taken = contender.turn(operation, seconds=SECONDS)
                    self.turns.setdefault((contender.name, operation), []).append(taken)

    def ratio(self, of: str, to: str, operation: str | tuple[str, str], reading: Reading) -> Ratio:
        """`operation` of both, or of each its own."""
        one, other = (operation, operation) if isinstance(operation, str) else operation
        pairs = zip(self.turns[of, one], self.turns[to, other], strict=True)
        ratios = [reading(mine) / reading(yours) for mine, yours in pairs]
        what = reading.__name__.replace("_", " ")
        return Ratio(of, to, one, what, statistics.median(ratios), min(ratios), max(ratios))

    def promise(self, promised: str, found: Ratio | float, reached: bool) -> None:
        """Say what became of a promise; `found` is the figure that it is about."""
        print(
            f"{promised}: {found if isinstance(found, Ratio) else f'{found:.2f}'}{'' if reached else '  NOT REACHED'}"
        )
        value = asdict(found) if isinstance(found, Ratio) else found
        self.promises.append({"promised": promised, "found": value, "reached": reached})

    def table(self) -> None:
        """Medians over the rounds."""
        print(f"{'':<34}{'':<10}{'by the clock':>14}{'per core':>10}{'median':>10}{'99 %':>10}  CPU of each, µs")
        for (contender, operation), turns in self.turns.items():
            servers = {
                name: statistics.median(1e6 * turn["cpu"][name] / turn["count"] for turn in turns)
                for name in turns[0]["cpu"]
            }
            print(
                f"{contender:<34}{operation:<10}{_median(by_clock, turns):>12,.0f}/s{_median(per_core, turns):>8,.0f}/s"
                f"{_median(latency, turns):>7.1f} ms{_median(lambda turn: turn['p99_ms'], turns):>7.1f} ms  "
                + ", ".join(f"{name} {value:.0f}" for name, value in servers.items())
            )
        print(
            f"{ROUNDS} rounds of {SECONDS:g} s a figure on {os.cpu_count()} cores, which were "
            f"{min(self.slow):.1f} to {max(self.slow):.1f} × as slow as the reference"
        )

    def write(self, path: Path) -> None:
        turns = [
            {"contender": contender, "operation": operation, "turns": taken}
            for (contender, operation), taken in self.turns.items()
        ]
        machine = {"python": platform.python_version(), "cores": os.cpu_count(), "slowness": self.slow}
        found = {"machine": machine, "turns": turns, "promises": self.promises, **self.more}
        path.write_text(json.dumps(found, indent=2) + "\n")

    @property
    def status(self) -> int:
        """1 when a promise is not reached."""
        return 0 if all(promise["reached"] for promise in self.promises) else 1


def _median(reading: Reading, turns: Sequence[dict[str, Any]]) -> float:
    return statistics.median(reading(turn) for turn in turns)


def json_file() -> Path | None:
    """Where `--json FILE` among the arguments says to write."""
    return Path(sys.argv[sys.argv.index("--json") + 1]) if "--json" in sys.argv else None


def finish(figures: Figures) -> int:
    """Write what was asked for; the status to exit with."""
    if (path := json_file()) is not None:
        figures.write(path)
    return figures.status
