"""`strongroom audit`: check a Vault's whole log, and a database against it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from strongroom.cli import options
from strongroom.cli.audit_charter import fetch_charter
from strongroom.cli.audit_export import export
from strongroom.cli.audit_sources import (
    Named,
    Opened,
    accepted_clusters,
    newest_checkpoint,
    opened,
    read_charter_file,
    read_genesis,
    read_note,
)
from strongroom.cli.evidence import print_steps, steps_json
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, named, printable, result_json, say, stderr, stdout
from strongroom.client.audit.log import Audit, Founding, Shows, Watcher, found
from strongroom.client.audit.report import Check, Facts, Report, State, shown_time
from strongroom.client.audit.rows import KeptHashes, audit_rows
from strongroom.client.audit.sources import HttpLog, SavedLog
from strongroom.client.audit.tiles import HashTile
from strongroom.client.checkpoints import KeptCheckpoints
from strongroom.client.freshness import explain_attack
from strongroom.client.state import state_folder
from strongroom.host.store.postgres_url import names_password
from strongroom.protocol.errors import Untrusted

_EVENTS: Final = 20
"""Lines about the key ring that are shown."""
_STYLES: Final[dict[State, str]] = {
    "holds": "green",
    "fails": "bold red",
    "noticed": "bold yellow",
    "not checked": "dim",
}
_OTHERS: Final[dict[State, tuple[str, str]]] = {
    "fails": ("fails", "fail"),
    "noticed": ("has something to notice", "have something to notice"),
    "not checked": ("was not made", "were not made"),
}
"""In the last line: of one check, and of several."""

app = typer.Typer(invoke_without_command=True)
app.command("export")(export)

Url = Annotated[
    str | None,
    typer.Option("--url", "--vault", metavar="URL", help="A running Vault. [default: as strongroom.toml says]"),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="PATH|URL",
        help="A database or a copy of one, which is only read: a file, a data directory, or postgresql://…",
    ),
]
Directory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="A log that --save wrote.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="The newest signed checkpoint, for a database, which has none."),
]
Since = Annotated[
    list[Path] | None,
    typer.Option("--since", metavar="FILE", help="An earlier checkpoint that the log must extend; may be repeated."),
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="ID", help="The cluster. [default: those of the trust policy]")
]
GenesisFile = Annotated[
    Path | None,
    typer.Option("--genesis", metavar="FILE", help="The genesis statement. [default: the one that the source has]"),
]
CharterFile = Annotated[
    Path | None,
    typer.Option(
        "--charter",
        metavar="FILE",
        help="Who governs the cluster, as `cluster charter --out` wrote it. [default: what the source has]",
    ),
]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="DIR", help="Write what was read: tiles that any web server can show.")
]
EvidenceFile = Annotated[
    Path | None,
    typer.Option(
        "--evidence", metavar="FILE", help="Verify and explain what a client saved when it noticed an attack."
    ),
]


@app.callback()
def audit(
    context: typer.Context,
    url: Url = None,
    database: Database = None,
    directory: Directory = None,
    checkpoint: Checkpoint = None,
    since: Since = None,
    cluster: Cluster = None,
    trust: options.Trust = None,
    genesis: GenesisFile = None,
    charter: CharterFile = None,
    save: Save = None,
    evidence: EvidenceFile = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a Vault's whole log, and a database against it.

    Reads every leaf and believes nobody: the cluster id, which you have from elsewhere, fixes the key that signs the
    log. With a database also every row is compared with what the log says was there last.

    Exit status: 0 all that was checked holds, 11 something does not, 12 no answer.
    """
    if context.invoked_subcommand is not None:
        return
    if evidence is not None:
        _explain(evidence, as_json)
        return
    settings = load_settings(config)
    if database is not None and names_password(database):
        raise Failure(
            "--database: whoever lists the processes of this machine would read the password",
            "leave it out, and have it in PGPASSWORD or ~/.pgpass",
        )
    source = Named(url, database, directory).or_configured(settings)
    clusters = accepted_clusters(cluster, trust, settings)
    report = asyncio.run(
        _audit(
            source,
            clusters=list(clusters),
            note=None if checkpoint is None else read_note(checkpoint),
            since=[read_note(one) for one in since or []],
            genesis=None if genesis is None else read_genesis(genesis),
            charter=None if charter is None else read_charter_file(charter),
            save=save,
        )
    )
    if as_json:
        result_json(_as_json(report))
    else:
        print_report(stdout(), report)
    if report.failed:
        names = ", ".join(check.name for check in report.failed)
        raise Failure(
            f"the log does not hold: {names}",
            "keep what you audited (--save DIR), and the checkpoint; tell who runs this Vault, and who else uses it",
            status=EXIT_UNTRUSTED,
        )


