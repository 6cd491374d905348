"""Vectors of evidence by its stage: an enclave without a ring is no member, and is what it says that it is."""

from __future__ import annotations

from typing import Any

from case import Case, Cases, accepted, fixed, refused, sign
from evidences import CONFIG, HERE, KEM, KEY, NOW, SCALAR, claims, genesis
from releasing import LIST, signed

from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import Attempt, ConfigValue, PeerBinding, Watchers, cluster_id, report_data
from strongroom.protocol.primitives import Domain, KemKey, SigningKey

CLUSTER = cluster_id(genesis())
ATTEMPT = Attempt(
    key=KemKey(fixed("attempt seed")).public, ring=fixed("sealed ring"), council=0, recoveries=0, drill=False
)
OWNER = ConfigValue(name="owner", value=SigningKey.from_scalar(fixed("owner scalar")).public.hex())
STAGES: dict[str, dict[str, Any]] = {
    "founding": {"cluster_id": bytes(32), "config": [CONFIG[0], OWNER, CONFIG[1]]},
    "joining": {},
    "recovering": {"attempt": ATTEMPT},
}
WATCHERS = Watchers(witnesses=["w1.example.com+1+key", "w2.example.com+2+key"], cosignatures=2)
PEER = PeerBinding(purpose="join", kem_key=KEM.public, binding_key=KEY.public, peer_evidence=fixed("peer evidence"))


def every() -> list[Case]:
    return [*_as_members(), *_candidates()]


def _statements(exact: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "role": "vault",
        "now": NOW,
        "clusters": [CLUSTER],
        "config": CONFIG,
        "claims": exact,
        "genesis": genesis(),
        "cluster_signature": sign(SCALAR, Domain.CLAIMS_SIGNATURE, exact),
        "releases": b"",
        "report_data": report_data(exact),
    } | changes


def _as_members() -> Cases:
    """Everything else about them is as it should be of a member, the cluster's signature, too."""
    run = "verify claims"
    for stage, fields in STAGES.items():
        exact = claims(stage=stage, **fields | {"cluster_id": CLUSTER, "config": CONFIG})
        what = f"an enclave that is {stage} in a member's place"
        yield refused(f"{HERE}{stage}-as-member", what, run, _statements(exact), Number.EVIDENCE, "evidence")
    bad = {
        "attempt-missing": ("an enclave that recovers and names no attempt", _statements(claims(stage="recovering"))),
        "attempt-of-a-member": ("a member that names an attempt", _statements(claims(attempt=ATTEMPT))),
        "unsigned-member": (
            "it says that it is a member, and the cluster has not signed",
            _statements(claims(), cluster_signature=b""),
        ),
        "releases-not-claimed": (
            "a list of releases came along, and the claims say that there is none",
            _statements(claims(), releases=signed(LIST)),
        ),
        "releases-missing": ("the claims name a list of releases, and none came along", _statements(claims(release=7))),
        "releases-of-another-serial": (
            "another list came along than the claims name",
            _statements(claims(release=8), releases=signed(LIST)),
        ),
    }
    for name, (what, given) in bad.items():
        yield refused(HERE + name, what, run, given, Number.EVIDENCE, "evidence")
    yield accepted(
        HERE + "claims-with-watchers",
        "custodians have named others to watch the log: whether they are the policy's is asked of the log",
        run,
        _statements(claims(watchers=WATCHERS)),
        cluster_id=CLUSTER,
    )
    yield accepted(
        HERE + "claims-with-releases",
        "the list of releases that the claims name came along; a policy that goes by none does not ask who signed it",
        run,
        _statements(claims(release=7), releases=signed(LIST)),
        cluster_id=CLUSTER,
    )


def _candidates() -> Cases:
    run = "verify candidate"
    for stage, fields in STAGES.items():
        exact = claims(stage=stage, **fields)
        given = _shown(exact, stage)
        yield accepted(HERE + stage, f"an enclave that is {stage}", run, given, report_data=report_data(exact))
    recovering = claims(stage="recovering", attempt=ATTEMPT)
    bad: dict[str, tuple[str, dict[str, Any], Number]] = {
        "member-as-recovering": ("a member, where one that recovers is expected", _shown(claims()), Number.EVIDENCE),
        "joining-as-recovering": (
            "one that joins, where one that recovers is expected",
            _shown(claims(stage="joining")),
            Number.EVIDENCE,
        ),
        "recovering-without-attempt": ("it names no attempt", _shown(claims(stage="recovering")), Number.EVIDENCE),
        "recovering-with-watchers": (
            "it says who watches the log, which a member's charter says",
            _shown(claims(stage="recovering", attempt=ATTEMPT, watchers=WATCHERS)),
            Number.EVIDENCE,
        ),
        "recovering-another-cluster": (
            "a cluster that the policy does not name",
            _shown(recovering, clusters=[fixed("other cluster")]),
            Number.POLICY,
        ),
        "recovering-other-genesis": (
            "the genesis statement is another cluster's",
            _shown(recovering, genesis=genesis(role="authenticator")),
            Number.EVIDENCE,
        ),
        "recovering-for-a-peer": (
            "made for one handshake between enclaves",
            _shown(claims(stage="recovering", attempt=ATTEMPT, peer=PEER)),
            Number.EVIDENCE,
        ),
        "recovering-other-role": (
            "an Authenticator that recovers, where a Vault is expected",
            _shown(claims(stage="recovering", attempt=ATTEMPT, role="authenticator")),
            Number.EVIDENCE,
        ),
        "recovering-expired": (
            "expires now",
            _shown(claims(stage="recovering", attempt=ATTEMPT, expires_at=NOW)),
            Number.EVIDENCE,
        ),
        "recovering-report-data": (
            "a genuine quote beside an attempt of somebody else's",
            _shown(recovering, report_data=report_data(claims(stage="recovering", attempt=ATTEMPT, build="x"))),
            Number.EVIDENCE,
        ),
        "founding-with-config": (
            "a configuration value that the policy does not name, beside the owner's",
            _shown(claims(stage="founding", **STAGES["founding"]), "founding", config=CONFIG[:1]),
            Number.POLICY,
        ),
    }
    for name, (what, given, number) in bad.items():
        yield refused(HERE + name, what, run, given, number, "evidence")


def _shown(exact: bytes, stage: str = "recovering", **changes: Any) -> dict[str, Any]:
    values = {
        "role": "vault",
        "stage": stage,
        "now": NOW,
        "clusters": [CLUSTER],
        "config": CONFIG,
        "claims": exact,
        "genesis": b"" if stage == "founding" else genesis(),
        "report_data": report_data(exact),
    }
    return values | changes
