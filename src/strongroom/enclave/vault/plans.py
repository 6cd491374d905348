"""Instructions as the Vault works with them: parsed once, with the digests that decisions name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from strongroom.attestation.policy import RolePolicy
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Instructions,
    instructions_digest,
    method_digest,
    parse_instructions,
    rules_digest,
)
from strongroom.protocol.limits import MAX_INSTRUCTIONS

APPROVALS: Final = frozenset({"approvals", "approval_count"})
"""Facts of which the record's standing row tells."""
IDLE: Final = "idle_days"
TIME: Final = frozenset({"unix_time", "minute_of_day", "weekday"})
WITNESSED: Final = TIME | {IDLE}
"""Facts that take a witnessed time (RULES 24)."""

_SUPPLIED: Final = re.compile(rf"\b(?:{'|'.join(sorted(APPROVALS | WITNESSED))})\b")


@dataclass(frozen=True, slots=True)
class Plan:
    """Instructions and the digests that decisions on them name."""

    instructions: Instructions
    digest: bytes
    rules: bytes
    methods: list[bytes]
    clusters: list[list[bytes]]
    """Authenticator clusters that each reference accepts."""
    needs: frozenset[str]
    """Words in the rules for which the Vault looks further than into the record. A search of the text, comments too:
    rules that hide such a name find no approval and no time, so that they fail closed."""


@lru_cache(maxsize=256)
def plan_of(data: bytes) -> Plan:
    """Parsed once for exactly these bytes (RULES 5). Raises `Misuse`."""
    instructions = parse_instructions(data)
    try:
        policies = [decode(one.policy, RolePolicy, limit=MAX_INSTRUCTIONS) for one in instructions.authenticators]
    except Misuse:
        raise Misuse(Number.INSTRUCTIONS_INVALID, "an Authenticator's policy does not parse") from None
    return Plan(
        instructions,
        instructions_digest(data),
        rules_digest(instructions.rules),
        [method_digest(method) for method in instructions.methods],
        [policy.clusters for policy in policies],
        frozenset(_SUPPLIED.findall(instructions.rules)),
    )
