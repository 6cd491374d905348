"""What an owner says of a council, the files that come of it, and the wait for everybody to sign."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import RolePolicy
from strongroom.cli.files import read_text, verify_can_create, write_new
from strongroom.cli.options import seconds_of
from strongroom.cli.sessions import cluster_session
from strongroom.cli.terminal import EXIT_FAILED, Failure, printable, say
from strongroom.client.custodians import PendingCouncil, parse_charter
from strongroom.client.session import fetch_evidence
from strongroom.host.witness.policy import BadPolicy, read_policy
from strongroom.protocol.age import parse_recipient
from strongroom.protocol.cluster_messages import AskCharter, AskStatus, CharterIs, Convene, Convened, Nominee, StatusIs
from strongroom.protocol.errors import Misuse, Unavailable, Untrusted
from strongroom.protocol.evidence import Council, Role, parse_any_evidence
from strongroom.protocol.limits import MAX_CUSTODIANS, MAX_RELEASE_APPROVERS
from strongroom.protocol.shares import verify_numbers
from strongroom.protocol.sshsig import parse_key_line
from strongroom.protocol.status import SeatStatus, Status, decode_status

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
"""What a custodian is called: files are named after it."""
_DEFAULT_DELAY: Final = 7 * 24 * 3600
_LINE: Final = 16 * 1024
_PAUSE: Final = 2.0
"""Seconds between two looks."""


def nominated(
    custodians: Sequence[str],
    threshold: int,
    approvers: Sequence[Path],
    approvals: int | None,
    witnesses: Path | None = None,
) -> Convene:
    """The council that an owner describes, but for the delay of releases. Raises `Failure` and `Misuse`."""
    if len(custodians) > MAX_CUSTODIANS or len(approvers) > MAX_RELEASE_APPROVERS:
        raise Failure("these are too many custodians or approvers", "name at most 16 of each")
    people = [_nominee(text) for text in custodians]
    verify_numbers(len(people), threshold)
    for what, values in (
        ("name", [one.name.lower() for one in people]),
        ("age recipient", [one.recipient for one in people]),
    ):
        if len(set(values)) != len(values):
            raise Failure(
                f"two custodians have one {what}", "each --custodian is another person, with a key of their own"
            )
    keys = [_approver(path) for path in approvers]
    if len(set(keys)) != len(keys):
        raise Failure("two approvers have one key", "each --approver is another person")
    _verify_approvals(approvals, keys)
    watched: tuple[list[str], int] = ([], 0)
    if witnesses is not None:
        try:
            policy = read_policy(witnesses)
        except BadPolicy as error:
            raise Failure(f"--witnesses {printable(str(witnesses))}: {error}", error.hint) from None
        watched = (policy.vkeys, policy.cosignatures)
    return Convene(
        custodians=people,
        threshold=threshold,
        approvers=keys,
        approvals=(approvals or len(keys) // 2 + 1) if keys else 0,
        release_delay=0,
        witnesses=watched[0],
        cosignatures=watched[1],
    )


def with_delay(
    request: Convene, release_delay: str | None, witnesses: Sequence[str], before: Council | None = None
) -> Convene:
    """The same with the delay that was asked for, else that of the council `before`, in a cluster with these witnesses.
    Raises `Failure`."""
    asked = None if release_delay is None else seconds_of(release_delay, "--release-delay")
    if asked is not None and not request.approvers:
        raise Failure("there are no approvers to approve anything", "name them with --approver FILE.pub")
    if asked is not None and not witnesses:
        raise Failure(
            "a delay takes witnesses: nobody else can say how long a list of releases has stood, so no new program "
            "would ever get the keys",
            "leave --release-delay out, or found a Vault with --witnesses",
        )
    if not request.approvers or not witnesses:
        return request
    usual = before.release_delay if before is not None and before.approvers else _DEFAULT_DELAY
    return msgspec.structs.replace(request, release_delay=usual if asked is None else asked)


def with_approvers_of(request: Convene, before: Council, approvals: int | None) -> Convene:
    """The same, and whoever approves programs now goes on to. Raises `Failure`.

    Mistake stopped here: somebody exchanges a custodian, and from then on nobody can approve a patched program.
    """
    _verify_approvals(approvals, before.approvers)
    return msgspec.structs.replace(request, approvers=before.approvers, approvals=approvals or before.approvals)


def lone_custodian(request: Convene) -> str:
    """What to say where one person has everything; empty: it takes several."""
    if request.threshold > 1:
        return ""
    [one] = request.custodians
    return (
        f"WITH ONE CUSTODIAN, {one.name} alone (or whoever gets that share and its age key) brings all keys back and "
        "reads everything, with nobody to notice; and if that share is lost, nobody brings them back"
    )


def fewer_than_custodians(request: Convene) -> str:
    """What to say where fewer people can have the keys given to a program of theirs than it takes custodians; empty: it
    takes as many."""
    if not request.approvers or request.approvals >= request.threshold:
        return ""
    who = "1 approver" if request.approvals == 1 else f"{request.approvals} approvers"
    return (
        f"FEWER APPROVERS THAN CUSTODIANS: {who}, with the owner and whoever runs a machine (who may be one of them), "
        f"can have the keys given to a program that reads everything out, where it takes {request.threshold} "
        f"custodians. Have it take as many: --approvals {request.threshold}, and an --approver for each"
    )


def signatures_missing(status: Status) -> int:
    """Of the council that is being set up."""
    return sum(not seat.done for seat in status.pending) + status.endorsements


def wanted_signatures(missing: int) -> str:
    """How many are still wanted, in words."""
    return "1 more signature is wanted" if missing == 1 else f"{missing} more signatures are wanted"


def share_file(out: Path, name: str) -> Path:
    """Where a custodian's share goes."""
    return out / f"{name}.share.age"


