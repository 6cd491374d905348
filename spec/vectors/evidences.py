"""Vectors of evidence: what the claims, the genesis statement and the report data must say to one another, and one
complete piece of evidence of the insecure software platform, with a quote, under many policies."""

from __future__ import annotations

from typing import Any

from case import Case, Cases, accepted, fixed, kept, refused, sign
from msgspec.structs import replace
from wire import to_json

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.intel import root_certificate
from strongroom.attestation.policy import RolePolicy, SgxPolicy, SgxSigner, SoftwarePolicy, policy_digest
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import (
    Claims,
    ConfigValue,
    Council,
    Custodian,
    Evidence,
    Genesis,
    PeerBinding,
    cluster_id,
    evidence_digest,
    report_data,
)
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import Domain, KemKey, NoteKey, SigningKey, digest, fingerprint

NOW = 1_790_000_000
HERE = "evidence/"
SCALAR = fixed("cluster scalar")
KEY = SigningKey.from_scalar(SCALAR)
KEM = KemKey(fixed("vault kem seed"))
CONFIG = [ConfigValue(name="egress", value="loopback"), ConfigValue(name="Ä", value="")]


def genesis(**fields: Any) -> bytes:
    values = {
        "version": 1,
        "role": "vault",
        "cluster_key": KEY.public,
        "owner_key": SigningKey.from_scalar(fixed("owner scalar")).public,
        "council": Council(
            recovery_key=KemKey(fixed("custodian seed")).public,
            ring_token=digest(Domain.RING_TOKEN, fixed("ring token")),
            custodians=[Custodian(name="automatic", recipient="", key=b"")],
            threshold=1,
            approvers=[],
            approvals=0,
            release_delay=0,
        ),
        "log_key": NoteKey(fixed("log seed")).public,
        "witnesses": [],
        "cosignatures": 0,
        "development": True,
    }
    return encode(Genesis(**values | fields))


def claims(**fields: Any) -> bytes:
    values = {
        "version": 1,
        "role": "vault",
        "stage": "member",
        "kem_key": KEM.public,
        "expires_at": NOW + 3600,
        "receipt_key": KEY.public,
        "cluster_id": cluster_id(genesis()),
        "recoveries": 0,
        "generation": 0,
        "council": 0,
        "release": 0,
        "watchers": None,
        "attempt": None,
        "config": CONFIG,
        "build": "0.1.0",
        "peer": None,
    }
    return encode(Claims(**values | fields))


