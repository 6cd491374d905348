"""What was verified, step by step, for people: `strongroom verify` and `appraise` print these as tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from strongroom.attestation.acceptance import MIGRATE_MA, PAGE_SWAP_DISABLE, SMT
from strongroom.attestation.appraisal import Appraisal, Genuine, show_config
from strongroom.attestation.reports import AnyReport, IntelState, NitroReport, SgxReport, SnpReport, TdxReport
from strongroom.client.results import fingerprint_text
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import Genesis, PlatformKind, parse_evidence
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.releases import is_released, parse_releases

PLATFORMS: Final[dict[PlatformKind, str]] = {
    "sgx": "Intel SGX: the processor isolates the enclave from its host",
    "tdx": "Intel TDX: the processor isolates the virtual machine from its host",
    "snp": "AMD SEV-SNP: the processor isolates the virtual machine from its host",
    "nitro": "AWS Nitro: Amazon's hypervisor isolates the enclave from its instance",
    "insecure-software": "NO HARDWARE: whoever runs this machine can read everything",
}
_ROOTS: Final[dict[PlatformKind, str]] = {
    "sgx": "Intel's root certificate",
    "tdx": "Intel's root certificate",
    "snp": "AMD's root key for this line of processors",
    "nitro": "Amazon's root certificate for enclaves",
    "insecure-software": "a development root that anybody can make",
}
_REGISTERS: Final = {
    "MRENCLAVE": "digest of the program",
    "MRTD": "digest of the firmware that the machine began with",
    "RTMR0": "its configuration",
    "RTMR1": "what it booted",
    "RTMR2": "what that started",
    "RTMR3": "what was measured later",
    "MEASUREMENT": "digest of what the machine began with",
    "PCR0": "digest of the enclave image",
    "PCR1": "its kernel and first steps",
    "PCR2": "its application",
}


class Step(NamedTuple):
    """One thing that was checked, or one that a policy says.

    A value is one line, whatever it holds: evidence must not write lines of its own into a table.
    """

    name: str
    value: str
    explanation: str


def explain_report(kind: PlatformKind, report: AnyReport) -> list[Step]:
    """What the hardware vouches for."""
    steps = [Step("platform", kind, PLATFORMS[kind]), Step("root", report.root.hex(), _ROOTS[kind])]
    steps += [Step(name, value.hex(), _REGISTERS.get(name, "")) for name, value in report.registers]
    match report:
        case SgxReport():
            steps.append(Step("MRSIGNER", report.signer.hex(), "who signed the program"))
            numbers = f"{report.product_id} / {report.svn}"
            steps.append(Step("product and version", numbers, "as its signer numbers them"))
            steps += _intel(report.intel)
        case TdxReport():
            steps.append(Step("TD attributes", f"{report.td_attributes:016x}", "no debugging, no migration"))
            steps.append(Step("XFAM", f"{report.xfam:016x}", "processor features that the TD may use"))
            for name, value in (
                ("MRCONFIGID", report.mr_config_id),
                ("MROWNER", report.mr_owner),
                ("MROWNERCONFIG", report.mr_owner_config),
            ):
                if any(value):
                    steps.append(Step(name, value.hex(), "chosen by the host"))
            steps += _intel(report.intel)
        case SnpReport():
            steps += _snp(report)
        case NitroReport():
            steps.append(Step("PCR8", report.pcrs.get(8, b"").hex() or "none", "who signed the image"))
            steps.append(Step("module", report.module_id, "instance and enclave"))
            steps.append(Step("signed at", shown_utc(report.signed_at), "by the hypervisor's clock"))
    ends = "the first of the things that this rests on expires"
    steps.append(Step("valid until", shown_utc(report.valid_until), ends))
    return steps


def explain_cluster(genesis: Genesis) -> str:
    """Who can recover the keys of a cluster."""
    if genesis.development:
        return "a DEVELOPMENT cluster: its operator can read everything"
    return f"{genesis.council.threshold} of {len(genesis.council.custodians)} custodians can recover its keys"


def explain(genuine: Genuine, now: float) -> list[Step]:
    """What makes evidence genuine, at `now` (unix seconds)."""
    claims = genuine.claims
    return [
        *explain_report(genuine.kind, genuine.report),
        Step("claims", "match", "the quote commits to the keys that the session uses"),
        Step("role", claims.role, "what this enclave does"),
        Step("cluster", claims.cluster_id.hex(), explain_cluster(genuine.genesis)),
        *_approvers(genuine),
        Step("build", claims.build, "version as the program names itself"),
        Step("expires", f"in {claims.expires_at - int(now)} s", "its keys turn over hourly"),
    ]


def explain_untrusted(untrusted_evidence: bytes) -> list[Step]:
    """What evidence says of itself that did not verify; nothing if it does not even parse."""
    try:
        evidence, claims, _ = parse_evidence(untrusted_evidence)
    except Untrusted:
        return []
    why = "NOT VERIFIED: anybody can write this"
    return [
        Step("says: platform", evidence.kind, why),
        Step("says: role", claims.role, why),
        Step("says: cluster", claims.cluster_id.hex(), why),
        Step("says: build", claims.build, why),
    ]


def explain_acceptance(appraisal: Appraisal) -> list[Step]:
    """Why a trust policy accepts it."""
    genuine = appraisal.genuine
    if appraisal.signer_can_read:
        program = [Step("accepted signer", "by your policy", "THE SIGNER CAN READ what this enclave reads")]
    elif appraisal.accepted_by == "release":
        program = _release(genuine)
    else:
        program = [Step("accepted program", "by measurement", "your policy names exactly this program")]
    return [
        *program,
        Step("accepted cluster", genuine.claims.cluster_id.hex(), "your policy names this cluster"),
        Step("accepted platform", genuine.kind, "its state is one that your policy accepts"),
        Step("configuration", show_config(genuine.claims.config), "exactly what your policy expects"),
    ]


def fingerprint_of(public_key: bytes) -> str:
    """Which ssh key it is, as `ssh-keygen -l` prints it."""
    return fingerprint_text(fingerprint(public_key))


def _approvers(genuine: Genuine) -> Iterator[Step]:
    """Who could let another program have the keys, as the cluster began; councils may have followed."""
    council, serial = genuine.genesis.council, genuine.claims.release
    if council.approvers:
        number = f"{council.approvals} of {len(council.approvers)}"
        yield Step("approvers", number, "must sign the list of programs that get the keys; as the cluster began")
    if serial:
        yield Step("releases", f"list {serial}", "of programs, by which this enclave goes")


def _release(genuine: Genuine) -> list[Step]:
    signed, releases = parse_releases(genuine.releases)
    release = is_released(releases, genuine.kind, genuine.report.measurement)
    version, svn = ("", 0) if release is None else (release.version, release.svn)
    approved = [fingerprint_of(one.key) for one in signed.approvals]
    return [
        Step("accepted program", f"release {version}", f"security version {svn}, in list {releases.serial}"),
        Step("approved by", approved[0], ""),
        *(Step("", one, "") for one in approved[1:]),
    ]


def _intel(state: IntelState) -> Iterator[Step]:
    yield Step("TCB status", state.tcb_status, "state of processor and microcode, as their maker sees it")
    yield Step("advisories", ", ".join(state.advisories) or "none", "known weaknesses of that state")
    yield Step("TCB evaluation", str(state.tcb_evaluation_number), "edition of the maker's assessment")
    yield Step("TCB date", shown_utc(state.tcb_date), "weaknesses known before this date are mended")
    yield Step("PPID", state.platform_id.hex(), "which processor package")
    for name, value, meaning in (
        ("SMT", state.smt, "several threads share a core"),
        ("dynamic platform", state.dynamic_platform, "packages can be added to the machine"),
        ("cached keys", state.cached_keys, "Intel keeps the platform's keys"),
    ):
        yield Step(name, {True: "yes", False: "no", None: "not stated"}[value], meaning)


def _snp(report: SnpReport) -> Iterator[Step]:
    yield Step("processor", f"{report.product}, {report.key.upper()}", "line of processors, and which key signed")
    if report.provider:
        yield Step("provider", report.provider, "to whom AMD lent the key")
    tcb = " ".join(f"{part}={number}" for part, number in report.tcb._asdict().items())
    yield Step("TCB", tcb, "security versions of the platform's parts")
    bits = ((SMT, "SMT allowed"), (MIGRATE_MA, "MIGRATION AGENT allowed"), (PAGE_SWAP_DISABLE, "no page swap"))
    words = ", ".join(word for bit, word in bits if report.guest_policy & bit)
    yield Step("guest policy", f"{report.guest_policy:016x}", words)
    yield Step("VMPL", str(report.vmpl), "privilege level that asked for the report")
    yield Step("CHIP_ID", report.chip_id.hex(), "which chip" if any(report.chip_id) else "not named")
    signed = any(report.id_key_digest)
    yield Step("ID key", report.id_key_digest.hex() if signed else "none", "who signed the guest's identity")
    if any(report.author_key_digest):
        yield Step("author key", report.author_key_digest.hex(), "who answers for that key")
    if signed:
        yield Step("family", report.family_id.hex(), "as the signer names it")
        yield Step("image", report.image_id.hex(), "as the signer names it")
    yield Step("guest version", str(report.guest_svn), "as its signer numbers it")
    checked = "checked" if report.crl_checked else "not at hand"
    yield Step("revocations", checked, "AMD's list of revoked certificates")


def shown_utc(at: int) -> str:
    """A time (unix seconds) for people, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
