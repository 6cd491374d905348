"""What is asked of a machine where nobody wrote a policy."""

from dataclasses import replace
from typing import Any

import pytest

from strongroom.attestation.acceptance import MIGRATE_MA, PERFMON, accept_program
from strongroom.attestation.default_policy import accept_platform_by_default, default_section
from strongroom.protocol.errors import Number, Untrusted
from tests.support.evidence import NOW
from tests.support.seen import NITRO, REPORTS, SGX, SNP, TDX, intel

BEST = intel(tcb_status="UpToDate")
GOOD: dict[str, Any] = {
    "sgx": replace(SGX, intel=BEST),
    "tdx": replace(TDX, intel=BEST),
    "snp": replace(SNP, vmpl=0),
    "nitro": NITRO,
}


def refused(kind, report, reason):
    with pytest.raises(Untrusted) as caught:
        accept_platform_by_default(kind, report, NOW)
    assert caught.value.number is Number.POLICY
    assert reason in caught.value.reason


@pytest.mark.parametrize("kind", GOOD)
def test_a_machine_in_the_best_state_passes(kind):
    accept_platform_by_default(kind, GOOD[kind], NOW)


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
@pytest.mark.parametrize("status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"])
def test_any_state_but_the_best_is_refused_without_grace(kind, status):
    refused(kind, replace(GOOD[kind], intel=intel(tcb_status=status, tcb_date=NOW)), status)


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (replace(GOOD["snp"], product="Milan"), "software can extract the seed"),
        (replace(GOOD["snp"], vmpl=1), "privilege level 1"),
        (replace(GOOD["snp"], guest_policy=MIGRATE_MA), "migration agent"),
    ],
    ids=["Milan", "VMPL", "migration"],
)
def test_guests_that_their_host_can_reach_are_refused(report, reason):
    refused("snp", report, reason)


def test_counters_that_the_host_switches_are_refused():
    refused("tdx", replace(GOOD["tdx"], td_attributes=PERFMON), "performance counters")


def test_software_evidence_is_refused_though_it_looks_like_sgx():
    refused("insecure-software", GOOD["sgx"], "no hardware vouches for it")
    refused("sgx", replace(SGX, intel=intel(tcb_status="Revoked")), "Revoked")


@pytest.mark.parametrize("kind", REPORTS)
def test_no_program_is_accepted(kind):
    with pytest.raises(Untrusted, match="trust policy does not accept"):
        accept_program(REPORTS[kind], default_section(kind))
