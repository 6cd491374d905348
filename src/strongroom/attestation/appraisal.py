"""Appraisal of evidence (RFC 9334): claims, or a refusal that says why. Pure: bytes, policy and time come in.

Rules, in the order in which they are checked:

1. The evidence parses strictly and its platform kind is one that the relying party named.
2. The quote verifies up to Intel's root, or for software evidence up to a root named by digest; it is exactly as
   long as it says, not a debug enclave, and nothing it relies on has expired.
3. The report data commit to exactly these claims, the role is the expected one, and the evidence is current (RULES 2).
4. The cluster's own key signed the claims, and the cluster id is the digest of the statement with that key (RULES 6).
5. Evidence made for one handshake counts in that handshake only, and never serves clients (RULES 4).
6. Cluster, measurement or signer, TCB and configuration are those of the policy; an empty list denies.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from strongroom.attestation.policy import RolePolicy, SignerRule
from strongroom.attestation.sgx import SgxReport, root_certificate, verify_sgx_quote
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import (
    Claims,
    ConfigValue,
    Evidence,
    Genesis,
    PeerBinding,
    Purpose,
    Role,
    cluster_id,
    evidence_digest,
    parse_evidence,
    report_data,
)
from strongroom.protocol.limits import MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import Domain, equal, fingerprint, verify_signature


class Step(NamedTuple):
    """One thing that was checked, for people: `strongroom verify` prints them as a table."""

    name: str
    value: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Genuine:
    """Evidence that holds by itself: some enclave of some cluster made it. Whether to trust that one is policy."""

    evidence_digest: bytes
    kind: str
    role: Role
    claims: Claims
    genesis: Genesis
    measurement: bytes
    signer: bytes
    product_id: int
    svn: int
    tcb_status: str
    advisories: tuple[str, ...]
    tcb_evaluation_number: int
    collateral_date: int
    """Verified time at which the TCB info was issued, unix seconds: may raise a clock floor (RULES 24)."""
    root: bytes
    """SHA-256 of the DER of the root certificate."""
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Genuine evidence that a policy accepts."""

    genuine: Genuine
    signer_can_read: bool
    """True: accepted by its signer, who can sign an enclave that gives everything away (RULES 7)."""
    steps: tuple[Step, ...]


def verify_genuine(
    untrusted_evidence: bytes,
    *,
    role: Role,
    platforms: Collection[str],
    insecure_roots: Collection[bytes],
    now: int,
) -> Genuine:
    """Rules 1 to 4 of this module. `insecure_roots` are SHA-256 digests, `now` is unix seconds.

    Says nothing about *which* enclave or cluster it is, nor whether the evidence is a peer's: use `appraise` or
    `verify_peer` unless that is checked elsewhere. Raises `Untrusted` EVIDENCE.
    """
    evidence, claims, genesis = parse_evidence(untrusted_evidence)
    report = _verify_quote(evidence, platforms, insecure_roots, now)
    # Without this, a host pairs a genuine quote with claims of its own, thus with its own session key.
    if not equal(report.report_data, report_data(evidence.claims)):
        raise _refuse("the quote was made over other claims")
    if claims.role != role or genesis.role != role:
        raise _refuse(f"this is evidence of role {claims.role} (its cluster: {genesis.role}); {role} was expected")
    if claims.expires_at <= now:
        raise _refuse("the evidence has expired")
    if claims.expires_at > now + MAX_EVIDENCE_AHEAD:
        raise _refuse(f"the evidence expires more than {MAX_EVIDENCE_AHEAD // 3600} hours ahead: check both clocks")
    _verify_cluster(evidence, claims, genesis)
    return Genuine(
        evidence_digest=evidence_digest(untrusted_evidence),
        kind=evidence.kind,
        role=role,
        claims=claims,
        genesis=genesis,
        measurement=report.measurement,
        signer=report.signer,
        product_id=report.product_id,
        svn=report.svn,
        tcb_status=report.tcb_status,
        advisories=report.advisories,
        tcb_evaluation_number=report.tcb_evaluation_number,
        collateral_date=report.collateral_date,
        root=report.root,
        steps=_genuine_steps(evidence, claims, genesis, report, now),
    )


