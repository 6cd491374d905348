"""`strongroom recover`: custodians bring a cluster back whose machines are gone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer

from strongroom.attestation.policy import RolePolicy
from strongroom.cli import options
from strongroom.cli.evidence import print_steps
from strongroom.cli.files import read_input, read_text, verify_can_create, write_new
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
)
from strongroom.cli.own_share import IdentityOption, ShareOption, open_own
from strongroom.cli.sessions import cluster_session
from strongroom.cli.terminal import (
    EXIT_REFUSED,
    Failure,
    bold_capitals,
    confirm,
    notice,
    printable,
    result_json,
    say,
    stderr,
    stdout,
)
from strongroom.client.checkpoints import own_checkpoints
from strongroom.client.cluster import ClusterSession
from strongroom.client.custodians import OpenShare
from strongroom.client.explanation import Step, shown_utc
from strongroom.client.recovery import (
    Look,
    appraise_recovering,
    approval,
    approve,
    ask_witness,
    attempt_of,
    explain_gap,
    explain_state,
    explain_watchers,
    look,
    more_wanted,
    seal_share,
    submit,
)
from strongroom.client.releases import parse_proposal
from strongroom.client.standings import Standings
from strongroom.host.witness.policy import BadPolicy, read_policy
from strongroom.protocol.cluster_messages import ShareTaken
from strongroom.protocol.evidence import Attempt, Claims, Role, Watchers, parse_any_evidence
from strongroom.protocol.governance import attempt_digest
from strongroom.protocol.limits import MAX_EVIDENCE

app = typer.Typer(help="Bring a cluster back whose machines are gone: for its custodians.", no_args_is_help=True)

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", "--policy", metavar="FILE", help="Your trust policy, which names the cluster."),
]
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="The enclave that recovers.")]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="ID", help="The cluster, without a trust policy. [default: the one on your share's page]"
    ),
]
ListOption = Annotated[
    Path | None,
    typer.Option("--releases", metavar="FILE", help="Approved list of releases, where your policy goes by releases."),
]
SealedOption = Annotated[
    Path | None, typer.Option("--sealed", metavar="FILE", help="What `recover seal` wrote, instead of a share.")
]
WitnessOption = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="URL", help="Ask this witness yourself what it has seen; repeat for more."),
]

NewWitnessesOption = Annotated[
    Path | None,
    typer.Option(
        "--new-witnesses",
        metavar="FILE",
        help="The witnesses that you agree to in the place of others, as for `serve vault`: no others are signed for.",
    ),
]

DrillOption = Annotated[
    bool,
    typer.Option(
        "--drill",
        help="It is a drill: an enclave that would serve gets nothing. Needed with --yes; without that you are shown "
        "which of the two it is, and asked.",
    ),
]
_MAX_SEALED: Final = 4096
_SAVED: Final = "name what `recover status --save` wrote"
_OURS: Final = "name what `recover seal` wrote; evidence is what that reads"
_MAX_LIST: Final = 1024 * 1024
T = TypeVar("T")


@app.callback()
def recover() -> None:
    """Bring a cluster back whose machines are gone: for its custodians."""


@app.command("status")
def status(
    url: UrlArgument,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the evidence there, to seal a share offline.")
    ] = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    cluster: ClusterOption = None,
    releases: ListOption = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how a recovery stands: which enclave asks, whose shares it has, and what would be given up."""
    if save is not None:
        verify_can_create(save, what="recover status")
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    asked = _Asked(url, accepting, cluster, None, releases)

    async def show(session: ClusterSession) -> tuple[bytes, Look]:
        return session.evidence, await look(session)

    evidence, found = asked.run(show)
    if save is not None:
        write_new(save, evidence, what="recover status")
    if as_json:
        result_json({"url": url} | _as_json(found))
        return
    print_steps(stdout(), _explained(found))
    for line in _gap_lines(found):
        stdout().print(bold_capitals(line))
    say(explain_state(found.status), "bold")