def statements() -> Cases:
    """What can be checked without looking at the quote, besides the report data that it contains."""

    def inputs(exact: bytes | None = None, **changes: Any) -> dict[str, Any]:
        exact = claims() if exact is None else exact
        return {
            "role": "vault",
            "now": NOW,
            "clusters": [cluster_id(genesis())],
            "config": CONFIG,
            "claims": exact,
            "genesis": genesis(),
            "cluster_signature": sign(SCALAR, Domain.CLAIMS_SIGNATURE, exact),
            "releases": b"",
            "report_data": report_data(exact),
        } | changes

    yield accepted(
        HERE + "claims",
        "claims, genesis statement, signature and report data that fit",
        "verify claims",
        inputs(),
        cluster_id=cluster_id(genesis()),
        report_data=report_data(claims()),
    )
    latest = claims(expires_at=NOW + MAX_EVIDENCE_AHEAD)
    yield accepted(HERE + "claims-two-hours-ahead", "expires as late as may be", "verify claims", inputs(latest))
    twin = genesis(cluster_key=SigningKey.from_scalar(fixed("twin scalar")).public)
    other_role = claims(role="authenticator")
    peer = PeerBinding(
        purpose="decide", kem_key=KEM.public, binding_key=KEY.public, peer_evidence=fixed("peer evidence")
    )
    other = sign(fixed("twin scalar"), Domain.CLAIMS_SIGNATURE, claims())
    data = report_data(claims())
    reverse = claims(config=CONFIG[::-1])
    bad = {
        "report-data-of-other-claims": (
            "the quote was made over other claims: a genuine quote beside forged keys",
            inputs(report_data=report_data(claims(build="0.1.1"))),
        ),
        "report-data-tail": ("the second half of the report data is not zero", inputs(report_data=data[:63] + b"\x01")),
        "signed-by-another-cluster": (
            "the statement names this cluster, the signature is another's",
            inputs(cluster_signature=other),
        ),
        "signed-under-another-label": (
            "signed under the label of report data",
            inputs(cluster_signature=sign(SCALAR, Domain.REPORT_DATA, claims())),
        ),
        "twin-genesis": ("rerun genesis on public values: another key, so another id", inputs(genesis=twin)),
        "twin-cluster": (
            "complete evidence of another cluster",
            inputs(
                claims(cluster_id=cluster_id(twin)),
                genesis=twin,
                cluster_signature=sign(
                    fixed("twin scalar"), Domain.CLAIMS_SIGNATURE, claims(cluster_id=cluster_id(twin))
                ),
            ),
        ),
        "no-cluster-in-policy": ("a policy that names no cluster accepts none", inputs(clusters=[])),
        "other-role": ("an Authenticator in the Vault's place", inputs(other_role)),
        "other-role-of-cluster": (
            "the cluster was founded for another role",
            inputs(
                claims(cluster_id=cluster_id(genesis(role="authenticator"))),
                genesis=genesis(role="authenticator"),
                clusters=[cluster_id(genesis(role="authenticator"))],
            ),
        ),
        "expired": ("expires now", inputs(claims(expires_at=NOW))),
        "expires-too-late": (
            "expires a second later than two hours ahead",
            inputs(claims(expires_at=NOW + MAX_EVIDENCE_AHEAD + 1)),
        ),
        "made-for-a-peer": ("made for one handshake between enclaves", inputs(claims(peer=peer))),
        "config-not-sorted": ("configuration values in another order", inputs(reverse, config=CONFIG[::-1])),
        "config-twice": (
            "a configuration value twice",
            inputs(claims(config=[CONFIG[0], CONFIG[0]]), config=[CONFIG[0], CONFIG[0]]),
        ),
        "config-not-expected": ("a configuration value that the policy does not name", inputs(config=CONFIG[:1])),
        "config-missing": (
            "a configuration value that the policy expects is missing",
            inputs(claims(config=CONFIG[:1])),
        ),
        "claims-malformed": ("claims with a byte after their end", inputs(claims() + b"\x00")),
    }
    not_accepted = {"twin-cluster", "no-cluster-in-policy", "config-not-expected", "config-missing"}
    for name, (what, given) in bad.items():
        number = Number.POLICY if name in not_accepted else Number.EVIDENCE
        yield refused(HERE + name, what, "verify claims", given, number, "evidence")


