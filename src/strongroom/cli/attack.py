"""`strongroom attack`: what a hostile host can do to a deployment, tried out, and who noticed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from strongroom.attack.outcomes import Line, SetUpFailed, Verdict
from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import PROMISES, Scenario
from strongroom.cli import options
from strongroom.cli.terminal import EXIT_FAILED, Failure, printable, result_json, say, stdout

_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.FAIL: "bold red",
    Verdict.NOT_PROMISED: "yellow",
    Verdict.NOT_RUN: "dim",
}

Local = Annotated[bool, typer.Option("--local", help="Attack a deployment of the kit's own, on this machine.")]
Scenarios = Annotated[
    list[Scenario] | None,
    typer.Option("--scenario", help="Who else sees the log; may be repeated. [default: all three]"),
]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This attack alone; may be repeated.")]


def attack(
    local: Local = False,
    scenario: Scenarios = None,
    only: Only = None,
    as_json: options.AsJson = False,
) -> None:
    """Do what a hostile host would do to your deployment, and see who notices.

    Exit status 1: something went unnoticed that the documents say is noticed.
    """
    unknown = sorted(set(only or []) - set(PROMISES))
    if unknown:
        raise Failure(f"there is no attack {unknown[0]!r}", f"there are: {', '.join(PROMISES)}")
    found = _local(scenario or list(Scenario), only or [])
    if as_json:
        result_json({name: [_json(line) for line in lines] for name, lines in found.items()})
    else:
        for name, lines in found.items():
            _print(name, lines)
    if any(line.verdict is Verdict.FAIL for lines in found.values() for line in lines):
        raise typer.Exit(EXIT_FAILED)


def _local(scenarios: Sequence[Scenario], only: Sequence[str]) -> dict[str, list[Line]]:
    from strongroom.attack.local import Stage
    from strongroom.attack.run import attack_local

    async def run(root: Path) -> dict[str, list[Line]]:
        async with Stage(root) as stage:
            return {one: await attack_local(stage, one, only, _tell) for one in scenarios}

    with tempfile.TemporaryDirectory(prefix="strongroom-attack-") as root:
        # What its clients find they save here, not among what the user's own clients found.
        os.environ["XDG_STATE_HOME"] = root
        try:
            return asyncio.run(run(Path(root)))
        except DidNotStart as error:
            raise Failure(f"a server did not start: {error}", "see its own words above", status=EXIT_FAILED) from None
        except SetUpFailed as error:
            raise Failure(str(error), "nothing was attacked", status=EXIT_FAILED) from None


def _tell(line: Line) -> None:
    say(f"{line.verdict:<12} {line.attack} ({line.seconds:.1f} s)", "dim")


def _print(name: str, lines: Sequence[Line]) -> None:
    table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("attack", "what the host did", "noticed", "as documented"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        verdict = Text(printable(_judged(line)), style=_STYLES[line.verdict])
        table.add_row(line.attack, line.act, printable(_noticed(line)), verdict)
    out = stdout()
    out.print(table)
    out.print()


def _noticed(line: Line) -> str:
    if line.seen is None:
        return line.reason
    if line.seen.harmless:
        return f"no effect: {line.seen.said}"
    return f"{line.seen.who}, {line.seen.when}"


def _judged(line: Line) -> str:
    if line.verdict is Verdict.FAIL:
        return f"FAIL: {line.promise} ({line.seen.said if line.seen else line.reason})"
    return str(line.verdict)


def _json(line: Line) -> dict[str, Any]:
    seen = line.seen
    return {
        "attack": line.attack,
        "act": line.act,
        "promise": str(line.promise),
        "why_not": line.promise.why,
        "noticed_by": None if seen is None else seen.who,
        "when": None if seen is None else seen.when,
        "harmless": None if seen is None else seen.harmless,
        "said": line.reason if seen is None else seen.said,
        "verdict": line.verdict,
        "seconds": round(line.seconds, 2),
    }