@app.command("seal")
def seal(
    evidence: Annotated[
        Path,
        typer.Option("--evidence", metavar="FILE", help="What `recover status --save` wrote, an hour ago at most."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the sealed share goes.")],
    share: ShareOption = None,
    identity: IdentityOption = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    cluster: ClusterOption = None,
    releases: ListOption = None,
    drill: DrillOption = False,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Seal your share to an enclave that recovers, without a network: for a machine that has none.

    The enclave is appraised by what is in the file. Only that process can open the result, so anybody may carry it.
    """
    verify_can_create(out, what="recover seal")
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    shown = read_input(str(evidence), limit=MAX_EVIDENCE, what="the evidence", too_large=_SAVED)
    opened = open_own(share, identity)
    _verify_whose(cluster, opened, shown)
    policy = policy_for(str(evidence), shown, accepting, _clusters(accepting, cluster, opened, shown))
    claims = appraise_recovering(
        shown,
        role=role,
        policy=policy,
        releases=_list(releases),
        standings=Standings(own_checkpoints(notice), notice),
        now=int(time.time()),
    )
    sealed, attempt = seal_share(claims, opened), attempt_of(claims)
    print_steps(stderr(), _explained_claims(claims, attempt, opened))
    _verify_purpose(attempt, drill, unasked=yes)
    if not yes:
        confirm(f"Seal your share to it, for {_purpose(attempt)}?", hint="nothing was written; --yes doesn't ask")
    write_new(out, sealed, what="recover seal")
    say(f"sealed to attempt {_attempt_name(attempt.key)}", "bold")
    say(f"submit it from any machine: strongroom recover submit URL --sealed {out}", "dim")


@app.command("submit")
def submit_command(
    url: UrlArgument,
    share: ShareOption = None,
    identity: IdentityOption = None,
    sealed: SealedOption = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    cluster: ClusterOption = None,
    releases: ListOption = None,
    drill: DrillOption = False,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Submit your share to an enclave that recovers, after appraising it; or one that was sealed before."""
    if sealed is not None and (share is not None or identity is not None):
        raise Failure("--sealed is instead of a share", "leave --share and --identity out")
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    ready = (
        None if sealed is None else read_input(str(sealed), limit=_MAX_SEALED, what="the sealed share", too_large=_OURS)
    )
    opened = open_own(share, identity) if ready is None else None
    asked = _Asked(url, accepting, cluster, opened, releases)
    if opened is not None:
        found = asked.run(look)
        # To what is shown, before it is asked about: the next session may be with another enclave.
        ready = seal_share(found.claims, opened)
        print_steps(stderr(), _explained(found))
        _verify_purpose(found.attempt, drill, unasked=yes)
        if not yes:
            confirm(
                f"Submit your share to it, for {_purpose(found.attempt)}?", hint="nothing was sent; --yes doesn't ask"
            )

    async def hand_over(session: ClusterSession) -> tuple[ShareTaken, Attempt]:
        attempt = attempt_of(session.claims)
        # Of a share that was sealed before, who sealed it has looked which of the two it is.
        _verify_purpose(attempt, drill, unasked=False)
        return await submit(session, ready or b""), attempt

    taken, attempt = asked.run(hand_over)
    say(f"the share of {taken.name} was taken", "bold")
    if taken.missing:
        say(more_wanted(taken.missing), "dim")
    elif attempt.drill:
        say("the ring was opened, and that was the drill: nothing is signed, and nothing serves", "dim")
    elif role == "authenticator":  # which has no log: nothing is given up
        say("the ring is open, and it serves in a moment", "dim")
    else:
        say("the ring is open; look whether something is to be given up: strongroom recover status", "dim")


@app.command("approve-gap")
def approve_gap(
    url: UrlArgument,
    share: ShareOption = None,
    identity: IdentityOption = None,
    witness: WitnessOption = None,
    new_witnesses: NewWitnessesOption = None,
    role: RoleOption = "vault",
    trust: TrustOption = None,
    release: ReleaseOption = None,
    measurement: MeasurementOption = None,
    insecure: InsecureOption = False,
    setting: SettingOption = None,
    cluster: ClusterOption = None,
    releases: ListOption = None,
    config: options.Config = None,
    yes: options.Yes = False,
) -> None:
    """Sign what a recovery gives up: the newest part of the log, which witnesses have seen and the database lacks.

    Where it names other witnesses from here on, it shows which go and which come. Without a question (--yes) it signs
    that only if --new-witnesses names exactly those who come.
    """
    accepting = Accepting.of(role, trust, release, measurement, insecure, setting, config)
    opened = open_own(share, identity)
    asked = _Asked(url, accepting, cluster, opened, releases)
    found = asked.run(look)
    signed = approval(found, opened)
    if found.status.custodians[signed.index].done:
        missing = found.status.threshold - sum(seat.done for seat in found.status.custodians)
        say(f"you had signed already; {more_wanted(missing, 'signature')}", "bold")
        return
    print_steps(stderr(), _explained(found))
    for line in _gap_lines(found):
        stderr().print(bold_capitals(line))
    _verify_named(found, new_witnesses, unasked=yes)
    for place in witness or []:
        lines = asyncio.run(ask_witness(place, found))
        say(f"{place} has seen {lines:,} lines: no more than the gap says")
    if not yes:
        watched = ", and have THE NEW WITNESSES watch it" if found.new_watchers is not None else ""
        confirm(f"GIVE THAT UP, for good{watched}?", hint="nothing was sent; --yes doesn't ask")

    async def hand_over(session: ClusterSession) -> int:
        return (await approve(session, signed)).missing

    missing = asked.run(hand_over)
    if missing:
        say(f"signed; {more_wanted(missing, 'signature')}", "bold")
    elif found.status.witnesses:
        say("signed; the log goes on as a new generation, which its witnesses must be told", "bold")
        if found.new_watchers is not None:
            say(
                "tell all who use this Vault which witnesses it has now: they pin anew, and compare with your word",
                "dim",
            )
    else:
        say("signed; the log goes on as a new generation", "bold")


class _Asked:
    """An enclave that recovers, and by what it is accepted."""

    def __init__(
        self, url: str, accepting: Accepting, cluster: str | None, opened: OpenShare | None, releases: Path | None
    ) -> None:
        self._url, self._role = url, accepting.role
        evidence = evidence_at(url)
        _verify_recovers(evidence)
        _verify_whose(cluster, opened, evidence)
        self._policy = policy_for(url, evidence, accepting, _clusters(accepting, cluster, opened, evidence))
        self._releases = _list(releases)

    def run(self, ask: Callable[[ClusterSession], Awaitable[T]]) -> T:
        """`ask` in a session. Raises `Failure` and `StrongroomError`."""
        return asyncio.run(self._run(ask))

    async def _run(self, ask: Callable[[ClusterSession], Awaitable[T]]) -> T:
        role: Role = self._role
        policy: RolePolicy = self._policy
        async with cluster_session(
            self._url, role=role, policy=policy, stage="recovering", releases=self._releases
        ) as session:
            return await ask(session)


def _verify_recovers(untrusted_evidence: bytes) -> None:
    """Raises `Failure`."""
    stage = stage_of(untrusted_evidence)
    if stage == "member":
        recoveries = parse_any_evidence(untrusted_evidence)[1].recoveries
        raise Failure(
            f"this enclave recovers nothing: it serves (recoveries so far: {recoveries})",
            "if its cluster was being recovered, that is done; `strongroom status` shows how it stands",
            status=EXIT_REFUSED,
        )
    if stage != "recovering":
        raise Failure(
            f"this enclave recovers nothing: it is {stage}", "start it with --recover, or --drill", status=EXIT_REFUSED
        )


def _verify_whose(cluster: str | None, opened: OpenShare | None, untrusted_evidence: bytes) -> None:
    """That what somebody holds in his hands is of the cluster which the enclave says that it recovers: else it would be
    his policy's fault. Raises `Failure`."""
    recovered = parse_any_evidence(untrusted_evidence)[1].cluster_id.hex()
    sheet = None if opened is None else opened.sheet
    if sheet is not None and sheet.cluster.hex() != recovered:
        raise Failure(
            f"this share is of cluster {sheet.cluster.hex()}, and the enclave recovers {recovered}",
            "take your share of that cluster; or ask who called for shares which enclave is meant",
        )
    if cluster is not None and re.fullmatch("[0-9a-f]{64}", cluster) and cluster != recovered:
        raise Failure(
            f"--cluster is {cluster}, and the enclave recovers {recovered}",
            "compare both with the page of your share; ask who called for shares which enclave is meant",
            status=EXIT_REFUSED,
        )


def _clusters(
    accepting: Accepting, cluster: str | None, opened: OpenShare | None, untrusted_evidence: bytes
) -> list[bytes]:
    """Of which an enclave may be that is accepted without a trust policy. Raises `Failure`."""
    if cluster is not None:
        if not re.fullmatch("[0-9a-f]{64}", cluster):
            raise Failure("--cluster is not the id of a cluster", "give 64 hex digits, as they stand on your share")
        return [bytes.fromhex(cluster)]
    if opened is not None and opened.sheet is not None:
        return [opened.sheet.cluster]
    if opened is not None and accepting.trust is None:
        raise Failure("of which cluster are these words?", "say it with --cluster, as it stands on the page")
    # Nothing is told to it: the reader compares what is shown.
    return [parse_any_evidence(untrusted_evidence)[1].cluster_id]


def _list(path: Path | None) -> bytes:
    if path is None:
        return b""
    hint = "name the file that approvers have signed, as `release propose` wrote it"
    return parse_proposal(read_text(path, limit=_MAX_LIST, what="the list of releases", hint=hint)).signed


def _verify_purpose(attempt: Attempt, drill: bool, *, unasked: bool) -> None:
    """Who calls a recovery a drill would have shares with which its copy is served. Raises `Failure`."""
    if drill and not attempt.drill:
        raise Failure(
            "this is no drill: with enough shares that enclave serves its copy of the cluster",
            "nothing was sent. Ask the other custodians: if the cluster is lost, and this is its recovery, leave "
            "--drill out; else somebody is about to bring an old copy back",
            status=EXIT_REFUSED,
        )
    if attempt.drill and unasked and not drill:
        raise Failure(
            "this is a drill, and --yes alone does not say that you mean one",
            "say --drill as well, or leave --yes out and look",
            status=EXIT_REFUSED,
        )


# --- words ----------------------------------------------------------------------------------------------------------


def _purpose(attempt: Attempt) -> str:
    """In a question."""
    return "a DRILL" if attempt.drill else "a REAL RECOVERY"


def _explained_purpose(attempt: Attempt) -> Step:
    if attempt.drill:
        return Step("purpose", "DRILL", "it never serves: your share is tried, and forgotten")
    return Step("purpose", "REAL RECOVERY", "with enough shares it serves its copy; in a drill DRILL would stand here")


def _explained(found: Look) -> list[Step]:
    status, council = found.status, found.council
    steps = [
        _explained_purpose(found.attempt),
        Step("cluster", found.claims.cluster_id.hex(), "compare with the page of your share"),
        Step("attempt", _attempt_name(found.attempt.key), f"since {shown_utc(status.started)}; ends with its process"),
        Step("council", str(found.attempt.council), "whose shares are wanted"),
        Step("recoveries", str(found.attempt.recoveries), "before this one"),
        Step("threshold", f"{council.threshold} of {len(council.custodians)}", "custodians"),
    ]
    did = "has signed the gap" if status.state == "gap" else "has submitted a share"
    steps += [Step("custodian", seat.name, did if seat.done else "") for seat in status.custodians]
    if status.witnesses:
        steps.append(Step("witnesses", f"{status.cosignatures} of {status.witnesses}", "must cosign the log"))
    return steps


def _explained_claims(claims: Claims, attempt: Attempt, opened: OpenShare) -> list[Step]:
    """As much of it as evidence says, and the page of the share: the charter, with the other names, is not at hand."""
    steps = [
        _explained_purpose(attempt),
        Step("cluster", claims.cluster_id.hex(), "compare with the page of your share"),
        Step("attempt", _attempt_name(attempt.key), "compare with the others; ends with its process"),
        Step("council", str(attempt.council), "whose shares are wanted"),
        Step("recoveries", str(attempt.recoveries), "before this one"),
        Step("threshold", f"{opened.share.threshold}", "shares make the key"),
    ]
    sheet = opened.sheet
    if sheet is not None:
        steps.append(Step("custodian", sheet.custodian, f"share {sheet.index + 1} of {sheet.count}, by its page"))
    return steps


def _gap_lines(found: Look) -> list[str]:
    gap = found.gap
    if gap is None or found.status.gap is None:
        return []
    lines = ["WOULD BE GIVEN UP", *(f"  {line}" for line in explain_gap(gap, found.status.gap.known_at))]
    watchers = found.new_watchers
    if watchers is not None:
        lines += [
            "OTHER WITNESSES would watch it",
            *(f"  {line}" for line in explain_watchers(found.watching, watchers)),
        ]
    return lines


def _verify_named(found: Look, file: Path | None, *, unasked: bool) -> None:
    """Other witnesses are signed for by who has seen their names, or has them in a file. Raises `Failure`."""
    watchers = found.new_watchers
    if file is None:
        if watchers is None or not unasked:
            return
        raise Failure(
            "this gap names other witnesses from here on, and --yes alone does not agree to them",
            "name those that you agree to with --new-witnesses FILE, or leave --yes out and look at them",
            status=EXIT_REFUSED,
        )
    named = f"--new-witnesses {printable(str(file))}"
    try:
        policy = read_policy(file)
    except BadPolicy as error:
        raise Failure(f"{named}: {error}", error.hint) from None
    if watchers is None or not watchers.are(Watchers(witnesses=policy.vkeys, cosignatures=policy.cosignatures)):
        shown = "no other witnesses than until now" if watchers is None else "others than these, or another number"
        raise Failure(
            f"{named}: this gap names {shown}",
            "nothing was sent; ask who started this recovery, and the other custodians, which witnesses are meant",
            status=EXIT_REFUSED,
        )


def _attempt_name(key: bytes) -> str:
    """Short: for people who compare two of them."""
    return attempt_digest(key).hex()[:16]


def _as_json(found: Look) -> dict[str, Any]:
    gap, status, watchers = found.gap, found.status, found.new_watchers
    return {
        "cluster": found.claims.cluster_id.hex(),
        "role": found.claims.role,
        "state": status.state,
        "drill": found.attempt.drill,
        "attempt": attempt_digest(found.attempt.key).hex(),
        "council": found.attempt.council,
        "recoveries": found.attempt.recoveries,
        "generation": status.generation,
        "threshold": status.threshold,
        "custodians": [{"name": seat.name, "done": seat.done} for seat in status.custodians],
        "gap": None
        if gap is None or status.gap is None
        else {
            "found_size": gap.found_size,
            "known_size": gap.known_size,
            "known_at": status.gap.known_at,
            "generation": gap.generation,
            "new_witnesses": None if watchers is None else msgspec.to_builtins(watchers),
            "statement": status.gap.statement,
        },
        "next": explain_state(status),
    }