async def _audit(
    source: Named,
    *,
    clusters: Sequence[bytes],
    note: bytes | None,
    since: Sequence[bytes],
    genesis: bytes | None,
    charter: bytes | None,
    save: Path | None,
) -> Report:
    async with opened(source) as there:
        statement = genesis or there.genesis
        if statement is None:
            raise Failure("the source has no genesis statement", "give --genesis FILE")
        try:
            founding = found(statement, clusters, charter or there.charter)
        except Untrusted as error:
            wrong = Check("cluster", "the genesis statement is that of the cluster")
            wrong.fail(error.reason)
            return Report(clusters[0] if clusters else b"", Facts(), [wrong])
        note = note or await newest_checkpoint(there.log, founding)
        if charter is None:
            charter = there.charter
            if source.url is not None:
                # Once more: it may have changed before the checkpoint was signed.
                charter = await fetch_charter(source.url) or charter
        founding = found(statement, clusters, charter)
        # A copy may well be older than what was seen; a Vault may not.
        seen = _kept(founding) if source.url is not None else []
        return await _look(there, founding, note, charter, [*since, *seen], save)


async def _look(
    there: Opened,
    founding: Founding,
    note: bytes | None,
    charter: bytes | None,
    since: Sequence[bytes],
    save: Path | None,
) -> Report:
    watchers: list[Watcher] = []
    kept = None if there.snapshot is None else KeptHashes(there.snapshot)
    if kept is not None:
        watchers.append(kept)
    now = int(time.time())
    shows: Shows = "running" if isinstance(there.log, HttpLog) else "copy"
    with _saving(save, founding, note, charter) as saved:
        if saved is not None:
            watchers.append(_Saving(saved))
        with _progress("leaves") as progress:
            looking = Audit(founding, now=now, charter=charter, shows=shows, progress=progress)
            report = await looking.run(there.log, note=note, since=since, watchers=watchers)
        if saved is not None and note is not None:
            if report.failed:
                say(f"saved apart, in {saved.set_apart(note, since, now)}: what was shown, and the checkpoints")
            else:
                saved.finish(note)
                say(f"saved to {save}")
    if kept is not None and there.snapshot is not None:
        report.checks.append(kept.check)
        with _progress("rows") as progress:
            report.checks += await audit_rows(there.snapshot, looking.last, report.facts, progress)
    return report


@contextmanager
def _saving(
    save: Path | None, founding: Founding, note: bytes | None, charter: bytes | None
) -> Iterator[SavedLog | None]:
    if save is None:
        yield None
        return
    if note is None:
        raise Failure("a log without its signed checkpoint is not saved", "give --checkpoint FILE")
    saved = SavedLog(save, founding.genesis, charter)
    try:
        yield saved
    finally:
        saved.discard()


class _Saving:
    """Writes as an audit reads."""

    def __init__(self, log: SavedLog) -> None:
        self.log = log

    def leaves(self, first: int, leaves: list[bytes]) -> None:
        self.log.leaves(first, leaves)

    async def hashes(self, tile: HashTile) -> None:
        self.log.hashes(tile)


