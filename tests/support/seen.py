"""Genuine evidence of every platform, as appraisal would hand it on: for what decides and shows after that."""

from dataclasses import replace
from functools import cache
from typing import Any

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.reports import IntelState, NitroReport, SgxReport, SnpReport, SnpTcb, TdxReport
from strongroom.protocol.evidence import parse_evidence
from tests.support.evidence import NOW, Cluster

COMMON: dict[str, Any] = {
    "report_data": bytes(64),
    "root": b"\x77" * 32,
    "proven_at": NOW - 10,
    "valid_until": NOW + 10,
}
INTEL = IntelState(
    tcb_status="SWHardeningNeeded",
    advisories=("INTEL-SA-00615",),
    tcb_evaluation_number=18,
    tcb_date=NOW - 86400,
    platform_id=b"\x01" * 16,
    smt=True,
    dynamic_platform=None,
    cached_keys=False,
)
SGX = SgxReport(
    registers=(("MRENCLAVE", b"\x0a" * 32),), signer=b"\x0b" * 32, product_id=1, svn=5, intel=INTEL, **COMMON
)
TDX = TdxReport(
    registers=tuple((name, bytes([at]) * 48) for at, name in enumerate(("MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3"))),
    td_attributes=1 << 28,
    xfam=0xE7,
    mr_seam=bytes(48),
    mr_config_id=bytes(48),
    mr_owner=bytes(48),
    mr_owner_config=bytes(48),
    intel=INTEL,
    **COMMON,
)
SNP = SnpReport(
    registers=(("MEASUREMENT", b"\x0c" * 48),),
    product="Genoa",
    key="vcek",
    provider="",
    guest_policy=0x30000,
    vmpl=1,
    guest_svn=7,
    family_id=b"\x0d" * 16,
    image_id=b"\x0e" * 16,
    id_key_digest=b"\x0f" * 48,
    author_key_digest=bytes(48),
    tcb=SnpTcb(10, 0, 23, 84, 0),
    committed_tcb=SnpTcb(10, 0, 23, 84, 0),
    launch_tcb=SnpTcb(10, 0, 23, 84, 0),
    chip_id=b"\x10" * 64,
    crl_checked=True,
    **COMMON,
)
NITRO = NitroReport(
    registers=tuple((f"PCR{at}", bytes([0x20 + at]) * 48) for at in range(3)),
    pcrs={0: b"\x20" * 48, 1: b"\x21" * 48, 2: b"\x22" * 48},
    module_id="i-0123-enc4567",
    signed_at=NOW,
    **COMMON,
)
REPORTS: dict[str, Any] = {"sgx": SGX, "tdx": TDX, "snp": SNP, "nitro": NITRO, "insecure-software": SGX}


@cache
def cluster(role):
    return Cluster(role)


def genuine(kind, role="vault", **changes):
    """Evidence of a cluster of this role, with fields of its report changed."""
    _, claims, genesis = parse_evidence(cluster(role).evidence())
    report = replace(REPORTS[kind], **changes)
    return Genuine(bytes(32), kind, role, claims, genesis, report, b"")


def intel(**changes):
    return replace(INTEL, **changes)