def appraise(untrusted_evidence: bytes, *, role: Role, policy: RolePolicy, now: int) -> Appraisal:
    """Appraise evidence that serves clients, against a relying party's own policy, at `now` (unix seconds).

    Raises `Untrusted` EVIDENCE with the first reason found.
    """
    genuine = verify_genuine(
        untrusted_evidence, role=role, platforms=policy.platforms, insecure_roots=policy.insecure_roots, now=now
    )
    # Otherwise a host relays what a genuine enclave made for one handshake, and stands in for it elsewhere.
    if genuine.claims.peer is not None:
        raise _refuse("this evidence was made for one handshake between enclaves, not to serve clients")
    if genuine.claims.cluster_id not in policy.clusters:
        raise _refuse(f"cluster {genuine.claims.cluster_id.hex()} is not one that the policy names")
    signer = _verify_identity(genuine, policy)
    _verify_tcb(genuine, policy)
    _verify_config(genuine.claims.config, policy.config)
    if signer is None:
        identity = Step("accepted measurement", genuine.measurement.hex(), "your policy names exactly this program")
    else:
        identity = Step("accepted signer", signer.signer.hex(), "THE SIGNER CAN READ what this enclave reads")
    steps = (
        identity,
        Step("accepted cluster", genuine.claims.cluster_id.hex(), "your policy names this cluster"),
        Step("accepted TCB", genuine.tcb_status, f"at evaluation number {policy.min_tcb_evaluation} or above"),
        Step("configuration", _show(genuine.claims.config), "exactly what your policy expects"),
    )
    return Appraisal(genuine, signer is not None, genuine.steps + steps)


def verify_peer(
    untrusted_evidence: bytes,
    *,
    role: Role,
    purpose: Purpose,
    kem_key: bytes,
    binding_key: bytes,
    peer_evidence: bytes,
    platforms: Collection[str],
    insecure_roots: Collection[bytes],
    now: int,
) -> Genuine:
    """Verify the evidence of an enclave that acts as a client (RULES 4): it must have been made for this handshake.

    `kem_key` and `binding_key` are the session's client keys, `peer_evidence` the digest (32 bytes) of the evidence
    that this side showed. Which enclave and cluster it is remains to be decided. Raises `Untrusted` EVIDENCE.
    """
    genuine = verify_genuine(untrusted_evidence, role=role, platforms=platforms, insecure_roots=insecure_roots, now=now)
    if genuine.claims.peer is None:
        raise _refuse("this evidence serves clients; it was not made for a handshake between enclaves")
    if genuine.claims.peer != PeerBinding(purpose, kem_key, binding_key, peer_evidence):
        raise _refuse("this evidence was made for another handshake between enclaves")
    return genuine


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.EVIDENCE, reason)


def _verify_quote(
    evidence: Evidence, platforms: Collection[str], insecure_roots: Collection[bytes], now: int
) -> SgxReport:
    if evidence.kind not in platforms:
        what = "software evidence" if evidence.kind == "insecure-software" else f"{evidence.kind} evidence"
        raise _refuse(f"this is {what}, and the policy does not name {evidence.kind}")
    root = None
    if evidence.kind == "insecure-software":
        root = root_certificate(evidence.quote)
        if fingerprint(root) not in insecure_roots:
            raise _refuse(f"the policy does not name the software root {fingerprint(root).hex()}")
    return verify_sgx_quote(evidence.quote, evidence.collateral, root, now)


def _verify_cluster(evidence: Evidence, claims: Claims, genesis: Genesis) -> None:
    if claims.cluster_id != cluster_id(evidence.genesis):
        raise _refuse("the cluster id is not that of the genesis statement")
    try:
        # Genesis statements are public: only the signature shows that this enclave holds the cluster's ring.
        verify_signature(genesis.cluster_key, evidence.cluster_signature, Domain.CLAIMS_SIGNATURE, evidence.claims)
    except Untrusted:
        raise _refuse("the cluster's key did not sign these claims") from None


