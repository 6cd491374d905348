"""What is asked of a machine where nobody wrote a policy: rules for a first look, which name no program.

Strict where the maker says what is good: Intel's best status and no grace. AMD publishes no status, so only products
and settings can be judged here, and floors are left to a policy. What nearly every server of a cloud has (simultaneous
multithreading, packages that may be added, registered keys) is shown, and passes: Intel's status takes it into account.
"""

from __future__ import annotations

from typing import Any, Final

from strongroom.attestation.acceptance import accept_platform
from strongroom.attestation.policy import (
    AnyPlatformPolicy,
    NitroPolicy,
    SgxPolicy,
    SnpPolicy,
    SnpProduct,
    SoftwarePolicy,
    TdxPolicy,
)
from strongroom.attestation.reports import AnyReport
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import PlatformKind

_INTEL: Final[dict[str, Any]] = {
    "measurements": [],
    "tcb_statuses": ["UpToDate"],
    "grace_days": 0,
    "refused_advisories": [],
    "min_tcb_evaluation": 0,
    "platform_ids": None,
    "allow_smt": True,
    "allow_dynamic_platform": True,
    "allow_cached_keys": True,
}


def default_section(kind: PlatformKind) -> AnyPlatformPolicy:
    """The section of a policy that these rules amount to. It accepts no program, and no software evidence."""
    match kind:
        case "sgx":
            return SgxPolicy(signers=[], **_INTEL)
        case "tdx":
            return TdxPolicy(allow_perfmon=False, **_INTEL)
        case "snp":
            return SnpPolicy(
                measurements=[],
                signers=[],
                # Not Milan: software can extract the seed of its attestation key.
                products=[
                    SnpProduct(name, min_bootloader=0, min_tee=0, min_snp=0, min_microcode=0, min_fmc=0)
                    for name in ("Genoa", "Turin")
                ],
                chip_ids=None,
                vmpls=[0],
                vlek_providers=None,
                allow_smt=True,
                allow_migration_agent=False,
                require_page_swap_disable=False,
                require_crl=False,
            )
        case "nitro":
            return NitroPolicy(measurements=[], signers=[], instances=None)
        case "insecure-software":
            return SoftwarePolicy(signers=[], roots=[], **_INTEL | {"tcb_statuses": []})


def accept_platform_by_default(kind: PlatformKind, report: AnyReport, now: int) -> None:
    """`accept_platform` by these rules, at `now` (unix seconds). Raises `Untrusted` POLICY.

    Always so for software evidence, whose report looks like that of SGX: anybody can make one.
    """
    if kind == "insecure-software":
        raise Untrusted(Number.POLICY, "this is software evidence: no hardware vouches for it")
    accept_platform(report, default_section(kind), now)
