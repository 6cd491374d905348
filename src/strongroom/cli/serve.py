"""`strongroom serve vault` and `strongroom serve authenticator`: one role of one cluster on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
import uvloop
from msgspec.structs import replace

from strongroom.cli import terminal
from strongroom.cli.databases import database_url
from strongroom.cli.inviting import InvitationFile, invitation_for
from strongroom.cli.listening import (
    AsJson,
    Listen,
    UntilEof,
    failure_of,
    parse_listen,
    stop_at_end_of_stdin,
    verify_free,
)
from strongroom.cli.serve_share import share
from strongroom.cli.serve_witness import witness
from strongroom.cli.start_mode import (
    Advertise,
    Cluster,
    Drill,
    Found,
    Join,
    Recover,
    StartMode,
    advertised,
    start_mode,
    tell_waiting,
)
from strongroom.cli.terminal import EXIT_FAILED, Failure, bold_capitals, printable, say, stderr
from strongroom.client.keys import load_or_make_key
from strongroom.host.instance import CannotServe
from strongroom.host.store.port import Store
from strongroom.host.supervisor.enclave import listen_for_enclave
from strongroom.host.supervisor.link import Cosigners
from strongroom.host.supervisor.serve import Hardware, Role, Waiting, serve
from strongroom.host.supervisor.starting import Quorum
from strongroom.host.witness.policy import BadPolicy, Policy, read_policy
from strongroom.protocol.errors import Misuse, StrongroomError
from strongroom.protocol.evidence import watchers_by
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.link import EGRESS_PORT, LINK_PORTS, Start
from strongroom.protocol.reach import EGRESS, format_egress, parse_reach

app = typer.Typer(
    help="Run a Vault, an Authenticator, a share server or a witness on this machine.", no_args_is_help=True
)

BANNER = (
    "INSECURE: there is no hardware under this enclave. Whoever runs this machine can read everything stored here. "
    "For development only; clients refuse it unless their policy says so."
)
_ANOTHER_PLATFORM = "name another directory with --platform; one that is absent is made"

Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Database and keys of this instance; made at the first start.")
]
OwnerKey = Annotated[
    Path | None,
    typer.Option(
        "--owner-key",
        metavar="FILE",
        help="Key of who makes namespaces, fixed at the first start; made if absent. [default: DIR/owner.key]",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="Keep the rows in PostgreSQL instead: postgresql://USER@HOST/DATABASE, without the password, which "
        "PGPASSWORD or ~/.pgpass holds. A URL with a password may stand in the variable STRONGROOM_DATABASE. "
        "[default: a file in DIR]",
    ),
]
Where = Literal["software", "tcp", "vsock"]
EnclaveOption = Annotated[
    Where,
    typer.Option(
        "--enclave",
        help="software: start one here, INSECURE. tcp: wait for one that connects from this machine (SGX under "
        "Gramine). vsock: wait for one that is a machine of its own (TDX, SEV-SNP, Nitro).",
    ),
]
CollateralSources = Annotated[
    list[str] | None,
    typer.Option(
        "--collateral-source",
        metavar="URL",
        help="Where to ask for what quotes are appraised with, for tcp and vsock; may be repeated. "
        "[default: Intel's and AMD's own services]",
    ),
]
Machine = Annotated[
    Path | None,
    typer.Option(
        "--platform",
        metavar="DIR",
        help="What stands in for this machine's processor; both roles of a machine share it. "
        "[default: in the user's state directory]",
    ),
]
Page = Annotated[
    str | None,
    typer.Option(
        "--page",
        metavar="DIGEST",
        help="Digest of the web page that this Vault is used from (64 hex digits, as verify-page prints it): becomes a "
        "claim of its evidence, so that another page is another Vault to every policy.",
    ),
]
Reaches = Annotated[
    list[str] | None,
    typer.Option(
        "--reach",
        metavar="HOST:PORT|CIDR:PORT",
        help="A destination off the public Internet that may be called, for a directory or a provider of your own; "
        "may be repeated. Becomes a claim of the evidence, which every policy must expect.",
    ),
]
WitnessFile = Annotated[
    Path | None,
    typer.Option(
        "--witnesses",
        metavar="FILE",
        help="Who watches that this Vault's database is never rolled back or cloned: their keys, URLs and quorum, as "
        "C2SP tlog-policy writes them. Fixed at the first start; later starts name the same keys.",
    ),
]


@app.command("vault")
def vault(
    data: Data,
    listen: Listen = "127.0.0.1:8400",
    database: Database = None,
    enclave: EnclaveOption = "software",
    owner_key: OwnerKey = None,
    platform: Machine = None,
    collateral_source: CollateralSources = None,
    page: Page = None,
    witnesses: WitnessFile = None,
    found: Found = False,
    join: Join = None,
    cluster: Cluster = None,
    invitation: InvitationFile = None,
    recover: Recover = False,
    drill: Drill = False,
    advertise: Advertise = None,
    until_eof: UntilEof = False,
    as_json: AsJson = False,
) -> None:
    """Serve a Vault: it keeps sealed records and releases them on the word of Authenticators."""
    config = {} if page is None else {"page": _page_digest(page)}
    if drill and witnesses is not None:
        raise Failure("a drill asks no witnesses", "leave --witnesses out")
    policy = None if witnesses is None else _witnesses(witnesses)
    _serve(
        _Asked(
            role="vault",
            mode=start_mode(found, join, recover, cluster, invitation, drill=drill),
            data=data,
            listen=parse_listen(listen),
            advertise=advertised(advertise),
            database=database_url(database),
            enclave=enclave,
            owner_key=owner_key or data / "owner.key",
            platform=platform,
            collateral_sources=collateral_source or [],
            config=config,
            witnesses=policy,
            until_eof=until_eof,
            as_json=as_json,
        )
    )


@app.command("authenticator")
def authenticator(
    data: Data,
    listen: Listen = "127.0.0.1:8401",
    database: Database = None,
    enclave: EnclaveOption = "software",
    owner_key: OwnerKey = None,
    platform: Machine = None,
    collateral_source: CollateralSources = None,
    reach: Reaches = None,
    found: Found = False,
    join: Join = None,
    cluster: Cluster = None,
    invitation: InvitationFile = None,
    recover: Recover = False,
    drill: Drill = False,
    advertise: Advertise = None,
    until_eof: UntilEof = False,
    as_json: AsJson = False,
) -> None:
    """Serve an Authenticator: it signs people in and decides by the depositor's rules. It never sees a secret."""
    config = {EGRESS: _egress(reach)} if reach else {}
    _serve(
        _Asked(
            role="authenticator",
            mode=start_mode(found, join, recover, cluster, invitation, drill=drill),
            data=data,
            listen=parse_listen(listen),
            advertise=advertised(advertise),
            database=database_url(database),
            enclave=enclave,
            owner_key=owner_key or data / "owner.key",
            platform=platform,
            collateral_sources=collateral_source or [],
            config=config,
            witnesses=None,
            until_eof=until_eof,
            as_json=as_json,
        )
    )


