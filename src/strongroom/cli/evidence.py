"""Evidence looked at before it is trusted, and shown step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from strongroom.attestation.appraisal import Genuine, Step, verify_genuine
from strongroom.attestation.sgx import root_certificate
from strongroom.cli.terminal import bold_capitals, printable
from strongroom.protocol.evidence import Role, parse_evidence
from strongroom.protocol.primitives import fingerprint

_SHORT: Final = 24
"""Columns of a value that stands beside its explanation."""


def claimed_role(untrusted_evidence: bytes) -> Role:
    """The role that evidence gives itself; appraisal in that role decides. Raises `Untrusted`."""
    return parse_evidence(untrusted_evidence)[1].role


def verify_any_cluster(untrusted_evidence: bytes, role: Role, *, software: bool = True) -> Genuine:
    """Verify that some enclave of some cluster made this, software roots included: a first look, never a verdict.

    Raises `Untrusted` EVIDENCE.
    """
    evidence, _, _ = parse_evidence(untrusted_evidence)
    if not software or evidence.kind != "insecure-software":
        return verify_genuine(
            untrusted_evidence, role=role, platforms=("sgx",), insecure_roots=(), now=int(time.time())
        )
    root = fingerprint(root_certificate(evidence.quote))
    return verify_genuine(
        untrusted_evidence, role=role, platforms=("insecure-software",), insecure_roots=(root,), now=int(time.time())
    )


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """What was checked, what it showed, and what that means. A digest stands whole on a line of its own."""
    width = max((len(step.name) for step in steps), default=0) + 2
    for step in steps:
        values = [printable(value) for value in step.value.split("\n")]
        aside = len(values) == 1 and len(values[0]) <= _SHORT
        line = Text.assemble((step.name.ljust(width), "bold"), values[0].ljust(_SHORT + 2) if aside else "")
        hanging = len(line)
        # Wrapped here, since the console leaves lines alone: it would cut a digest and pad every line with blanks.
        words = bold_capitals(step.explanation).wrap(console, max(console.width - hanging, _SHORT)) or [Text()]
        for at, part in enumerate(words):
            whole = (line if at == 0 else Text(" " * hanging)) + part
            whole.rstrip()
            console.print(whole)
        for value in () if aside else values:
            console.print(Text(f"  {value}"))
