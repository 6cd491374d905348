"""A verified report against a relying party's policy: is this program, on a machine in this state, one to trust?

The report is true; what is asked here is whether it is good enough. Every refusal is `Untrusted` POLICY with the first
reason found. Two questions are asked apart, since a look at a raw quote can answer the first without the second:

* `accept_platform`: the state of the machine, and whether it is one of the machines named;
* `accept_program`: the exact program, or who signed it, at which security version.

An empty list accepts nothing. Statements that a platform leaves out (None) count as the worse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from strongroom.attestation.policy import (
    AnyPlatformPolicy,
    EnclavePolicy,
    IntelPolicy,
    NitroPolicy,
    SnpPolicy,
    SnpProduct,
    TdxPolicy,
)
from strongroom.attestation.reports import AnyReport, IntelState, NitroReport, SgxReport, SnpReport, TdxReport
from strongroom.protocol.errors import Number, Untrusted

AcceptedBy = Literal["measurement", "signer"]

DAY: Final = 86400
PERFMON: Final = 1 << 63
"""TD attribute: performance counters are the TD's own."""
SMT: Final = 1 << 16
MIGRATE_MA: Final = 1 << 18
PAGE_SWAP_DISABLE: Final = 1 << 25
"""Bits of an SNP guest policy ("SEV Secure Nested Paging Firmware ABI", guest policy)."""

_WITHOUT_OUT_OF_DATE: Final = {
    "OutOfDate": "UpToDate",
    "OutOfDateConfigurationNeeded": "ConfigurationNeeded",
}
"""What a status would be if the machine were up to date: only where that one is accepted may a grace follow."""


def accept_platform(report: AnyReport, policy: AnyPlatformPolicy, now: int) -> None:
    """Raises `Untrusted` POLICY unless the machine is in a state that `policy` accepts at `now`, unix seconds."""
    match report, policy:
        case SgxReport(), EnclavePolicy():
            _accept_intel(report.intel, policy, now)
        case TdxReport(), TdxPolicy():
            _accept_intel(report.intel, policy, now)
            if report.td_attributes & PERFMON and not policy.allow_perfmon:
                raise _refuse("the TD may use performance counters, which the policy does not allow")
        case SnpReport(), SnpPolicy():
            _accept_snp(report, policy)
        case NitroReport(), NitroPolicy():
            _accept_instance(report, policy)
        case _:
            raise _another_kind()


def accept_program(report: AnyReport, policy: AnyPlatformPolicy) -> AcceptedBy:
    """How the policy knows the program. Raises `Untrusted` POLICY unless it does."""
    match report, policy:
        case SgxReport(), EnclavePolicy():
            if report.measurement in policy.measurements:
                return "measurement"
            floors = [
                rule.min_svn
                for rule in policy.signers
                if (rule.signer, rule.product_id) == (report.signer, report.product_id)
            ]
            return _accept_signer(report, report.svn, floors, named=bool(policy.measurements or policy.signers))
        case TdxReport(), TdxPolicy():
            known = [one.mrtd + one.rtmr0 + one.rtmr1 + one.rtmr2 + one.rtmr3 for one in policy.measurements]
            return _accept_measurement(report, known)
        case SnpReport(), SnpPolicy():
            if report.measurement in policy.measurements:
                return "measurement"
            # An ID block may have an author, who signed the ID key: then he answers for it.
            signed_by = report.author_key_digest if any(report.author_key_digest) else report.id_key_digest
            floors = [
                rule.min_svn
                for rule in policy.signers
                # All zeros stand for "nobody signed", which no rule can mean.
                if any(rule.key_digest)
                and (rule.key_digest, rule.family_id, rule.image_id) == (signed_by, report.family_id, report.image_id)
            ]
            return _accept_signer(report, report.guest_svn, floors, named=bool(policy.measurements or policy.signers))
        case NitroReport(), NitroPolicy():
            if policy.signers and any(report.pcrs.get(8, b"")) and report.pcrs[8] in policy.signers:
                return "signer"
            known = [one.pcr0 + one.pcr1 + one.pcr2 for one in policy.measurements]
            return _accept_measurement(report, known, named=bool(policy.signers))
        case _:
            raise _another_kind()


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.POLICY, reason)


def _another_kind() -> Untrusted:
    return _refuse("the report is of another platform than the section of the policy")


def _accept_measurement(report: AnyReport, known: Sequence[bytes], *, named: bool = False) -> AcceptedBy:
    if report.measurement in known:
        return "measurement"
    if not known and not named:
        raise _refuse("the policy names no measurement, so it accepts no program")
    shown = ", ".join(f"{name} {value.hex()}" for name, value in report.registers)
    raise _refuse(f"the program is not one that the policy names: {shown}")


