"""`strongroom verify-backup`: what can be said of a backup without any key."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli import options
from strongroom.cli.audit import print_report
from strongroom.cli.backup_check import Verdict, check_backup, verdict_json
from strongroom.cli.backups import (
    Checkpoints,
    Cluster,
    Data,
    Front,
    clusters_named,
    failures,
    known_checkpoints,
    remember,
    watching,
)
from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, named, result_json, say, stdout
from strongroom.client.audit.report import Report, shown_time
from strongroom.client.session import fetch_evidence
from strongroom.host.backup.file import read_manifest
from strongroom.host.backup.notes import DrillNote, VerifyNote

File = Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", show_default=False)]
Drilled = Annotated[
    str | None,
    typer.Option(
        "--drilled",
        metavar="URL",
        help="An instance that custodians recovered from this backup in another place: note the drill in --data.",
    ),
]


def verify_backup(
    file: File,
    checkpoint: Checkpoints = None,
    url: Front = None,
    cluster: Cluster = None,
    trust: options.Trust = None,
    drilled: Drilled = None,
    data: Data = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a backup: whole, of one moment, as its log says, and who can bring it back.

    Needs no key. Every row is compared with the index, the index with the log, the log with its signed checkpoint, and
    the council with the founding of the cluster. With --checkpoint or --url it also says how old the backup is. That it
    can be read again only a drill shows: recover it in another place (`serve --recover`), then name that place.

    Exit status: 0 all that was checked holds, 11 something does not, 12 no answer.
    """
    with failures():
        verdict = asyncio.run(_verdict(file, checkpoint, url, cluster, trust))
    holds = not verdict.failed
    now = int(time.time())
    remember(data, VerifyNote(now, str(file.absolute()), holds, verdict.manifest.at, verdict.log_size))
    drill = _drill(file, verdict, asyncio.run(fetch_evidence(drilled)), now) if drilled is not None and holds else None
    if as_json:
        result_json(verdict_json(verdict) | {"drilled": drill is not None})
    else:
        print_verdict(verdict)
    if not holds:
        raise failed(file, verdict)
    if drill is not None:
        remember(data, drill)
        say(f"drilled: custodians brought it back, recovery {drill.recoveries} of that copy", "green")


async def _verdict(
    file: Path, checkpoint: list[Path] | None, url: str | None, cluster: str | None, trust: Path | None
) -> Verdict:
    known = await known_checkpoints(checkpoint, url)
    clusters = clusters_named(cluster, trust, read_manifest(file).role)
    with watching() as watch:
        return await check_backup(file, now=int(time.time()), clusters=clusters, known=known, watch=watch)


def _drill(file: Path, verdict: Verdict, untrusted_evidence: bytes, now: int) -> DrillNote:
    """What an instance shows that has this backup's ring, and had it from custodians. Raises `Failure`, `Untrusted`.

    The cluster's key signs evidence, and lies in the ring alone: so the ring is open there.
    """
    custody = verdict.whose
    claims = verify_any_cluster(untrusted_evidence, custody.founding.role, now).claims
    if claims.cluster_id != custody.cluster:
        raise Failure("that instance is of another cluster", "name one that was recovered from this backup")
    if claims.recoveries <= custody.charter.recoveries:
        raise Failure(
            "that instance was not recovered since this backup was made: no custodian has proved anything",
            "restore the backup on another machine, and recover there with `serve --recover`",
        )
    return DrillNote(now, str(file.absolute()), verdict.manifest.at, verdict.log_size, claims.recoveries)


def print_verdict(verdict: Verdict) -> None:
    """What the backup is, then each check."""
    out, manifest = stdout(), verdict.manifest
    based = manifest.based_on
    for name, value in (
        ("backup", f"of {shown_time(manifest.at)}, by version {manifest.made_by}, from {manifest.engine}"),
        ("kind", "full" if based is None else f"onto {based.name} of {shown_time(based.at)}"),
        ("role", manifest.role),
        ("rows", f"{manifest.rows:,}"),
    ):
        out.print(named(name, value))
    custody = verdict.custody
    if custody is not None:
        out.print(named("recoverable by", custody.who_recovers))
        for machine in custody.machines:
            out.print(named("opened by", f"{machine.label}, since {shown_time(machine.since)}"))
    print_report(out, Report(b"" if custody is None else custody.cluster, verdict.facts, verdict.checks))


def failed(file: Path, verdict: Verdict) -> Failure:
    """A verdict that is no."""
    names = ", ".join(check.name for check in verdict.failed)
    return Failure(
        f"{file} does not hold: {names}",
        "do not rely on it: take another backup, and keep this one if somebody may have altered it",
        status=EXIT_UNTRUSTED,
    )
