"""The list of programs that may have a cluster's ring, as its approvers sign it (`spec/cluster.md`, RULES 7).

A list is complete and replaces the one before: what is not in it gets nothing any more. So to retire a program is to
sign a list without it, and there is one thing to sign, show and compare. Signatures are OpenSSH's own (`ssh-keygen -Y
sign`), under a namespace of their own, so that any ssh key, agent or security key of an approver will do.

Attacks stopped here: a list signed by too few, by one approver twice, by a security key that nobody touched, or for
another cluster; an older list put back, or one approved before the newest (serials rise one by one); a list that takes
back the floor under security versions, or names a program twice to get it past that floor; a version that is written so
that what stands beside it is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Bytes32, Count, PlatformKind, Role, ShortText, SshKeyBytes
from strongroom.protocol.limits import MAX_LISTED_RELEASES, MAX_RELEASE_APPROVERS, MAX_RELEASES
from strongroom.protocol.sshsig import PRESENT, parse_ssh_key, verify_sshsig

NAMESPACE: Final = b"strongroom-releases"
"""Of signatures: nothing that was signed for a login, a commit or a sign-in is ever an approval."""

Measurement = Annotated[bytes, Meta(min_length=32, max_length=512)]
"""All registers that say which program runs, one behind the other, as `AnyReport.measurement` is."""


VERSION: Final = re.compile(r"[!-~]{1,64}")
"""Of a release, as a whole: printable ASCII without blanks. Approvers read versions beside what a list changes, and one
with blanks in it would push that out of sight."""


class Program(Message):
    """A program on one kind of platform."""

    kind: PlatformKind
    measurement: Measurement


class ListedRelease(Message):
    """One release: a version, and what it measures as on each platform."""

    version: ShortText
    svn: Count
    """Security version, as its builders count: rises when a release mends a hole."""
    programs: Annotated[list[Program], Meta(min_length=1, max_length=8)]


class ReleaseList(Message):
    """What approvers sign."""

    version: Literal[1]
    cluster: Bytes32
    role: Role
    serial: Annotated[int, Meta(ge=1, le=2**31)]
    """One more than that of the list before."""
    min_svn: Count
    """Releases below it get nothing, listed or not. Never falls."""
    releases: Annotated[list[ListedRelease], Meta(max_length=MAX_LISTED_RELEASES)]


class Approval(Message):
    """One approver's signature."""

    key: SshKeyBytes
    signature: Annotated[bytes, Meta(max_length=1024)]
    """As `verify_sshsig` takes it: the signature field of an SSHSIG blob."""


class SignedReleases(Message):
    """A list, and who approved it."""

    statement: Annotated[bytes, Meta(max_length=MAX_RELEASES)]
    """Encoded `ReleaseList`."""
    approvals: Annotated[list[Approval], Meta(max_length=MAX_RELEASE_APPROVERS)]


def parse_releases(untrusted_signed: bytes) -> tuple[SignedReleases, ReleaseList]:
    """Decode a list, trusting nothing. Raises `Untrusted` EVIDENCE."""
    try:
        signed = decode(untrusted_signed, SignedReleases, limit=MAX_RELEASES)
        return signed, decode(signed.statement, ReleaseList, limit=MAX_RELEASES)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the list of releases does not parse ({error.error})") from None


def verify_releases(
    untrusted_signed: bytes, *, cluster: bytes, role: Role, approvers: Sequence[bytes], approvals: int
) -> ReleaseList:
    """The list, if at least `approvals` of `approvers` (keys as OpenSSH writes them) signed it for this cluster.

    Raises `Untrusted` EVIDENCE, INTEGRITY or TOKEN_UNTRUSTED.
    """
    signed, releases = parse_releases(untrusted_signed)
    if (releases.cluster, releases.role) != (cluster, role):
        raise Untrusted(Number.INTEGRITY, "the list of releases is another cluster's")
    verify_unambiguous(releases)
    # One approver is counted once, however often his key is listed.
    keys = {approval.key for approval in signed.approvals}
    if len(keys) != len(signed.approvals):
        raise Untrusted(Number.INTEGRITY, "an approver signed the list twice")
    for approval in signed.approvals:
        if approval.key not in approvers:
            raise Untrusted(Number.INTEGRITY, "somebody signed the list who is no approver")
        verify_approval(approval, signed.statement)
    # An empty set of approvers approves nothing (and 0 of them is not "anybody").
    if not approvers or len(keys) < max(1, approvals):
        raise Untrusted(Number.INTEGRITY, f"{len(keys)} approvers signed the list of the {max(1, approvals)} it takes")
    return releases


def verify_approval(approval: Approval, statement: bytes) -> None:
    """Whoever has this key signed the encoded list. Raises `Untrusted` INTEGRITY or TOKEN_UNTRUSTED."""
    try:
        key = parse_ssh_key(approval.key)
    except Misuse as error:
        raise Untrusted(Number.INTEGRITY, error.reason) from None
    touch = verify_sshsig(key, approval.signature, statement, NAMESPACE)
    # Else a program on the approver's machine approves what it likes while the key is plugged in.
    if touch is not None and not touch.flags & PRESENT:
        raise Untrusted(Number.INTEGRITY, "nobody touched the security key that signed the list")


def is_released(releases: ReleaseList, kind: PlatformKind, measurement: bytes) -> ListedRelease | None:
    """The release that this program is, if the list names it and its security version is not below the floor: what is
    below has been retired, listed or not."""
    for release in releases.releases:
        if release.svn >= releases.min_svn and Program(kind, measurement) in release.programs:
            return release
    return None


def programs_of(releases: ReleaseList | None) -> list[Program]:
    """All programs that a list releases, in its order; of none there are none."""
    if releases is None:
        return []
    return [one for release in releases.releases if release.svn >= releases.min_svn for one in release.programs]


def verify_unambiguous(releases: ReleaseList) -> None:
    """Each version is a word, and each version and each program stands in a list once: else one program had two
    security versions, and whoever reviews a list would have to see it. Raises `Untrusted` INTEGRITY."""
    versions = [release.version for release in releases.releases]
    if not all(VERSION.fullmatch(version) for version in versions):
        raise Untrusted(Number.INTEGRITY, "a version in the list of releases is not 1 to 64 visible ASCII characters")
    programs = [program for release in releases.releases for program in release.programs]
    if len(set(versions)) != len(versions) or len(set(programs)) != len(programs):
        raise Untrusted(Number.INTEGRITY, "the list of releases names a version or a program twice")


def verify_follows(releases: ReleaseList, current: ReleaseList | None) -> None:
    """A list may take the place of the one that a cluster goes by. Raises `Misuse` RELEASE_INVALID."""
    serial, floor = (0, 0) if current is None else (current.serial, current.min_svn)
    if releases.serial != serial + 1:
        # One that was signed before the newest knows nothing of what that one retired.
        raise Misuse(
            Number.RELEASE_INVALID, f"the list is number {releases.serial}, and the next one is number {serial + 1}"
        )
    if releases.min_svn < floor:
        raise Misuse(
            Number.RELEASE_INVALID, f"the lowest security version would fall from {floor} to {releases.min_svn}"
        )
