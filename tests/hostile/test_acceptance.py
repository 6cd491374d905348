"""Threat: a genuine enclave that should not be trusted: another program, an older one, on a machine in a bad state, or
on a machine whose keys somebody has taken out. The reports here are true; the policy has to say no."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from strongroom.attestation.acceptance import (
    DAY,
    MIGRATE_MA,
    PAGE_SWAP_DISABLE,
    PERFMON,
    SMT,
    accept_platform,
    accept_program,
)
from strongroom.attestation.floors import MACHINES, EvaluationFloors
from strongroom.attestation.policy import NitroMeasurement, SgxSigner, SnpProduct, SnpSigner, TdxMeasurement
from strongroom.attestation.reports import SnpTcb
from strongroom.protocol.errors import Number, Untrusted
from tests.support import policies, seen
from tests.support.evidence import NOW

CLUSTER = b"\x30" * 32
VLEK = {"key": "vlek", "provider": "CN=cloud", "chip_id": bytes(64)}
INTEL = replace(seen.INTEL, tcb_status="UpToDate", advisories=(), tcb_date=NOW - 30 * DAY, dynamic_platform=True)
SGX = replace(seen.SGX, intel=INTEL)
TDX = replace(seen.TDX, intel=INTEL)
SNP = replace(seen.SNP, guest_policy=1 << 17, vmpl=0)
NITRO = replace(seen.NITRO, pcrs={**seen.NITRO.pcrs, 8: b"\x28" * 48})


def refused(accept, *arguments, reason):
    with pytest.raises(Untrusted) as caught:
        accept(*arguments)
    assert caught.value.number is Number.POLICY
    assert reason in caught.value.reason


def platform_refused(report, policy, reason, now=NOW):
    refused(accept_platform, report, policy, now, reason=reason)


def intel(report, **fields):
    return replace(report, intel=replace(INTEL, **fields))


BOTH = pytest.mark.parametrize(("report", "policy"), [(SGX, policies.sgx()), (TDX, policies.tdx())], ids=["sgx", "tdx"])


# --- Intel: the state of the machine --------------------------------------------------------------------------


@BOTH
def test_a_machine_in_an_accepted_state_is_accepted(report, policy):
    accept_platform(report, policy, NOW)


@BOTH
@pytest.mark.parametrize("status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "Revoked", ""])
def test_a_tcb_status_that_is_not_listed_is_refused(report, policy, status):
    platform_refused(
        intel(report, tcb_status=status), policy, f"TCB status {status} is not one that the policy accepts"
    )
    platform_refused(report, changed(policy, tcb_statuses=[]), "TCB status UpToDate")


@BOTH
def test_an_evaluation_number_below_the_floor_is_refused(report, policy):
    accept_platform(report, changed(policy, min_tcb_evaluation=18), NOW)
    policy = changed(policy, min_tcb_evaluation=19)
    platform_refused(report, policy, "TCB evaluation number 18 is below the policy's floor 19")


@BOTH
def test_a_refused_advisory_is_refused_whatever_the_status(report, policy):
    policy = changed(policy, refused_advisories=["INTEL-SA-00615"])
    open_to = intel(report, advisories=("INTEL-SA-00289", "INTEL-SA-00615"))
    platform_refused(open_to, policy, "open to INTEL-SA-00615")
    accept_platform(intel(report, advisories=("INTEL-SA-00289",)), policy, NOW)


@BOTH
def test_a_machine_that_is_not_listed_is_refused(report, policy):
    """Keys taken from one machine by an interposer on its memory bus sign for every enclave that never ran."""
    accept_platform(report, changed(policy, platform_ids=[b"\x01" * 16]), NOW)
    platform_refused(report, changed(policy, platform_ids=[b"\x02" * 16]), f"the machine {'01' * 16} (PPID) is not")
    platform_refused(report, changed(policy, platform_ids=[]), "(PPID) is not one that the policy names")


@BOTH
@pytest.mark.parametrize(
    ("field", "flag"),
    [("smt", "allow_smt"), ("dynamic_platform", "allow_dynamic_platform"), ("cached_keys", "allow_cached_keys")],
)
def test_a_flag_that_is_not_allowed_must_be_stated_to_be_off(report, policy, field, flag):
    strict = changed(policy, **{flag: False})
    accept_platform(intel(report, **{field: False}), strict, NOW)
    platform_refused(intel(report, **{field: True}), strict, "which the policy does not allow")
    platform_refused(intel(report, **{field: None}), strict, "or may be, which the policy does not allow")


@BOTH
def test_grace_lasts_its_days_and_covers_nothing_else(report, policy):
    late = intel(report, tcb_status="OutOfDate")
    policy = changed(policy, grace_days=30)
    accept_platform(late, policy, NOW)
    platform_refused(late, policy, "TCB status OutOfDate, 1 days past the policy's grace of 30", now=NOW + 1)
    platform_refused(late, changed(policy, grace_days=29), "1 days past")
    platform_refused(late, changed(policy, grace_days=0), "is not one that the policy accepts")
    for status in ("SWHardeningNeeded", "OutOfDateConfigurationNeeded", "Revoked"):
        platform_refused(intel(report, tcb_status=status), policy, f"TCB status {status} is not one")
    # Nor does grace make good what would be refused if the machine were up to date.
    platform_refused(late, changed(policy, tcb_statuses=["SWHardeningNeeded"]), "is not one that the policy accepts")
    both = changed(policy, tcb_statuses=["ConfigurationNeeded"])
    accept_platform(intel(report, tcb_status="OutOfDateConfigurationNeeded"), both, NOW)


@BOTH
def test_grace_does_not_excuse_an_advisory_or_an_old_edition(report, policy):
    policy = changed(policy, grace_days=3650, refused_advisories=["INTEL-SA-00001"], min_tcb_evaluation=18)
    platform_refused(
        intel(report, tcb_status="OutOfDate", advisories=("INTEL-SA-00001",)), policy, "open to INTEL-SA-00001"
    )
    platform_refused(
        intel(report, tcb_status="OutOfDate", tcb_evaluation_number=17), policy, "below the policy's floor"
    )


def test_performance_counters_in_a_td_are_refused_unless_allowed():
    report = replace(TDX, td_attributes=TDX.td_attributes | PERFMON)
    platform_refused(report, policies.tdx(), "performance counters")
    accept_platform(report, policies.tdx(allow_perfmon=True), NOW)


def test_a_machine_never_goes_back_to_an_older_edition():
    """Its host keeps newer collateral back; old is good for a month."""
    floors = EvaluationFloors()
    for number in (17, 18, 18):
        floors.verify(intel(SGX, tcb_evaluation_number=number), CLUSTER)
        floors.note(intel(SGX, tcb_evaluation_number=number), CLUSTER)
    for _ in range(2):
        refused(floors.verify, intel(SGX, tcb_evaluation_number=17), CLUSTER, reason="this machine has shown 18")
        floors.note(intel(SGX, tcb_evaluation_number=17), CLUSTER)
    # Machines learn of a new edition days apart, so do two hosts on one; and TDX has editions of its own.
    floors.verify(intel(SGX, tcb_evaluation_number=17), bytes(32))
    floors.verify(intel(SGX, tcb_evaluation_number=17, platform_id=bytes(16)), CLUSTER)
    floors.verify(intel(TDX, tcb_evaluation_number=17), CLUSTER)
    floors.verify(SNP, CLUSTER)
    floors.note(SNP, CLUSTER)


def test_a_flood_of_machines_is_not_remembered_for_ever():
    floors = EvaluationFloors()
    floors.note(SGX, CLUSTER)
    for at in range(2 * MACHINES):
        floors.note(intel(SGX, platform_id=at.to_bytes(16, "big")), CLUSTER)
        floors.note(SGX, CLUSTER)
    assert len(floors._highest) == MACHINES
    refused(floors.verify, intel(SGX, tcb_evaluation_number=1), CLUSTER, reason="this machine has shown 18")


# --- SGX: the program -------------------------------------------------------------------------------------------


def test_a_program_is_known_by_its_exact_measurement():
    assert accept_program(SGX, policies.sgx(measurements=[bytes(32), b"\x0a" * 32])) == "measurement"
    refused(accept_program, SGX, policies.sgx(measurements=[bytes(32)]), reason=f"measurement {'0a' * 32} is not one")
    refused(accept_program, SGX, policies.sgx(), reason="accepts no program")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (SgxSigner(b"\x0b" * 32, 1, 6), "security version 5 is below the policy's floor 6"),
        (SgxSigner(b"\x0b" * 32, 2, 0), "nor is its signer"),
        (SgxSigner(bytes(32), 1, 0), "nor is its signer"),
    ],
)
def test_a_signer_counts_with_product_and_version_only(rule, reason):
    assert accept_program(SGX, policies.sgx(signers=[SgxSigner(b"\x0b" * 32, 1, 5)])) == "signer"
    refused(accept_program, SGX, policies.sgx(signers=[rule]), reason=reason)


# --- TDX --------------------------------------------------------------------------------------------------------


def measurement(**fields):
    return changed(TdxMeasurement(*(value for _, value in TDX.registers)), **fields)


def test_a_td_is_known_by_all_of_its_registers():
    assert accept_program(TDX, policies.tdx(measurements=[measurement()])) == "measurement"
    refused(accept_program, TDX, policies.tdx(), reason="names no measurement")


@pytest.mark.parametrize("register", ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"])
def test_a_td_that_differs_in_one_register_is_refused(register):
    policy = policies.tdx(measurements=[measurement(**{register: b"\xff" * 48})])
    refused(accept_program, TDX, policy, reason="the program is not one that the policy names: MRTD 0000")


# --- SNP --------------------------------------------------------------------------------------------------------


def test_an_snp_machine_in_an_accepted_state_is_accepted():
    accept_platform(SNP, policies.snp(), NOW)


def test_milan_is_refused_unless_it_is_named():
    """Its VCEK seed can be extracted by software: reports forged with it pass every signature check."""
    milan = replace(SNP, product="Milan")
    platform_refused(milan, policies.snp(), "does not name Milan processors; software can extract the seed")
    accept_platform(milan, policies.snp(products=[SnpProduct("Milan", 0, 0, 0, 0, 0)]), NOW)
    platform_refused(SNP, policies.snp(products=[]), "does not name Genoa processors")


@pytest.mark.parametrize("part", SnpTcb._fields)
def test_a_part_below_its_floor_is_refused(part):
    floors = [SNP.tcb.bootloader, SNP.tcb.tee, SNP.tcb.snp, SNP.tcb.microcode, SNP.tcb.fmc]
    exact = SnpProduct("Genoa", *floors)
    accept_platform(SNP, policies.snp(products=[exact]), NOW)
    higher = changed(exact, **{f"min_{part}": getattr(exact, f"min_{part}") + 1})
    platform_refused(SNP, policies.snp(products=[higher]), f"of the {part} is below the policy's floor")


@pytest.mark.parametrize(("state", "word"), [("committed_tcb", "committed"), ("launch_tcb", "launch")])
def test_firmware_of_the_start_and_what_the_host_can_go_back_to_are_held_against_the_floors(state, word):
    """Old firmware let the host alter the guest as it started; then it was updated, and reports what is good."""
    exact = SnpProduct("Genoa", *SNP.tcb)
    changes: dict[str, Any] = {state: SNP.tcb._replace(snp=22)}
    older = replace(SNP, **changes)
    platform_refused(older, policies.snp(products=[exact]), f"security version 22 of the {word} snp is below")


def test_a_guest_that_may_move_is_not_held_to_where_it_started():
    exact = SnpProduct("Genoa", *SNP.tcb)
    moved = replace(SNP, launch_tcb=SNP.tcb._replace(snp=22))
    accept_platform(moved, policies.snp(products=[exact], allow_migration_agent=True), NOW)


def test_floors_of_two_entries_are_not_mixed():
    """Each entry is a state of the platform that was found good; half of one and half of another is none."""
    products = [SnpProduct("Genoa", 11, 0, 0, 0, 0), SnpProduct("Genoa", 0, 0, 24, 0, 0)]
    platform_refused(SNP, policies.snp(products=products), "security version 10 of the bootloader")
    accept_platform(SNP, policies.snp(products=[*products, SnpProduct("Genoa", 10, 0, 23, 84, 0)]), NOW)


@pytest.mark.parametrize(
    ("fields", "rules", "reason"),
    [
        (VLEK, {"vlek_providers": []}, "cloud provider 'CN=cloud' signed"),
        (VLEK, {"vlek_providers": ["CN=other"]}, "cloud provider 'CN=cloud' signed"),
        ({}, {"chip_ids": []}, "(CHIP_ID) is not one that the policy names"),
        ({}, {"chip_ids": [bytes(64)]}, "(CHIP_ID) is not one that the policy names"),
        (VLEK, {"chip_ids": [bytes(64)]}, "(CHIP_ID) is not one"),
        ({"vmpl": 1}, {}, "privilege level 1"),
        ({}, {"vmpls": []}, "privilege level 0"),
        ({"guest_policy": SMT}, {"allow_smt": False}, "multithreading"),
        ({"guest_policy": MIGRATE_MA}, {}, "migration agent"),
        ({}, {"require_page_swap_disable": True}, "PAGE_SWAP_DISABLE"),
        ({"crl_checked": False}, {"require_crl": True}, "list of revoked certificates"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused(fields, rules, reason):
    platform_refused(replace(SNP, **fields), policies.snp(**rules), reason)


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        (VLEK, {}),
        (VLEK, {"vlek_providers": ["CN=other", "CN=cloud"]}),
        ({}, {"chip_ids": [b"\x10" * 64], "vlek_providers": [], "allow_smt": False, "require_crl": True}),
        ({"vmpl": 2}, {"vmpls": [0, 2]}),
        ({"guest_policy": SMT | MIGRATE_MA}, {"allow_migration_agent": True}),
        ({"guest_policy": PAGE_SWAP_DISABLE}, {"require_page_swap_disable": True}),
    ],
)
def test_what_the_policy_allows_is_accepted(fields, rules):
    accept_platform(replace(SNP, **fields), policies.snp(**rules), NOW)


SIGNER = SnpSigner(b"\x0f" * 48, b"\x0d" * 16, b"\x0e" * 16, 7)


def test_an_snp_program_is_known_by_measurement_or_by_the_signer_of_its_id_block():
    assert accept_program(SNP, policies.snp(measurements=[b"\x0c" * 48])) == "measurement"
    assert accept_program(SNP, policies.snp(signers=[SIGNER])) == "signer"
    refused(accept_program, SNP, policies.snp(), reason="accepts no program")
    refused(accept_program, SNP, policies.snp(measurements=[bytes(48)]), reason="nor is its signer")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key_digest": bytes(48)}, "nor is its signer"),
        ({"family_id": bytes(16)}, "nor is its signer"),
        ({"image_id": bytes(16)}, "nor is its signer"),
        ({"min_svn": 8}, "security version 7 is below the policy's floor 8"),
    ],
)
def test_another_signer_or_image_of_an_id_block_is_refused(change, reason):
    refused(accept_program, SNP, policies.snp(signers=[changed(SIGNER, **change)]), reason=reason)


def test_where_an_author_answers_for_the_id_key_only_the_author_counts():
    authored = replace(SNP, author_key_digest=b"\x11" * 48)
    refused(accept_program, authored, policies.snp(signers=[SIGNER]), reason="nor is its signer")
    assert accept_program(authored, policies.snp(signers=[changed(SIGNER, key_digest=b"\x11" * 48)])) == "signer"


def test_a_guest_that_nobody_signed_fits_no_signer():
    """Host and attacker start guests without an ID block: all its fields are zero."""
    zero = SnpSigner(bytes(48), bytes(16), bytes(16), 0)
    unsigned = replace(SNP, id_key_digest=bytes(48), family_id=bytes(16), image_id=bytes(16))
    refused(accept_program, unsigned, policies.snp(signers=[zero]), reason="nor is its signer")


# --- Nitro ------------------------------------------------------------------------------------------------------


def test_a_nitro_enclave_is_known_by_its_registers_or_its_signer():
    exact = NitroMeasurement(b"\x20" * 48, b"\x21" * 48, b"\x22" * 48)
    assert accept_program(NITRO, policies.nitro(measurements=[exact])) == "measurement"
    assert accept_program(NITRO, policies.nitro(signers=[b"\x28" * 48])) == "signer"
    refused(accept_program, NITRO, policies.nitro(), reason="names no measurement")
    refused(accept_program, NITRO, policies.nitro(signers=[bytes(48)]), reason="the program is not one")


@pytest.mark.parametrize("register", ["pcr0", "pcr1", "pcr2"])
def test_a_nitro_enclave_that_differs_in_one_register_is_refused(register):
    exact = NitroMeasurement(b"\x20" * 48, b"\x21" * 48, b"\x22" * 48)
    policy = policies.nitro(measurements=[changed(exact, **{register: bytes(48)})])
    refused(accept_program, NITRO, policy, reason="the program is not one that the policy names")


def test_an_image_that_nobody_signed_fits_no_signer():
    unsigned = replace(NITRO, pcrs={**NITRO.pcrs, 8: bytes(48)})
    refused(accept_program, unsigned, policies.nitro(signers=[bytes(48)]), reason="the program is not one")


def test_another_instance_is_refused():
    accept_platform(NITRO, policies.nitro(instances=["i-0123"]), NOW)
    platform_refused(NITRO, policies.nitro(instances=["i-012"]), "the instance 'i-0123' is not one")
    platform_refused(NITRO, policies.nitro(instances=[]), "is not one that the policy names")


# --- reports and sections of two platforms ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept", [accept_program, lambda report, policy: accept_platform(report, policy, NOW)], ids=["program", "platform"]
)
def test_a_report_is_never_held_against_the_section_of_another_platform(accept):
    reports = [SGX, TDX, SNP, NITRO]
    sections = [policies.sgx(), policies.tdx(), policies.snp(), policies.nitro()]
    for at, report in enumerate(reports):
        for other, section in enumerate(sections):
            if at != other:
                refused(accept, report, section, reason="of another platform")