def complete() -> Cases:
    """Evidence with its quote."""
    pki = SyntheticPki(fixed("pki seed"), NOW - 1000)
    exact = claims()
    measurement, signer = fixed("measurement"), fixed("signer")
    section = SoftwarePolicy(
        tcb_statuses=["UpToDate"],
        grace_days=0,
        refused_advisories=[],
        min_tcb_evaluation=1,
        platform_ids=None,
        allow_smt=True,
        allow_dynamic_platform=True,
        allow_cached_keys=True,
        measurements=[measurement],
        signers=[],
        roots=[],
    )
    hardware = SgxPolicy(**{name: getattr(section, name) for name in SgxPolicy.__struct_fields__})

    def root_of(evidence: bytes) -> bytes:
        return fingerprint(root_certificate(decode(evidence, Evidence, limit=MAX_EVIDENCE).quote))

    def with_root(evidence: bytes, **fields: Any) -> RolePolicy:
        values: dict[str, Any] = {
            "clusters": [cluster_id(genesis())],
            "config": CONFIG,
            "sgx": None,
            "tdx": None,
            "snp": None,
            "nitro": None,
            "releases": None,
            "insecure_software": replace(section, **{"roots": [root_of(evidence)]} | fields.pop("software", {})),
        }
        return RolePolicy(**values | fields)

    def verify(evidence: bytes) -> bool:
        found = appraise(evidence, role="vault", policy=with_root(evidence), now=NOW)
        return decode(evidence, Evidence, limit=MAX_EVIDENCE).claims == exact and found.genuine.report.signer == signer

    def make() -> bytes:
        return encode(
            Evidence(
                version=1,
                kind="insecure-software",
                quote=synthetic_quote(pki, EnclaveReport(measurement, signer, 1, 2, report_data(exact))),
                collateral=pki.collateral(NOW),
                claims=exact,
                genesis=genesis(),
                cluster_signature=sign(SCALAR, Domain.CLAIMS_SIGNATURE, exact),
                releases=b"",
            )
        )

    evidence = kept(HERE + "complete", "evidence", verify, make)
    fitting = with_root(evidence)

    def inputs(
        evidence: bytes | str = "@complete", now: int = NOW, role: str = "vault", **fields: Any
    ) -> dict[str, Any]:
        return {"evidence": evidence, "role": role, "now": now, "policy": to_json(with_root(whole, **fields))}

    whole = evidence
    yield accepted(
        HERE + "complete",
        "complete evidence of the insecure software platform, accepted by exact measurement",
        "appraise",
        inputs(evidence),
        evidence_digest=evidence_digest(evidence),
        policy_digest=policy_digest(fitting),
        cluster_id=cluster_id(genesis()),
        measurement=measurement,
        signer=signer,
        product_id=1,
        svn=2,
        kem_key=KEM.public,
        signer_can_read=False,
    )
    yield accepted(
        HERE + "complete-by-signer",
        "accepted by signer, product and security version: the verdict must say that the signer can read",
        "appraise",
        inputs(software={"measurements": [], "signers": [SgxSigner(signer=signer, product_id=1, min_svn=2)]}),
        measurement=measurement,
        signer_can_read=True,
    )
    parsed = decode(evidence, Evidence, limit=MAX_EVIDENCE)
    fields = {name: getattr(parsed, name) for name in parsed.__struct_fields__}
    longer = encode(Evidence(**fields | {"quote": parsed.quote + b"\x00"}))
    bent = encode(Evidence(**fields | {"quote": parsed.quote[:112] + b"\xff" + parsed.quote[113:]}))
    bad = {
        "quote-flipped": ("another measurement written into the quote", inputs(bent)),
        "quote-trailing-byte": ("a byte after the quote's end, which no signature covers", inputs(longer)),
        "quote-under-another-root": (
            "a root that the policy does not name",
            inputs(software={"roots": [fixed("root")]}),
        ),
        "software-not-named": (
            "software evidence, and a policy that names hardware only",
            inputs(insecure_software=None, sgx=hardware),
        ),
        "no-platform": ("a policy that names no platform accepts none", inputs(insecure_software=None)),
        "no-measurement": ("a policy that names neither measurement nor signer", inputs(software={"measurements": []})),
        "other-measurement": ("another program", inputs(software={"measurements": [fixed("other measurement")]})),
        "signer-below-svn": (
            "a security version below the floor",
            inputs(software={"measurements": [], "signers": [SgxSigner(signer=signer, product_id=1, min_svn=3)]}),
        ),
        "signer-other-product": (
            "another product of the signer",
            inputs(software={"measurements": [], "signers": [SgxSigner(signer=signer, product_id=2, min_svn=1)]}),
        ),
        "tcb-status": ("a TCB status that the policy does not list", inputs(software={"tcb_statuses": ["OutOfDate"]})),
        "tcb-evaluation": ("TCB evaluation number below the floor", inputs(software={"min_tcb_evaluation": 2})),
        "platform-id": (
            "a machine that the policy does not name",
            inputs(software={"platform_ids": [fixed("other machine", 16)]}),
        ),
        "platform-ids-empty": ("a policy that lists no machine accepts none", inputs(software={"platform_ids": []})),
        "smt-not-stated": (
            "multithreading is not allowed, and the certificate does not say that it is off",
            inputs(software={"allow_smt": False}),
        ),
        "collateral-expired": ("collateral of last year", inputs(now=NOW + 365 * 86400)),
        "complete-other-role": ("asked for an Authenticator", inputs(role="authenticator")),
    }
    not_genuine = {"quote-flipped", "quote-trailing-byte", "collateral-expired", "complete-other-role"}
    for name, (what, given) in bad.items():
        number = Number.EVIDENCE if name in not_genuine else Number.POLICY
        yield refused(HERE + name, what, "appraise", given, number, "evidence")


def every() -> list[Case]:
    return [*statements(), *complete()]
