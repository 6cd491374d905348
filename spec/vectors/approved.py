"""Vectors of complete evidence whose program is known by a list of releases, under policies that name its approvers."""

from __future__ import annotations

from typing import Any

from case import Case, Cases, accepted, fixed, kept, refused, sign
from evidences import CONFIG, HERE, NOW, SCALAR, claims, genesis
from msgspec.structs import replace
from releasing import APPROVERS, LIST, STRANGER, signed
from wire import to_json

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.intel import root_certificate
from strongroom.attestation.policy import ReleaseAuthority, RolePolicy, SoftwarePolicy
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import Evidence, cluster_id, report_data
from strongroom.protocol.limits import MAX_EVIDENCE
from strongroom.protocol.primitives import Domain, fingerprint
from strongroom.protocol.releases import ListedRelease, Program

CLUSTER = cluster_id(genesis())
MEASUREMENT = fixed("measurement")
RUNNING = Program(kind="insecure-software", measurement=MEASUREMENT)
NAMED = replace(LIST, cluster=CLUSTER, releases=[ListedRelease(version="1.5.0", svn=3, programs=[RUNNING])])
AUTHORITY = ReleaseAuthority(approvers=APPROVERS, approvals=2, min_serial=7)
EXACT = claims(release=7)


def every() -> list[Case]:
    return [*_released()]


def _made() -> bytes:
    pki = SyntheticPki(fixed("pki seed"), NOW - 1000)
    return encode(
        Evidence(
            version=1,
            kind="insecure-software",
            quote=synthetic_quote(pki, EnclaveReport(MEASUREMENT, fixed("signer"), 1, 2, report_data(EXACT))),
            collateral=pki.collateral(NOW),
            claims=EXACT,
            genesis=genesis(),
            cluster_signature=sign(SCALAR, Domain.CLAIMS_SIGNATURE, EXACT),
            releases=signed(NAMED),
        )
    )


def _policy(evidence: bytes, releases: ReleaseAuthority | None, *measurements: bytes) -> RolePolicy:
    section = SoftwarePolicy(
        tcb_statuses=["UpToDate"],
        grace_days=0,
        refused_advisories=[],
        min_tcb_evaluation=1,
        platform_ids=None,
        allow_smt=True,
        allow_dynamic_platform=True,
        allow_cached_keys=True,
        measurements=list(measurements),
        signers=[],
        roots=[fingerprint(root_certificate(decode(evidence, Evidence, limit=MAX_EVIDENCE).quote))],
    )
    return RolePolicy(
        clusters=[CLUSTER],
        config=CONFIG,
        sgx=None,
        tdx=None,
        snp=None,
        nitro=None,
        insecure_software=section,
        releases=releases,
    )


def _released() -> Cases:
    def verify(evidence: bytes) -> bool:
        appraise(evidence, role="vault", policy=_policy(evidence, AUTHORITY), now=NOW)
        return decode(evidence, Evidence, limit=MAX_EVIDENCE).claims == EXACT

    whole = kept(HERE + "released", "evidence", verify, _made)
    parsed = decode(whole, Evidence, limit=MAX_EVIDENCE)

    def given(evidence: bytes | str, releases: ReleaseAuthority | None, *measurements: bytes) -> dict[str, Any]:
        policy = to_json(_policy(whole, releases, *measurements))
        return {"evidence": evidence, "role": "vault", "now": NOW, "policy": policy}

    def beside(releases: bytes) -> bytes:
        return encode(replace(parsed, releases=releases))

    yield accepted(
        HERE + "released",
        "the policy names no program, and who approves releases: two of three have listed this one",
        "appraise",
        given(whole, AUTHORITY),
        measurement=MEASUREMENT,
        signer_can_read=False,
    )
    yield accepted(
        HERE + "released-and-named",
        "the policy names the program and goes by no releases: the list that came along is nobody's business",
        "appraise",
        given("@released", None, MEASUREMENT),
        measurement=MEASUREMENT,
    )
    retired = replace(NAMED, releases=[])
    too_low = replace(NAMED, min_svn=4)
    floor = replace(AUTHORITY, min_serial=8)
    strangers = replace(AUTHORITY, approvers=[STRANGER.public], approvals=1)
    bad: dict[str, tuple[str, dict[str, Any], Number]] = {
        "released-to-nobody": (
            "the policy names neither a program nor who approves releases",
            given("@released", None),
            Number.POLICY,
        ),
        "released-before-the-floor": (
            "the list is older than the policy takes",
            given("@released", floor, MEASUREMENT),
            Number.POLICY,
        ),
        "released-by-strangers": (
            "the policy names other approvers",
            given("@released", strangers, MEASUREMENT),
            Number.INTEGRITY,
        ),
        "released-by-too-few": (
            "the policy wants all three",
            given("@released", replace(AUTHORITY, approvals=3)),
            Number.INTEGRITY,
        ),
        "released-by-no-approvers": (
            "a policy with an empty list of approvers accepts nothing",
            given("@released", ReleaseAuthority(approvers=[], approvals=0, min_serial=0), MEASUREMENT),
            Number.INTEGRITY,
        ),
        "released-no-more": (
            "a program that approvers have retired, though the policy names it still",
            given(beside(signed(retired)), AUTHORITY, MEASUREMENT),
            Number.POLICY,
        ),
        "released-below-min-svn": (
            "a program that stands in the list below its lowest security version",
            given(beside(signed(too_low)), AUTHORITY),
            Number.POLICY,
        ),
        "released-for-another-cluster": (
            "a list for another cluster",
            given(beside(signed(replace(NAMED, cluster=fixed("other cluster")))), AUTHORITY),
            Number.INTEGRITY,
        ),
        "released-list-kept-back": (
            "a policy with a floor, and no list came along",
            given(beside(b""), AUTHORITY, MEASUREMENT),
            Number.POLICY,
        ),
        "released-list-exchanged": (
            "a later list came along than the enclave goes by",
            given(beside(signed(replace(NAMED, serial=8))), AUTHORITY),
            Number.EVIDENCE,
        ),
    }
    for name, (what, inputs, number) in bad.items():
        yield refused(HERE + name, what, "appraise", inputs, number, "evidence")
