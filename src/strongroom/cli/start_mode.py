"""How `serve` begins where a ring does not simply open: founded by people, given by a member, or recovered."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from strongroom.cli import terminal
from strongroom.cli.terminal import Failure, printable, say
from strongroom.client.urls import verify_url
from strongroom.host.supervisor.serve import Role, Waiting
from strongroom.host.supervisor.standby import means_all
from strongroom.protocol.link import Mode

Found = Annotated[
    bool,
    typer.Option(
        "--found",
        help="On a new database wait until a cluster with named custodians is founded (`cluster init`), instead of "
        "making one for development. Once there is a cluster, it is served.",
    ),
]
Join = Annotated[
    str | None,
    typer.Option(
        "--join",
        metavar="URL",
        help="Have the instance that serves at URL give its key ring to this one, which the cluster's owner must have "
        "invited and its approvers released. A Vault then stands by for that one's database, named with the same "
        "--database or --data.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ID", help="With --join: the cluster to join. [default: the one that URL shows]"),
]
Recover = Annotated[
    bool, typer.Option("--recover", help="Wait for custodians to open the key ring, where it does not open by itself.")
]
Drill = Annotated[
    bool,
    typer.Option(
        "--drill",
        help="Let custodians try out whether their shares open this copy, as --recover does. It never serves, asks no "
        "witnesses and writes nothing; custodians are shown that.",
    ),
]
Advertise = Annotated[
    str | None,
    typer.Option(
        "--advertise",
        metavar="URL",
        help="Where other instances of this cluster reach this one. [default: the address that it listens on, unless "
        "that means all]",
    ),
]

_NEXT: Final[dict[Waiting, str]] = {
    "founding": "strongroom cluster init {url} --role {role} --owner-key {owner} "
    "--custodian NAME=age1... --threshold M --out DIR",
    "recovering": "strongroom recover status {url} --role {role}",
    "drilling": "strongroom recover status {url} --role {role}",
    "standing-by": "",
}
_FOR: Final[dict[Waiting, str]] = {
    "founding": "it waits for its owner to name custodians; nothing is stored before all of them have accepted",
    "recovering": "it waits for custodians to submit their shares",
    "drilling": "a DRILL: it waits for custodians to submit their shares, and never serves",
    "standing-by": "it has the key ring, passes requests on, and takes over when the one that serves has gone",
}


class StartMode(NamedTuple):
    """What of `Start` the command line says."""

    mode: Mode
    peer: str
    cluster: bytes
    """Empty: that which `peer` shows."""
    invitation: Path | None = None
    """None: the owner's key makes one."""


def start_mode(
    found: bool,
    join: str | None,
    recover: bool,
    cluster: str | None,
    invitation: Path | None = None,
    *,
    drill: bool = False,
) -> StartMode:
    """Raises `Failure`."""
    if found + recover + drill + (join is not None) > 1:
        raise Failure("--found, --join, --recover and --drill are four ways to begin", "name one of them")
    if cluster is not None and join is None:
        raise Failure("--cluster goes with --join", "leave it out, or say whom to join")
    if invitation is not None and join is None:
        raise Failure("--invitation goes with --join", "leave it out, or say whom to join")
    if cluster is not None and not re.fullmatch("[0-9a-f]{64}", cluster):
        raise Failure(f"{printable(cluster)} is not the id of a cluster", "give the 64 hex digits that `serve` prints")
    if join is not None:
        return StartMode("join", verify_url(join), bytes.fromhex(cluster or ""), invitation)
    return StartMode("found" if found else "recover" if recover else "drill" if drill else "open", "", b"")


def advertised(url: str | None) -> str | None:
    """Raises `Failure` and `BadInput`."""
    if url is not None and means_all(url):
        raise Failure(f"nobody can call {printable(url)}: it means all addresses", "--advertise one of this machine's")
    return None if url is None else verify_url(url)


def tell_waiting(role: Role, waiting: Waiting, url: str, owner: str, as_json: bool, accepting: str = "") -> None:
    """What an instance waits for, and which command comes next; `accepting`: by which option that takes this one."""
    command = _NEXT[waiting].format(url=url, role=role, owner=owner)
    if command and accepting:
        command += f" {accepting}"
    if as_json:
        terminal.result_json({"role": role, "state": waiting, "url": url, "next": command})
        sys.stdout.flush()
        return
    out = terminal.stdout()
    out.print(f"{role} {waiting.replace('-', ' ')}", style="bold yellow")
    out.print(f"  {'url':<12} {printable(url)}", soft_wrap=True)
    say(_FOR[waiting], "dim")
    if command:
        out.print(f"  {'next':<12} {printable(command)}", soft_wrap=True)
