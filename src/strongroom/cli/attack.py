"""`strongroom attack`: what a hostile host can do to a deployment, tried out, and who noticed."""

from __future__ import annotations

import asyncio
import difflib
import os
import signal
import tempfile
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from strongroom.attack.database import Copy, database_at, put_back_copy, save_copy
from strongroom.attack.outcomes import Line, SetUpFailed, Verdict
from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import PROMISES, Scenario
from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.cli import options
from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.pinning import pin_exactly
from strongroom.cli.terminal import EXIT_FAILED, Failure, printable, result_json, say, stdout
from strongroom.client.files import load_instructions, load_trust
from strongroom.client.session import fetch_evidence
from strongroom.client.sign_in.keys import KeySignIn

SAVED: Final = "strongroom-before-attack.sqlite3"
_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.FAIL: "bold red",
    Verdict.NOT_PROMISED: "yellow",
}

UrlArgument = Annotated[
    str | None, typer.Argument(metavar="URL", help="A Vault that runs already. With no more than this: the network.")
]
Local = Annotated[bool, typer.Option("--local", help="Attack a deployment of the kit's own, on this machine.")]
Scenarios = Annotated[
    list[Scenario] | None,
    typer.Option("--scenario", help="With --local: who else sees the log; may be repeated. [default: all three]"),
]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This attack alone; may be repeated.")]
SshKey = Annotated[
    Path | None, typer.Option("--ssh-key", metavar="FILE", help="Key of somebody who may store in --namespace.")
]
Database = Annotated[
    str | None,
    typer.Option("--database", metavar="PATH|URL", help="The Vault's database: a file, a directory, postgresql://…"),
]
Stop = Annotated[str | None, typer.Option("--stop", metavar="COMMAND", help="Stops the Vault.")]
Start = Annotated[str | None, typer.Option("--start", metavar="COMMAND", help="Starts the Vault.")]
PutBack = Annotated[
    Path | None,
    typer.Option("--put-back", metavar="FILE", help="Attack nothing: put a saved copy back into --database."),
]
Mine = Annotated[
    bool,
    typer.Option(
        "--yes-this-deployment-is-mine",
        help="Tamper with --database. Whoever uses the Vault meanwhile may see alarms, and rightly.",
    ),
]


def attack(
    url: UrlArgument = None,
    local: Local = False,
    scenario: Scenarios = None,
    only: Only = None,
    trust: options.Trust = None,
    namespace: options.Namespace = None,
    instructions: options.InstructionsFile = None,
    ssh_key: SshKey = None,
    database: Database = None,
    stop: Stop = None,
    start: Start = None,
    put_back: PutBack = None,
    mine: Mine = False,
    as_json: options.AsJson = False,
) -> None:
    """Do what a hostile host would do to your deployment, and see who notices.

    Exit status 1: something went unnoticed that the documents say is noticed.
    """
    if put_back is not None:
        _put_back(put_back, database, is_alone=not (url or local or only or scenario or stop or start))
        return
    for name in only or []:
        _verify_name(name)
    if local == (url is not None):
        raise Failure("name one thing to attack", "give --local, or the URL of a Vault")
    if scenario and not local:
        raise Failure("--scenario is for --local", "leave it out: what witnesses a Vault has stands in --trust")
    if local:
        found = _local(scenario or list(Scenario), only or [])
    else:
        who = (namespace, instructions, ssh_key) if trust is not None else (None, None, None)
        hold = (database, stop, start)
        if any(hold) and not (all(hold) and all(who)):
            raise Failure(
                "the database can't be attacked with so little",
                "give --database, --stop and --start, and --trust, --namespace, --instructions and --ssh-key",
            )
        if any(hold) and not mine:
            raise Failure(
                "this writes over the database, and whoever uses the Vault may see alarms",
                "say --yes-this-deployment-is-mine if it is",
            )
        found = _remote(str(url), only or [], trust, who, hold)
    if as_json:
        result_json({name: [_json(line) for line in lines] for name, lines in found.items()})
    else:
        for name, lines in found.items():
            _print(name, lines)
    if any(line.verdict is Verdict.FAIL for lines in found.values() for line in lines):
        raise typer.Exit(EXIT_FAILED)


def _verify_name(name: str) -> None:
    if name not in PROMISES:
        close = difflib.get_close_matches(name, PROMISES)
        hint = f"did you mean {' or '.join(close)}?" if close else "their names stand in docs/howto/attack.md"
        raise Failure(f"there is no attack {name!r}", hint)


def _put_back(saved: Path, database: str | None, *, is_alone: bool) -> None:
    if database is None or not is_alone:
        raise Failure("--put-back takes --database, and nothing else", f"strongroom attack {_putting_back(saved)}")
    try:
        asyncio.run(put_back_copy(saved, database_at(database)))
    except SetUpFailed as error:
        raise Failure(str(error), "nothing was put back", status=EXIT_FAILED) from None
    say(f"the database is as it was saved in {saved}: start the Vault")


def _putting_back(saved: Path) -> str:
    return f"--put-back {saved} --database PATH|URL"