app.command("share")(share)
app.command("witness")(witness)


def default_platform() -> Path:
    """Where the machine's stand-in secret lives: XDG base directories, state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "strongroom" / "insecure-platform"


def _page_digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Failure(
            f"{printable(text)} is not the digest of a page", "give the 64 hex digits that verify-page prints"
        )
    return text


def _witnesses(path: Path) -> Policy:
    try:
        return read_policy(path)
    except BadPolicy as error:
        raise Failure(f"--witnesses {printable(str(path))}: {error}", error.hint) from None


def _egress(entries: Sequence[str]) -> str:
    for entry in entries:
        try:
            parse_reach(entry)
        except Misuse as error:
            raise Failure(
                f"--reach {printable(entry)}: {error.reason}",
                "name one port of a host or network: ldap.example.internal:636, 10.20.0.0/16:636, [fd00:1::/64]:443",
            ) from None
    try:
        return format_egress(entries)
    except Misuse as error:
        raise Failure(f"--reach: {error.reason}", "name networks instead of single hosts") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the command line says."""

    role: Role
    mode: StartMode
    data: Path
    listen: tuple[str, int]
    advertise: str | None
    database: str | None
    enclave: Where
    owner_key: Path
    platform: Path | None
    collateral_sources: Sequence[str]
    config: dict[str, str]
    witnesses: Policy | None
    until_eof: bool
    as_json: bool


