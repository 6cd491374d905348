"""`strongroom status`: how a server stands, for people and for whatever watches over servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli import options
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import (
    EXIT_UNAVAILABLE,
    Failure,
    bold_capitals,
    exit_status,
    named,
    notice,
    printable,
    result_json,
    say,
    stdout,
)
from strongroom.client.errors import Unreachable
from strongroom.client.explanation import shown_utc
from strongroom.client.files import load_trust
from strongroom.client.status import HostSaid, NoteSaid, Reported, attested_status, reported_status
from strongroom.host.front.words import given_up, missing, state_words, waited_for
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.status import InstanceStatus, Status

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="A Vault or an Authenticator.")]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        "--trust",
        metavar="FILE",
        help="Trust policy by which the enclave must be the right one. [default: that of strongroom.toml; without one, "
        "the host's word]",
    ),
]
HostOption = Annotated[
    bool, typer.Option("--host", help="The host's word alone, also where strongroom.toml names a trust policy.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit status says it.")]

STATES: Final = {
    "serving": 0,
    "starting": 20,
    "standing-by": 21,
    "joining": 22,
    "founding": 23,
    "recovering": 24,
    "gap": 25,
    "drilling": 26,
    "drilled": 27,
}
"""Exit status by state."""
_YEAR_10000: Final = 253_402_300_800
_HOST_WORD: Final = "this is the host's word, and nothing of it is proven: name a trust policy with --policy"


def status(
    url: UrlArgument,
    policy: PolicyOption = None,
    host: HostOption = False,
    config: options.Config = None,
    as_json: options.AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Show how a server stands, and what comes next.

    With a trust policy the enclave says so itself, in a session with the program that the policy accepts. Without one,
    or with --host, it is what the host says.

    Exit status: 0 serving, 20 starting, 21 standing by, 22 joining, 23 founding, 24 recovering, 25 recovered and
    waiting for custodians, 26 a drill that waits for shares, 27 a drill that is done; 10 or 11 not the enclave that
    the policy accepts, 12 no answer.
    """
    if host and policy is not None:
        raise Failure("--host goes by no trust policy", "leave one of the two out")
    if quiet:
        code = _quietly(url, policy, config, host)
    else:
        file = None if host else policy or load_settings(config).trust
        code = _shown(url, file, as_json)
    if code:
        raise typer.Exit(code)


def _quietly(url: str, policy: Path | None, config: Path | None, host: bool) -> int:
    """The exit status, also of what went wrong: somebody's script asks every minute."""
    try:
        file = None if host else policy or load_settings(config, _unsaid).trust
        state, _, _ = asyncio.run(_ask(url, load_trust(file) if file else None, _unsaid))
    except StrongroomError as error:
        return exit_status(error)
    except Failure as error:
        return error.status
    return STATES.get(state, EXIT_UNAVAILABLE)


def _shown(url: str, file: Path | None, as_json: bool) -> int:
    trust = load_trust(file) if file else None
    state, found, said = asyncio.run(_ask(url, trust, notice))
    if as_json:
        result_json(
            {
                "url": url,
                "attested": trust is not None,
                "state": state,
                "status": msgspec.to_builtins(found),
                "host": msgspec.to_builtins(said),
            }
        )
    else:
        _show(state, found, said)
        say(f"said by the enclave itself, accepted by {file}" if trust is not None else _HOST_WORD, "dim")
    return STATES.get(state, EXIT_UNAVAILABLE)


async def _ask(
    url: str, trust: TrustPolicy | None, tell: Callable[[str], None]
) -> tuple[str, Status | None, HostSaid | None]:
    """State, and what is said of it: by the enclave if `trust` accepts it, without one by the host."""
    if trust is None:
        said = await reported_status(url)
        return said.untrusted_state, said.untrusted_status, said.untrusted_host
    found = await attested_status(url, trust, notice=tell)
    # Of backups and databases no enclave knows.
    beside = await _reported(url)
    return found.state, found, beside.untrusted_host if beside is not None else None


def _unsaid(text: str) -> None:
    """Of what --quiet asks not to be told."""


