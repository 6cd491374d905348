"""Evidence looked at before it is trusted, and shown step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from strongroom.attestation.appraisal import Genuine, Step, verify_genuine
from strongroom.attestation.sgx import root_certificate
from strongroom.cli.terminal import bold_capitals, printable
from strongroom.protocol.evidence import Role, parse_evidence
from strongroom.protocol.primitives import fingerprint


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


def steps_table(steps: Sequence[Step]) -> Table:
    """What was checked, what it showed, and what that means."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True, style="bold")
    made.add_column(width=32, overflow="fold")  # a digest in hex is two lines of it
    made.add_column()
    for step in steps:
        made.add_row(step.name, Text(printable(step.value)), bold_capitals(step.explanation))
    return made
