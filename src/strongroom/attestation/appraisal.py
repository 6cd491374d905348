"""Appraisal of evidence (RFC 9334): claims, or a refusal that says why. Pure: bytes, policy and time come in.

Rules, in the order in which they are checked:

1. The evidence parses strictly and its platform kind is one that the relying party named.
2. The quote verifies up to its maker's root, or for software evidence up to a root named by digest; it is exactly as
   long as it says, not of a debug enclave, and nothing it relies on has expired (`verification`).
3. The report data commit to exactly these claims, the role is the expected one, and the evidence is current (RULES 2).
4. The cluster's own key signed the claims, and the cluster id is the digest of the statement with that key (RULES 6).
5. Evidence made for one handshake counts in that handshake only, and never serves clients (RULES 4). In a handshake
   this comes first.
6. Cluster, program, state of the machine and configuration are those of the policy; an empty list denies
   (`acceptance`). A program may also be one that enough approvers have released (`verify_released`).
7. An enclave that holds no ring serves nobody. Who founds, joins or recovers asks for it (`candidates`), and it
   proves its program and what it is about to do, never that it is of any cluster.

A workload of somebody else's has no claims and no cluster: its quote alone is appraised, by rules 1, 2 and 6, and its
report data must be those that were asked for (`appraise_workload`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from strongroom.attestation.acceptance import AcceptedBy, accept_platform, accept_program
from strongroom.attestation.policy import ReleaseAuthority, RolePolicy, SoftwarePolicy, sections_of
from strongroom.attestation.reports import AnyReport
from strongroom.attestation.verification import verify_quote
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import (
    Claims,
    ConfigValue,
    Evidence,
    Genesis,
    PeerBinding,
    PlatformKind,
    Purpose,
    Role,
    cluster_id,
    evidence_digest,
    parse_evidence,
    report_data,
)
from strongroom.protocol.limits import MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import Domain, equal, verify_signature
from strongroom.protocol.releases import ReleaseList, is_released, parse_releases, verify_releases


@dataclass(frozen=True, slots=True)
class Genuine:
    """Evidence that holds by itself: some enclave of some cluster made it. Whether to trust that one is policy."""

    evidence_digest: bytes
    kind: PlatformKind
    role: Role
    claims: Claims
    genesis: Genesis
    report: AnyReport
    releases: bytes
    """Encoded `SignedReleases` that came along, if `claims.release` is not 0; not verified."""


@dataclass(frozen=True, slots=True)
class WorkloadAppraisal:
    """A verified quote, and which of several policies accepts it."""

    index: int
    report: AnyReport
    accepted_by: AcceptedBy


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Genuine evidence that a policy accepts."""

    genuine: Genuine
    accepted_by: AcceptedBy | Literal["release"]

    @property
    def signer_can_read(self) -> bool:
        """True: accepted by its signer, who can sign an enclave that gives everything away (RULES 7)."""
        return self.accepted_by == "signer"


