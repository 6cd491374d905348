"""SKELETON."""
from __future__ import annotations

from strongroom.attestation.policy import RolePolicy


def parse_instructions_file(text: str, *, authenticator: RolePolicy) -> bytes:
    """Encoded `Instructions` of an `instructions.toml`; `authenticator` is the trust policy's role policy."""
    raise NotImplementedError
