"""`strongroom release`: which programs may have the keys of a cluster, as its approvers sign it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.policy import RolePolicy
from strongroom.cli import options
from strongroom.cli.evidence import print_steps
from strongroom.cli.files import read_text, replace_file, verify_can_create, write_new
from strongroom.cli.sessions import cluster_session
from strongroom.cli.settings import Settings, load_settings, needed
from strongroom.cli.terminal import EXIT_REFUSED, Failure, confirm, result, result_json, say, stderr, stdout
from strongroom.cli.verify import load_release
from strongroom.client.cluster import ClusterSession, ask_charter, role_policy
from strongroom.client.explanation import fingerprint_of
from strongroom.client.files import load_trust
from strongroom.client.releases import (
    MAX_PROPOSAL,
    SSH_NAMESPACE,
    Proposal,
    approved_by,
    explain_approvals,
    explain_proposal,
    is_in_office,
    joined,
    known_by_cluster,
    known_by_policy,
    listed_release,
    parse_program,
    parse_proposal,
    proposal_text,
    propose,
    verify_names_running,
    verify_publishable,
)
from strongroom.client.releases_status import ReleasesStatus, explain_releases, releases_json
from strongroom.client.ssh_signing import SshSigner, read_signature
from strongroom.protocol.cluster_messages import AskStatus, Publish, Published, StatusIs
from strongroom.protocol.evidence import Council, Role
from strongroom.protocol.governance import Charter
from strongroom.protocol.releases import VERSION, ListedRelease
from strongroom.protocol.status import decode_status

_SIGNATURE: int = 16 * 1024

app = typer.Typer(help="Which programs may have the keys of a cluster.", no_args_is_help=True)

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="An enclave of the cluster.")]
RoleOption = Annotated[Literal["vault", "authenticator"], typer.Option("--role", help="What the enclave is.")]
ProposalArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The proposal.")]
CopiesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="The proposal, or copies of it that different people signed.")
]
VersionsArgument = Annotated[list[str], typer.Argument(metavar="VERSION...", help="What gets nothing any more.")]
Releases = Annotated[
    list[Path] | None,
    typer.Option(
        "--release", metavar="FILE", help="A release file, of whoever built and measured it; repeat for more."
    ),
]
VersionOption = Annotated[
    str | None, typer.Option("--version", metavar="V", help="Version of what --program names.", show_default=False)
]
Svn = Annotated[
    int | None,
    typer.Option("--svn", min=0, metavar="N", help="Security version: rises when a release mends a hole."),
]
Programs = Annotated[
    list[str] | None,
    typer.Option("--program", metavar="KIND=HEX", help="A program without a release file, by its registers; repeat."),
]
MinSvn = Annotated[
    int | None,
    typer.Option("--min-svn", min=0, metavar="N", help="Lowest security version from now on. It never falls."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the proposal goes.")]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Your ssh key, or the .pub of one in an agent or a security key."),
]
SignatureOption = Annotated[
    Path | None,
    typer.Option("--signature", metavar="FILE", help="A signature that ssh-keygen -Y sign made elsewhere."),
]
StatementOut = Annotated[
    Path | None,
    typer.Option("--statement-out", metavar="FILE", help="Write the bytes to sign, for ssh-keygen elsewhere."),
]


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What an appraised member says of its cluster."""

    charter: Charter
    council: Council
    genuine: Genuine


@app.callback()
def release() -> None:
    """Which programs may have the keys of a cluster."""


@app.command("propose")
def propose_list(
    url: UrlArgument,
    out: Out,
    release: Releases = None,
    version: VersionOption = None,
    svn: Svn = None,
    program: Programs = None,
    min_svn: MinSvn = None,
    role: RoleOption = "vault",
    trust: options.Trust = None,
    config: options.Config = None,
) -> None:
    """Propose the list that the cluster goes by, with more programs or a higher floor.

    The proposal is a file for the approvers. Nothing changes before enough of them have signed it and it is published.
    Without options it is the list as it is, for the approvers of a council that has taken office since.
    """
    add = [*_from_files(release or [], role, svn), *_from_options(version, svn, program or [])]
    _propose(url, out, role, trust, load_settings(config), add, (), min_svn)


@app.command("retire")
def retire(
    url: UrlArgument,
    versions: VersionsArgument,
    out: Out,
    min_svn: MinSvn = None,
    role: RoleOption = "vault",
    trust: options.Trust = None,
    config: options.Config = None,
) -> None:
    """Propose the list without these versions.

    Once it is published they get nothing any more, and what is stored is sealed anew, out of reach of what they had.
    """
    _propose(url, out, role, trust, load_settings(config), (), versions, min_svn)


