"""`strongroom cluster`: who governs a cluster. Founding it with custodians, and all that is agreed on later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from strongroom.attestation.policy import RolePolicy
from strongroom.cli import options
from strongroom.cli.convening import (
    fewer_than_custodians,
    lone_custodian,
    nominated,
    say_what_next,
    signatures_missing,
    verify_can_write,
    wait_for_custodians,
    wanted_signatures,
    with_approvers_of,
    with_delay,
    write_files,
)
from strongroom.cli.evidence import print_steps
from strongroom.cli.files import verify_can_create, write_new
from strongroom.cli.first_look import (
    Accepting,
    InsecureOption,
    MeasurementOption,
    ReleaseOption,
    RoleOption,
    SettingOption,
    evidence_at,
    policy_for,
    stage_of,
    verify_owner_shown,
)
from strongroom.cli.inviting import invitation_command
from strongroom.cli.own_share import IdentityOption, open_own
from strongroom.cli.sessions import cluster_session
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import (
    EXIT_REFUSED,
    EXIT_UNTRUSTED,
    Failure,
    bold_capitals,
    confirm,
    result_json,
    say,
    stderr,
    stdout,
)
from strongroom.client.cluster import Governed, ask_charter
from strongroom.client.council_explanation import (
    charter_json,
    explain_change,
    explain_council,
    explain_genesis,
    explain_standing,
    shown_recipient,
)
from strongroom.client.custodians import (
    OpenShare,
    PendingCouncil,
    acceptance,
    endorsement,
    verify_cluster,
    verify_convened,
    verify_pending,
)
from strongroom.client.keys import load_key
from strongroom.protocol.cluster_messages import (
    Accept,
    AskCharter,
    AskStatus,
    CharterIs,
    Convene,
    Convened,
    Endorse,
    Rotate,
    Rotated,
    Seated,
    StatusIs,
)
from strongroom.protocol.evidence import Role, Stage, parse_any_evidence
from strongroom.protocol.evidence import cluster_id as cluster_id_of
from strongroom.protocol.governance import watchers_of
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.share_sheet import write_sheet
from strongroom.protocol.status import Status, decode_status

app = typer.Typer(help="Who governs a cluster: custodians, approvers, and what they agree on.", no_args_is_help=True)

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", "--policy", metavar="FILE", help="Your trust policy; `trust pin` makes one."),
]
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="An enclave of the cluster.")]
OwnerKey = Annotated[
    Path, typer.Option("--owner-key", metavar="FILE", help="The owner's key, with which the enclave was started.")
]
CustodianOption = Annotated[
    list[str],
    typer.Option(
        "--custodian", metavar="NAME=age1…", help="A custodian, and an age recipient or a file with it; repeat."
    ),
]
Threshold = Annotated[
    int, typer.Option("--threshold", min=1, max=16, metavar="M", help="How many bring the keys back together.")
]
Approvers = Annotated[
    list[Path] | None,
    typer.Option("--approver", metavar="FILE.pub", help="ssh key of who approves programs; repeat for more."),
]
NoApprovers = Annotated[
    bool, typer.Option("--no-approvers", help="Nobody approves programs any more: no other one gets the keys.")
]
Approvals = Annotated[
    int | None,
    typer.Option("--approvals", min=1, max=16, metavar="K", help="How many must approve. [default: more than half]"),
]
Delay = Annotated[
    str | None,
    typer.Option(
        "--release-delay",
        metavar="TIME",
        help="Before a newly approved program gets the keys. [default: 7d with witnesses, else none]",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Where the shares' files go; made if it is not there.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every custodian has accepted.")]
Witnesses = Annotated[
    Path | None,
    typer.Option("--witnesses", metavar="FILE", help="Witnesses of the Vault's log, the file of `serve vault`."),
]
ShareArgument = Annotated[
    str | None,
    typer.Argument(metavar="SHARE", help="Your share's file, - for standard input. [default: type its words in]"),
]
RecipientOption = Annotated[
    str | None,
    typer.Option("--recipient", metavar="age1…", help="The one you gave, where --identity did not open the share."),
]
Print = Annotated[bool, typer.Option("--print", help="Print the page with your words, to keep on paper.")]


@app.callback()
def cluster() -> None:
    """Who governs a cluster: custodians, approvers, and what they agree on."""


@app.command("init")
def init(
    url: UrlArgument,
    custodian: CustodianOption,
    threshold: Threshold,
    owner_key: OwnerKey,
    out: Out,
    approver: Approvers = None,
    approvals: Approvals = None,
    release_delay: Delay = None,
    witnesses: Witnesses = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    wait: Wait = True,
    yes: options.Yes = False,
) -> None:
    """Found a cluster with named custodians, in an enclave that was started for it (`serve vault --found`).

    Writes a share for each custodian, encrypted to them, and the statement that they are to accept. Nothing is founded
    before all have.
    """
    request = nominated(custodian, threshold, approver or [], approvals, witnesses)
    request = with_delay(request, release_delay, request.witnesses)
    key = load_key(owner_key)
    verify_can_write(out, request, "genesis.statement")
    evidence = evidence_at(url)
    if stage_of(evidence) != "founding":
        raise Failure(
            f"this enclave founds nothing, it is {_shown_stage(evidence)}",
            "no cluster is ever founded over another: start `serve vault --found` on an empty database",
            status=EXIT_REFUSED,
        )
    accepting = Accepting(role, trust, release, measurement, insecure, setting or [])
    policy = policy_for(url, evidence, accepting, [])
    verify_owner_shown(evidence, key.public)
    _warn(request)
    if not yes:
        confirm(
            f"Found a cluster of {len(custodian)} custodians, of whom any {threshold} have its keys?",
            hint="nothing was sent; --yes doesn't ask",
        )
    pending, convened = asyncio.run(_convene(url, policy, role, "founding", key, request))
    print_steps(stderr(), [*explain_genesis(pending.cluster, pending.genesis), *explain_council(pending.council, 0)])
    write_files(out, request, convened, "genesis.statement")
    say_what_next(url, out, pending, policy)
    if wait:
        asyncio.run(wait_for_custodians(url, policy, role, pending))


@app.command("reshare")
def reshare(
    url: UrlArgument,
    custodian: CustodianOption,
    threshold: Threshold,
    owner_key: OwnerKey,
    out: Out,
    approver: Approvers = None,
    no_approvers: NoApprovers = False,
    approvals: Approvals = None,
    release_delay: Delay = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    config: options.Config = None,
    wait: Wait = True,
    yes: options.Yes = False,
) -> None:
    """Set up another council: new custodians with new shares. It replaces the one in office as a whole.

    Approvers, how many of them must approve, and the delay of releases stay as they are, unless you say otherwise.
    It takes office when all its custodians have accepted, and as many of the old as their threshold says have endorsed
    it. A restart of the enclave before that forgets it.
    """
    if approver and no_approvers:
        raise Failure("--approver and --no-approvers contradict each other", "leave one of them out")
    keep = not approver and not no_approvers
    request = nominated(custodian, threshold, approver or [], None if keep else approvals)
    key = load_key(owner_key)
    verify_can_write(out, request, "council.statement")
    policy = _member_policy(url, role, trust, config)
    found = asyncio.run(_charter(url, policy, role))
    before = found.council
    if keep:
        request = with_approvers_of(request, before, approvals)
    request = with_delay(request, release_delay, watchers_of(found.charter).witnesses, before)
    print_steps(stderr(), explain_change(before, request, len(found.councils)))
    _warn(request)
    if not yes:
        confirm("Have these replace the council in office?", hint="nothing was sent; --yes doesn't ask")
    pending, convened = asyncio.run(_convene(url, policy, role, "member", key, request))
    write_files(out, request, convened, "council.statement")
    say_what_next(url, out, pending, policy)
    if wait:
        asyncio.run(wait_for_custodians(url, policy, role, pending))


@app.command("accept")
def accept(
    url: UrlArgument,
    share: ShareArgument = None,
    identity: IdentityOption = None,
    recipient: RecipientOption = None,
    print_page: Print = False,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Accept to be a custodian: open your share, see what you sign, and sign it.

    Your signature says that you have your share. It is made with a key that the share itself is.
    """
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    opened = open_own(share, identity)
    if print_page:
        if opened.sheet is None:
            raise Failure("there is no page to print of words that were typed in", "name the share's file")
        stdout().print(write_sheet(opened.sheet), end="")
    evidence = evidence_at(url)
    stage = stage_of(evidence)
    _verify_share_meant(opened, evidence)
    policy = policy_for(url, evidence, accepting, [opened.sheet.cluster] if opened.sheet else [])
    pending = asyncio.run(_pending(url, policy, role, stage))
    if recipient is None and opened.recipient is None:
        raise Failure(
            "for whom was this share encrypted?",
            "give the age recipient that you gave the owner, with --recipient: the statement must name it",
        )
    signed = acceptance(pending, opened, recipient)
    _show(pending)
    own = pending.council.custodians[signed.index]
    say(f"you are {own.name}, custodian {signed.index + 1} ({shown_recipient(own.recipient)})", "bold")
    if not yes:
        confirm("Do you accept this, and have you kept your share?", hint="nothing was sent; --yes doesn't ask")
    _say_signed(*asyncio.run(_sign(url, policy, role, stage, signed)), pending)


