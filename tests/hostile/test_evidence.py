"""Threat: a host, a network or another enclave shows evidence that is not what the relying party asked for."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attestation.appraisal import Genuine, appraise, verify_genuine, verify_peer
from strongroom.attestation.policy import SgxSigner
from strongroom.attestation.reports import SgxReport
from strongroom.client.explanation import explain, explain_acceptance
from strongroom.enclave.platform.insecure_software import SIGNER
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import ConfigValue, PeerBinding, PlatformKind, evidence_digest, parse_evidence
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import SigningKey, fingerprint
from tests.support import policies
from tests.support.evidence import MEASUREMENT, NOW, Cluster, Statement, changed, pki

CLUSTER = Cluster("vault")
OTHER = Cluster("vault")
POLICY = CLUSTER.policy()
PLATFORMS: list[PlatformKind] = ["insecure-software"]
ROOTS = [fingerprint(CLUSTER.pki.root_der)]
GENUINE = CLUSTER.evidence()
PARSED, CLAIMS, _ = parse_evidence(GENUINE)


NOT_ACCEPTED = re.compile("polic|nor is its signer")
"""Words of every reason that is the relying party's own."""


def refused(evidence: bytes, reason: str, *, role="vault", policy=POLICY, now=NOW) -> None:
    with pytest.raises(Untrusted) as caught:
        appraise(evidence, role=role, policy=policy, now=now)
    assert reason in caught.value.reason
    own = NOT_ACCEPTED.search(caught.value.reason)
    assert caught.value.number is (Number.POLICY if own else Number.EVIDENCE), caught.value.reason


def accepted(evidence: bytes) -> Genuine | None:
    """None when refused as it should be: any error but `Untrusted` fails the test."""
    try:
        return appraise(evidence, role="vault", policy=POLICY, now=NOW).genuine
    except Untrusted:
        return None


def level(**fields) -> Callable[[Statement], None]:
    return lambda statement: statement["tcbLevels"][0].update(fields)


def evaluation(number: int) -> Callable[[Statement], None]:
    return lambda statement: statement.update(tcbEvaluationDataNumber=number)


def test_genuine_evidence_is_accepted_and_explains_itself():
    appraisal = appraise(GENUINE, role="vault", policy=POLICY, now=NOW)
    genuine = appraisal.genuine
    assert genuine.evidence_digest == evidence_digest(GENUINE)
    assert (genuine.kind, genuine.role, genuine.claims) == ("insecure-software", "vault", CLUSTER.claims())
    report = genuine.report
    assert isinstance(report, SgxReport)
    assert (report.measurement, report.signer, report.product_id, report.svn) == (MEASUREMENT, SIGNER, 1, 1)
    intel = report.intel
    assert (intel.tcb_status, intel.advisories, intel.tcb_evaluation_number) == ("UpToDate", (), 1)
    assert NOW - 3600 < report.proven_at <= NOW < report.valid_until
    assert report.root == fingerprint(CLUSTER.pki.root_der)
    assert not appraisal.signer_can_read
    steps = [*explain(genuine, NOW), *explain_acceptance(appraisal)]
    table = {step.name: step for step in steps}
    assert len(table) == len(steps)
    assert "NO HARDWARE" in table["platform"].explanation
    assert "DEVELOPMENT" in table["cluster"].explanation
    assert table["MRENCLAVE"].value == MEASUREMENT.hex()


# --- platform and root ----------------------------------------------------------------------------------------


def test_software_evidence_is_refused_by_a_policy_for_hardware():
    reason = "this is software evidence, and the policy does not name insecure-software"
    refused(GENUINE, reason, policy=CLUSTER.policy(insecure_software=None, sgx=policies.sgx()))
    refused(GENUINE, reason, policy=CLUSTER.policy(insecure_software=None))


def test_software_evidence_that_calls_itself_hardware_is_refused():
    evidence = CLUSTER.evidence(kind="sgx")
    refused(evidence, "the policy does not name sgx")
    refused(evidence, "does not end in the root", policy=CLUSTER.policy(sgx=policies.sgx()))


def test_a_software_root_that_the_policy_does_not_name_is_refused():
    root = pki(b"\x01" * 32)
    refused(GENUINE, "does not name the software root", policy=CLUSTER.policy(roots=[]))
    other = CLUSTER.policy(roots=[fingerprint(root.root_der)])
    refused(GENUINE, f"does not name the software root {fingerprint(CLUSTER.pki.root_der).hex()}", policy=other)


