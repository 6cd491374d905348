"""A proposal: a list of releases on its way from who proposes it, past the approvers, to the cluster (RULES 7).

It is a file of text that people can read and pass on, and holds the exact bytes that approvers sign. What it says in
words beside them is compared with them, so nobody signs other than what he reads. The list before it comes along, so
that an approver without a way to the cluster sees what changes. That counts for what its signatures are worth to the
approver's own trust policy (`known_by_policy`).

Attack stopped here: a proposer makes up the list before, with his own program in it, so that approvers are shown it "as
before"; or says that the list takes so many approvals that whoever signs counts on others to look.

Text in, text out; no files, no network.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace as changed

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.policy import ReleaseAuthority
from strongroom.client.errors import BadInput
from strongroom.client.explanation import Step, fingerprint_of
from strongroom.client.release import Release
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, StrongroomError, Untrusted
from strongroom.protocol.evidence import Council, PlatformKind, Role, cluster_id
from strongroom.protocol.governance import Charter
from strongroom.protocol.limits import MAX_RELEASES
from strongroom.protocol.releases import (
    NAMESPACE,
    Approval,
    ListedRelease,
    Program,
    ReleaseList,
    SignedReleases,
    is_released,
    parse_releases,
    programs_of,
    verify_approval,
    verify_follows,
    verify_releases,
    verify_unambiguous,
)
from strongroom.protocol.sshsig import key_line, parse_key_line

SSH_NAMESPACE: Final = NAMESPACE.decode()
"""Of `ssh-keygen -Y sign -n`."""
MAX_PROPOSAL: Final = 256 * 1024
"""Bytes of its file."""

_FORMAT: Final = "list of releases, proposed"
_HINT: Final = "it is made by: strongroom release propose"


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    """What people read."""

    cluster: str
    role: Role
    serial: int
    min_svn: int
    releases: list[dict[str, Any]]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    strongroom: Literal["list of releases, proposed"]
    words: _Words
    statement: str
    before: str
    approvers: list[str]
    approvals_needed: int
    approvals: list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A list, and who has approved it so far."""

    statement: bytes
    """Encoded `ReleaseList`: what is signed."""
    untrusted_before: bytes
    """Encoded `SignedReleases` that it follows, as the proposer says; empty: it is the first one."""
    approvers: tuple[bytes, ...]
    """Of the cluster, as the proposer says: who else signs need not try."""
    needed: int
    """How many of them it takes, as the proposer says."""
    approvals: tuple[Approval, ...] = ()
    """Each of them verified."""

    @property
    def releases(self) -> ReleaseList:
        return decode(self.statement, ReleaseList, limit=MAX_RELEASES)

    @property
    def signed(self) -> bytes:
        """Encoded `SignedReleases`, as a cluster takes it."""
        return encode(SignedReleases(self.statement, list(self.approvals)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a proposal is shown beside: none of it is its proposer's word."""

    before: ReleaseList | None
    """The list that it follows; None: there was none, or nobody vouches for it."""
    doubt: str = ""
    """Why nobody vouches for the list before; empty: somebody does, or this is the first one."""
    approvers: tuple[bytes, ...] | None = None
    """Who may approve; None: nobody but the proposer says."""
    needed: int = 0
    """How many of them it takes."""

    def missing(self, proposal: Proposal) -> int:
        """Approvals that are still wanted; where only the proposer says how many, by his word."""
        needed = proposal.needed if self.approvers is None else self.needed
        return max(0, needed - len(self.counted(proposal)))

    def counted(self, proposal: Proposal) -> list[Approval]:
        """The approvals of those who may approve."""
        return [one for one in proposal.approvals if self.approvers is None or one.key in self.approvers]


# --- making one -------------------------------------------------------------------------------------------------------


def propose(
    charter: Charter,
    council: Council,
    role: Role,
    *,
    add: Sequence[ListedRelease] = (),
    retire: Collection[str] = (),
    min_svn: int | None = None,
) -> Proposal:
    """The list that a cluster goes by, with these releases more, without the versions `retire`, and with that floor.

    Raises `BadInput` for what nobody could publish.
    """
    if not council.approvers:
        raise BadInput(
            "this cluster has no approvers, so only the program that runs now gets its keys",
            "its custodians can set up a council that names some: docs/howto/custodians.md",
        )
    current = parse_releases(charter.releases)[1] if charter.releases else None
    listed = list(current.releases) if current is not None else []
    unknown = set(retire) - {one.version for one in listed}
    if unknown:
        raise BadInput(f"the list names no version {', '.join(sorted(unknown))}", "see: strongroom release status URL")
    listed = [one for one in listed if one.version not in retire]
    for one in add:
        listed = _with(listed, one)
    releases = ReleaseList(
        version=1,
        cluster=cluster_id(charter.genesis.statement),
        role=role,
        serial=1 if current is None else current.serial + 1,
        min_svn=min_svn if min_svn is not None else 0 if current is None else current.min_svn,
        releases=listed,
    )
    statement = encode(releases)
    try:
        # As strictly as the cluster will: of limits, too.
        decode(statement, ReleaseList, limit=MAX_RELEASES)
        verify_unambiguous(releases)
        verify_follows(releases, current)
    except (Misuse, Untrusted) as error:
        raise BadInput(
            f"no cluster would take this list: {error.reason or error.error}",
            "see: strongroom release status URL",
        ) from None
    return Proposal(
        statement=statement,
        untrusted_before=charter.releases,
        approvers=tuple(council.approvers),
        needed=council.approvals,
    )


def is_in_office(charter: Charter, council: Council) -> bool:
    """Those have approved the list that a cluster goes by who approve now: else it brings nobody new to the keys."""
    signed = parse_releases(charter.releases)[0] if charter.releases else None
    approved = [one for one in signed.approvals if one.key in council.approvers] if signed else []
    return signed is not None and len(approved) == len(signed.approvals) >= max(1, council.approvals)


def _with(listed: list[ListedRelease], more: ListedRelease) -> list[ListedRelease]:
    """A release for another platform joins the one of its version."""
    for at, one in enumerate(listed):
        if one.version == more.version:
            if one.svn != more.svn:
                raise BadInput(
                    f"version {one.version} is listed with security version {one.svn}, not {more.svn}",
                    "a version has one; give the program another version, or the same --svn",
                )
            programs = [*one.programs, *(program for program in more.programs if program not in one.programs)]
            return [*listed[:at], changed(one, programs=programs), *listed[at + 1 :]]
    return [*listed, more]


def listed_release(release: Release, svn: int | None) -> ListedRelease:
    """A release file, as a list names it. `svn` goes before what the file says. Raises `BadInput`."""
    svn = release.svn if svn is None else svn
    if svn is None:
        raise BadInput(
            f"the release file of {release.version} on {release.kind} says no security version",
            "say which with --svn: it rises when a release mends a hole",
        )
    measurement = b"".join(value for _, value in release.registers)
    return ListedRelease(release.version, svn, [Program(release.kind, measurement)])


def approved_by(proposal: Proposal, public_key: bytes, signature: bytes) -> Proposal:
    """With one more approval. Raises `BadInput` for one that would not count."""
    if public_key not in proposal.approvers:
        raise BadInput(
            f"{fingerprint_of(public_key)} is no approver of this cluster",
            "sign with the key that its council names: strongroom release status URL",
        )
    if any(one.key == public_key for one in proposal.approvals):
        raise BadInput(f"{fingerprint_of(public_key)} has approved this list", "it takes the keys of others")
    approval = Approval(public_key, signature)
    _verify_approval(proposal.statement, approval)
    return replace(proposal, approvals=(*proposal.approvals, approval))


def joined(proposals: Sequence[Proposal]) -> Proposal:
    """One proposal with the approvals of all: approvers may have signed copies of one file. Raises `BadInput`."""
    first, *others = proposals
    for other in others:
        if other.statement != first.statement:
            raise BadInput("these are proposals of different lists", "name copies of one, each signed by somebody")
        new = [one for one in other.approvals if all(one.key != known.key for known in first.approvals)]
        first = replace(first, approvals=(*first.approvals, *new))
    return first


def verify_publishable(proposal: Proposal, charter: Charter, council: Council, genuine: Genuine) -> None:
    """The cluster will take it. Raises `BadInput` with what is missing: the cluster itself only says no."""
    again = "propose it again; approvers have to sign the new one"
    releases = proposal.releases
    if (releases.cluster, releases.role) != (genuine.claims.cluster_id, genuine.role):
        raise BadInput("the list is another cluster's", "name the cluster that it was proposed for")
    current = parse_releases(charter.releases)[1] if charter.releases else None
    if current is not None and encode(current) == proposal.statement:
        return
    try:
        verify_follows(releases, current)
    except Misuse as error:
        raise BadInput(error.reason, again) from None
    if len(proposal.approvals) < council.approvals:
        raise BadInput(
            f"{len(proposal.approvals)} approvals of the {council.approvals} that it takes",
            "pass it on: strongroom release approve",
        )
    try:
        verify_releases(
            proposal.signed,
            cluster=releases.cluster,
            role=releases.role,
            approvers=council.approvers,
            approvals=council.approvals,
        )
    except Untrusted as error:
        raise BadInput(error.reason, again) from None
    verify_names_running(proposal, genuine)


def verify_names_running(proposal: Proposal, genuine: Genuine) -> None:
    """The list releases the program that is running now. Raises `BadInput`."""
    measurement = genuine.report.measurement
    if is_released(proposal.releases, genuine.kind, measurement) is None:
        raise BadInput(
            "the list leaves out the program that runs now, and the cluster would not take it",
            "hand over to a listed program first; or add this one: --version V --svn N --program "
            f"{genuine.kind}={measurement.hex()}",
        )


# --- what it is shown beside ------------------------------------------------------------------------------------------


def known_by_cluster(charter: Charter, council: Council) -> Known:
    """The charter and the council in office, as an appraised member shows them."""
    current = parse_releases(charter.releases)[1] if charter.releases else None
    return Known(before=current, approvers=tuple(council.approvers), needed=council.approvals)


def known_by_policy(proposal: Proposal, authority: ReleaseAuthority | None) -> Known:
    """The list before it, if those approved it whom the reader's own trust policy names; and who they are.

    None for `authority`: there is no policy, or it names nobody.
    """
    releases = proposal.releases
    if authority is None:
        doubt = "" if releases.serial == 1 else "no trust policy of yours says who approves"
        return Known(before=None, doubt=doubt)
    known = Known(before=None, approvers=tuple(authority.approvers), needed=max(1, authority.approvals))
    if releases.serial - 1 < authority.min_serial:
        return replace(known, doubt=f"your trust policy says that there is list {authority.min_serial}")
    if releases.serial == 1:
        return known
    try:
        before = verify_releases(
            proposal.untrusted_before,
            cluster=releases.cluster,
            role=releases.role,
            approvers=authority.approvers,
            approvals=authority.approvals,
        )
    except Untrusted as error:
        return replace(known, doubt=f"by your trust policy {error.reason}")
    return replace(known, before=before)


# --- in words ---------------------------------------------------------------------------------------------------------


def explain_proposal(proposal: Proposal, known: Known) -> list[Step]:
    """The whole list, and what it changes. Beside a list that nobody vouches for every program is new."""
    releases, current = proposal.releases, known.before
    after = "the first one" if releases.serial == 1 else f"follows list {releases.serial - 1}"
    was = f"was {current.min_svn}" if current is not None and current.min_svn != releases.min_svn else ""
    return [
        Step("cluster", releases.cluster.hex(), f"whose {releases.role} this is about"),
        Step("list", str(releases.serial), f"complete; {after}"),
        *_doubted(known),
        Step(
            "lowest version", str(releases.min_svn), f"security version: what is below gets nothing; {was}".rstrip("; ")
        ),
        *_entries(releases, current),
        *_retired(releases, current),
        *explain_approvals(proposal, known),
    ]


def explain_approvals(proposal: Proposal, known: Known) -> list[Step]:
    """Who has signed."""
    if known.approvers is None:
        needed, means = proposal.needed, "that it takes, as the proposer says"
    else:
        needed, means = known.needed, "that it takes"
    counted = known.counted(proposal)
    steps = [Step("approvals", f"{len(counted)} of {needed}", means)]
    return steps + [
        Step("", fingerprint_of(one.key), "" if one in counted else "NO APPROVER by your trust policy")
        for one in proposal.approvals
    ]


def _doubted(known: Known) -> Iterator[Step]:
    if known.doubt:
        yield Step("list before", "not shown", f"{known.doubt}: so all is NEW here, and what is RETIRED is not told")


def _entries(releases: ReleaseList, current: ReleaseList | None) -> Iterator[Step]:
    """Each release, and of its programs which are new, or known by another version or security version: else a program
    with a hole is listed anew above the floor, or under the version of a good one, and looks as before."""
    before = set(programs_of(current))
    was = {program: one for one in (current.releases if current is not None else ()) for program in one.programs}
    for release in releases.releases:
        new = {program for program in release.programs if program not in before}
        moved = {program for program in release.programs if program in was and not _is_as(release, was[program])}
        if release.svn < releases.min_svn:
            mark, means = "x", "BELOW THE FLOOR: gets nothing"
        elif len(new) == len(release.programs):
            mark, means = "+", "NEW: this program will get the keys"
        elif new:
            mark, means = "+", "NEW: those marked so will get the keys, the others have had them"
        elif moved:
            mark, means = "!", "RELABELLED: has had the keys, and was listed as something else"
        else:
            mark, means = "=", "as before"
        yield Step(f"{mark} {release.version}", f"security version {release.svn}", means)
        for one in release.programs:
            said = ["NEW"] if one in new and len(release.programs) > 1 else []
            if one in moved:
                said.append(f"WAS {was[one].version}, security version {was[one].svn}")
            yield Step("", f"{one.kind} {one.measurement.hex()}", "; ".join(said))


def _is_as(one: ListedRelease, other: ListedRelease) -> bool:
    return (one.version, one.svn) == (other.version, other.svn)


def _retired(releases: ReleaseList, current: ReleaseList | None) -> Iterator[Step]:
    after = set(programs_of(releases))
    for release in current.releases if current is not None else ():
        gone = [one for one in release.programs if one not in after and one in programs_of(current)]
        if gone:
            means = "RETIRED: gets nothing any more, and a new epoch begins"
            yield Step(f"- {release.version}", f"security version {release.svn}", means)
            yield from (Step("", f"{one.kind} {one.measurement.hex()}", "") for one in gone)


# --- the file ---------------------------------------------------------------------------------------------------------


def proposal_text(proposal: Proposal) -> str:
    """The file, as `parse_proposal` reads it."""
    file = {
        "strongroom": _FORMAT,
        "words": _words(proposal.releases),
        "statement": b64encode(proposal.statement).decode(),
        "before": b64encode(proposal.untrusted_before).decode(),
        "approvers": [key_line(one) for one in proposal.approvers],
        "approvals_needed": proposal.needed,
        "approvals": [
            {"key": key_line(one.key), "signature": b64encode(one.signature).decode()} for one in proposal.approvals
        ],
    }
    return json.dumps(file, indent=2, ensure_ascii=True) + "\n"


def parse_proposal(text: str) -> Proposal:
    """Raises `BadInput` for what is none, for words that are not those of the statement, and for an approval that is
    none of this list."""
    if len(text.encode("utf-8", "replace")) > MAX_PROPOSAL:
        raise BadInput("the proposal is too long", _HINT)
    try:
        file = msgspec.json.decode(text, type=_File)
        proposal = Proposal(
            statement=b64decode(file.statement, validate=True),
            untrusted_before=b64decode(file.before, validate=True),
            approvers=tuple(parse_key_line(one) for one in file.approvers),
            needed=file.approvals_needed,
            approvals=tuple(
                Approval(parse_key_line(one["key"]), b64decode(one["signature"], validate=True))
                for one in file.approvals
            ),
        )
        releases = proposal.releases
        before = parse_releases(proposal.untrusted_before)[1] if proposal.untrusted_before else None
        # Before a word of it is shown.
        verify_unambiguous(releases)
    except (ValueError, KeyError, StrongroomError) as error:
        reason = error.error if isinstance(error, StrongroomError) else str(error)
        raise BadInput(f"this is no proposal: {reason[:200]}", _HINT) from None
    # Else an approver reads one list and signs another.
    if msgspec.to_builtins(file.words) != _words(releases):
        raise BadInput("what the proposal says in words is not what would be signed", "somebody edited it: don't sign")
    if before is not None and (before.cluster, before.role) != (releases.cluster, releases.role):
        raise BadInput("the list before it is another cluster's", "somebody edited it: don't sign")
    try:
        verify_follows(releases, before)
    except Misuse as error:
        raise BadInput(f"the list before it is another one: {error.reason}", "somebody edited it: don't sign") from None
    if len({one.key for one in proposal.approvals}) != len(proposal.approvals):
        raise BadInput("an approver stands twice in the proposal", "somebody edited it; ask for another copy")
    for approval in proposal.approvals:
        _verify_approval(proposal.statement, approval)
    return proposal


def _words(releases: ReleaseList) -> dict[str, Any]:
    return {
        "cluster": releases.cluster.hex(),
        "role": releases.role,
        "serial": releases.serial,
        "min_svn": releases.min_svn,
        "releases": [
            {
                "version": one.version,
                "svn": one.svn,
                "programs": [f"{program.kind}={program.measurement.hex()}" for program in one.programs],
            }
            for one in releases.releases
        ],
    }


def _verify_approval(statement: bytes, approval: Approval) -> None:
    try:
        verify_approval(approval, statement)
    except Untrusted as error:
        raise BadInput(
            f"the signature of {fingerprint_of(approval.key)} is not one of this list: {error.reason}",
            f"sign its exact bytes: ssh-keygen -Y sign -n {SSH_NAMESPACE} -f KEY STATEMENT",
        ) from None


def parse_program(text: str) -> Program:
    """`KIND=HEX`, as `--program` takes it. Raises `BadInput`."""
    kind, _, measurement = text.partition("=")
    sizes: dict[str, int] = {"sgx": 32, "insecure-software": 32, "snp": 48, "nitro": 144, "tdx": 240}
    try:
        found = bytes.fromhex(measurement)
    except ValueError:
        found = b""
    if len(found) != sizes.get(kind):
        raise BadInput(
            f"{text[:60]!r} is no program",
            "write it as KIND=HEX, with all registers one behind the other: " + ", ".join(sizes),
        )
    named: PlatformKind = msgspec.convert(kind, PlatformKind)
    return Program(named, found)