def _kept(founding: Founding) -> list[bytes]:
    """What this user's own programs have seen of the log before, of each of its generations."""
    kept = KeptCheckpoints(state_folder() / "checkpoints")
    generations = sorted(kept.generations(founding.cluster))
    notes = [kept.highest(founding.of(generation).log.name) for generation in generations]
    return [note for note in notes if note is not None]


def _explain(file: Path, as_json: bool) -> None:
    try:
        steps = explain_attack(file)
    except Untrusted as error:
        raise Failure(
            f"{file}: {error.reason or 'it was altered'}; it proves nothing",
            "ask whoever saved it for the file as it was",
            status=EXIT_UNTRUSTED,
        ) from None
    if as_json:
        result_json({"steps": steps_json(steps)})
    else:
        print_steps(stdout(), steps)


def print_report(console: Console, report: Report) -> None:
    """The log in figures, then each check with what it found."""
    facts = report.facts
    for name, value in (
        ("cluster", report.cluster.hex()),
        ("leaves", f"{facts.size:,}: {facts.commits:,} commits, {facts.entries:,} entries of the access log"),
        ("starts", f"{facts.starts:,}"),
        ("first commit", shown_time(facts.first) if facts.commits else "none"),
        ("last commit", shown_time(facts.last) if facts.commits else "none"),
        ("root", facts.root.hex()),
    ):
        console.print(named(name, value))
    _print_life(console, facts)
    console.print()
    width = max(len(check.name) for check in report.checks) + 2
    for check in report.checks:
        line = Text.assemble((check.name.ljust(width), "bold"), (check.state.ljust(13), _STYLES[check.state]))
        line.append(check.promise + (f" ({check.count:,})" if check.count > 1 else ""))
        console.print(line)
        if check.detail and check.state != "fails":
            console.print(Text(f"  {printable(check.detail)}", style="dim"))
        for finding in check.findings:
            console.print(Text(f"  {printable(finding)}", style=_STYLES[check.state]))
        more = check.failures + check.notices - len(check.findings)
        if more:
            console.print(Text(f"  and {more:,} more", style=_STYLES[check.state]))
    console.print()
    console.print(closing_line(report.checks))


def _print_life(console: Console, facts: Facts) -> None:
    """What happened to the key ring, newest last."""
    if not facts.events:
        return
    console.print()
    console.print(Text("the key ring", style="bold"))
    shown = list(facts.newest)[-_EVENTS:]
    if more := facts.events - len(shown):
        console.print(Text(f"  {more:,} earlier lines: see --json or `audit export`", style="dim"))
    for event in shown:
        line = f"  {shown_time(event.at)}  {event.event.ljust(9)}  {event.number}"
        console.print(Text(f"{line}  {printable(event.text)}".rstrip()))


def closing_line(checks: Sequence[Check]) -> str:
    """How many checks hold, and the names of the others: what nobody looked at is no promise."""
    names: dict[State, list[str]] = {state: [] for state in _STYLES}
    for check in checks:
        names[check.state].append(check.name)
    holding = len(names["holds"])
    parts = [f"{holding} {'check holds' if holding == 1 else 'checks hold'}"]
    for state, (one, several) in _OTHERS.items():
        if found := names[state]:
            parts.append(f"{len(found)} {one if len(found) == 1 else several}: {', '.join(found)}")
    return ("; " if len(parts) > 2 else ", ").join(parts)


def _as_json(report: Report) -> dict[str, Any]:
    facts: dict[str, Any] = asdict(report.facts) | {"root": report.facts.root.hex()}
    del facts["newest"]
    facts["life"] = [asdict(event) | {"about": event.about.hex()} for event in report.facts.newest]
    return {
        "verdict": "fails" if report.failed else "holds",
        "cluster": report.cluster.hex(),
        "facts": facts,
        "checks": [asdict(check) | {"state": check.state} for check in report.checks],
    }


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
