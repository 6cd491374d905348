"""Pinning: what was seen is accepted from then on, anything else is not, and floors never sink."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from strongroom.attestation.acceptance import (
    MIGRATE_MA,
    PAGE_SWAP_DISABLE,
    PERFMON,
    SMT,
    accept_platform,
    accept_program,
)
from strongroom.attestation.policy import sections_of
from strongroom.attestation.trust_file import format_trust_policy, parse_trust_policy
from strongroom.cli.pinning import pin_exactly, verify_floors, verify_pinnable
from strongroom.cli.terminal import EXIT_REFUSED, EXIT_UNTRUSTED, Failure
from strongroom.client.policy_explanation import explain_witnesses
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import Watchers
from tests.support import policies
from tests.support.evidence import NOW, changed
from tests.support.seen import REPORTS, SNP, genuine, intel

KINDS = list(REPORTS)
INTEL_KINDS = ["sgx", "tdx", "insecure-software"]
AUTHENTICATOR = genuine("sgx", "authenticator")


def pin(seen, *, machines=False):
    policy = pin_exactly(seen, AUTHENTICATOR, machines=machines)
    assert parse_trust_policy(format_trust_policy(policy)) == policy
    (section,) = sections_of(policy.vault).values()
    return policy, section


def accepted(report, section):
    accept_platform(report, section, NOW)
    return accept_program(report, section) == "measurement"


def refused(report, section):
    with pytest.raises(Untrusted):
        accepted(report, section)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("machines", [False, True])
def test_what_was_seen_is_accepted(kind, machines):
    seen = genuine(kind)
    policy, section = pin(seen, machines=machines)
    assert list(sections_of(policy.vault)) == [kind]
    assert policy.vault.clusters == [seen.claims.cluster_id]
    assert policy.vault.config == seen.claims.config
    assert accepted(seen.report, section)


@pytest.mark.parametrize("kind", KINDS)
def test_any_other_register_is_refused(kind):
    seen = genuine(kind)
    _, section = pin(seen)
    for at, (name, value) in enumerate(seen.report.registers):
        registers = [*seen.report.registers]
        registers[at] = (name, bytes(len(value)) if any(value) else b"\x01" * len(value))
        refused(replace(seen.report, registers=tuple(registers)), section)


@pytest.mark.parametrize("kind", INTEL_KINDS)
def test_a_machine_in_a_worse_state_is_refused_and_a_better_one_accepted(kind):
    seen = genuine(kind)
    _, section = pin(seen)
    for worse in ({"tcb_status": "OutOfDate"}, {"tcb_evaluation_number": 17}, {"cached_keys": True}):
        refused(replace(seen.report, intel=intel(**worse)), section)
    for better in ({"tcb_status": "UpToDate"}, {"tcb_evaluation_number": 19}, {"smt": False}):
        assert accepted(replace(seen.report, intel=intel(**better)), section)


def test_settings_of_a_guest_are_pinned_as_seen():
    _, section = pin(genuine("snp"))
    bad: list[dict[str, Any]] = [
        {"product": "Turin"},
        {"key": "vlek"},
        {"vmpl": 0},
        {"crl_checked": False},
        {"guest_policy": SNP.guest_policy | MIGRATE_MA},
        *({"tcb": SNP.tcb._replace(**{part: value - 1})} for part, value in SNP.tcb._asdict().items() if value),
    ]
    for worse in bad:
        refused(replace(SNP, **worse), section)
    assert accepted(replace(SNP, tcb=SNP.tcb._replace(microcode=85)), section)
    _, section = pin(genuine("snp", guest_policy=PAGE_SWAP_DISABLE))
    for flags in (0, PAGE_SWAP_DISABLE | SMT):
        refused(replace(SNP, guest_policy=flags), section)


def test_counters_inside_a_td_are_accepted_only_if_seen():
    seen = genuine("tdx", td_attributes=PERFMON)
    assert accepted(seen.report, pin(seen)[1])
    refused(seen.report, pin(genuine("tdx"))[1])


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("sgx", {"intel": intel(platform_id=b"\x02" * 16)}),
        ("tdx", {"intel": intel(platform_id=b"\x02" * 16)}),
        ("snp", {"chip_id": b"\x02" * 64}),
        ("nitro", {"module_id": "i-9999-enc4567"}),
    ],
)
def test_another_machine_is_refused_only_where_machines_are_pinned(kind, other):
    elsewhere = replace(REPORTS[kind], **other)
    assert accepted(elsewhere, pin(genuine(kind))[1])
    refused(elsewhere, pin(genuine(kind), machines=True)[1])


def test_a_machine_that_is_not_named_can_not_be_pinned():
    with pytest.raises(Failure, match="names no machine"):
        pin(genuine("snp", key="vlek", chip_id=bytes(64)), machines=True)


def test_milan_is_pinned_only_by_its_name():
    milan = genuine("snp", product="Milan")
    with pytest.raises(Failure, match="extract the seed") as caught:
        verify_pinnable("http://vault", milan, ["insecure"])
    assert (caught.value.status, "--milan" in caught.value.hint) == (EXIT_REFUSED, True)
    verify_pinnable("http://vault", milan, ["milan"])
    for kind in KINDS:
        verify_pinnable("http://vault", genuine(kind), [])


def test_a_guest_that_may_be_moved_is_not_pinned():
    with pytest.raises(Failure, match="migration agent"):
        verify_pinnable("http://vault", genuine("snp", guest_policy=MIGRATE_MA), ["milan", "insecure"])


@pytest.mark.parametrize("kind", INTEL_KINDS)
def test_replayed_evidence_does_not_lower_the_floor_of_the_evaluation(kind):
    old, _ = pin(genuine(kind))
    with pytest.raises(Failure, match=r"vault shows TCB evaluation 17, below the floor 18 of trust\.toml"):
        verify_floors(old, pin(genuine(kind, intel=intel(tcb_evaluation_number=17)))[0], "trust.toml")
    assert verify_floors(old, old, "trust.toml") == []
    raised = verify_floors(old, pin(genuine(kind, intel=intel(tcb_evaluation_number=19)))[0], "trust.toml")
    assert raised == ["vault: the floor of TCB evaluation rises from 18 to 19"]


@pytest.mark.parametrize("part", ["bootloader", "snp", "microcode"])
def test_replayed_evidence_does_not_lower_the_floor_of_a_part(part):
    old, _ = pin(genuine("snp"))
    older = SNP.tcb._replace(**{part: getattr(SNP.tcb, part) - 1})
    with pytest.raises(Failure, match=f"Genoa {part} "):
        verify_floors(old, pin(genuine("snp", tcb=older))[0], "trust.toml")
    newer = SNP.tcb._replace(**{part: getattr(SNP.tcb, part) + 1})
    updated = genuine("snp", tcb=newer, committed_tcb=newer, launch_tcb=newer)
    (change,) = verify_floors(old, pin(updated)[0], "trust.toml")
    assert f"the floor of Genoa {part} rises" in change


def test_floors_of_processors_that_are_no_longer_pinned_are_not_lost_unsaid():
    old, _ = pin(genuine("snp"))
    (change,) = verify_floors(old, pin(genuine("snp", product="Turin"))[0], "trust.toml")
    assert change == "vault: the floors of Genoa processors are dropped"


def test_another_platform_in_place_of_the_pinned_one_is_said():
    old, _ = pin(genuine("tdx"))
    new, _ = pin(genuine("insecure-software"))
    assert verify_floors(old, new, "trust.toml") == ["vault: what trust.toml says of tdx is dropped"]


@pytest.mark.parametrize("kind", INTEL_KINDS)
def test_rules_written_by_hand_are_not_replaced_unsaid(kind):
    policy, section = pin(genuine(kind))
    hand = msgspec.structs.replace(
        section,
        refused_advisories=["INTEL-SA-00001"],
        allow_smt=False,
        platform_ids=[b"\x01" * 16],
        tcb_statuses=["UpToDate"],
    )
    vault = msgspec.structs.replace(policy.vault, **{kind.replace("-", "_"): hand})
    old = msgspec.structs.replace(policy, vault=vault)
    said = verify_floors(old, pin(genuine(kind, intel=intel(tcb_status="OutOfDate")))[0], "trust.toml")
    assert "vault: refused_advisories was INTEL-SA-00001, becomes none" in said
    assert "vault: allow_smt was false, becomes true" in said
    assert "vault: tcb_statuses was UpToDate, becomes UpToDate, OutOfDate" in said
    assert any(change.startswith("vault: platform_ids was ") and change.endswith(", becomes any") for change in said)


def watched(count, cosignatures, **fields):
    seen = genuine("sgx", **fields)
    keys = [policies.witness_key(at) for at in range(count)]
    return replace(seen, genesis=changed(seen.genesis, witnesses=keys, cosignatures=cosignatures))


def test_the_witnesses_of_the_vault_are_pinned():
    policy, _ = pin(watched(3, 2))
    assert (policy.witnesses, policy.cosignatures) == ([policies.witness_key(at) for at in range(3)], 2)
    assert any(step.value == policies.witness_key(2) for step in explain_witnesses(policy))


def test_the_witnesses_whom_custodians_named_last_are_pinned_in_the_place_of_those_of_the_founding():
    seen, keys = watched(3, 2), [policies.witness_key(at) for at in (2, 3)]
    replaced = replace(seen, claims=changed(seen.claims, watchers=Watchers(witnesses=keys, cosignatures=2)))
    policy = pin_exactly(replaced, genuine("sgx", "authenticator"))
    assert (policy.witnesses, policy.cosignatures) == (keys, 2)
    few = replace(seen, claims=changed(seen.claims, watchers=Watchers(witnesses=keys, cosignatures=1)))
    with pytest.raises(Failure, match="nobody could count"):
        verify_pinnable("https://vault.example.com", few, [])


def test_witnesses_that_are_lost_are_said():
    before, after = pin(watched(3, 2))[0], pin(watched(0, 0))[0]
    names = ", ".join(f"witness-{at}.example" for at in range(3))
    assert verify_floors(before, after, "trust.toml") == [f"vault: witnesses were 2 of {names}, become none"]
    assert verify_floors(before, changed(before, witnesses=before.witnesses[::-1]), "trust.toml") == []


@pytest.mark.parametrize(("count", "cosignatures"), [(3, 1), (3, 4), (0, 1), (2, 0)])
def test_witnesses_of_whom_too_few_are_asked_are_not_pinned(count, cosignatures):
    with pytest.raises(Failure, match="nobody could count") as caught:
        verify_pinnable("https://vault.example.com", watched(count, cosignatures), [])
    assert caught.value.status == EXIT_UNTRUSTED