def verify_genuine(
    untrusted_evidence: bytes,
    *,
    role: Role,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> Genuine:
    """Rules 1 to 4 of this module. `insecure_roots` are SHA-256 digests, `now` is unix seconds.

    Says nothing about *which* enclave or cluster it is, nor whether the evidence is a peer's: use `appraise` or
    `verify_peer` unless that is checked elsewhere. Raises `Untrusted` EVIDENCE, and POLICY for a platform or root that
    was not named.
    """
    evidence, claims, genesis = parse_evidence(untrusted_evidence)
    report = verify_quoted(evidence, claims, role=role, platforms=platforms, insecure_roots=insecure_roots, now=now)
    if genesis.role != role:
        raise _refuse(f"the cluster is one of the role {genesis.role}; {role} was expected")
    _verify_cluster(evidence, claims, genesis)
    return Genuine(
        evidence_digest=evidence_digest(untrusted_evidence),
        kind=evidence.kind,
        role=role,
        claims=claims,
        genesis=genesis,
        report=report,
        releases=evidence.releases,
    )


def appraise(untrusted_evidence: bytes, *, role: Role, policy: RolePolicy, now: int) -> Appraisal:
    """Appraise evidence that serves clients, against a relying party's own policy, at `now` (unix seconds).

    Raises `Untrusted` with the first reason found: EVIDENCE for what does not hold, POLICY for what is genuine and not
    accepted.
    """
    sections = sections_of(policy)
    software = policy.insecure_software
    genuine = verify_genuine(
        untrusted_evidence,
        role=role,
        platforms=sections,
        insecure_roots=() if software is None else software.roots,
        now=now,
    )
    # Otherwise a host relays what a genuine enclave made for one handshake, and stands in for it elsewhere.
    if genuine.claims.peer is not None:
        raise _refuse("this evidence was made for one handshake between enclaves, not to serve clients")
    if genuine.claims.cluster_id not in policy.clusters:
        raise _not_accepted(f"cluster {genuine.claims.cluster_id.hex()} is not one that the policy names")
    claims = genuine.claims
    accepted_by = accept_enclave(genuine.kind, genuine.report, policy, claims.cluster_id, role, genuine.releases, now)
    _verify_serial(genuine)
    accept_config(claims.config, policy.config)
    return Appraisal(genuine, accepted_by)


def verify_released(
    kind: PlatformKind,
    report: AnyReport,
    authority: ReleaseAuthority,
    cluster: bytes,
    role: Role,
    untrusted_releases: bytes,
) -> ReleaseList:
    """The list, signed by enough of the authority's approvers, that names the program of this report.

    Raises `Untrusted` POLICY when it does not, and for a list that is too old, and as `verify_releases`.
    """
    if not untrusted_releases:
        raise _not_accepted("the policy goes by a list of releases, and none came along")
    releases = verify_releases(
        untrusted_releases,
        cluster=cluster,
        role=role,
        approvers=authority.approvers,
        approvals=authority.approvals,
    )
    if releases.serial < authority.min_serial:
        raise _not_accepted(f"the list of releases is number {releases.serial}, below the floor {authority.min_serial}")
    if is_released(releases, kind, report.measurement) is None:
        raise _not_accepted(f"the program is not one that list {releases.serial} of releases names")
    return releases


def verify_peer(
    untrusted_evidence: bytes,
    *,
    role: Role,
    purpose: Purpose,
    kem_key: bytes,
    binding_key: bytes,
    peer_evidence: bytes,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> Genuine:
    """Verify the evidence of an enclave that acts as a client (RULES 4): it must have been made for this handshake.

    `kem_key` and `binding_key` are the session's client keys, `peer_evidence` the digest (32 bytes) of the evidence
    that this side showed. Which enclave and cluster it is remains to be decided. Raises `Untrusted` EVIDENCE.
    """
    # Before its quote, which costs a thousand times as much: evidence of others may be sent as often as somebody likes.
    verify_binding(parse_evidence(untrusted_evidence)[1], PeerBinding(purpose, kem_key, binding_key, peer_evidence))
    return verify_genuine(untrusted_evidence, role=role, platforms=platforms, insecure_roots=insecure_roots, now=now)


def verify_binding(untrusted_claims: Claims, handshake: PeerBinding) -> None:
    """Rule 5: the claims name this handshake. Raises `Untrusted` EVIDENCE."""
    if untrusted_claims.peer is None:
        raise _refuse("this evidence serves clients; it was not made for a handshake between enclaves")
    if untrusted_claims.peer != handshake:
        raise _refuse("this evidence was made for another handshake between enclaves")


def appraise_workload(
    kind: PlatformKind,
    untrusted_quote: bytes,
    untrusted_collateral: bytes,
    *,
    report_data: bytes,
    policies: Sequence[RolePolicy],
    now: int,
) -> WorkloadAppraisal:
    """Appraise the quote of an enclave that is none of ours, over exactly these 64 bytes of report data, at `now` (unix
    seconds): the first policy that accepts it counts. Of policies only the sections of platforms are read.

    Raises `Untrusted`: EVIDENCE for what does not hold, POLICY for what is genuine and no policy accepts, with the
    reason of the one that names the platform, if there is one such.
    """
    software = [policy.insecure_software for policy in policies if policy.insecure_software is not None]
    report = verify_quote(
        kind,
        untrusted_quote,
        untrusted_collateral,
        platforms={named for policy in policies for named in sections_of(policy)},
        insecure_roots={root for section in software for root in section.roots},
        now=now,
    )
    if not equal(report.report_data, report_data):
        raise _refuse("the quote was made over other report data")
    problems: list[Untrusted] = []
    for index, policy in enumerate(policies):
        section = sections_of(policy).get(kind)
        if section is None:
            continue
        try:
            # The root may be one that another policy names.
            if isinstance(section, SoftwarePolicy) and report.root not in section.roots:
                raise _not_accepted("the policy does not name this software root")
            accepted_by = accept_program(report, section)
            accept_platform(report, section, now)
        except Untrusted as error:
            problems.append(error)
        else:
            return WorkloadAppraisal(index, report, accepted_by)
    raise problems[0] if len(problems) == 1 else _not_accepted("no policy accepts this program on this machine")


def verify_quoted(
    evidence: Evidence,
    claims: Claims,
    *,
    role: Role,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> AnyReport:
    """Rules 1 to 3."""
    report = verify_quote(
        evidence.kind,
        evidence.quote,
        evidence.collateral,
        platforms=platforms,
        insecure_roots=insecure_roots,
        now=now,
    )
    # Without this, a host pairs a genuine quote with claims of its own, thus with its own session key.
    if not equal(report.report_data, report_data(evidence.claims)):
        raise _refuse("the quote was made over other claims")
    if claims.role != role:
        raise _refuse(f"this is evidence of role {claims.role}; {role} was expected")
    if claims.expires_at <= now:
        raise _refuse("the evidence has expired")
    if claims.expires_at > now + MAX_EVIDENCE_AHEAD:
        raise _refuse(f"the evidence expires more than {MAX_EVIDENCE_AHEAD // 3600} hours ahead: check both clocks")
    return report


def accept_enclave(
    kind: PlatformKind,
    report: AnyReport,
    policy: RolePolicy,
    cluster: bytes,
    role: Role,
    untrusted_releases: bytes,
    now: int,
) -> AcceptedBy | Literal["release"]:
    """How the policy knows the program, on a machine in a state that it accepts: named by it, or released."""
    section = sections_of(policy)[kind]
    accepted_by: AcceptedBy | Literal["release"] = "release"
    if policy.releases is not None and (untrusted_releases or policy.releases.min_serial):
        # Also of a program that the policy names: one that approvers have retired is accepted by nobody (RULES 7), and
        # least of all because it leaves their list out.
        verify_released(kind, report, policy.releases, cluster, role, untrusted_releases)
    else:
        accepted_by = accept_program(report, section)
    accept_platform(report, section, now)
    return accepted_by


def _verify_serial(genuine: Genuine) -> None:
    """The list that came along is the one that the enclave says it goes by, whoever looks at it."""
    serial = parse_releases(genuine.releases)[1].serial if genuine.releases else 0
    if serial != genuine.claims.release:
        raise _refuse("the list of releases is another than the enclave goes by")


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _not_accepted(reason: str) -> Untrusted:
    return Untrusted(Number.POLICY, reason)


def _verify_cluster(evidence: Evidence, claims: Claims, genesis: Genesis) -> None:
    if claims.cluster_id != cluster_id(evidence.genesis):
        raise _refuse("the cluster id is not that of the genesis statement")
    try:
        # Genesis statements are public: only the signature shows that this enclave holds the cluster's ring.
        verify_signature(genesis.cluster_key, evidence.cluster_signature, Domain.CLAIMS_SIGNATURE, evidence.claims)
    except Untrusted:
        raise _refuse("the cluster's key did not sign these claims") from None


def accept_config(shown: list[ConfigValue], expected: list[ConfigValue]) -> None:
    """Exactly the policy's values: what neither side mentions stands at its default (RULES 7)."""
    for value in shown:
        if value not in expected:
            raise _not_accepted(f"configuration {show_config([value])} is not what the policy expects")
    for value in expected:
        if value not in shown:
            raise _not_accepted(
                f"the policy expects configuration {show_config([value])}, which the evidence does not show"
            )


def show_config(config: list[ConfigValue]) -> str:
    """Configuration values as one line of text."""
    # repr: a value may hold control sequences, and this text reaches terminals.
    return ", ".join(f"{value.name!r} = {value.value!r}"[:120] for value in config) or "all defaults"
