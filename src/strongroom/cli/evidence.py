"""Evidence looked at before it is trusted, and shown step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from strongroom.attestation.appraisal import Genuine, verify_genuine
from strongroom.attestation.intel import root_certificate
from strongroom.attestation.reports import AnyReport
from strongroom.attestation.verification import HARDWARE
from strongroom.cli.terminal import Failure, bold_capitals, exit_status, printable
from strongroom.client.explanation import Step
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import PlatformKind, Role, parse_evidence
from strongroom.protocol.primitives import fingerprint

_BITS: Final = {"td_attributes", "xfam", "guest_policy"}
"""64 bits each: more than JSON's numbers hold everywhere."""
_STYLES: Final = {"trusted": "bold green", "accepted": "bold green", "refused": "bold red", "untrusted": "bold red"}
_SHORT: Final = 24
"""Columns of a value that stands beside its explanation."""


def claimed_role(untrusted_evidence: bytes) -> Role:
    """The role that evidence gives itself; appraisal in that role decides. Raises `Untrusted`."""
    return parse_evidence(untrusted_evidence)[1].role


def claimed_kind(untrusted_evidence: bytes) -> PlatformKind:
    """The platform that evidence says it is of; appraisal decides. Raises `Untrusted`."""
    return parse_evidence(untrusted_evidence)[0].kind


def verify_any_cluster(untrusted_evidence: bytes, role: Role, now: int | None = None) -> Genuine:
    """Verify that some enclave of some cluster made this, software roots included: a first look, never a verdict.

    `now`: unix seconds; at this moment if it is not given. Raises `Untrusted`.
    """
    now = int(time.time()) if now is None else now
    evidence, _, _ = parse_evidence(untrusted_evidence)
    if evidence.kind != "insecure-software":
        return verify_genuine(untrusted_evidence, role=role, platforms=HARDWARE, insecure_roots=(), now=now)
    root = fingerprint(root_certificate(evidence.quote))
    return verify_genuine(untrusted_evidence, role=role, platforms=(evidence.kind,), insecure_roots=(root,), now=now)


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """What was checked, what it showed, and what that means. A digest stands whole on a line of its own.

    A step without a name is one more value of the one before it.
    """
    width = max((len(step.name) for step in steps), default=0) + 2
    for step in steps:
        value = printable(step.value)
        aside = len(value) <= _SHORT
        if step.name or aside:
            line = Text.assemble((printable(step.name).ljust(width), "bold"), value.ljust(_SHORT + 2) if aside else "")
            _print_hanging(console, line, step.explanation)
        if not aside:
            console.print(Text(f"  {value}"))
            if not step.name and step.explanation:
                _print_hanging(console, Text("    "), step.explanation)


def print_verdict(console: Console, steps: Sequence[Step], verdict: str, said: str, unjudged: Sequence[str]) -> None:
    """What was found; then what the verdict is, why, and what it does not cover."""
    print_steps(console, steps)
    if steps:
        console.print()
    console.print(Text(f"{verdict}: {printable(said)}", style=_STYLES.get(verdict, "bold yellow")))
    for part in unjudged:
        console.print(Text(f"not judged: {printable(part)}"))


def refused_by(by: str, refusal: Untrusted, hint: str) -> Failure:
    """Genuine evidence that somebody's rules do not accept, as an error of the command line."""
    return Failure(f"genuine, but refused by {by}: {refusal.reason}", hint, status=exit_status(refusal))


def steps_json(steps: Sequence[Step]) -> list[dict[str, str]]:
    """Steps for programs."""
    return [step._asdict() for step in steps]


def report_json(report: AnyReport) -> dict[str, Any]:
    """A report for programs: bytes and sets of bits as hex, times in unix seconds, registers by name."""
    found: dict[str, Any] = _plain(report)
    for name in _BITS & found.keys():
        found[name] = f"{found[name]:016x}"
    return found | {"registers": {name: value.hex() for name, value in report.registers}}


def _print_hanging(console: Console, line: Text, explanation: str) -> None:
    # Wrapped here, since the console leaves lines alone: it would cut a digest and pad every line with blanks.
    hanging = len(line)
    words = bold_capitals(explanation).wrap(console, max(console.width - hanging, _SHORT)) or [Text()]
    for at, part in enumerate(words):
        whole = (line if at == 0 else Text(" " * hanging)) + part
        whole.rstrip()
        console.print(whole)


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case tuple() if hasattr(value, "_asdict"):
            return _plain(value._asdict())
        case tuple():
            return [_plain(one) for one in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
