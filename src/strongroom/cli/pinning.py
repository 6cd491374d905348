"""A trust policy made of what was seen: exactly these programs and clusters, on machines that are no worse."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal

import msgspec

from strongroom.attestation.acceptance import MIGRATE_MA, PAGE_SWAP_DISABLE, PERFMON, SMT
from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.policy import (
    AnyPlatformPolicy,
    IntelPolicy,
    NitroMeasurement,
    NitroPolicy,
    ReleaseAuthority,
    RolePolicy,
    SgxPolicy,
    SgxSigner,
    SnpPolicy,
    SnpProduct,
    SnpSigner,
    SoftwarePolicy,
    TcbStatus,
    TdxMeasurement,
    TdxPolicy,
    TrustPolicy,
    sections_of,
)
from strongroom.attestation.reports import IntelState, NitroReport, SgxReport, SnpReport, TdxReport
from strongroom.attestation.witnessing import parse_witnesses
from strongroom.cli.terminal import EXIT_REFUSED, EXIT_UNTRUSTED, Failure
from strongroom.client.explanation import fingerprint_of
from strongroom.protocol.errors import Misuse
from strongroom.protocol.evidence import Council, Role, watchers_by

Weakness = Literal["insecure", "milan"]
"""What is pinned only if it is asked for by this name."""

_SEEN: Final = ("measurements", "products", "roots")
"""Fields whose new values are shown before they are pinned, floors apart."""
_PARTS: Final = ("bootloader", "tee", "snp", "microcode", "fmc")


def verify_pinnable(url: str, genuine: Genuine, allowed: Collection[Weakness]) -> None:
    """Raises `Failure` for machines that nobody should pin unaware: what they protect can leave them."""
    watchers = watchers_by(genuine.genesis, genuine.claims.watchers)
    try:
        parse_witnesses(watchers.witnesses, watchers.cosignatures)
    except Misuse as error:
        raise Failure(
            f"{url} names witnesses that nobody could count: {error.reason}",
            "don't use this server; tell its operator",
            status=EXIT_UNTRUSTED,
        ) from None
    report = genuine.report
    if not isinstance(report, SnpReport):
        return
    if report.product == "Milan" and "milan" not in allowed:
        raise Failure(
            f"{url} runs on a Milan processor: software on such a machine can extract the seed of its attestation key, "
            "and then report any program as this one",
            "use Genoa or Turin; to trust Milan nevertheless, say --milan",
            status=EXIT_REFUSED,
        )
    if report.guest_policy & MIGRATE_MA:
        raise Failure(
            f"{url} lets a migration agent move the guest, memory and all, to machines that nobody has appraised",
            "the operator must start it without; a policy for this is written by hand",
            status=EXIT_REFUSED,
        )


def pin_exactly(vault: Genuine, authenticator: Genuine, *, machines: bool = False) -> TrustPolicy:
    """A policy that accepts these two programs and clusters, and nothing else; with `machines`, only on these machines.

    Raises `Failure` where `machines` is asked for and the evidence names none.
    """
    software = "insecure-software" in (vault.kind, authenticator.kind)
    watchers = watchers_by(vault.genesis, vault.claims.watchers)
    return TrustPolicy(
        version=1,
        name="insecure-pinned" if software else "pinned",
        vault=_pinned(vault, machines=machines),
        authenticator=_pinned(authenticator, machines=machines),
        witnesses=watchers.witnesses,
        cosignatures=watchers.cosignatures,
    )


def pin_releases(role: RolePolicy, genuine: Genuine, council: Council) -> RolePolicy:
    """The same, of programs that this council's approvers have released, now and later. While they have published no
    list, the program that was seen stays pinned; and it does where there are no approvers."""
    if not council.approvers:
        return role
    serial = genuine.claims.release
    authority = ReleaseAuthority(approvers=council.approvers, approvals=council.approvals, min_serial=serial)
    pinned = msgspec.structs.replace(role, releases=authority)
    if not serial:
        return pinned
    (kind,) = sections_of(role)
    name = kind.replace("-", "_")
    section = msgspec.structs.replace(getattr(role, name), measurements=[])
    return msgspec.structs.replace(pinned, **{name: section})


def verify_floors(old: TrustPolicy, new: TrustPolicy, path: object) -> list[str]:
    """What replacing `old` by `new` changes, in words. Raises `Failure` when what was seen is below a floor of `old`:
    whoever replays old evidence would otherwise have the floor lowered by the one who is to be protected by it."""
    changes = []
    roles: tuple[tuple[Role, RolePolicy, RolePolicy], ...] = (
        ("vault", old.vault, new.vault),
        ("authenticator", old.authenticator, new.authenticator),
    )
    for role, before, after in roles:
        known, pinned = sections_of(before), sections_of(after)
        dropped = sorted(known.keys() - pinned.keys())
        changes += [f"{role}: what {path} says of {kind} is dropped" for kind in dropped]
        if before.snp is not None and after.snp is not None:
            lost = {one.name for one in before.snp.products} - {one.name for one in after.snp.products}
            changes += [f"{role}: the floors of {name} processors are dropped" for name in sorted(lost)]
        for kind in pinned.keys() & known.keys():
            for part, floor, seen in _floors(known[kind], pinned[kind]):
                if seen < floor:
                    raise Failure(
                        f"the {role} shows {part} {seen}, below the floor {floor} of {path}",
                        "ask the operator why: old evidence may be replayed; a floor is lowered only by hand",
                        status=EXIT_REFUSED,
                    )
                if seen > floor:
                    changes.append(f"{role}: the floor of {part} rises from {floor} to {seen}")
            changes += [f"{role}: {change}" for change in _rules_changed(known[kind], pinned[kind])]
        changes += [f"{role}: {change}" for change in _releases_changed(role, before.releases, after.releases, path)]
    if (old.cosignatures, set(old.witnesses)) != (new.cosignatures, set(new.witnesses)):
        changes.append(f"vault: witnesses were {_watched(old)}, become {_watched(new)}")
    return changes


def _releases_changed(
    role: Role, old: ReleaseAuthority | None, new: ReleaseAuthority | None, path: object
) -> Iterator[str]:
    if old is None or new is None:
        if old != new:
            yield "programs are pinned again, and approvers dropped" if new is None else "approvers release programs"
        return
    if new.min_serial < old.min_serial:
        raise Failure(
            f"the {role} shows list {new.min_serial} of releases, below the floor {old.min_serial} of {path}",
            "ask the operator why: an old list names programs that were retired since; lower it only by hand",
            status=EXIT_REFUSED,
        )
    if new.min_serial > old.min_serial:
        yield f"the lowest list of releases rises from {old.min_serial} to {new.min_serial}"
    if (old.approvals, set(old.approvers)) != (new.approvals, set(new.approvers)):
        yield f"{_approved(old)} released programs, {_approved(new)} do from now on"


def _approved(authority: ReleaseAuthority) -> str:
    return f"{authority.approvals} of {', '.join(map(fingerprint_of, authority.approvers)) or 'nobody'}"


def _watched(policy: TrustPolicy) -> str:
    names = ", ".join(key.partition("+")[0] for key in policy.witnesses)
    return f"{policy.cosignatures} of {names}" if names else "none"


def _rules_changed(old: AnyPlatformPolicy, new: AnyPlatformPolicy) -> Iterator[str]:
    """Rules that somebody may have written by hand, and that what was seen would replace unsaid."""
    for field in new.__struct_fields__:
        if field in _SEEN or field.startswith("min_"):
            continue
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield f"{field} was {_words(before)}, becomes {_words(after)}"


def _words(value: Any) -> str:
    if value is None:
        return "any"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    if isinstance(value, SgxSigner | SnpSigner):
        return (value.signer if isinstance(value, SgxSigner) else value.key_digest).hex()
    return value.hex() if isinstance(value, bytes) else str(value)


def _floors(old: AnyPlatformPolicy, new: AnyPlatformPolicy) -> Iterator[tuple[str, int, int]]:
    """Each floor that both have: its name, the old one, the new one."""
    match old, new:
        case IntelPolicy(), IntelPolicy():
            yield "TCB evaluation", old.min_tcb_evaluation, new.min_tcb_evaluation
        case SnpPolicy(), SnpPolicy():
            for seen in new.products:
                for part in _PARTS:
                    # A product may stand there more than once: the lowest of its floors is what was accepted.
                    floors = [getattr(one, f"min_{part}") for one in old.products if one.name == seen.name]
                    if floors:
                        yield f"{seen.name} {part}", min(floors), getattr(seen, f"min_{part}")


def _pinned(genuine: Genuine, *, machines: bool) -> RolePolicy:
    sgx: SgxPolicy | None = None
    tdx: TdxPolicy | None = None
    snp: SnpPolicy | None = None
    nitro: NitroPolicy | None = None
    software: SoftwarePolicy | None = None
    match genuine.report:
        case SgxReport() as report if genuine.kind == "insecure-software":
            software = SoftwarePolicy(
                roots=[report.root],
                measurements=[report.measurement],
                signers=[],
                **_state(report.intel, machines=machines),
            )
        case SgxReport() as report:
            sgx = SgxPolicy(measurements=[report.measurement], signers=[], **_state(report.intel, machines=machines))
        case TdxReport() as report:
            tdx = TdxPolicy(
                measurements=[TdxMeasurement(*(value for _, value in report.registers))],
                allow_perfmon=bool(report.td_attributes & PERFMON),
                **_state(report.intel, machines=machines),
            )
        case SnpReport() as report:
            snp = _snp(report, machines=machines)
        case NitroReport() as report:
            nitro = NitroPolicy(
                measurements=[NitroMeasurement(*(value for _, value in report.registers))],
                signers=[],
                instances=[report.module_id.partition("-enc")[0]] if machines else None,
            )
    return RolePolicy(
        clusters=[genuine.claims.cluster_id],
        config=genuine.claims.config,
        sgx=sgx,
        tdx=tdx,
        snp=snp,
        nitro=nitro,
        insecure_software=software,
        releases=None,
    )


def _state(seen: IntelState, *, machines: bool) -> dict[str, Any]:
    """A machine that is up to date is as good as one in the state seen."""
    statuses = list(dict.fromkeys(["UpToDate", seen.tcb_status]))
    return {
        "tcb_statuses": msgspec.convert(statuses, list[TcbStatus]),
        "grace_days": 0,
        "refused_advisories": [],
        "min_tcb_evaluation": seen.tcb_evaluation_number,
        "platform_ids": [seen.platform_id] if machines else None,
        # What a certificate does not state has to be accepted as it is.
        "allow_smt": seen.smt is not False,
        "allow_dynamic_platform": seen.dynamic_platform is not False,
        "allow_cached_keys": seen.cached_keys is not False,
    }


def _lowest(seen: SnpReport, part: str) -> int:
    """Of all the states that floors are held against."""
    return int(min(getattr(tcb, part) for tcb in (seen.tcb, seen.committed_tcb, seen.launch_tcb)))


def _snp(seen: SnpReport, *, machines: bool) -> SnpPolicy:
    if machines and seen.key == "vlek":
        raise Failure(
            "the cloud provider's key (VLEK) signed this evidence, and names no machine",
            "leave --machines out, or have the operator use the chip's own key (VCEK)",
        )
    return SnpPolicy(
        measurements=[seen.measurement],
        signers=[],
        products=[SnpProduct(seen.product, **{f"min_{part}": _lowest(seen, part) for part in _PARTS})],
        chip_ids=[seen.chip_id] if machines else None,
        vmpls=[seen.vmpl],
        vlek_providers=[seen.provider] if seen.key == "vlek" else [],
        allow_smt=bool(seen.guest_policy & SMT),
        allow_migration_agent=False,
        require_page_swap_disable=bool(seen.guest_policy & PAGE_SWAP_DISABLE),
        require_crl=seen.crl_checked,
    )