def test_a_named_root_pasted_over_the_chain_of_another_is_refused():
    """The root is found by digest, so the chain below it must be verified with it and nothing else."""
    impostor = Cluster("vault", seed=b"\x01" * 32)
    impostor.genesis, impostor.key = CLUSTER.genesis, CLUSTER.key
    named = CLUSTER.pki.pck_chain.split(b"-----END CERTIFICATE-----\n")[-2]
    own = impostor.pki.pck_chain.split(b"-----END CERTIFICATE-----\n")[-2]
    assert len(named) == len(own)
    evidence = impostor.evidence(quote=lambda quote: quote.replace(own, named))
    refused(evidence, "does not end in the root that is trusted")


# --- the quote ------------------------------------------------------------------------------------------------

CHAIN_AT = PARSED.quote.index(b"-----BEGIN")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, CHAIN_AT - 1), st.integers(1, 255))
def test_a_flipped_byte_in_the_quote_is_refused(at, flip):
    quote = bytearray(PARSED.quote)
    quote[at] ^= flip
    refused(encode(changed(PARSED, quote=bytes(quote))), "")


@settings(max_examples=200, deadline=None)
@given(st.integers(CHAIN_AT, len(PARSED.quote) - 1), st.integers(1, 255))
def test_a_flipped_byte_in_the_quotes_certificates_is_refused_or_says_nothing_else(at, flip):
    """PEM has line ends and armour that mean nothing; what they hold is signed."""
    quote = bytearray(PARSED.quote)
    quote[at] ^= flip
    genuine = accepted(encode(changed(PARSED, quote=bytes(quote))))
    if genuine is not None:
        assert replace(genuine, evidence_digest=evidence_digest(GENUINE)) == accepted(GENUINE)


@pytest.mark.parametrize("field", ["tcb_info", "qe_identity", "tcb_info_signature", "root_ca_crl", "pck_crl"])
def test_altered_collateral_is_refused(field):
    collateral = msgspec.json.decode(PARSED.collateral)
    text = collateral[field]
    for at in range(0, len(text), 1 + len(text) // 20):
        other = "1" if text[at] != "1" else "0"
        bent = msgspec.json.encode(collateral | {field: text[:at] + other + text[at + 1 :]})
        refused(encode(changed(PARSED, collateral=bent)), "the quote does not verify")


@pytest.mark.parametrize("tail", [b"\x00", b"\n", bytes(100)])
def test_trailing_bytes_after_the_quote_are_refused(tail):
    refused(CLUSTER.evidence(quote=lambda quote: quote + tail), "not exactly as long as it says")


def test_trailing_bytes_inside_the_signature_data_are_refused():
    def longer(quote: bytes) -> bytes:
        size = int.from_bytes(quote[432:436], "little") + 1
        return quote[:432] + size.to_bytes(4, "little") + quote[436:] + b"\x00"

    refused(CLUSTER.evidence(quote=longer), "not exactly as long as it says")


@pytest.mark.parametrize("size", [0, 1, 47, 48, 431, 435, 436, 1100, -1])
def test_a_quote_cut_short_is_refused(size):
    refused(CLUSTER.evidence(quote=lambda quote: quote[:size]), "the quote is")


def test_a_debug_enclave_is_refused():
    refused(CLUSTER.evidence(flags=INIT | MODE64 | 0x02), "debug enclave")


@pytest.mark.parametrize("flags", [0, INIT, MODE64])
def test_an_enclave_without_production_attributes_is_refused(flags):
    refused(CLUSTER.evidence(flags=flags), "attributes")


@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_quote_of_another_kind_is_refused(version):
    evidence = CLUSTER.evidence(quote=lambda quote: bytes([version]) + quote[1:])
    refused(evidence, "SGX quote of version 3")


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 6])
def test_a_quote_must_carry_its_own_certificate_chain(kind):
    """Else the chain comes from the collateral, and the root was looked for elsewhere."""
    at = CHAIN_AT - 6
    assert PARSED.quote[at : at + 2] == b"\x05\x00"
    evidence = CLUSTER.evidence(quote=lambda quote: quote[:at] + bytes([kind, 0]) + quote[at + 2 :])
    refused(evidence, "does not carry its certificate chain")


