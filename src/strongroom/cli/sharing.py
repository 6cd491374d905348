"""What the commands of `strongroom share` have in common: the site and its approval, times, sizes, progress, people."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from strongroom.cli.files import read_input
from strongroom.cli.providers import fetch_site
from strongroom.cli.settings import Settings, needed
from strongroom.cli.terminal import (
    EXIT_REFUSED,
    EXIT_UNTRUSTED,
    Failure,
    confirm,
    named,
    printable,
    stderr,
    stdout,
)
from strongroom.client.results import LogEntry
from strongroom.client.share.access import Recipients, recipients_of
from strongroom.client.share.format import MAX_CARD, DeskEntry, parse_card
from strongroom.client.share.shares import DAY
from strongroom.client.share.site import Link, Site, SiteMethod, parse_link
from strongroom.protocol.errors import WORDS, Number, Refused
from strongroom.protocol.instructions import CodeMethod, DirectoryMethod, OidcMethod
from strongroom.protocol.messages import Person
from strongroom.protocol.vault_messages import Visit

Files = Annotated[list[Path], typer.Argument(metavar="FILES…", help="Files and folders.")]
LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="As you were given it: …/#/s/… or …/#/r/…")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="32 hex digits, as `share list` shows them, or the link.")
]
SiteUrl = Annotated[
    str | None, typer.Option("--site", metavar="URL", help="The site to send by, as https://share.example.com.")
]
StatementDigest = Annotated[
    str | None,
    typer.Option(
        "--statement",
        metavar="SHA256",
        help="Digest of the site's trust.json that you approve. [default: it is shown, and you are asked]",
    ),
]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="[default: name of the file]")]
Words = Annotated[str, typer.Option("--message", metavar="TEXT", help="A message; every user of this machine sees it.")]
WordsFile = Annotated[
    str | None, typer.Option("--message-file", metavar="FILE", help="The message from a file, - for standard input.")
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="For how long, as 36h, 14d or 4w. [default: the site's]")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="A group, as the provider writes it; may be repeated."),
]
Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--require-passkey",
        metavar="CARD",
        help="Ask for this passkey besides: the card that a recipient made on the site's page; may be repeated.",
    ),
]
Second = Annotated[
    str | None, typer.Option("--second", metavar="EMAIL", help="Somebody else who has to sign in beside the recipient.")
]
SecondPerson = Annotated[
    bool, typer.Option("--second-person", help="Have a second person sign in, too: some shares ask for two.")
]

_LIFE: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_LONG: Final = "shorten it: what is long goes as a file"
_WHOLE: Final = 100_000
"""Columns: more than any line has."""
_SECONDS: Final = {"h": 3600, "d": DAY, "w": 7 * DAY}


def approved_site(url: str | None, statement: str | None, settings: Settings) -> Site:
    """The site, whose statement the user has approved, before or now. Raises `Failure`, `Unreachable`, `Unreadable`.

    Without that, whoever answers at the address would say who "bob@example.com" is.
    """
    origin = needed(url, settings.site, "site")
    digest = statement or (settings.statement if url is None or url == settings.site else None)
    site = asyncio.run(fetch_site(origin))
    if digest is not None:
        if not re.fullmatch("[0-9a-fA-F]{64}", digest):
            raise Failure(f"{digest[:80]!r} is not the digest of a site's statement", "give 64 hex digits")
        if bytes.fromhex(digest) != site.digest:
            raise Failure(
                f"the statement of {origin} is not the one you approved, but {site.digest.hex()}",
                "ask its operator what changed; then give the new digest with --statement",
                status=EXIT_UNTRUSTED,
            )
        return site
    console = stderr()
    for name, value in (
        ("site", f"{site.name} ({site.origin})"),
        ("vault", site.vault),
        ("decided by", ", ".join(site.authenticators)),
        ("sign-in at", ", ".join(_who_signs_in(method) for method in site.methods)),
        ("statement", site.digest.hex()),
    ):
        console.print(named(name, value))
    confirm(
        "Do these providers decide who your recipients are?",
        hint=f"compare with the operator, then write site = {origin!r} and statement = {site.digest.hex()!r} "
        "into strongroom.toml, or give --statement",
    )
    return site


def _who_signs_in(method: SiteMethod) -> str:
    match method:
        case OidcMethod(public=provider):
            return provider.issuer
        case DirectoryMethod(public=directory):
            return f"the directory {directory.name} ({', '.join(method.servers)})"
        case CodeMethod(public=mail):
            return f"any mailbox, by codes from {mail.sender}"


def named_recipients(
    emails: list[str] | None, groups: list[str] | None, second: str | None, cards: list[Path] | None
) -> Recipients:
    """Raises `BadInput` and `Failure`."""
    hint = "name the file that the recipient made on the page"
    read = [
        parse_card(read_input(str(card), limit=MAX_CARD, what="the passkey card", too_large=hint))
        for card in cards or []
    ]
    return recipients_of(emails or [], groups or [], second, read)


def chosen_message(words: str, file: str | None) -> str:
    """The text of --message or --message-file. Raises `Failure`."""
    if file is None:
        return words
    if words:
        raise Failure("--message and --message-file exclude each other", "choose one")
    try:
        return read_input(file, limit=64 * 1024, what="the message", too_large=_LONG).decode()
    except UnicodeDecodeError:
        raise Failure("the message is not UTF-8 text", "save it as UTF-8") from None


def expiry(life: str | None, default_days: int) -> int:
    """Unix seconds. Raises `Failure`."""
    seconds = default_days * DAY
    if life is not None:
        found = _LIFE.fullmatch(life)
        if found is None:
            raise Failure(f"{life[:40]!r} is no length of time", "write it as 36h, 14d or 4w")
        seconds = int(found[1]) * _SECONDS[found[2]]
    return int(time.time()) + seconds


def record_of(text: str) -> bytes:
    """The record that an id or a link names. Raises `Failure` and `BadInput`."""
    if "/" in text:
        return parse_link(text).id
    if not re.fullmatch("[0-9a-fA-F]{32}", text):
        raise Failure(f"{text[:80]!r} is not the id of a share", "strongroom share list shows them")
    return bytes.fromhex(text)


def link_of(text: str, kind: str, instead: str) -> Link:
    """The link of a share, or of a request. Raises `BadInput` and `Failure`."""
    link = parse_link(text)
    if link.kind != kind:
        raise Failure(f"this is not the link of a {kind}", instead)
    return link


@contextmanager
def if_refused(error: str, hint: str) -> Iterator[None]:
    """Other words for a bare refusal, which the Vault does not explain. Raises `Failure`."""
    try:
        yield
    except Refused as refused:
        if refused.number is not Number.REFUSED:
            raise
        raise Failure(error, hint, status=EXIT_REFUSED) from None


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how far it is; what it gives is told the bytes done in all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(printable(what), total=total)
        yield lambda done: bar.update(task, completed=done)


def print_entries(entries: Sequence[DeskEntry]) -> None:
    """A line each: cut to the width of a terminal, whole elsewhere."""
    console = stdout()
    if not console.is_terminal:
        console.width = _WHOLE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ID", "WHAT", "TITLE", "FOR", "UNTIL", "STATE"):
        table.add_column(column, overflow="ellipsis", no_wrap=column not in ("TITLE", "FOR"))
    for entry in entries:
        people = ", ".join([*entry.recipients, *entry.groups])
        shown = (entry.id, entry.kind, entry.title, people, shown_time(entry.expires_at), entry.state)
        # A cell that may be narrowed would be folded, unless its text says otherwise.
        table.add_row(*(Text(printable(value), no_wrap=True, overflow="ellipsis") for value in shown))
    console.print(table)


def shown_time(at: int) -> str:
    """A time in this machine's zone; `never` for 0."""
    if not at:
        return "never"
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "beyond the calendar"


def shown_person(person: Person) -> str:
    """Verified address, or what the provider calls them."""
    return person.email or shown_principal(person.principal)


def shown_principal(principal: str) -> str:
    """What the provider calls somebody of whom no address is known."""
    return principal.partition(":")[2] or "nobody known"


def shown_outcome(visit: Visit | LogEntry) -> str:
    """What the Vault answered."""
    if not visit.outcome:
        return "OK"
    try:
        return WORDS[Number(visit.outcome)][0]
    except ValueError:
        return f"error {visit.outcome}"
