"""`strongroom verify-backup`: what can be said of a backup without any key."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from strongroom.cli import options
from strongroom.cli.audit import print_report
from strongroom.cli.backup_check import Verdict, verdict_json
from strongroom.cli.backups import (
    Checkpoints,
    Cluster,
    Data,
    Front,
    failures,
    remember,
    verdict_on,
)
from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.sessions import cluster_session
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, named, result_json, say, stdout
from strongroom.client.audit.report import Report, shown_time
from strongroom.client.cluster import role_policy
from strongroom.client.files import load_trust
from strongroom.client.recovery import explain_state, look
from strongroom.client.session import fetch_evidence
from strongroom.host.backup.notes import DrillNote, VerifyNote
from strongroom.protocol.evidence import parse_any_evidence

_DRILL: Final = "restore the backup on another machine, and open it there: `serve --drill`, `recover submit`"

File = Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", show_default=False)]
Drilled = Annotated[
    str | None,
    typer.Option(
        "--drilled",
        metavar="URL",
        help="An instance in another place, where custodians opened the ring of this backup: note the drill in --data.",
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
    can be read again only a drill shows: have custodians submit their shares in another place (`serve --drill`), then
    name that place with --drilled and --trust. What is started like that never serves.

    Exit status: 0 all that was checked holds, 11 something does not, 12 no answer.
    """
    with failures():
        verdict = asyncio.run(verdict_on(file, checkpoint, url, cluster, trust))
    holds = not verdict.failed
    now = int(time.time())
    remember(data, VerifyNote(now, str(file.absolute()), holds, verdict.manifest.at, verdict.log_size))
    drill, proven = None, ""
    if drilled is not None and holds:
        recoveries, proven = asyncio.run(_drilled(verdict, drilled, trust))
        drill = DrillNote(now, str(file.absolute()), verdict.manifest.at, verdict.log_size, recoveries)
    if as_json:
        result_json(verdict_json(verdict) | {"drilled": drill is not None})
    else:
        print_verdict(verdict)
    if not holds:
        raise failed(file, verdict)
    if drill is not None:
        remember(data, drill)
        say(f"drilled: {proven}", "green")


async def _drilled(verdict: Verdict, url: str, trust: Path | None) -> tuple[int, str]:
    """How often the ring of the backup was recovered, with the time that the instance at `url` proves, and what that is
    in words.

    Raises `Failure`, `Untrusted`, `Unavailable`.
    """
    evidence = await fetch_evidence(url)
    custody = verdict.whose
    claims = parse_any_evidence(evidence)[1]
    if claims.cluster_id != custody.cluster:
        raise Failure("that instance is of another cluster", "name one that was recovered from this backup")
    if claims.stage == "recovering":
        await _verify_opened(verdict, url, trust)
        return custody.charter.recoveries, "custodians opened the key ring of this very backup"
    # The cluster's key signs this evidence, and lies in the ring alone: so the ring is open there.
    recovered = verify_any_cluster(evidence, custody.founding.role).claims.recoveries
    if recovered <= custody.charter.recoveries:
        raise Failure(
            "that instance was not recovered since this backup was made: no custodian has proved anything", _DRILL
        )
    # The count tells no two copies apart that were recovered as often.
    return recovered, f"custodians recovered its cluster since, recovery {recovered}; from which copy is not proven"


async def _verify_opened(verdict: Verdict, url: str, trust: Path | None) -> None:
    """An enclave that drills says that M shares have opened the ring, and that the log of its copy is of that ring: one
    that a policy accepts is believed. Raises `Failure`, `Untrusted`, `Unavailable`."""
    if trust is None:
        raise Failure("that instance does not serve", "give --trust, to believe what it says of the shares")
    role, custody = verdict.whose.founding.role, verdict.whose
    policy = role_policy(load_trust(trust), role)
    async with cluster_session(url, role=role, policy=policy, stage="recovering") as session:
        found = await look(session)
    if not found.attempt.drill:
        raise Failure(
            "that is no drill: an enclave that recovers is about to serve this copy",
            "end it, unless the cluster is lost; a drill is started with --drill",
        )
    another = Failure("that instance has another state of this cluster", "name one that has this backup")
    if found.attempt.ring != custody.digest:
        raise another
    if found.status.state != "drilled":
        raise Failure(f"no ring was opened there: {explain_state(found.status)}", _DRILL)
    if found.status.log_size != verdict.log_size:
        # Of two days on which the ring did not change.
        raise another


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
