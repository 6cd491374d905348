"""Appraisal of an enclave that holds no ring: it founds, joins or recovers (RULES 4, 6, 25).

Such evidence proves a program and what it is about to do, never that it is of any cluster: for that it would have to
hold the ring. Nobody takes it for a member's, since its stage stands in the claims.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from strongroom.attestation.appraisal import accept_config, accept_enclave, verify_binding, verify_quoted
from strongroom.attestation.policy import RolePolicy, sections_of
from strongroom.attestation.reports import AnyReport
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import (
    Claims,
    PeerBinding,
    PlatformKind,
    Role,
    Stage,
    cluster_id,
    evidence_digest,
    parse_any_evidence,
)

OWNER: Final = "owner"
"""Configuration value of an enclave that is founding: the owner's public key in hex. So whoever starts one fixes who
may found with it, and the founder sees that it is he."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Evidence that holds by itself of an enclave without a ring. `claims.cluster_id` is what it wants to be in."""

    evidence_digest: bytes
    kind: PlatformKind
    role: Role
    claims: Claims
    report: AnyReport


def verify_candidate(
    untrusted_evidence: bytes,
    *,
    role: Role,
    stage: Stage,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> Candidate:
    """Rules 1 to 3 for an enclave that founds, joins or recovers. Raises as `verify_genuine`.

    Whether to trust that program, and with what, is to be decided: `appraise_candidate`, or the list of releases.
    """
    evidence, claims = parse_any_evidence(untrusted_evidence)
    if claims.stage != stage:
        raise _refuse(f"this enclave is {claims.stage}; {stage} was expected")
    report = verify_quoted(evidence, claims, role=role, platforms=platforms, insecure_roots=insecure_roots, now=now)
    if evidence.genesis and claims.cluster_id != cluster_id(evidence.genesis):
        raise _refuse("the cluster id is not that of the genesis statement")
    return Candidate(evidence_digest(untrusted_evidence), evidence.kind, role, claims, report)


def appraise_candidate(
    untrusted_evidence: bytes, *, role: Role, stage: Stage, policy: RolePolicy, releases: bytes, now: int
) -> Candidate:
    """Appraise an enclave without a ring before something is told to it that is for this role's program only: the
    names of custodians, or a share. `releases` is an encoded list for a policy that goes by releases; empty: none.

    Who founds is of no cluster; who joins or recovers is of one that the policy names. Raises as `appraise`.
    """
    sections, software = sections_of(policy), policy.insecure_software
    candidate = verify_candidate(
        untrusted_evidence,
        role=role,
        stage=stage,
        platforms=sections,
        insecure_roots=() if software is None else software.roots,
        now=now,
    )
    claims = candidate.claims
    if claims.peer is not None:
        raise _refuse("this evidence was made for one handshake between enclaves, not to serve clients")
    if stage != "founding" and claims.cluster_id not in policy.clusters:
        raise _not_accepted(f"cluster {claims.cluster_id.hex()} is not one that the policy names")
    accept_enclave(candidate.kind, candidate.report, policy, claims.cluster_id, role, releases, now)
    accept_config([value for value in claims.config if value.name != OWNER], policy.config)
    return candidate


def verify_joining_peer(
    untrusted_evidence: bytes,
    *,
    role: Role,
    kem_key: bytes,
    binding_key: bytes,
    peer_evidence: bytes,
    platforms: Collection[PlatformKind],
    insecure_roots: Collection[bytes],
    now: int,
) -> Candidate:
    """As `verify_peer`, of an enclave that holds no ring and asks for one. Raises `Untrusted` EVIDENCE."""
    verify_binding(parse_any_evidence(untrusted_evidence)[1], PeerBinding("join", kem_key, binding_key, peer_evidence))
    return verify_candidate(
        untrusted_evidence, role=role, stage="joining", platforms=platforms, insecure_roots=insecure_roots, now=now
    )


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _not_accepted(reason: str) -> Untrusted:
    return Untrusted(Number.POLICY, reason)
