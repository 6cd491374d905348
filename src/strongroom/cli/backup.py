"""`strongroom backup`: a copy of a database, made while it serves."""

from __future__ import annotations

import asyncio
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from strongroom.cli import options
from strongroom.cli.backups import Data, Database, Front, failures, fetch_checkpoint, remember, watching
from strongroom.cli.databases import database_url
from strongroom.cli.terminal import Failure, named, result_json, say, stdout
from strongroom.client.audit.report import shown_time
from strongroom.client.custody import read_named
from strongroom.host.backup.making import Charter, Made, Order, make_backup
from strongroom.host.backup.notes import BackupNote
from strongroom.host.backup.sources import Source, SqliteSource
from strongroom.host.store.opening import ELSEWHERE, FILE
from strongroom.host.store.port import CannotOpen

_NICENESS: Final = 10
"""So much does a backup give way to what serves on the same machine."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]
Onto = Annotated[
    Path | None,
    typer.Option(
        "--onto",
        metavar="PREVIOUS",
        help="An earlier backup of the same cluster: only what has changed since is read. It is not changed.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")]


def backup(
    file: File,
    data: Data = None,
    database: Database = None,
    onto: Onto = None,
    url: Front = None,
    force: Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Copy the database of a Vault or an Authenticator into one file, while it serves.

    The file holds one moment, needs no key, and goes back into SQLite or PostgreSQL alike (`restore`). Nothing in it
    can be read without the key ring, which its machines and its custodians open. With --onto it is no less complete.

    Exit status: 0 it is there and durable, 1 it is not, 12 the database does not answer.
    """
    database = database_url(database)
    if data is None and database is None:
        raise Failure("nothing says which database", "give --data DIR, or --database URL")
    with failures():
        started = time.monotonic()
        made = asyncio.run(_made(file, data, database, onto, url, force))
        seconds = time.monotonic() - started
    manifest, tally = made.manifest, made.tally
    kind = "full" if manifest.based_on is None else "incremental"
    remember(
        data,
        BackupNote(manifest.at, str(file.absolute()), kind, made.bytes, manifest.rows, manifest.log_size),  # type: ignore[arg-type]
    )
    if as_json:
        result_json(
            {
                "file": str(file),
                "kind": kind,
                "role": manifest.role,
                "cluster": manifest.cluster,
                "at": manifest.at,
                "rows": manifest.rows,
                "log_size": manifest.log_size,
                "bytes": made.bytes,
                "read": {"rows": tally.rows, "leaves": tally.leaves, "bytes": tally.bytes},
                "seconds": round(seconds, 3),
            }
        )
        return
    out = stdout()
    out.print(f"{kind} backup of {manifest.role} {manifest.cluster}", style="bold green")
    for name, value in (
        ("file", f"{file}: {made.bytes:,} bytes"),
        ("as of", shown_time(manifest.at)),
        ("holds", f"{manifest.rows:,} rows, {manifest.log_size:,} leaves of the log"),
        ("read", f"{tally.rows:,} rows and {tally.leaves:,} leaves, {tally.bytes:,} bytes in {seconds:.1f} s"),
    ):
        out.print(named(name, value))
    say(f"check it where it is kept: strongroom verify-backup {file}", "dim")


async def _made(
    file: Path, data: Path | None, database: str | None, onto: Path | None, url: str | None, force: bool
) -> Made:
    # Before the moment that is copied: then the copy has all that the checkpoint covers.
    checkpoint = "" if url is None else (await fetch_checkpoint(url)).decode()
    os.nice(_NICENESS)
    source = await _opened(data, database)
    try:
        order = Order(
            target=file,
            if_there="replace" if force else "refuse",
            onto=onto,
            at=int(time.time()),
            checkpoint=checkpoint,
            made_by=version("strongroom"),
        )
        with watching() as watch:
            return await make_backup(source, order, _charter, watch("rows and leaves"))
    finally:
        await source.close()


async def _opened(data: Path | None, database: str | None) -> Source:
    """Raises `Failure`, `CannotOpen`, `Unavailable`."""
    if data is not None:
        _verify_belong(data, database)
    if database is not None:
        from strongroom.host.backup.postgres import PostgresSource  # a driver that SQLite does not need

        return await PostgresSource.open(database)
    path = (data or Path()) / FILE
    try:
        return SqliteSource(path)
    except OSError as error:
        raise CannotOpen(
            f"can't open {path}: {(error.strerror or '').lower()}", "name the data directory of `serve`"
        ) from None


def _verify_belong(data: Path, database: str | None) -> None:
    """Directory and database are of one instance, as for `serve`. Raises `Failure`."""
    if not data.is_dir():
        raise Failure(f"{data} is no data directory", "name the one that `serve` has")
    if database is not None and (data / FILE).exists():
        raise Failure(f"{data} holds a database itself ({FILE})", "leave --database out")
    if database is None and (data / ELSEWHERE).exists():
        raise Failure(f"the rows of {data} are in a database elsewhere", "name it with --database, as for `serve`")


def _charter(row: bytes) -> Charter:
    role, cluster = read_named(row)
    return Charter(role, cluster.hex())