def _save(copy: Copy) -> None:
    """Raises `Failure`: what an earlier run has saved may be all that there is of it."""
    saved = Path(SAVED)
    if saved.exists():
        raise Failure(
            f"a copy of an earlier run is at {saved}",
            f"if that run was killed, stop the Vault and put it back with strongroom attack {_putting_back(saved)}; "
            "then move it away",
        )
    save_copy(copy, saved)
    say(f"the database as it was is saved as {saved}")


def _local(scenarios: Sequence[Scenario], only: Sequence[str]) -> dict[str, list[Line]]:
    from strongroom.attack.local import Stage
    from strongroom.attack.run import attack_local

    async def run(root: Path) -> dict[str, list[Line]]:
        async with Stage(root) as stage:
            return {one: await attack_local(stage, one, only, _tell) for one in scenarios}

    with tempfile.TemporaryDirectory(prefix="strongroom-attack-") as root:
        # What its clients find they save here, not among what the user's own clients found.
        os.environ["XDG_STATE_HOME"] = root
        return run_to_the_end(run(Path(root)))


def _remote(
    url: str,
    only: Sequence[str],
    trust_file: Path | None,
    who: tuple[str | None, Path | None, Path | None],
    hold: tuple[str | None, str | None, str | None],
) -> dict[str, list[Line]]:
    from strongroom.attack.remote import Depositor, Hold, remote_play
    from strongroom.attack.run import attack_remote

    trust = load_trust(trust_file) if trust_file is not None else _seen(url)
    namespace, instructions, ssh_key = who
    database, stop, start = hold
    held = Hold(database_at(database), stop, start, say) if database and stop and start else None

    async def run(root: Path) -> dict[str, list[Line]]:
        async with remote_play(url, trust, held, root) as play:
            if namespace and instructions and ssh_key:
                if held is not None:
                    _save(await held.database.copy())
                read = partial(load_instructions, instructions, trust)
                await play.use(Depositor(namespace, KeySignIn(ssh_key), read))
            return {url: await attack_remote(play, only, _tell)}

    with tempfile.TemporaryDirectory(prefix="strongroom-attack-") as root:
        os.environ["XDG_STATE_HOME"] = root
        return run_to_the_end(run(Path(root)))


def _seen(url: str) -> TrustPolicy:
    """Exactly what answers now: for attacks on the network, nobody need have pinned it before."""
    vault = verify_any_cluster(asyncio.run(fetch_evidence(url)), "vault")
    nobody = RolePolicy(
        clusters=[], config=[], sgx=None, tdx=None, snp=None, nitro=None, insecure_software=None, releases=None
    )
    return msgspec.structs.replace(pin_exactly(vault, vault), authenticator=nobody)


def run_to_the_end(work: Coroutine[Any, Any, dict[str, list[Line]]]) -> dict[str, list[Line]]:
    """Whoever tells the kit to end meanwhile waits until it has put back what it attacked. Raises `Failure`,
    `typer.Exit`."""
    found: dict[str, list[Line]] = {}
    failed: list[str] = []
    try:
        found = asyncio.run(_until_told_to_end(work))
    except* SetUpFailed as group:
        failed += map(str, group.exceptions)
    except* DidNotStart as group:
        failed += (f"a server did not start: {error}" for error in group.exceptions)
    if failed:
        raise Failure(failed[0], "this is no verdict: the attacks could not be made", status=EXIT_FAILED)
    return found


async def _until_told_to_end(work: Coroutine[Any, Any, dict[str, list[Line]]]) -> dict[str, list[Line]]:
    """SIGTERM and SIGHUP end it as Ctrl-C does. Raises `typer.Exit`."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    told: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not told:
            told.append(number)
            say("ending: what was attacked is put back")
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # by nohup
            loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise typer.Exit(128 + told[0]) from None
        raise


def _tell(line: Line) -> None:
    if line.verdict is Verdict.NOT_RUN:
        return  # those are said together, at the end
    say(f"{line.verdict:<12} {line.attack} ({line.seconds:.1f} s)", "dim")


def _print(name: str, lines: Sequence[Line]) -> None:
    table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("attack", "what the host did", "noticed", "as documented"):
        table.add_column(heading, overflow="fold")
    not_run: dict[str, list[str]] = {}
    for line in lines:
        if line.verdict is Verdict.NOT_RUN:
            not_run.setdefault(line.reason, []).append(line.attack)
            continue
        verdict = Text(printable(_judged(line)), style=_STYLES[line.verdict])
        table.add_row(line.attack, line.act, _noticed(line), verdict)
    out = stdout()
    out.print(table)
    for reason, names in not_run.items():
        out.print(
            Text(printable(f"not run ({len(names)}): {', '.join(names)}: {reason}"), style="dim"), soft_wrap=False
        )
    out.print()


def _noticed(line: Line) -> str:
    if line.seen is None:
        return ""
    if line.seen.harmless:
        return f"no effect: {line.seen.said}"
    return f"{line.seen.who}, {line.seen.when}"


def _judged(line: Line) -> str:
    match line.verdict:
        case Verdict.FAIL:
            return f"FAIL: {line.promise} ({line.seen.said if line.seen else line.reason})"
        case Verdict.NOT_PROMISED:
            return f"not promised: {line.promise.why}"
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