@app.command("approve")
def approve(
    file: ProposalArgument,
    key: KeyOption = None,
    signature: SignatureOption = None,
    statement_out: StatementOut = None,
    trust: options.Trust = None,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Read a proposal, and sign it.

    Whoever approves a program lets it read everything: build it from source and measure it yourself, or trust who did.
    """
    if sum(one is not None for one in (key, signature, statement_out)) != 1:
        raise Failure("name one of --key, --signature and --statement-out", "--key ~/.ssh/id_ed25519 is the usual one")
    proposal = _read_proposal(file)
    policy = _policy_of(proposal, trust or load_settings(config).trust)
    known = known_by_policy(proposal, None if policy is None else policy.releases)
    print_steps(stderr(), explain_proposal(proposal, known))
    say()
    if policy is None:
        say("not judged: whose cluster this is; --trust FILE compares it with your policy")
    else:
        say("your trust policy trusts this cluster")
    if known.approvers is None:
        say("not judged: what changes; a policy that names the approvers tells: strongroom trust pin --releases")
    if statement_out is not None:
        write_new(statement_out, proposal.statement, what="approve")
        say(f"sign it: ssh-keygen -Y sign -n {SSH_NAMESPACE} -f KEY {statement_out}")
        return
    if signature is not None:
        armoured = read_text(signature, limit=_SIGNATURE, what="the signature", hint="ssh-keygen writes FILE.sig")
        approved = approved_by(proposal, *read_signature(armoured.encode(), SSH_NAMESPACE))
    else:
        signer = SshSigner(needed(key, None, "key"), SSH_NAMESPACE)
        if not yes:
            confirm(f"Sign this list with {fingerprint_of(signer.public_key)}?", hint="nothing was signed")
        approved = approved_by(proposal, signer.public_key, asyncio.run(signer.sign(proposal.statement)))
    replace_file(file, proposal_text(approved).encode())
    print_steps(stderr(), explain_approvals(approved, known))
    missing = known.missing(approved)
    say(f"pass {file} to another approver" if missing else f"publish it: strongroom release publish URL {file}")


@app.command("publish")
def publish(
    url: UrlArgument,
    files: CopiesArgument,
    role: RoleOption = "vault",
    trust: options.Trust = None,
    config: options.Config = None,
) -> None:
    """Have the cluster go by a list that enough approvers have signed. Anybody may do this.

    Authenticators with the same keys keep them each for itself: publish to one, and have the others join it anew.
    """
    proposal = joined([_read_proposal(one) for one in files])
    policy = role_policy(load_trust(needed(trust, load_settings(config).trust, "trust")), role)

    async def run() -> int:
        async with cluster_session(url, role=role, policy=policy) as session:
            found = await _cluster(session)
            verify_publishable(proposal, found.charter, found.council, found.genuine)
            return (await session.ask(Publish(releases=proposal.signed), Published)).serial

    serial = asyncio.run(run())
    result(f"list {serial} of releases is in force")
    say(f"what may have the keys, and from when: strongroom release status {url}")


@app.command("status")
def status(
    url: UrlArgument,
    role: RoleOption = "vault",
    trust: options.Trust = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the list that a cluster goes by: who approved it, what may have the keys, and on which machines it has."""
    policy = role_policy(load_trust(needed(trust, load_settings(config).trust, "trust")), role)

    async def run() -> ReleasesStatus:
        async with cluster_session(url, role=role, policy=policy) as session:
            found = await _cluster(session)
            said = decode_status((await session.ask(AskStatus(), StatusIs)).status)
            return ReleasesStatus(found.charter, found.council, said)

    shown = asyncio.run(run())
    if as_json:
        result_json(releases_json(shown))
    else:
        print_steps(stdout(), explain_releases(shown))


def _propose(
    url: str,
    out: Path,
    role: Role,
    trust: Path | None,
    settings: Settings,
    add: Sequence[ListedRelease],
    without: Sequence[str],
    min_svn: int | None,
) -> None:
    verify_can_create(out, what="propose")
    policy = role_policy(load_trust(needed(trust, settings.trust, "trust")), role)

    async def run() -> _Cluster:
        async with cluster_session(url, role=role, policy=policy) as session:
            return await _cluster(session)

    found = asyncio.run(run())
    # Another council's approvers may want the list as it is.
    if not add and not without and min_svn is None and is_in_office(found.charter, found.council):
        raise Failure("nothing would change", "name a program with --release or --program, or a floor with --min-svn")
    proposal = propose(found.charter, found.council, role, add=add, retire=without, min_svn=min_svn)
    verify_names_running(proposal, found.genuine)
    print_steps(stderr(), explain_proposal(proposal, known_by_cluster(found.charter, found.council)))
    write_new(out, proposal_text(proposal).encode(), what="propose")
    say()
    result(f"{out} is written")
    say(f"for {proposal.needed} of {len(proposal.approvers)} approvers: strongroom release approve {out} --key FILE")


async def _cluster(session: ClusterSession) -> _Cluster:
    """Raises `Untrusted`."""
    found = await ask_charter(session)
    return _Cluster(found.charter, found.council, session.genuine)


def _from_files(files: Sequence[Path], role: Role, svn: int | None) -> list[ListedRelease]:
    releases = [load_release(path) for path in files]
    for path, one in zip(files, releases, strict=True):
        if one.role != role:
            raise Failure(f"{path} is a release of the {one.role}", f"name one of the {role}, or give --role")
    return [listed_release(one, svn) for one in releases]


def _from_options(version: str | None, svn: int | None, programs: Sequence[str]) -> list[ListedRelease]:
    if not programs:
        if version is not None:
            raise Failure("--version is of what --program names", "a release file says its version itself")
        return []
    if version is None or svn is None:
        raise Failure(
            "--program needs --version and --svn", "a list names each program by version and security version"
        )
    if not VERSION.fullmatch(version):
        raise Failure("--version is 1 to 64 visible ASCII characters", "write it as 1.2.0")
    return [ListedRelease(version, svn, [parse_program(one) for one in programs])]


def _read_proposal(path: Path) -> Proposal:
    return parse_proposal(
        read_text(path, limit=MAX_PROPOSAL, what="the proposal", hint="strongroom release propose writes one")
    )


def _policy_of(proposal: Proposal, trust: Path | None) -> RolePolicy | None:
    """What the reader's own policy says of this cluster; None: there is no policy. Raises `Failure`."""
    if trust is None:
        return None
    releases = proposal.releases
    policy = role_policy(load_trust(trust), releases.role)
    if releases.cluster not in policy.clusters:
        raise Failure(
            f"the list is of a cluster that {trust} does not trust",
            "ask who proposed it; to sign for another cluster, name its policy with --trust",
            status=EXIT_REFUSED,
        )
    return policy
