"""Invitations by a cluster's owner: without one a member gives its key ring to nobody (`protocol/invitations.py`).

Whoever has the file may use it until it expires, as often as he likes, and gets nothing by it but for a program that
the cluster's approvers have released.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from strongroom.cli import terminal
from strongroom.cli.files import read_text, verify_can_create, write_new
from strongroom.cli.options import seconds_of
from strongroom.cli.terminal import EXIT_REFUSED, Failure, printable, say
from strongroom.client.keys import load_key
from strongroom.client.urls import verify_url
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Refused, StrongroomError
from strongroom.protocol.evidence import Role
from strongroom.protocol.invitations import Invitation, invite, verify_invitation
from strongroom.protocol.limits import MAX_INVITATION
from strongroom.protocol.primitives import SigningKey

_HEAD: Final = "strongroom invitation "
_MAX_FILE: Final = 4096
_ON_THE_SPOT: Final = 3600
"""Seconds: an enclave that is a machine of its own takes its time to start."""
_MAKE: Final = "strongroom cluster invite --cluster {cluster} --owner-key FILE --out FILE"
_ID: Final = re.compile("[0-9a-f]{64}")

InvitationFile = Annotated[
    Path | None,
    typer.Option(
        "--invitation",
        metavar="FILE",
        help="With --join: the owner's invitation (`cluster invite`). [default: made here, where --owner-key is the "
        "owner's key]",
    ),
]
OwnerKey = Annotated[
    Path, typer.Option("--owner-key", metavar="FILE", help="The owner's key, with which the cluster was founded.")
]
WhichCluster = Annotated[
    str,
    typer.Option("--cluster", metavar="ID|URL", help="To which cluster: its id, or the URL of an enclave of it."),
]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long it counts: 90m, 12h, 7d at most.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The invitation's file, which must be new.")]
RoleOfUrl = Annotated[Role, typer.Option("--role", help="Of the cluster, where a URL is named.")]


def invitation_command(
    cluster: WhichCluster, owner_key: OwnerKey, out: Out, lasts: For = "1h", role: RoleOfUrl = "vault"
) -> None:
    """Invite an instance to join a cluster (`serve --join URL --invitation FILE`). Without a URL nobody is asked.

    Whoever has the file may have an instance join until it expires; only programs that the approvers have released.
    """
    seconds = seconds_of(lasts, "--for")
    if seconds > MAX_INVITATION:
        raise Failure(f"--for: an invitation counts for {MAX_INVITATION // 86400} days at most", "name a shorter time")
    key = load_key(owner_key)
    verify_can_create(out, what="an invitation")
    if _ID.fullmatch(cluster):
        invited = bytes.fromhex(cluster)
    else:
        invited, owner = asyncio.run(cluster_at(verify_url(cluster), role))
        if owner != key.public:
            raise _not_the_owners(owner_key, cluster)
    expires_at = int(time.time()) + seconds
    write_new(out, _written(invite(key, invited, expires_at)), what="an invitation")
    say(f"invited to cluster {invited.hex()} until {_shown(expires_at)}: {printable(str(out))}")


async def invitation_for(
    url: str, cluster: bytes, role: Role, file: Path | None, owner_key: Path
) -> tuple[bytes, bytes]:
    """To which cluster an instance is invited that joins the one at `url`, and the encoded invitation: that of the
    file, else one that the owner's key makes. `cluster`: empty where it is the one that `url` shows. Raises `Failure`.

    Attack stopped here: whoever answers at `url` shows a cluster of his own, and is told an invitation to another.
    """
    if file is not None:
        invitation = read_invitation(file, time.time())
        return cluster or await _invited_at(url, role, file, invitation), invitation
    key = _owners(owner_key, url, role)
    if not cluster:
        cluster, owner = await cluster_at(url, role)
        if owner != key.public:
            raise _not_the_owners(owner_key, url)
        _say_joining(cluster, url)
    return cluster, encode(invite(key, cluster, int(time.time()) + _ON_THE_SPOT))


def read_invitation(path: Path, now: float) -> bytes:
    """The encoded invitation of a file. Who signed it, the member finds out. Raises `Failure`."""
    another = f"have the owner make one: {_MAKE.format(cluster='ID')}"
    text = read_text(path, limit=_MAX_FILE, what="the invitation", hint=another)
    found = re.fullmatch(rf"{_HEAD}((?:[0-9a-f]{{2}})+)\n?", text)
    try:
        invitation = decode(bytes.fromhex(found[1]), Invitation, limit=_MAX_FILE) if found else None
    except StrongroomError:
        invitation = None
    if invitation is None:
        raise Failure(f"{printable(str(path))} is not an invitation", another)
    if invitation.expires_at <= now:
        raise Failure(f"the invitation {printable(str(path))} expired at {_shown(invitation.expires_at)}", another)
    return encode(invitation)


async def cluster_at(url: str, role: Role) -> tuple[bytes, bytes]:
    """Id and owner's key of the cluster whose member serves at `url`. Whoever is lied to joins a cluster that no policy
    names, and finds that the database is another's. Raises `Failure`."""
    from strongroom.cli.evidence import verify_any_cluster  # a client's libraries: not before they are needed
    from strongroom.client.session import fetch_evidence

    try:
        genuine = verify_any_cluster(await fetch_evidence(url), role)
    except StrongroomError as error:
        raise Failure(
            f"can't join the {role} at {url}: {error.error}", error.hint, status=terminal.exit_status(error)
        ) from None
    return genuine.claims.cluster_id, genuine.genesis.owner_key


async def _invited_at(url: str, role: Role, file: Path, invitation: bytes) -> bytes:
    cluster, owner = await cluster_at(url, role)
    try:
        verify_invitation(decode(invitation, Invitation, limit=_MAX_FILE), owner, cluster, int(time.time()))
    except Refused as error:
        raise Failure(
            f"the invitation {printable(str(file))} is not to the cluster at {url}: {error.reason}",
            f"name the address of a cluster that it is to, or have the owner run `{_MAKE.format(cluster=url)}`",
            status=EXIT_REFUSED,
        ) from None
    _say_joining(cluster, url)
    return cluster


def _owners(owner_key: Path, url: str, role: Role) -> SigningKey:
    if not owner_key.exists():
        raise Failure(
            f"nobody has invited this {role} to join",
            f"have the cluster's owner run `{_MAKE.format(cluster=url)}`, and name the file with --invitation; or name "
            "the owner's key with --owner-key",
        )
    return load_key(owner_key)


def _say_joining(cluster: bytes, url: str) -> None:
    say(f"joining cluster {cluster.hex()}, which {url} shows", "dim")


def _written(invitation: Invitation) -> bytes:
    return f"{_HEAD}{encode(invitation).hex()}\n".encode()


def _not_the_owners(owner_key: Path, url: str) -> Failure:
    return Failure(
        f"the key in {printable(str(owner_key))} is not that of the owner of the cluster at {url}",
        f"have the owner run `{_MAKE.format(cluster=url)}`, and name the file with --invitation",
        status=EXIT_REFUSED,
    )


def _shown(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
