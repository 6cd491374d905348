"""A trust policy in words: `strongroom trust show` and `trust pin` print these as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from strongroom.attestation.policy import (
    AnyPlatformPolicy,
    EnclavePolicy,
    IntelPolicy,
    NitroMeasurement,
    NitroPolicy,
    RolePolicy,
    SnpPolicy,
    SoftwarePolicy,
    TdxMeasurement,
    TdxPolicy,
    TrustPolicy,
)
from strongroom.client.explanation import PLATFORMS, Step, fingerprint_of
from strongroom.protocol.evidence import PlatformKind

_READS = "whoever signs so CAN READ what is stored"


def explain_role(policy: RolePolicy) -> list[Step]:
    """What a policy asks of every platform in a role."""
    config = [f"{value.name!r} = {value.value!r}" for value in policy.config]
    return [
        *_listed("clusters", [one.hex() for one in policy.clusters], "only these, of the programs below"),
        *_listed("configuration", config, "exactly so; anything else is refused", empty="all defaults"),
        *_releases(policy),
    ]


def explain_witnesses(policy: TrustPolicy) -> list[Step]:
    """Who watches the Vault."""
    if not policy.witnesses:
        alone = "a database restored in secret is noticed only by who was here before"
        return [Step("witnesses", "none", alone)]
    number = f"{policy.cosignatures} of {len(policy.witnesses)} must have seen what the Vault shows"
    return [*_listed("witnesses", policy.witnesses, number)]


def explain_section(kind: PlatformKind, section: AnyPlatformPolicy) -> list[Step]:
    """What a policy asks of one platform."""
    steps = [Step("platform", kind, PLATFORMS[kind])]
    match section:
        case EnclavePolicy():
            if isinstance(section, SoftwarePolicy):
                steps += _listed("software roots", [one.hex() for one in section.roots], "who may make such evidence")
            steps += _programs([[("MRENCLAVE", one)] for one in section.measurements])
            for rule in section.signers:
                numbers = f"product {rule.product_id} from version {rule.min_svn}: {_READS}"
                steps.append(Step("MRSIGNER", rule.signer.hex(), numbers))
            steps += _intel(section)
        case TdxPolicy():
            steps += _programs([_registers(one) for one in section.measurements])
            steps += _intel(section)
            steps.append(_allowed("counters", section.allow_perfmon, "performance counters inside the TD"))
        case SnpPolicy():
            steps += _programs([[("MEASUREMENT", one)] for one in section.measurements])
            for by in section.signers:
                image = f"family {by.family_id.hex()}, image {by.image_id.hex()}, from version {by.min_svn}: {_READS}"
                steps.append(Step("ID signer", by.key_digest.hex(), image))
            steps += _snp(section)
        case NitroPolicy():
            steps += _programs([_registers(one) for one in section.measurements])
            steps += [Step("PCR8", one.hex(), _READS) for one in section.signers]
            steps += _listed("instances", section.instances, "which EC2 instances")
    return steps


def _releases(policy: RolePolicy) -> Iterator[Step]:
    authority = policy.releases
    if authority is None:
        return
    number = f"{authority.approvals} of {len(authority.approvers)} may add programs, who CAN READ then, and retire any"
    yield from _listed("approvers", map(fingerprint_of, authority.approvers), number)
    yield Step("releases", f"list {authority.min_serial} on", "an older list of theirs is refused")


def _registers(measurement: TdxMeasurement | NitroMeasurement) -> list[tuple[str, bytes]]:
    return [(name.upper(), getattr(measurement, name)) for name in measurement.__struct_fields__]


def _programs(programs: Sequence[Sequence[tuple[str, bytes]]]) -> Iterator[Step]:
    if not programs:
        yield Step("measurements", "none", "no program is accepted by its digest")
    for at, registers in enumerate(programs, start=1):
        which = f"{at}: " if len(programs) > 1 else ""
        for name, value in registers:
            yield Step(f"{which}{name}", value.hex(), "exactly this")


def _intel(policy: IntelPolicy) -> Iterator[Step]:
    statuses = ", ".join(policy.tcb_statuses) or "none"
    yield Step("TCB status", statuses, "states of processor and microcode that are good enough")
    yield Step("grace", f"{policy.grace_days} days", "for a machine that fell OutOfDate")
    yield Step("advisories", ", ".join(policy.refused_advisories) or "none", "known weaknesses that are refused")
    yield Step("TCB evaluation", str(policy.min_tcb_evaluation), "lowest edition of the maker's assessment")
    yield from _machines("PPID", policy.platform_ids)
    yield _allowed("SMT", policy.allow_smt, "several threads share a core")
    yield _allowed("dynamic platform", policy.allow_dynamic_platform, "packages can be added to the machine")
    yield _allowed("cached keys", policy.allow_cached_keys, "Intel keeps the platform's keys")


def _snp(policy: SnpPolicy) -> Iterator[Step]:
    for one in policy.products:
        parts = ("bootloader", "tee", "snp", "microcode", "fmc")
        floors = " ".join(f"{part}={getattr(one, f'min_{part}')}" for part in parts)
        what = "lowest security version of each part"
        yield Step(one.name, floors, f"{what}; software can EXTRACT KEYS" if one.name == "Milan" else what)
    if not policy.products:
        yield Step("processors", "none", "so nothing is accepted")
    yield from _machines("CHIP_ID", policy.chip_ids)
    yield from _listed("VMPL", map(str, policy.vmpls), "privilege levels that may ask for the report")
    yield from _listed("VLEK", policy.vlek_providers, "providers whose own key may sign, which names no chip")
    yield _allowed("SMT", policy.allow_smt, "several threads share a core")
    yield _allowed("migration agent", policy.allow_migration_agent, "which may move the guest elsewhere")
    yield Step("page swap", _needed(policy.require_page_swap_disable), "PAGE_SWAP_DISABLE: the host can't move pages")
    yield Step("revocations", _needed(policy.require_crl), "AMD's current list comes along")


def _listed(name: str, values: Iterable[str] | None, explanation: str, *, empty: str = "none") -> Iterator[Step]:
    """One step for each value: the first with the name. None stands for whichever there are."""
    if values is None:
        yield Step(name, "any", explanation)
        return
    listed = list(values) or [empty]
    yield Step(name, listed[0], explanation)
    yield from (Step("", one, "") for one in listed[1:])


def _machines(name: str, ids: Sequence[bytes] | None) -> Iterator[Step]:
    if ids is None:
        return _listed(name, None, "whichever machine, also one whose keys somebody took out")
    return _listed(name, [one.hex() for one in ids], "only these machines")


def _allowed(name: str, allowed: bool, explanation: str) -> Step:
    return Step(name, "accepted" if allowed else "refused", explanation)


def _needed(required: bool) -> str:
    return "required" if required else "not required"
