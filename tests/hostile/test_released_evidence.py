"""Evidence of programs that a client knows by who released them, and the ways around that."""

from typing import Any

import pytest

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.candidates import appraise_candidate
from strongroom.attestation.policy import ReleaseAuthority
from strongroom.client.explanation import explain, explain_acceptance
from strongroom.client.policy_explanation import explain_role
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.limits import MAX_RELEASES
from strongroom.protocol.releases import SignedReleases
from tests.support.councils import council
from tests.support.evidence import MEASUREMENT, NOW, Cluster, changed
from tests.support.releases import NEW, listing, release, signed
from tests.support.ssh_keys import KEY_TYPES, SshKey

KEYS = [SshKey(person=f"approver-{at}") for at in range(3)]


@pytest.fixture(scope="module")
def vault():
    return Cluster("vault", council=council(approvers=[one.public_key for one in KEYS], approvals=2))


def both(vault, serial=3, **changes):
    """A list of the program that shows evidence here, and of another one."""
    return listing(vault.id, serial, release("1.2", MEASUREMENT, svn=4), release("1.3", NEW, svn=5), **changes)


def authority(**changes):
    values: dict[str, Any] = {"approvers": [one.public_key for one in KEYS], "approvals": 2, "min_serial": 0}
    return ReleaseAuthority(**values | changes)


def policy(vault, *, measurements=(), **changes):
    """Accepts what two of three people have released, and beside that exactly these programs."""
    role = vault.policy()
    section = changed(role.insecure_software, measurements=list(measurements), signers=[])
    return changed(role, insecure_software=section, releases=authority(**changes))


def shown(vault, releases, *, serial=None, **fields):
    """Evidence with this encoded list; the claims say its serial unless told otherwise."""
    return vault.evidence(vault.claims(release=3 if serial is None else serial), releases=releases, **fields)


def accepted(vault, evidence, accepting):
    return appraise(evidence, role="vault", policy=accepting, now=NOW)


def refused(vault, evidence, accepting):
    with pytest.raises(Untrusted) as caught:
        accepted(vault, evidence, accepting)
    return caught.value


def test_a_released_program_is_accepted_whatever_it_measures_as(vault):
    for measurement in (MEASUREMENT, NEW):
        evidence = shown(vault, signed(both(vault), KEYS[:2]), measurement=measurement)
        assert accepted(vault, evidence, policy(vault)).accepted_by == "release"


def test_a_retired_program_is_refused_also_where_it_is_pinned(vault):
    """RULES 7: retired overrides all."""
    alone = listing(vault.id, 3, release("1.3", NEW, svn=5))
    evidence = shown(vault, signed(alone, KEYS[:2]))
    for accepting in (policy(vault), policy(vault, measurements=[MEASUREMENT])):
        error = refused(vault, evidence, accepting)
        assert error.number is Number.POLICY
        assert "not one that list 3 of releases names" in error.reason
    below = signed(both(vault, min_svn=5), KEYS[:2])
    assert refused(vault, shown(vault, below), policy(vault, measurements=[MEASUREMENT])).number is Number.POLICY


def test_evidence_without_a_list_is_refused_unless_the_program_is_pinned(vault):
    bare = shown(vault, b"", serial=0)
    assert refused(vault, bare, policy(vault)).number is Number.POLICY
    assert accepted(vault, bare, policy(vault, measurements=[MEASUREMENT])).accepted_by == "measurement"


def test_a_pin_does_not_help_a_program_that_leaves_out_the_list_that_retired_it(vault):
    """Who knows that there is a list by now, says so in his policy."""
    bare = shown(vault, b"", serial=0)
    error = refused(vault, bare, policy(vault, measurements=[MEASUREMENT], min_serial=1))
    assert error.number is Number.POLICY
    assert "none came along" in error.reason


def test_a_list_older_than_the_floor_is_refused(vault):
    evidence = shown(vault, signed(both(vault), KEYS[:2]))
    assert accepted(vault, evidence, policy(vault, min_serial=3))
    assert "below the floor 4" in refused(vault, evidence, policy(vault, min_serial=4)).reason


@pytest.mark.parametrize("serial", [0, 2, 4])
def test_another_list_than_the_claims_say_is_refused(vault, serial):
    """A host shows an older list beside the evidence, or one that the enclave does not go by yet."""
    evidence = shown(vault, signed(both(vault), KEYS[:2]), serial=serial)
    assert refused(vault, evidence, policy(vault)).number is Number.EVIDENCE
    exact = changed(vault.policy(), releases=None)
    assert refused(vault, evidence, exact).number is Number.EVIDENCE