@pytest.mark.parametrize("collateral", [b"", b"{}", b"[]", b"\xff", b"null", b"[" * 60_000])
def test_collateral_that_is_none_is_refused(collateral):
    refused(encode(changed(PARSED, collateral=collateral)), "the collateral does not parse")


def test_a_reason_never_carries_control_sequences():
    """Words of the verifying library may quote the evidence, and reach a terminal."""
    evidence = CLUSTER.evidence(tcb_info=lambda info: info.update(id="\x1b[2J\u202e"))
    with pytest.raises(Untrusted) as caught:
        appraise(evidence, role="vault", policy=POLICY, now=NOW)
    assert caught.value.reason.isprintable()
    assert caught.value.reason.isascii()


# --- claims ---------------------------------------------------------------------------------------------------


def test_evidence_of_another_key_is_refused():
    """A host pairs the genuine quote with claims that name its own session key."""
    claims = CLUSTER.claims(kem_key=bytes(len(CLAIMS.kem_key)))
    refused(encode(changed(PARSED, claims=encode(claims))), "over other claims")
    refused(CLUSTER.evidence(claims, quoted=PARSED.quote[48 + 320 : 432]), "over other claims")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(PARSED.claims) - 1), st.integers(1, 255))
def test_altered_claims_are_refused(at, flip):
    claims = bytearray(PARSED.claims)
    claims[at] ^= flip
    refused(encode(changed(PARSED, claims=bytes(claims))), "")


def test_report_data_must_fit_in_all_64_bytes():
    exact = PARSED.quote[48 + 320 : 432]
    appraise(CLUSTER.evidence(quoted=exact), role="vault", policy=POLICY, now=NOW)
    refused(CLUSTER.evidence(quoted=exact[:32] + bytes(31) + b"\x01"), "over other claims")


def test_authenticator_evidence_in_the_vaults_role_is_refused():
    authenticator = Cluster("authenticator")
    policy = authenticator.policy()
    refused(authenticator.evidence(), "vault was expected", policy=policy)
    appraise(authenticator.evidence(), role="authenticator", policy=policy, now=NOW)
    # Neither may one half of it claim the other role.
    refused(authenticator.evidence(authenticator.claims(role="vault")), "vault was expected", policy=policy)
    refused(CLUSTER.evidence(CLUSTER.claims(role="authenticator")), "vault was expected")


def test_expired_evidence_is_refused():
    refused(GENUINE, "the evidence has expired", now=CLAIMS.expires_at)
    appraise(GENUINE, role="vault", policy=POLICY, now=CLAIMS.expires_at - 1)


def test_evidence_that_expires_too_far_ahead_is_refused():
    edge = CLUSTER.evidence(CLUSTER.claims(expires_at=NOW + MAX_EVIDENCE_AHEAD))
    appraise(edge, role="vault", policy=POLICY, now=NOW)
    refused(CLUSTER.evidence(CLUSTER.claims(expires_at=NOW + MAX_EVIDENCE_AHEAD + 1)), "more than 2 hours ahead")


# --- the cluster ----------------------------------------------------------------------------------------------


def test_genuine_evidence_of_another_cluster_is_refused():
    refused(OTHER.evidence(), f"cluster {OTHER.id.hex()} is not one that the policy names")
    appraise(OTHER.evidence(), role="vault", policy=OTHER.policy(), now=NOW)


def test_claims_signed_by_another_key_are_refused():
    refused(CLUSTER.evidence(signing_key=SigningKey.generate()), "did not sign these claims")


def test_a_copied_genesis_statement_is_worthless_without_its_key():
    """Statements are public: an enclave of the host's own cluster shows the victim's."""
    copied = OTHER.evidence(OTHER.claims(cluster_id=CLUSTER.id), genesis=CLUSTER.genesis)
    refused(copied, "did not sign these claims")
    refused(OTHER.evidence(OTHER.claims(cluster_id=CLUSTER.id)), "not that of the genesis statement")


def test_no_clusters_in_the_policy_deny():
    refused(GENUINE, "is not one that the policy names", policy=CLUSTER.policy(clusters=[]))


# --- evidence between enclaves --------------------------------------------------------------------------------

BINDING_KEY = SigningKey.generate().public
HANDSHAKE: dict[str, Any] = {
    "purpose": "decide",
    "kem_key": CLUSTER.kem.public,
    "binding_key": BINDING_KEY,
    "peer_evidence": bytes(32),
}
PEER = CLUSTER.evidence(CLUSTER.peer_claims(PeerBinding(**HANDSHAKE)))