def _serve(asked: _Asked) -> None:
    platform = asked.platform
    if asked.enclave == "software":
        if asked.collateral_sources:
            raise Failure("--collateral-source is for enclaves on hardware", "leave it out, or name --enclave")
        stderr().print(bold_capitals(BANNER), soft_wrap=False)
        platform = platform or default_platform()
    elif platform is not None:
        raise Failure(
            "--platform is for the software enclave", f"leave it out: --enclave {asked.enclave} has a real one"
        )
    verify_free(*asked.listen)
    if platform is not None:
        _verify_platform(platform)
    with _sockets(asked.role, asked.enclave) as sockets:
        with contextlib.suppress(OSError):  # whatever is wrong with DIR, `serve` says it better
            asked.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        joins = asked.mode.mode == "join"  # then it is no owner's, unless he makes the invitation here
        start = Start(
            mode=asked.mode.mode,
            owner_key=b"" if joins else load_or_make_key(asked.owner_key).public,
            config=asked.config,
            witnesses=[] if asked.witnesses is None else asked.witnesses.vkeys,
            cosignatures=0 if asked.witnesses is None else asked.witnesses.cosignatures,
            peer=asked.mode.peer,
            cluster=asked.mode.cluster,
            invitation=b"",
        )
        serving = _run(asked, start, platform, sockets)
        try:
            if asked.enclave == "vsock":
                asyncio.run(serving)  # uvloop opens TCP and Unix sockets only
            else:
                uvloop.run(serving)
        except CannotServe as error:
            raise failure_of(error) from None