async def _reported(url: str) -> Reported | None:
    """What the host says beside; nothing where it says nothing, since that is no part of what was asked."""
    try:
        return await reported_status(url)
    except (StrongroomError, Unreachable):
        return None


def _show(state: str, found: Status | None, host: HostSaid | None) -> None:
    words, console = state_words(state, found), stdout()
    console.print(Text(words.title, style="bold green" if state == "serving" else "bold yellow"))
    console.print(printable(words.meaning))
    if words.then:
        console.print(Text.assemble(("next: ", "bold"), printable(words.then.replace("`", ""))))
    if found is not None:
        if found.development:
            console.print(bold_capitals("a DEVELOPMENT cluster: whoever runs its machine can read everything"))
        for name, value in _facts(found):
            console.print(named(name, value))
        _show_instances(found)
        _show_releases(found)
    for name, value in _of_host(host) if host is not None else ():
        console.print(named(name, value))


def _facts(found: Status) -> Iterator[tuple[str, str]]:
    yield "role", found.role
    yield "cluster", found.cluster or "none yet"
    yield "program", found.build
    yield "started", _when(found.started)
    if found.custodians:
        names = ", ".join(seat.name for seat in found.custodians)
        yield "custodians", f"{found.threshold} of {len(found.custodians)}: {names} (council {found.council})"
    if found.state in ("recovering", "gap", "drilling"):
        yield "waited for", ", ".join(missing(found.custodians)) or "nobody"
    if found.pending:
        yield "new council", f"waits for {', '.join(waited_for(found.pending, found.endorsements)) or 'nobody'}"
    if found.approvals:
        yield "approvers", f"{found.approvals} for a release"
    yield "recoveries", str(found.recoveries)
    if found.gap is not None:
        yield "given up", given_up(found.gap)
    if found.epochs is not None:
        kept = ", ".join(map(str, found.epochs.kept))
        progress = f"; {found.epochs.resealed:,} of about {found.epochs.rows:,} rows looked at"
        yield "epoch", f"{found.epochs.current} (kept: {kept}{progress if len(found.epochs.kept) > 1 else ''})"
    if found.log_size:
        yield "log", f"{found.log_size:,} lines, generation {found.generation}"
    if found.witnesses:
        seen = _when(found.witnessed) if found.witnessed else "not yet"
        yield "witnesses", f"{found.cosignatures} of {found.witnesses}; seen {seen}"


def _show_instances(found: Status) -> None:
    rows = [
        (f"{_machine(one)}{' (this one)' if one.own else ''}", one.measurement, _when(one.since))
        for one in found.instances
    ]
    _print_table(("MACHINE", "PROGRAM", "SINCE"), rows)


def _machine(instance: InstanceStatus) -> str:
    """Its label, without the digest that stands beside it."""
    return instance.label.replace(f", program {instance.measurement}", "") if instance.measurement else instance.label


def _show_releases(found: Status) -> None:
    rows = [
        (one.version, str(one.svn), one.kind, one.measurement, "yes" if one.admitted else "no")
        for one in found.releases
    ]
    _print_table(("RELEASE", "SVN", "PLATFORM", "PROGRAM", "MAY HAVE THE RING"), rows)


def _print_table(names: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout().print(table)


def _of_host(host: HostSaid) -> Iterator[tuple[str, str]]:
    """Always the host's word."""
    yield "host", f"version {host.version}, up {host.uptime:,} s"
    yield "database", f"{host.engine}: {host.where}" if host.engine else "unknown"
    if host.lease is not None:
        yield "written by", "this instance" if host.lease.held else host.lease.holder or "another instance"
    yield "backup", _note(host.backup)
    verdict = "" if host.verify is None or host.verify.holds else ", DOES NOT HOLD"
    yield "verified", _note(host.verify) + verdict
    yield "drill", _note(host.drill)


def _note(note: NoteSaid | None) -> str:
    return "none yet: docs/howto/backup.md" if note is None else f"{_when(note.at)} ({note.path})"


def _when(at: int) -> str:
    """A time that somebody else says, however absurd."""
    return shown_utc(at) if 0 <= at < _YEAR_10000 else f"(unix time {at})"
