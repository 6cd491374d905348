"""By what an enclave is accepted that one meets before there is a trust policy for it.

Who founds a cluster or accepts a share has nothing to pin yet but the program: by a release file, or by its
measurement. The machine has to be in a good state by default rules. Software evidence proves no program, so for it
`--insecure` is enough, and without it nothing is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec
import typer

from strongroom.attestation.candidates import OWNER, verify_candidate
from strongroom.attestation.default_policy import default_section
from strongroom.attestation.intel import root_certificate
from strongroom.attestation.policy import (
    AnyPlatformPolicy,
    NitroMeasurement,
    RolePolicy,
    SoftwarePolicy,
    TcbStatus,
    TdxMeasurement,
)
from strongroom.attestation.reports import AnyReport, NitroReport, SgxReport, TdxReport
from strongroom.attestation.verification import HARDWARE
from strongroom.cli.evidence import print_steps, verify_any_cluster
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_REFUSED, Failure, say, stderr
from strongroom.cli.verify import load_release
from strongroom.client.cluster import role_policy
from strongroom.client.explanation import explain_report
from strongroom.client.files import load_trust
from strongroom.client.meant import verify_meant
from strongroom.client.release import verify_is_release
from strongroom.client.session import fetch_evidence
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import ConfigValue, Evidence, PlatformKind, Role, Stage, parse_any_evidence
from strongroom.protocol.primitives import fingerprint

RoleOption = Annotated[Literal["vault", "authenticator"], typer.Option("--role", help="What the enclave is.")]
ReleaseOption = Annotated[
    Path | None,
    typer.Option("--release", metavar="FILE", help="The program that it must be, as measured by whoever built it."),
]
MeasurementOption = Annotated[
    str | None,
    typer.Option("--measurement", metavar="HEX", help="The same by its digest: all registers, one behind the other."),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Take software evidence: no protection from who runs that machine.")
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="Configuration that it must show beside; repeat for more."),
]

_SECTIONS: Final[dict[PlatformKind, str]] = {
    "sgx": "sgx",
    "tdx": "tdx",
    "snp": "snp",
    "nitro": "nitro",
    "insecure-software": "insecure_software",
}


@dataclass(frozen=True, slots=True)
class Accepting:
    """What the user said about whom to accept."""

    role: Role
    trust: Path | None = None
    release: Path | None = None
    measurement: str | None = None
    insecure: bool = False
    settings: Sequence[str] = field(default=())

    @classmethod
    def of(
        cls,
        role: Role,
        trust: Path | None,
        release: Path | None,
        measurement: str | None,
        insecure: bool,
        setting: Sequence[str] | None,
        config: Path | None,
    ) -> Self:
        """By the options of a command; the trust policy of `strongroom.toml`, where nothing was named. Raises
        `Failure`."""
        settings = load_settings(config)
        if trust or release or measurement or insecure:
            return cls(role, trust, release, measurement, insecure, setting or [])
        return cls(role, trust=settings.trust, settings=setting or [])


def stage_of(untrusted_evidence: bytes) -> Stage:
    """At which stage an enclave says that it is; appraisal at that stage decides. Raises `Untrusted`."""
    return parse_any_evidence(untrusted_evidence)[1].stage


def evidence_at(url: str) -> bytes:
    """What the server shows now. Raises `Unavailable` and `Untrusted`."""
    return asyncio.run(fetch_evidence(url))


def policy_for(url: str, untrusted_evidence: bytes, accepting: Accepting, clusters: Sequence[bytes]) -> RolePolicy:
    """A policy for what showed this evidence. `clusters` are those that a member may be of, where no trust policy names
    them. Raises `Failure` and `Untrusted`."""
    verify_meant(untrusted_evidence, accepting.role, stage_of(untrusted_evidence))
    if accepting.trust is not None:
        if accepting.release or accepting.measurement or accepting.insecure or accepting.settings:
            raise Failure("--trust says everything about whom to accept", "leave the other options out")
        return role_policy(load_trust(accepting.trust), accepting.role)
    evidence, claims = parse_any_evidence(untrusted_evidence)
    if evidence.kind == "insecure-software" and not accepting.insecure:
        raise Failure(
            f"{url} shows software evidence: whoever runs that machine can read everything",
            "to develop with it nevertheless, say --insecure",
            status=EXIT_REFUSED,
        )
    report = _verified(untrusted_evidence, evidence, accepting.role, claims.stage)
    say(f"{accepting.role} at {url}", "bold")
    print_steps(stderr(), explain_report(evidence.kind, report))
    say()
    _verify_program(evidence.kind, report, accepting)
    values: dict[str, Any] = dict.fromkeys(_SECTIONS.values())
    return RolePolicy(
        clusters=list(clusters),
        config=[_setting(text) for text in accepting.settings],
        releases=None,
        **values | {_SECTIONS[evidence.kind]: _section(evidence.kind, report)},
    )


def verify_owner_shown(untrusted_evidence: bytes, owner_key: bytes) -> None:
    """The enclave, appraised already, takes the word of this owner. Raises `Failure`."""
    config = parse_any_evidence(untrusted_evidence)[1].config
    shown = next((value.value for value in config if value.name == OWNER), "")
    if shown != owner_key.hex():
        raise Failure(
            f"this enclave takes the word of another owner: {shown[:130]}",
            "its host was started with another --owner-key: with that, somebody else founds this cluster",
            status=EXIT_REFUSED,
        )


def _verified(untrusted_evidence: bytes, evidence: Evidence, role: Role, stage: Stage) -> AnyReport:
    if stage == "member":
        return verify_any_cluster(untrusted_evidence, role).report
    software = evidence.kind == "insecure-software"
    return verify_candidate(
        untrusted_evidence,
        role=role,
        stage=stage,
        platforms=(evidence.kind,) if software else HARDWARE,
        insecure_roots=(fingerprint(root_certificate(evidence.quote)),) if software else (),
        now=int(time.time()),
    ).report


def _verify_program(kind: PlatformKind, report: AnyReport, accepting: Accepting) -> None:
    if accepting.release is not None:
        released = load_release(accepting.release)
        if released.kind != kind:
            raise Untrusted(Number.POLICY, f"this is {kind} evidence, and the release is for {released.kind}")
        verify_is_release(report, released, role=accepting.role)
    elif accepting.measurement is not None:
        if accepting.measurement.lower() != report.measurement.hex():
            raise Untrusted(Number.POLICY, f"the program is {report.measurement.hex()}, another one than was named")
    elif kind != "insecure-software":
        raise Failure(
            "which program must this be?",
            f"compare what is shown with what its builders publish; then name it: --release FILE, or --measurement "
            f"{report.measurement.hex()}",
            status=EXIT_REFUSED,
        )


def _section(kind: PlatformKind, report: AnyReport) -> AnyPlatformPolicy:
    """Exactly this program, on a machine that is good by default rules."""
    section = default_section(kind)
    registers = [value for _, value in report.registers]
    measurement: Any = report.measurement
    if isinstance(report, TdxReport):
        measurement = TdxMeasurement(*registers)
    elif isinstance(report, NitroReport):
        measurement = NitroMeasurement(*registers)
    section = msgspec.structs.replace(section, measurements=[measurement])
    if isinstance(section, SoftwarePolicy) and isinstance(report, SgxReport):
        seen = msgspec.convert([report.intel.tcb_status], list[TcbStatus])
        return msgspec.structs.replace(section, roots=[report.root], tcb_statuses=seen)
    return section


def _setting(text: str) -> ConfigValue:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Failure(f"--setting {text[:40]!r} is not NAME=VALUE", "as `strongroom verify` shows it")
    return ConfigValue(name, value)