def peer(evidence: bytes, **changes):
    base: dict[str, Any] = {
        "role": "vault",
        "platforms": PLATFORMS,
        "insecure_roots": ROOTS,
        "now": NOW,
    }
    return verify_peer(evidence, **base | HANDSHAKE | changes)


def test_evidence_made_for_a_handshake_counts_in_that_handshake():
    assert peer(PEER).claims.peer == PeerBinding(**HANDSHAKE)


def test_evidence_made_for_a_handshake_does_not_serve_clients():
    refused(PEER, "made for one handshake between enclaves")


def test_serving_evidence_does_not_count_in_a_handshake():
    with pytest.raises(Untrusted, match="it was not made for a handshake"):
        peer(GENUINE)


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "join"},
        {"kem_key": OTHER.kem.public[::-1]},
        {"binding_key": CLUSTER.key.public},
        {"peer_evidence": bytes(31) + b"\x01"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_relayed_handshake_is_refused(change):
    """A host relays what a genuine joiner made for another session, purpose or peer."""
    with pytest.raises(Untrusted, match="made for another handshake"):
        peer(PEER, **change)


@pytest.mark.parametrize("change", [{"role": "authenticator"}, {"platforms": ["sgx"]}, {"insecure_roots": []}])
def test_a_peer_of_another_role_or_platform_is_refused(change):
    with pytest.raises(Untrusted):
        peer(PEER, **change)


# --- policy ---------------------------------------------------------------------------------------------------


def signers(**fields):
    rule: dict[str, Any] = {"signer": SIGNER, "product_id": 1, "min_svn": 1} | fields
    return CLUSTER.policy(measurements=[], signers=[SgxSigner(**rule)])


def test_no_measurement_and_no_signer_deny():
    refused(GENUINE, "accepts no program", policy=CLUSTER.policy(measurements=[]))


def test_another_measurement_is_refused():
    refused(CLUSTER.evidence(measurement=bytes(32)), f"measurement {'00' * 32} is not one that the policy names")


def test_a_verdict_by_signer_says_that_the_signer_can_read():
    appraisal = appraise(GENUINE, role="vault", policy=signers(), now=NOW)
    assert appraisal.signer_can_read
    assert any("SIGNER CAN READ" in step.explanation for step in explain_acceptance(appraisal))


def test_an_older_security_version_of_the_signer_is_refused():
    refused(GENUINE, "security version 1 is below the policy's floor 2", policy=signers(min_svn=2))
    appraise(CLUSTER.evidence(svn=2), role="vault", policy=signers(min_svn=2), now=NOW)


@pytest.mark.parametrize("fields", [{"signer": bytes(32)}, {"product_id": 2}])
def test_another_signer_or_product_is_refused(fields):
    refused(GENUINE, "nor is its signer", policy=signers(**fields))


CONFIG = ConfigValue(name="egress", value="10.0.0.0/8")


def test_an_unexpected_configuration_value_is_refused():
    evidence = CLUSTER.evidence(CLUSTER.claims(config=[CONFIG]))
    refused(evidence, "'egress' = '10.0.0.0/8' is not what the policy expects")
    refused(GENUINE, "the policy expects configuration 'egress'", policy=CLUSTER.policy(config=[CONFIG]))
    other = CLUSTER.policy(config=[ConfigValue("egress", "0.0.0.0/0")])
    refused(evidence, "is not what the policy expects", policy=other)
    appraise(evidence, role="vault", policy=CLUSTER.policy(config=[CONFIG]), now=NOW)


@pytest.mark.parametrize(
    "status", ["OutOfDate", "SWHardeningNeeded", "ConfigurationNeeded", "OutOfDateConfigurationNeeded"]
)
def test_a_tcb_status_must_be_accepted_by_name(status):
    evidence = CLUSTER.evidence(tcb_info=level(tcbStatus=status))
    refused(evidence, f"TCB status {status} is not one that the policy accepts")
    appraise(evidence, role="vault", policy=CLUSTER.policy(tcb_statuses=[status]), now=NOW)


def test_no_accepted_tcb_status_denies():
    refused(GENUINE, "TCB status UpToDate", policy=CLUSTER.policy(tcb_statuses=[]))


def test_a_revoked_platform_is_refused_whatever_the_policy_says():
    statuses = ["UpToDate", "OutOfDate", "OutOfDateConfigurationNeeded"]
    refused(
        CLUSTER.evidence(tcb_info=level(tcbStatus="Revoked")), "Revoked", policy=CLUSTER.policy(tcb_statuses=statuses)
    )


def test_an_old_quoting_enclave_counts_as_out_of_date():
    refused(CLUSTER.evidence(qe_identity=level(tcbStatus="OutOfDate")), "TCB status OutOfDate")


def test_a_refused_advisory_is_refused():
    evidence = CLUSTER.evidence(tcb_info=level(advisoryIDs=["INTEL-SA-00615", "INTEL-SA-00657"]))
    refused(evidence, "open to INTEL-SA-00657", policy=CLUSTER.policy(refused_advisories=["INTEL-SA-00657"]))
    appraise(evidence, role="vault", policy=CLUSTER.policy(refused_advisories=["INTEL-SA-00334"]), now=NOW)


@pytest.mark.parametrize("old", ["tcb_info", "qe_identity"])
def test_an_old_tcb_evaluation_is_refused(old):
    """A host shows collateral of before an attack was known; its lower half counts."""
    numbers: dict[str, Any] = {"tcb_info": evaluation(18), "qe_identity": evaluation(18)}
    policy = CLUSTER.policy(min_tcb_evaluation=18)
    appraise(CLUSTER.evidence(**numbers), role="vault", policy=policy, now=NOW)
    reason = "TCB evaluation number 17 is below the policy's floor 18"
    refused(CLUSTER.evidence(**numbers | {old: evaluation(17)}), reason, policy=policy)


def test_expired_collateral_is_refused():
    refused(CLUSTER.evidence(issued_at=NOW - 31 * 86400), "revoked certificates has expired")
    appraise(CLUSTER.evidence(issued_at=NOW - 29 * 86400), role="vault", policy=POLICY, now=NOW)


def test_an_expired_root_is_refused():
    """The verifying library takes a root as given; the same key may have signed a fresh chain below an old root."""
    cluster = Cluster("vault")
    cluster.pki = SyntheticPki(bytes(32), NOW - 1000)
    cluster.pki.root = SyntheticPki(bytes(32), NOW - 3651 * 86400).root
    refused(cluster.evidence(), "a certificate that it rests on has expired", policy=cluster.policy())


@pytest.mark.parametrize(("part", "reason"), [("tcb_info", "TCBInfo expired"), ("qe_identity", "QE Identity expired")])
def test_an_expired_statement_beside_fresh_revocation_lists_is_refused(part, reason):
    """Statements and lists expire apart: the host must not keep the favourable half of old collateral."""

    def expired(statement: Statement) -> None:
        statement.update(issueDate="2026-01-01T00:00:00Z", nextUpdate="2026-02-01T00:00:00Z")

    parts: dict[str, Any] = {part: expired}
    refused(CLUSTER.evidence(**parts), reason)


def test_collateral_from_the_future_is_refused():
    """It would raise clock floors (RULES 24)."""
    refused(CLUSTER.evidence(issued_at=NOW + 86400), "future")


# --- any bytes ------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2048))
def test_any_bytes_give_only_declared_errors(data):
    for evidence in (data, GENUINE[: len(data)] + data):
        refused(evidence, "")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1024), st.sampled_from(["quote", "collateral", "claims", "genesis"]), st.integers(0, 4096))
def test_any_bytes_in_any_part_give_only_declared_errors(data, part, at):
    whole = getattr(PARSED, part)
    bent = encode(changed(PARSED, **{part: whole[:at] + data}))
    if accepted(bent) is not None:  # only white space after the collateral's JSON
        assert part == "collateral" or bent == GENUINE


def test_evidence_beyond_the_size_limit_is_refused_before_parsing():
    refused(bytes(MAX_EVIDENCE + 1), "exceeds a size limit")


def test_nothing_is_genuine_for_nobody():
    """An empty collection of platforms or roots never stands for "any"."""
    for platforms, roots in (([], ROOTS), (PLATFORMS, [])):
        with pytest.raises(Untrusted):
            verify_genuine(GENUINE, role="vault", platforms=platforms, insecure_roots=roots, now=NOW)


def test_evidence_has_one_encoding():
    refused(GENUINE + b"\x00", "does not parse")
    refused(b"\xde" + len(msgspec.msgpack.decode(GENUINE)).to_bytes(2, "big") + GENUINE[1:], "does not parse")
