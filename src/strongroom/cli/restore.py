"""`strongroom restore`: puts a backup back where there is nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli import options
from strongroom.cli.backup_check import Verdict
from strongroom.cli.backups import (
    Checkpoints,
    Cluster,
    Database,
    Front,
    failures,
    remember,
    verdict_on,
    watching,
)
from strongroom.cli.databases import database_url
from strongroom.cli.listening import failure_of
from strongroom.cli.terminal import named, result_json, say, stdout
from strongroom.cli.verify_backup import failed, print_verdict
from strongroom.client.audit.report import shown_time
from strongroom.host.backup.making import Tally
from strongroom.host.backup.notes import RestoreNote
from strongroom.host.backup.restoring import restore_database, restore_file, verify_vacant
from strongroom.host.instance import CannotServe, locked

File = Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", show_default=False)]
Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The data directory of the instance to be; made if absent.")
]


def restore(
    file: File,
    data: Data,
    database: Database = None,
    checkpoint: Checkpoints = None,
    url: Front = None,
    cluster: Cluster = None,
    trust: options.Trust = None,
    as_json: options.AsJson = False,
) -> None:
    """Put a backup into an empty data directory, or an empty database that belongs to it.

    It is verified first, always (`verify-backup`). All of it is there or nothing. Then `serve` goes on with it on the
    machine that it came from; on another machine custodians have to open its key ring first (`serve --recover`).

    Exit status: 0 it is there and durable, 1 it is not, 11 the backup does not hold, 12 the database does not answer.
    """
    database = database_url(database)
    with failures():
        try:
            with locked(data, what="instance", hint="stop it, or name another directory"):
                verify_vacant(data)
                verdict = asyncio.run(verdict_on(file, checkpoint, url, cluster, trust))
                if verdict.failed:
                    if not as_json:
                        print_verdict(verdict)
                    raise failed(file, verdict)
                tally = asyncio.run(_restored(file, data, database))
                manifest = verdict.manifest
                remember(data, RestoreNote(int(time.time()), str(file.absolute()), manifest.at, verdict.log_size))
        except CannotServe as error:
            raise failure_of(error) from None
    if as_json:
        result_json(
            {
                "role": manifest.role,
                "cluster": manifest.cluster,
                "made": manifest.at,
                "rows": tally.rows,
                "log_size": manifest.log_size,
                "behind": verdict.behind,
                "next": next_steps(verdict, data, database),
            }
        )
        return
    out = stdout()
    out.print(f"restored {manifest.role} {manifest.cluster}", style="bold green")
    for name, value in (
        ("into", str(data) if database is None else f"{data} and the database that was named"),
        ("as of", shown_time(manifest.at)),
        ("holds", f"{tally.rows:,} rows, {manifest.log_size:,} leaves of the log"),
    ):
        out.print(named(name, value))
    for line in next_steps(verdict, data, database):
        say(line)


async def _restored(file: Path, data: Path, database: str | None) -> Tally:
    with watching() as watch:
        progress = watch("rows restored")
        if database is None:
            return await restore_file(file, data, progress)
        return await restore_database(file, database, data, progress)


def next_steps(verdict: Verdict, data: Path, database: str | None) -> list[str]:
    """What an operator does now, a line each."""
    manifest, custody = verdict.manifest, verdict.whose
    serve = f"strongroom serve {manifest.role} --data {data}" + ("" if database is None else " --database …")
    lines = ["owner.key is not in a backup: bring it along if this instance is to make namespaces"]
    machines = ", ".join(machine.label for machine in custody.machines) or "no machine"
    lines.append(f"on a machine that opens its ring ({machines}): {serve}")
    if not custody.founding.development:
        lines.append(f"on any other: {serve} --recover, and then {custody.who_recovers} (docs/howto/recovery.md)")
    if verdict.behind:
        lines.append(
            f"this is a ROLLBACK by {verdict.behind} leaves: witnesses and clients who know more refuse it until "
            "custodians sign the gap (serve --recover)"
        )
    elif custody.founding.role == "vault":
        lines.append(
            "if anything was served after the backup was made, this is a ROLLBACK: clients notice, and with witnesses "
            "it serves only after --recover and the custodians' signature on the gap"
        )
    return lines