def verify_can_write(out: Path, request: Convene, statement: str) -> None:
    """Say so before anything is sent. Raises `Failure`."""
    if not out.exists():
        verify_can_create(out, what="this command")
        return
    for path in (out / statement, *(share_file(out, one.name) for one in request.custodians)):
        verify_can_create(path, what="this command")


def write_files(out: Path, request: Convene, convened: Convened, statement: str) -> None:
    """A file for each custodian, and the statement that they are to accept. Raises `Failure`."""
    try:
        out.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failure(f"can't make {out}: {error.strerror}", "name another directory with --out") from None
    for one, data in zip(request.custodians, convened.shares, strict=True):
        write_new(share_file(out, one.name), data, what="this command")
    write_new(out / statement, convened.statement, what="this command")


def say_what_next(url: str, out: Path, pending: PendingCouncil, policy: RolePolicy) -> None:
    """What each person has to do now."""
    role = "" if pending.genesis.role == "vault" else f" --role {pending.genesis.role}"
    if pending.before is None and policy.insecure_software is not None:
        role += " --insecure"
    say()
    say("Nothing is in force yet. Each custodian gets a file, which only they can open, and runs:")
    for one in pending.council.custodians:
        file = share_file(out, one.name)
        say(f"  {one.name}: strongroom cluster accept {url} {file}{role} --identity KEYFILE")
    if pending.before is not None:
        say(f"{pending.before.threshold} of those in office run, with their present share:")
        say(f"  strongroom cluster endorse {url} SHARE{role} --identity KEYFILE")
    say("They should compare the program and the statement with you on another channel before they say yes.")


async def wait_for_custodians(url: str, policy: RolePolicy, role: Role, pending: PendingCouncil) -> None:
    """Until the council is in office; says who has accepted. Raises `Failure` when the enclave has forgotten it."""
    said: set[str] = set()
    say("waiting for them; Ctrl-C leaves them to it", "dim")
    while True:
        try:
            if await _in_office(url, policy, role, pending, said):
                break
        except Unavailable as error:
            if "" not in said:
                say(f"no answer at the moment: {error.error}", "dim")
            said.add("")
        await asyncio.sleep(_PAUSE)
    what = "the cluster is founded" if pending.serial == 0 else f"council {pending.serial} is in office"
    say(f"{what}: {pending.cluster.hex()}", "bold")


async def _in_office(url: str, policy: RolePolicy, role: Role, pending: PendingCouncil, said: set[str]) -> bool:
    evidence = await fetch_evidence(url)
    stage = parse_any_evidence(evidence)[1].stage
    if pending.serial == 0 and stage == "member":
        own = msgspec.structs.replace(policy, clusters=[pending.cluster])
        appraise(evidence, role=role, policy=own, now=int(time.time()))
        return True
    try:
        async with cluster_session(url, role=role, policy=policy, stage=stage) as session:
            status = decode_status((await session.ask(AskStatus(), StatusIs)).status)
            told = await session.ask(AskCharter(), CharterIs)
    except Untrusted:
        if parse_any_evidence(await fetch_evidence(url))[1].stage != stage:
            return False  # it has become a member between two questions
        raise
    _say_new(status.pending, said)
    if told.pending == pending.statement:
        return False
    if pending.serial:
        signed = parse_charter(told.charter)[0].successions
        if pending.statement in (one.statement for one in signed):
            return True
    raise Failure(
        "the enclave sets up another council, or was started anew and has forgotten this one",
        "nothing was changed, and the shares' files are worth nothing: run the command again",
        status=EXIT_FAILED,
    )


def _say_new(seats: Sequence[SeatStatus], said: set[str]) -> None:
    for seat in seats:
        if seat.done and seat.name not in said:
            said.add(seat.name)
            say(f"{seat.name} has accepted")


def _verify_approvals(approvals: int | None, approvers: Sequence[bytes]) -> None:
    if approvals is None:
        return
    if not approvers:
        raise Failure("there are no approvers to approve anything", "name them with --approver FILE.pub")
    if approvals > len(approvers):
        raise Failure(
            f"{approvals} of {len(approvers)} approvers can never approve", "--approvals is at most their number"
        )


def _nominee(text: str) -> Nominee:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise Failure(
            f"--custodian {text[:40]!r} is not NAME=age1…",
            "a name has letters, digits and any of . _ @ + -, and begins with a letter or digit",
        )
    if not value.startswith("age1"):
        hint = f"--custodian {name}= takes an age recipient (age1…), or a file with one"
        lines = read_text(Path(value), limit=_LINE, what="the age recipient", hint=hint).splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        value = found[0] if len(found) == 1 else ""
    try:
        return Nominee(name=name, recipient=parse_recipient(value).text)
    except Misuse as error:
        raise Failure(f"custodian {name}: {error.reason}", "ask them for the line that age-keygen -y prints") from None


def _approver(path: Path) -> bytes:
    hint = "name a public key of ssh: ed25519, ecdsa-sha2-nistp256 or one of their sk- types"
    try:
        return parse_key_line(read_text(path, limit=_LINE, what="the public key", hint=hint))
    except Misuse as error:
        raise Failure(f"--approver {printable(str(path))}: {error.reason}", hint) from None