def _verify_identity(genuine: Genuine, policy: RolePolicy) -> SignerRule | None:
    """The signer rule that accepts the program, None when its exact measurement is accepted."""
    if genuine.measurement in policy.measurements:
        return None
    rules = [rule for rule in policy.signers if (rule.signer, rule.product_id) == (genuine.signer, genuine.product_id)]
    for rule in rules:
        if genuine.svn >= rule.min_svn:
            return rule
    if rules:
        floor = min(rule.min_svn for rule in rules)
        raise _refuse(f"security version {genuine.svn} is below the policy's floor {floor} for this signer and product")
    if not policy.measurements and not policy.signers:
        raise _refuse("the policy names no measurement and no signer, so it accepts no program")
    raise _refuse(f"measurement {genuine.measurement.hex()} is not one that the policy names, nor is its signer")


def _verify_tcb(genuine: Genuine, policy: RolePolicy) -> None:
    number, floor = genuine.tcb_evaluation_number, policy.min_tcb_evaluation
    if number < floor:
        raise _refuse(f"TCB evaluation number {number} is below the policy's floor {floor}")
    if genuine.tcb_status not in policy.tcb_statuses:
        raise _refuse(f"TCB status {genuine.tcb_status} is not one that the policy accepts")
    for advisory in genuine.advisories:
        if advisory in policy.refused_advisories:
            raise _refuse(f"the machine is open to {advisory}, which the policy refuses")


def _verify_config(shown: list[ConfigValue], expected: list[ConfigValue]) -> None:
    """Exactly the policy's values: what neither side mentions stands at its default (RULES 7)."""
    for value in shown:
        if value not in expected:
            raise _refuse(f"configuration {_show([value])} is not what the policy expects")
    for value in expected:
        if value not in shown:
            raise _refuse(f"the policy expects configuration {_show([value])}, which the evidence does not show")


def _show(config: list[ConfigValue]) -> str:
    # repr: a value may hold control sequences, and this text reaches terminals.
    return ", ".join(f"{value.name!r} = {value.value!r}"[:120] for value in config) or "all defaults"


def _genuine_steps(
    evidence: Evidence, claims: Claims, genesis: Genesis, report: SgxReport, now: int
) -> tuple[Step, ...]:
    software = evidence.kind == "insecure-software"
    if genesis.development:
        cluster = "a DEVELOPMENT cluster: its operator can read everything"
    else:
        cluster = f"{genesis.threshold} of {len(genesis.custodians)} custodians can recover its keys"
    if software:
        platform = "NO HARDWARE: whoever runs this machine can read everything"
        root = "a development root that anybody can make"
    else:
        platform = "hardware isolates the enclave from its host"
        root = "Intel's root certificate"
    return (
        Step("platform", evidence.kind, platform),
        Step("root", report.root.hex(), root),
        Step("measurement", report.measurement.hex(), "digest of the program (MRENCLAVE)"),
        Step("signer", report.signer.hex(), "who signed the program (MRSIGNER)"),
        Step("product and version", f"{report.product_id} / {report.svn}", "as its signer numbers them"),
        Step("TCB status", report.tcb_status, "state of processor and microcode, as their maker sees it"),
        Step("advisories", ", ".join(report.advisories) or "none", "known weaknesses of that state"),
        Step("TCB evaluation", str(report.tcb_evaluation_number), "edition of the maker's assessment"),
        Step("claims", "match", "the quote commits to the keys that the session uses"),
        Step("role", claims.role, "what this enclave does"),
        Step("cluster", claims.cluster_id.hex(), cluster),
        Step("build", claims.build, "version as the program names itself"),
        Step("expires", f"in {claims.expires_at - now} s", "its keys turn over hourly"),
    )