@app.command("endorse")
def endorse(
    url: UrlArgument,
    share: ShareArgument = None,
    identity: IdentityOption = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Agree, as a custodian in office, to the council that is being set up: with your present share."""
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    opened = open_own(share, identity)
    evidence = evidence_at(url)
    _verify_share_meant(opened, evidence)
    policy = policy_for(url, evidence, accepting, [opened.sheet.cluster] if opened.sheet else [])
    pending = asyncio.run(_pending(url, policy, role, "member"))
    signed = endorsement(pending, opened)
    _show(pending)
    if not yes:
        confirm("Do you agree that these replace you and the others?", hint="nothing was sent; --yes doesn't ask")
    _say_signed(*asyncio.run(_sign(url, policy, role, "member", signed)), pending)


@app.command("charter")
def charter(
    url: UrlArgument,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the signed charter there, too.")
    ] = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show who governs a cluster, after verifying all signatures since it was founded."""
    if output is not None:
        verify_can_create(output, what="cluster charter")
    policy = _member_policy(url, role, trust, config)
    found = asyncio.run(_charter(url, policy, role))
    if output is not None:
        write_new(output, found.told.charter, what="cluster charter")
    if as_json:
        told = charter_json(found.charter, found.genesis, found.councils)
        result_json(told | {"pending": found.told.pending.hex()})
        return
    serial, cluster_id = len(found.councils) - 1, cluster_id_of(found.charter.genesis.statement)
    steps = [*explain_genesis(cluster_id, found.genesis), *explain_council(found.council, serial)]
    print_steps(stdout(), [*steps, *explain_standing(found.charter, found.councils)])
    if found.genesis.development:
        say("a DEVELOPMENT cluster: nobody signed for it, and its operator can read everything")
    else:
        say("signatures verified: of all custodians of each council, of those in office before it, and under each gap")
    if found.told.pending:
        say(f"council {serial + 1} is being set up; `strongroom status` says who is waited for")


@app.command("rotate")
def rotate(
    url: UrlArgument,
    owner_key: OwnerKey,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    config: options.Config = None,
) -> None:
    """Begin a new epoch: what is written from now on is sealed under a new key, and what is older is sealed anew.

    That takes its time, in the background: `strongroom status` shows how far it is. Then the old key is erased.
    """
    policy = _member_policy(url, role, trust, config)
    key = load_key(owner_key)

    async def begin() -> int:
        async with cluster_session(url, role=role, policy=policy, key=key) as session:
            return (await session.ask(Rotate(), Rotated)).epoch

    say(f"epoch {asyncio.run(begin())} has begun; the rows of older ones are sealed anew in the background")


app.command("invite")(invitation_command)


def _member_policy(url: str, role: Role, trust: Path | None, config: Path | None) -> RolePolicy:
    """That of the user, for a member of a cluster that it names. Raises `Failure`."""
    accepting = Accepting(role, trust or load_settings(config).trust)
    if accepting.trust is None:
        raise Failure("--trust is missing", "make a trust policy of this cluster: strongroom trust pin")
    evidence = evidence_at(url)
    if stage_of(evidence) != "member":
        raise Failure(
            f"this enclave is {_shown_stage(evidence)}", "ask one that serves; `strongroom status` says what this is"
        )
    return policy_for(url, evidence, accepting, [])


def _shown_stage(untrusted_evidence: bytes) -> str:
    claims = parse_any_evidence(untrusted_evidence)[1]
    return f"a member of cluster {claims.cluster_id.hex()}" if claims.stage == "member" else claims.stage


def _verify_share_meant(opened: OpenShare, untrusted_evidence: bytes) -> None:
    """Turn away another cluster's share by its page: neither a policy is to blame nor the server. Raises `Misuse`."""
    claims = parse_any_evidence(untrusted_evidence)[1]
    if claims.stage == "member":
        verify_cluster(opened, claims.cluster_id)


async def _convene(
    url: str, policy: RolePolicy, role: Role, stage: Stage, key: SigningKey, request: Convene
) -> tuple[PendingCouncil, Convened]:
    async with cluster_session(url, role=role, policy=policy, stage=stage, key=key) as session:
        convened = await session.ask(request, Convened)
        charter = b"" if stage == "founding" else (await session.ask(AskCharter(), CharterIs)).charter
        cluster_id = None if stage == "founding" else session.claims.cluster_id
    pending = verify_pending(CharterIs(charter=charter, pending=convened.statement), cluster_id)
    verify_convened(request, pending)
    if len(convened.shares) != len(pending.council.custodians):
        raise Failure("the enclave made another number of shares", "tell the operator", status=EXIT_UNTRUSTED)
    return pending, convened


async def _pending(url: str, policy: RolePolicy, role: Role, stage: Stage) -> PendingCouncil:
    async with cluster_session(url, role=role, policy=policy, stage=stage) as session:
        told = await session.ask(AskCharter(), CharterIs)
        return verify_pending(told, session.claims.cluster_id if stage == "member" else None)


async def _sign(url: str, policy: RolePolicy, role: Role, stage: Stage, signed: Accept | Endorse) -> tuple[Status, int]:
    """How it stood before, and how many signatures are missing now."""
    async with cluster_session(url, role=role, policy=policy, stage=stage) as session:
        before = decode_status((await session.ask(AskStatus(), StatusIs)).status)
        return before, (await session.ask(signed, Seated)).missing


async def _charter(url: str, policy: RolePolicy, role: Role) -> Governed:
    async with cluster_session(url, role=role, policy=policy) as session:
        return await ask_charter(session)


def _show(pending: PendingCouncil) -> None:
    council = (
        explain_council(pending.council, pending.serial)
        if pending.before is None
        else explain_change(pending.before, pending.council, pending.serial)
    )
    print_steps(stderr(), [*explain_genesis(pending.cluster, pending.genesis), *council])


def _warn(request: Convene) -> None:
    for warning in (lone_custodian(request), fewer_than_custodians(request)):
        if warning:
            stderr().print(bold_capitals(f"warning: {warning}"))


def _say_signed(before: Status, missing: int, pending: PendingCouncil) -> None:
    if missing and missing == signatures_missing(before):
        say(f"you had signed already; {wanted_signatures(missing)}")
    elif missing:
        say(f"signed; {wanted_signatures(missing)}")
    elif pending.serial == 0:
        say("signed; you were the last, and the cluster begins to serve")
    else:
        say(f"signed; you were the last, and council {pending.serial} is in office")
