"""What `verify` makes of evidence, a trust policy and a release."""

import pytest

from strongroom.attestation.appraisal import Appraisal
from strongroom.attestation.policy import TrustPolicy
from strongroom.cli import verify as command
from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.pinning import pin_exactly
from strongroom.cli.verify import look
from strongroom.client.explanation import explain_acceptance
from strongroom.client.release import REGISTERS, Release
from strongroom.protocol.errors import Number, Untrusted
from tests.support import policies
from tests.support.evidence import NOW, Cluster
from tests.support.seen import REPORTS, cluster, genuine, intel

BEST = {"intel": intel(tcb_status="UpToDate")}


def release(kind, **changes):
    fields = {
        "version": "0.1.0",
        "role": "vault",
        "kind": kind,
        "registers": REPORTS[kind].registers,
        "tcb": bytes(32),
        "built": "0" * 40,
    }
    assert [name for name, _ in fields["registers"]] == list(REGISTERS[kind])
    return Release(**fields | changes)


@pytest.fixture
def shown(monkeypatch):
    """Makes `look` find this evidence genuine: nobody here has a key of a maker of hardware."""

    def show(found):
        monkeypatch.setattr(command, "verify_any_cluster", lambda evidence, role, now: found)

    return show


def finding(released, policy=None):
    return look(cluster("vault").evidence(), None, policy, released, NOW)


@pytest.mark.parametrize(("kind", "changes"), [("sgx", BEST), ("tdx", BEST), ("snp", {"vmpl": 0}), ("nitro", {})])
def test_a_released_program_on_a_good_machine_is_accepted(shown, kind, changes):
    shown(genuine(kind, **changes))
    found = finding(release(kind))
    assert found.refusal is None
    assert ("released program", "0.1.0") in [step[:2] for step in found.steps]
    assert command._verdict(found, None, release(kind)) == (
        "released program",
        "this is 0.1.0, on a machine in good state",
        command._UNJUDGED,
    )


@pytest.mark.parametrize("kind", ["sgx", "tdx", "snp", "nitro"])
def test_any_other_program_is_not_that_release(shown, kind):
    shown(genuine(kind))
    (name, value), *others = release(kind).registers
    found = finding(release(kind, registers=((name, b"\x99" * len(value)), *others)))
    assert found.refusal.number is Number.POLICY
    assert f"{name} is {value.hex()}" in found.refusal.reason
    assert found.by == "release 0.1.0"
    assert found.steps  # what was found is shown nevertheless


def test_a_released_program_on_a_bad_machine_is_refused(shown):
    shown(genuine("tdx"))
    found = finding(release("tdx"))
    assert (found.refusal.number, found.by) == (Number.POLICY, "the default rules")
    assert "SWHardeningNeeded" in found.refusal.reason


def test_a_release_of_the_other_role_is_refused(shown):
    shown(genuine("sgx", **BEST))
    assert "the release is of the authenticator" in finding(release("sgx", role="authenticator")).refusal.reason


def test_software_that_shows_a_released_measurement_is_refused(shown):
    shown(genuine("insecure-software", **BEST))
    found = finding(release("sgx"))
    assert found.refusal.number is Number.POLICY
    assert "this is insecure-software evidence, and the release is for sgx" in found.refusal.reason


def test_release_and_policy_must_both_accept(shown, monkeypatch):
    seen = genuine("sgx")
    shown(seen)
    asked = []

    def refuse(evidence, *, role, policy, now):
        asked.append((role, policy))
        raise Untrusted(Number.POLICY, "cluster is not one that the policy names")

    monkeypatch.setattr(command, "appraise", refuse)
    policy = pin_exactly(seen, genuine("sgx", "authenticator"))
    found = finding(release("sgx"), policy)
    assert asked == [("vault", policy.vault)]
    assert (found.by, found.refusal.number) == ("the trust policy pinned", Number.POLICY)


def test_evidence_that_does_not_verify_says_what_it_claims_and_that_nobody_verified_it():
    found = look(cluster("vault").evidence(quoted=bytes(64)), None, None, None, NOW)
    assert found.refusal is not None
    assert (found.refusal.number, found.refusal.reason) == (Number.EVIDENCE, "the quote was made over other claims")
    assert found.report is None
    assert {step.explanation for step in found.steps} == {"NOT VERIFIED: anybody can write this"}
    assert look(b"\xc0" * 100, None, None, None, NOW).steps == []


def test_genuine_evidence_by_a_policy_that_names_it_is_accepted():
    vault, authenticator = cluster("vault"), cluster("authenticator")
    policy = TrustPolicy(1, "insecure", vault.policy(), authenticator.policy(), [], 0)
    for one in (vault, authenticator):
        found = look(one.evidence(), None, policy, None, NOW)
        assert found.refusal is None
        assert found.steps[-4:] == explain_acceptance(
            Appraisal(verify_any_cluster(one.evidence(), one.role, NOW), "measurement")
        )
    other = look(vault.evidence(), "authenticator", policy, None, NOW)
    assert other.refusal is not None
    assert "authenticator was expected" in other.refusal.reason


def test_a_vault_with_other_witnesses_than_the_policy_names_is_refused():
    keys = [policies.witness_key(at) for at in range(2)]
    vault = Cluster("vault", witnesses=keys, cosignatures=2)
    authenticator = cluster("authenticator")
    named = TrustPolicy(1, "insecure", vault.policy(), authenticator.policy(), keys, 2)
    assert look(vault.evidence(), None, named, None, NOW).refusal is None
    assert look(authenticator.evidence(), None, named, None, NOW).refusal is None
    unnamed = TrustPolicy(1, "insecure", vault.policy(), authenticator.policy(), [], 0)
    found = look(vault.evidence(), None, unnamed, None, NOW)
    assert found.refusal is not None
    assert "a witness that the policy does not name" in found.refusal.reason