def test_a_list_left_out_that_the_claims_name_is_refused(vault):
    evidence = shown(vault, b"", serial=3)
    assert refused(vault, evidence, policy(vault, measurements=[MEASUREMENT])).number is Number.EVIDENCE
    assert refused(vault, evidence, changed(vault.policy(), releases=None)).number is Number.EVIDENCE


def test_too_few_signatures_one_twice_or_a_strangers_are_refused(vault):
    for keys in ([], KEYS[:1], [KEYS[0], KEYS[0]], [*KEYS[:2], KEYS[0]], [KEYS[0], SshKey()], [*KEYS[:2], SshKey()]):
        evidence = shown(vault, signed(both(vault), keys))
        assert refused(vault, evidence, policy(vault)).number is Number.INTEGRITY


def test_an_empty_authority_accepts_nothing(vault):
    evidence = shown(vault, signed(both(vault), []))
    assert refused(vault, evidence, policy(vault, approvers=[], approvals=0)).number is Number.INTEGRITY


def test_approvals_of_another_list_or_purpose_are_refused(vault):
    other = decode(signed(both(vault, min_svn=1), KEYS[:2]), SignedReleases, limit=MAX_RELEASES)
    moved = encode(SignedReleases(encode(both(vault)), other.approvals))
    login = signed(both(vault), KEYS[:2], namespace=b"strongroom")
    for bent in (moved, login):
        assert refused(vault, shown(vault, bent), policy(vault)).number is Number.TOKEN_UNTRUSTED


@pytest.mark.parametrize("kind", KEY_TYPES[2:])
def test_a_security_key_that_nobody_touched_released_nothing(vault, kind):
    key = SshKey(kind=kind)
    accepting = policy(vault, approvers=[key.public_key], approvals=1)
    assert accepted(vault, shown(vault, signed(both(vault), [key])), accepting)
    assert refused(vault, shown(vault, signed(both(vault), [key], flags=0)), accepting).number is Number.INTEGRITY


@pytest.mark.parametrize("bent", [{"cluster": bytes(32)}, {"role": "authenticator"}])
def test_a_list_of_another_cluster_or_role_is_refused(vault, bent):
    evidence = shown(vault, signed(changed(both(vault), **bent), KEYS[:2]))
    assert refused(vault, evidence, policy(vault)).number is Number.INTEGRITY


def test_a_program_that_stands_in_a_list_twice_is_refused(vault):
    """Below the floor under one version, above it under another."""
    twice = listing(vault.id, 3, release("1.2", MEASUREMENT, svn=1), release("1.3", MEASUREMENT, svn=5), min_svn=5)
    assert refused(vault, shown(vault, signed(twice, KEYS[:2])), policy(vault)).number is Number.INTEGRITY


def test_the_measurement_counts_on_its_own_platform_only(vault):
    """Software evidence can show every measurement of hardware."""
    (program,) = release("1.2", MEASUREMENT).programs
    elsewhere = changed(release("1.2", MEASUREMENT), programs=[changed(program, kind="sgx")])
    evidence = shown(vault, signed(listing(vault.id, 3, elsewhere), KEYS[:2]))
    assert refused(vault, evidence, policy(vault)).number is Number.POLICY


def test_a_candidate_is_held_against_the_list_that_comes_from_elsewhere(vault):
    claims = vault.claims(stage="joining", cluster_id=vault.id)
    evidence = vault.evidence(claims)
    signed_list = signed(both(vault), KEYS[:2])

    def candidate(accepting, releases):
        return appraise_candidate(evidence, role="vault", stage="joining", policy=accepting, releases=releases, now=NOW)

    assert candidate(policy(vault, min_serial=3), signed_list)
    for releases in (b"", signed(listing(vault.id, 3, release("1.3", NEW)), KEYS[:2])):
        with pytest.raises(Untrusted) as caught:
            candidate(policy(vault, measurements=[MEASUREMENT], min_serial=3), releases)
        assert caught.value.number is Number.POLICY


def test_who_released_it_is_said(vault):
    appraisal = accepted(vault, shown(vault, signed(both(vault), KEYS[:2])), policy(vault, min_serial=2))
    steps = {step.name: step for step in explain_acceptance(appraisal)}
    assert steps["accepted program"][1:] == ("release 1.2", "security version 4, in list 3")
    assert steps["approved by"].value.startswith("SHA256:")
    seen = {step.name: step.value for step in explain(appraisal.genuine, NOW)}
    assert (seen["approvers"], seen["releases"]) == ("2 of 3", "list 3")
    words = {step.name: step for step in explain_role(policy(vault, min_serial=2))}
    assert "CAN READ" in words["approvers"].explanation
    assert words["releases"].value == "list 2 on"