def _accept_signer(report: AnyReport, svn: int, floors: Sequence[int], *, named: bool) -> AcceptedBy:
    if any(svn >= floor for floor in floors):
        return "signer"
    if floors:
        raise _refuse(f"security version {svn} is below the policy's floor {min(floors)} for this signer and product")
    if not named:
        raise _refuse("the policy names no measurement and no signer, so it accepts no program")
    raise _refuse(f"measurement {report.measurement.hex()} is not one that the policy names, nor is its signer")


def _accept_intel(state: IntelState, policy: IntelPolicy, now: int) -> None:
    number, floor = state.tcb_evaluation_number, policy.min_tcb_evaluation
    if number < floor:
        raise _refuse(f"TCB evaluation number {number} is below the policy's floor {floor}")
    if state.tcb_status not in policy.tcb_statuses:
        _accept_in_grace(state, policy, now)
    for advisory in state.advisories:
        if advisory in policy.refused_advisories:
            raise _refuse(f"the machine is open to {advisory}, which the policy refuses")
    if policy.platform_ids is not None and state.platform_id not in policy.platform_ids:
        raise _refuse(f"the machine {state.platform_id.hex()} (PPID) is not one that the policy names")
    for found, allowed, what in (
        (state.smt, policy.allow_smt, "simultaneous multithreading is on"),
        (state.dynamic_platform, policy.allow_dynamic_platform, "the platform is dynamic (packages can be added)"),
        (state.cached_keys, policy.allow_cached_keys, "the platform's keys are cached by Intel"),
    ):
        if not allowed and found is not False:
            raise _refuse(f"{what}{'' if found else ', or may be'}, which the policy does not allow")


def _accept_in_grace(state: IntelState, policy: IntelPolicy, now: int) -> None:
    if policy.grace_days and _WITHOUT_OUT_OF_DATE.get(state.tcb_status) in policy.tcb_statuses:
        until = state.tcb_date + policy.grace_days * DAY
        if now <= until:
            return
        late = -(-(now - until) // DAY)
        raise _refuse(f"TCB status {state.tcb_status}, {late} days past the policy's grace of {policy.grace_days}")
    raise _refuse(f"TCB status {state.tcb_status} is not one that the policy accepts")


def _accept_snp(report: SnpReport, policy: SnpPolicy) -> None:
    products = [one for one in policy.products if one.name == report.product]
    if not products:
        why = "; software can extract the seed of Milan's attestation keys" if report.product == "Milan" else ""
        raise _refuse(f"the policy does not name {report.product} processors{why}")
    shortfalls = [_shortfall(report, one, policy) for one in products]
    if None not in shortfalls:
        raise _refuse(f"security version {shortfalls[0]}")
    if report.key == "vlek" and policy.vlek_providers is not None and report.provider not in policy.vlek_providers:
        raise _refuse(f"a key of the cloud provider {report.provider!r} signed (VLEK), whom the policy does not name")
    if policy.chip_ids is not None and (report.key == "vlek" or report.chip_id not in policy.chip_ids):
        raise _refuse(f"the machine {report.chip_id.hex()} (CHIP_ID) is not one that the policy names")
    if report.vmpl not in policy.vmpls:
        raise _refuse(f"the report is of privilege level {report.vmpl} (VMPL), which the policy does not name")
    if report.guest_policy & SMT and not policy.allow_smt:
        raise _refuse("the guest may run with simultaneous multithreading, which the policy does not allow")
    if report.guest_policy & MIGRATE_MA and not policy.allow_migration_agent:
        raise _refuse("a migration agent may move the guest, which the policy does not allow")
    if not report.guest_policy & PAGE_SWAP_DISABLE and policy.require_page_swap_disable:
        raise _refuse("the host may move the guest's pages, and the policy requires PAGE_SWAP_DISABLE")
    if policy.require_crl and not report.crl_checked:
        raise _refuse("AMD's list of revoked certificates did not come along, and the policy requires it")


def _shortfall(report: SnpReport, product: SnpProduct, policy: SnpPolicy) -> str | None:
    """What is below the floors of `product`: now, after the rollback that the host may still do, or at the start.

    Firmware that let a host alter a guest as it started has altered it, whatever firmware runs today. A guest that a
    migration agent moved shows the machine that it came to.
    """
    states = {"": report.tcb, "committed ": report.committed_tcb}
    if not policy.allow_migration_agent:
        states["launch "] = report.launch_tcb
    for which, tcb in states.items():
        for part, found in tcb._asdict().items():
            floor = getattr(product, f"min_{part}")
            if found < floor:
                return f"{found} of the {which}{part} is below the policy's floor {floor}"
    return None


def _accept_instance(report: NitroReport, policy: NitroPolicy) -> None:
    instance = report.module_id.partition("-enc")[0]
    if policy.instances is not None and instance not in policy.instances:
        raise _refuse(f"the instance {instance!r} is not one that the policy names")
