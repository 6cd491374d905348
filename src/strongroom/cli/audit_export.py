"""`strongroom audit export`: the public facts of a log, for programs that watch it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TextIO

import typer

from strongroom.cli import options
from strongroom.cli.audit_sources import (
    Named,
    accepted_clusters,
    is_cosigned,
    newest_checkpoint,
    opened_tiles,
    read_genesis,
)
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import Failure, say
from strongroom.client.audit.export import SEALED, Export, Record, TiledLog
from strongroom.client.audit.log import Founding, found
from strongroom.client.audit.syslog import Syslog, Untaken
from strongroom.protocol.errors import Number, Unavailable

Url = Annotated[
    str | None,
    typer.Option("--url", "--vault", metavar="URL", help="A running Vault. [default: as strongroom.toml says]"),
]
Directory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="A log that `audit --save` wrote.")]
Format = Annotated[Literal["jsonl", "syslog"], typer.Option("--format", help="JSON lines, or RFC 5424.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="ADDRESS", help="Syslog collector: udp://HOST:514, tcp://HOST:601 or unix:/dev/log."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Add JSON lines to this file. [default: stdout]")
]
First = Annotated[int, typer.Option("--from", min=0, metavar="INDEX", help="First leaf that was not exported yet.")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on as the log grows, until interrupted.")]
Every = Annotated[str, typer.Option("--every", metavar="TIME", help="How often to look, with --follow: 10s, 5m.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="ID", help="The cluster. [default: those of the trust policy]")
]
GenesisFile = Annotated[
    Path | None,
    typer.Option("--genesis", metavar="FILE", help="The genesis statement. [default: the one that the source has]"),
]

Write = Callable[[Record], None]


def export(
    url: Url = None,
    directory: Directory = None,
    format_: Format = "jsonl",
    to: To = None,
    output: Output = None,
    first: First = 0,
    follow: Follow = False,
    every: Every = "5s",
    cluster: Cluster = None,
    trust: options.Trust = None,
    genesis: GenesisFile = None,
    config: options.Config = None,
) -> None:
    """Write the public facts of each leaf as JSON lines, or send them to a syslog collector.

    Nothing is written that no signed checkpoint covers. Who asked for what is sealed and not shown. At the end, and
    when something fails, it says from which leaf to go on.
    """
    if (format_ == "syslog") != (to is not None) or (to is not None and output is not None):
        raise Failure("--format syslog needs --to, and jsonl may have --output", "see strongroom audit export --help")
    seconds = _seconds(every)
    settings = load_settings(config)
    source = Named(url, None, directory).or_configured(settings)
    clusters = accepted_clusters(cluster, trust, settings)
    statement = None if genesis is None else read_genesis(genesis)
    say(SEALED, "dim")

    with _writing(to, output, first) as write:
        asyncio.run(_export(source, clusters, statement, first, seconds if follow else 0, write))


async def _export(
    source: Named, clusters: Collection[bytes], genesis: bytes | None, first: int, seconds: int, write: Write
) -> None:
    """Once, or every so many seconds."""
    async with opened_tiles(source) as (log, shown, charter):
        founding = found(genesis or shown or b"", clusters, charter)
        going = Export(founding, log, first)
        try:
            await _go_through(going, founding, log, write, patient=bool(seconds))
            while seconds:
                await asyncio.sleep(seconds)
                await _go_through(going, founding, log, write, patient=True)
        finally:
            _say_where(going.next)


async def _go_through(going: Export, founding: Founding, log: TiledLog, write: Write, *, patient: bool) -> None:
    """What is new. `patient`: a Vault that does not answer, or whose witnesses don't, is a reason to wait."""
    try:
        note = await newest_checkpoint(log, founding)
        if note is None or not is_cosigned(note, founding):
            raise Unavailable(Number.WITNESSES_UNAVAILABLE, "the newest checkpoint is not cosigned")
        async for record in going.up_to(note):
            write(record)
    except Unavailable as error:
        # A collector that is gone is no reason to wait: what it did not take would be lost.
        if not patient or isinstance(error, Untaken):
            raise
        say(error.error, "yellow")


def _say_where(leaf: int) -> None:
    say(f"go on with --from {leaf}", "dim")


@contextmanager
def _writing(to: str | None, output: Path | None, first: int) -> Iterator[Write]:
    if to is not None:
        try:
            collector = Syslog(to)
        except Untaken:
            _say_where(first)
            raise
        try:
            yield collector.send
        finally:
            collector.close()
    elif output is not None:
        try:
            file = output.open("a", encoding="ascii")
        except OSError as error:
            raise Failure(f"can't write {output}: {error.strerror}", "name another file") from None
        with file:
            yield lambda record: _print(record, file)
    else:
        yield lambda record: _print(record, sys.stdout)


def _print(record: Record, file: TextIO) -> None:
    print(json.dumps(record, ensure_ascii=True), file=file, flush=True)


def _seconds(text: str) -> int:
    return (
        int(text[:-1])
        if text.endswith("s") and text[:-1].isdecimal() and int(text[:-1])
        else options.seconds_of(text, "--every")
    )
