"""What `backup`, `restore` and `verify-backup` have in common."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from strongroom.cli.audit_sources import accepted_clusters, read_note
from strongroom.cli.backup_check import Verdict, check_backup
from strongroom.cli.settings import Settings
from strongroom.cli.terminal import EXIT_FAILED, EXIT_MISUSE, EXIT_UNAVAILABLE, EXIT_UNTRUSTED, Failure, say, stderr
from strongroom.client.audit.sources import CHECKPOINT
from strongroom.client.transport import Transport
from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.backup.file import Damaged, read_manifest
from strongroom.host.backup.notes import BackupNote, DrillNote, RestoreNote, VerifyNote, write_note
from strongroom.host.store.port import CannotOpen, WrongDatabase
from strongroom.protocol.limits import MAX_CHECKPOINT

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data directory of the instance, as `serve` has it.")
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql://… where the rows are not in the directory. [default: $STRONGROOM_DATABASE]",
    ),
]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint", metavar="FILE", help="A signed checkpoint that is known from elsewhere; may be repeated."
    ),
]
Front = Annotated[
    str | None, typer.Option("--url", "--vault", metavar="URL", help="A running Vault, for its newest checkpoint.")
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="ID", help="The cluster that it must be of (64 hex digits).")
]


def clusters_named(cluster: str | None, trust: Path | None, role: str) -> Collection[bytes] | None:
    """Ids of the clusters that somebody named; None: nobody did. Raises `Failure`."""
    if cluster is None and trust is None:
        return None
    if cluster is None and trust is not None and role == "authenticator":
        from strongroom.client.files import load_trust

        return set(load_trust(trust).authenticator.clusters)
    return accepted_clusters(cluster, trust, Settings())


async def known_checkpoints(files: Sequence[Path] | None, url: str | None, role: str) -> list[bytes]:
    """Signed checkpoints from files and from a running Vault, for a backup of a `role`. Raises `Failure`,
    `Unavailable`."""
    if role == "authenticator" and (files or url is not None):
        raise Failure("this backup is an Authenticator's, which has no log", "leave --checkpoint and --url out")
    known = [read_note(file) for file in files or []]
    if url is not None:
        known.append(await fetch_checkpoint(url))
    return known


async def fetch_checkpoint(url: str) -> bytes:
    """The newest one of a running Vault. Raises `Failure`, `Unavailable`."""
    transport = Transport(url)
    try:
        note = await transport.log(CHECKPOINT, MAX_CHECKPOINT)
    finally:
        await transport.aclose()
    if note is None:
        raise Failure(f"{url} shows no log", "name a Vault; of an Authenticator leave --url out")
    return note


@contextmanager
def failures() -> Iterator[None]:
    """What can go wrong with backups, in the words of the command line."""
    try:
        yield
    except Damaged as error:
        raise Failure(str(error), error.hint, status=EXIT_UNTRUSTED) from None
    except CannotBackUp as error:
        raise Failure(str(error), error.hint, status=EXIT_FAILED) from None
    except WrongDatabase as error:
        raise Failure(str(error), error.hint, status=EXIT_MISUSE) from None
    except CannotOpen as error:
        raise Failure(str(error), error.hint, status=EXIT_UNAVAILABLE) from None


def remember(data: Path | None, note: BackupNote | VerifyNote | RestoreNote | DrillNote) -> None:
    """For the status page. What was done is done also where this fails."""
    if data is None:
        return
    try:
        write_note(data, note)
    except OSError as error:
        say(f"not noted for the status page: can't write in {data}: {error.strerror}", "yellow")


async def verdict_on(
    file: Path, checkpoint: list[Path] | None, url: str | None, cluster: str | None, trust: Path | None
) -> Verdict:
    """All checks of a backup, beside whatever was named to compare it with. Raises `Failure` and as `check_backup`."""
    role = read_manifest(file).role
    known = await known_checkpoints(checkpoint, url, role)
    clusters = clusters_named(cluster, trust, role)
    with watching() as watch:
        return await check_backup(file, now=int(time.time()), clusters=clusters, known=known, watch=watch)


@contextmanager
def watching() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Bars on a terminal: given a word for what is counted, who is told how many are done, of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=stderr(), transient=True, disable=not sys.stderr.isatty()))

        def watch(what: str) -> Callable[[int, int], None]:
            task = bar.add_task(what, total=None)
            return lambda done, of: bar.update(task, completed=done, total=of or None)

        yield watch