def _verify_platform(path: Path) -> None:
    """Before the enclave, which can only end with a traceback. Raises `Failure`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        needed = os.R_OK | os.X_OK if any(path.iterdir()) else os.W_OK | os.X_OK
    except FileExistsError:
        raise Failure(f"{path} is not a directory", _ANOTHER_PLATFORM) from None
    except OSError as error:
        raise Failure(f"can't use the platform directory {path}: {error.strerror}", _ANOTHER_PLATFORM) from None
    if not os.access(path, needed):
        raise Failure(f"can't use the platform directory {path}: permission denied", _ANOTHER_PLATFORM)


async def _run(asked: _Asked, start: Start, platform: Path | None, sockets: Sockets | None) -> None:
    role, witnesses, (host, port) = asked.role, asked.witnesses, asked.listen
    if asked.until_eof:
        stop_at_end_of_stdin()
    announcing: list[asyncio.Task[None]] = []

    def ready(url: str) -> None:
        task = asyncio.create_task(_announce(role, url, asked.as_json))
        task.add_done_callback(_stop_if_failed)
        announcing.append(task)

    def waiting(state: Waiting, url: str) -> None:
        accepting = "--insecure" if asked.enclave == "software" else ""
        tell_waiting(role, state, url, str(asked.owner_key), asked.as_json, accepting)

    if start.mode == "join":
        cluster, invitation = await invitation_for(
            start.peer, start.cluster, role, asked.mode.invitation, asked.owner_key
        )
        start = replace(start, cluster=cluster, invitation=invitation)
    async with _hardware(sockets, asked.data, asked.collateral_sources) as hardware:
        if sockets is not None:
            say(f"waiting for the {role} enclave on {sockets.place}", "dim")
        if witnesses is not None:
            say(f"waiting for {witnesses.cosignatures} of {len(witnesses.vkeys)} witnesses", "dim")
        await serve(
            role,
            data=asked.data,
            host=host,
            port=port,
            start=start,
            on_ready=ready,
            on_waiting=waiting,
            platform=platform,
            hardware=hardware,
            witnesses=None if witnesses is None else _courier(witnesses),
            database=asked.database,
            advertise=asked.advertise,
            quorum_in=_quorum_in,
        )
    for task in announcing:
        if task.done():
            task.result()
        task.cancel()
    say(f"{role} stopped", "dim")


async def _quorum_in(store: Store) -> Quorum | None:
    from strongroom.cli.founded import quorum_in  # for an error's text only

    return await quorum_in(store)


def _courier(policy: Policy) -> Callable[[Store], Cosigners]:
    from strongroom.host.witness.courier import Witnesses

    return lambda store: Witnesses(policy, store)


class Sockets(NamedTuple):
    """Where an enclave on hardware finds this host."""

    listening: socket.socket
    egress: socket.socket | None
    place: str


@contextlib.contextmanager
def _sockets(role: Role, enclave: Where) -> Iterator[Sockets | None]:
    """None for a software enclave. Raises `Failure` before anything is made for nothing."""
    if enclave == "software":
        yield None
        return
    port = LINK_PORTS[role]
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(_listening(enclave, port))
        # Only the Authenticator calls sign-in providers, and only a machine of its own has no network to do it by.
        proxied = enclave == "vsock" and role == "authenticator"
        egress = opened.enter_context(_listening(enclave, EGRESS_PORT)) if proxied else None
        yield Sockets(listening, egress, f"{'127.0.0.1' if enclave == 'tcp' else 'vsock'} port {port}")


@contextlib.contextmanager
def _listening(transport: Literal["tcp", "vsock"], port: int) -> Iterator[socket.socket]:
    try:
        listening = listen_for_enclave(transport, port)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else error
        raise Failure(
            f"can't listen for the enclave on {transport} port {port}: {reason}",
            "one machine serves one instance of a role on hardware; is another running?",
            status=terminal.EXIT_UNAVAILABLE,
        ) from None
    with listening:
        yield listening


@contextlib.asynccontextmanager
async def _hardware(
    sockets: Sockets | None, data: Path, collateral_sources: Sequence[str]
) -> AsyncIterator[Hardware | None]:
    """The sockets and a collateral service for one that connects there. Raises `Failure`."""
    if sockets is None:
        yield None
        return
    from strongroom.host.collateral.service import CollateralService  # an HTTP client: not for the software enclave
    from strongroom.host.collateral.sources import BadSource

    try:
        service = CollateralService(collateral_sources, data / "collateral")
    except BadSource as error:
        raise Failure(f"can't use a collateral source: {error}", "name another with --collateral-source") from None
    try:
        yield Hardware(listening=sockets.listening, egress=sockets.egress, collateral=service)
    finally:
        await service.close()


def _stop_if_failed(task: asyncio.Task[None]) -> None:
    """A server that can't say where it is must not look as if it were starting for ever."""
    if not task.cancelled() and task.exception() is not None:
        os.kill(os.getpid(), signal.SIGTERM)


async def _announce(role: Role, url: str, as_json: bool) -> None:
    """Ask our own front as a client would: what is printed is what clients get."""
    from strongroom.cli.evidence import verify_any_cluster  # a client's libraries: not before it serves
    from strongroom.client.session import fetch_evidence

    try:
        genuine = verify_any_cluster(await fetch_evidence(url), role)
    except StrongroomError as error:
        raise Failure(f"clients would refuse this {role}: {error.error}", error.hint, status=EXIT_FAILED) from None
    shown = {
        "url": url,
        "cluster_id": genuine.claims.cluster_id.hex(),
        "measurement": genuine.report.measurement.hex(),
    }
    if role == "vault":
        claims = genuine.claims
        shown["log_key"] = str(log_verifier(claims.cluster_id, genuine.genesis.log_key, claims.generation))
        watchers = watchers_by(genuine.genesis, claims.watchers)
        named = len(watchers.witnesses)
        shown["witnesses"] = f"{watchers.cosignatures} of {named}" if named else "none"
    if as_json:
        terminal.result_json({"role": role, "state": "serving", **shown})
        sys.stdout.flush()
        return
    out = terminal.stdout()
    out.print(f"{role} ready", style="bold green")
    for name, value in shown.items():
        out.print(f"  {name.removesuffix('_id').replace('_', ' '):<12} {printable(value)}", soft_wrap=True)
    say("Ctrl-C stops it", "dim")
