"""`trust.toml`: a trust policy as text that a person can read, compare and edit. Text in, text out; no files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.protocol.errors import Misuse, Number

MAX_TRUST_FILE: Final = 256 * 1024
"""Bytes."""

_ROLES: Final = ("vault", "authenticator")
_DIGESTS: Final = ("insecure_roots", "measurements", "clusters")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


def parse_trust_policy(text: str) -> TrustPolicy:
    """Parse `trust.toml`. Every field must be there, nothing else may; digests are 64 hex digits.

    Raises `Misuse` with the place: line and column of a syntax error, else the field's dotted name.
    """
    if len(text.encode("utf-8", "replace")) > MAX_TRUST_FILE:
        raise Misuse(Number.TOO_LARGE, "trust policy")
    try:
        untyped = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _misuse("not TOML", error) from None
    for role in _ROLES:
        if isinstance(untyped.get(role), dict):
            _digests_from_hex(untyped[role], role)
    try:
        policy = msgspec.convert(untyped, TrustPolicy, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise _misuse("", error) from None
    _verify_name(policy)
    return policy


def format_trust_policy(policy: TrustPolicy) -> str:
    """The text of a policy, with a comment on what each pin means; `parse_trust_policy` gives the policy back.

    Raises `Misuse` when the name hides, or wrongly claims, that the policy accepts software evidence.
    """
    _verify_name(policy)
    head = [
        "# What this client trusts. Evidence that does not fit is refused; an empty list accepts nothing.",
        f"version = {policy.version}",
        f"name = {_text(policy.name)}",
    ]
    if _accepts_software(policy):
        head.append("# INSECURE: software evidence is accepted below. Whoever runs that machine can read everything.")
    lines = head + _format_role("vault", policy.vault) + _format_role("authenticator", policy.authenticator)
    return "\n".join(lines) + "\n"


def _misuse(what: str, error: Exception) -> Misuse:
    # msgspec ends its text with "at `$.vault.clusters[0]`".
    place = re.sub(r"`\$\.?(.*?)`$", lambda found: found[1] or "the top level", str(error))
    return Misuse(Number.MALFORMED, f"trust policy: {what}{': ' if what else ''}{place}")


def _digests_from_hex(role: dict[str, Any], name: str) -> None:
    """Replace hex strings by bytes in place; what is not where it belongs is left to the strict conversion."""
    for field in _DIGESTS:
        values = role.get(field)
        if isinstance(values, list):
            role[field] = [_digest_from_hex(value, f"{name}.{field}[{i}]") for i, value in enumerate(values)]
    signers = role.get("signers")
    for i, rule in enumerate(signers if isinstance(signers, list) else ()):
        if isinstance(rule, dict) and "signer" in rule:
            rule["signer"] = _digest_from_hex(rule["signer"], f"{name}.signers[{i}].signer")


def _digest_from_hex(value: object, place: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise Misuse(Number.MALFORMED, f"trust policy: expected 64 hex digits - at {place}")
    return bytes.fromhex(value)


def _accepts_software(policy: TrustPolicy) -> bool:
    return any("insecure-software" in role.platforms for role in (policy.vault, policy.authenticator))


def _verify_name(policy: TrustPolicy) -> None:
    """A policy that accepts software evidence says so by name, so that nobody uses it unaware."""
    named, accepts = "insecure" in policy.name, _accepts_software(policy)
    if accepts and not named:
        raise Misuse(
            Number.MALFORMED,
            'trust policy: one that accepts software evidence must have "insecure" in its name - at name',
        )
    if named and not accepts:
        raise Misuse(Number.MALFORMED, 'trust policy: named "insecure" but accepts no software evidence - at name')


def _format_role(name: str, role: RolePolicy) -> list[str]:
    signers = (
        f'{{ signer = "{rule.signer.hex()}", product_id = {rule.product_id}, min_svn = {rule.min_svn} }}'
        for rule in role.signers
    )
    config = (f"{{ name = {_text(value.name)}, value = {_text(value.value)} }}" for value in role.config)
    return [
        "",
        f"[{name}]",
        '# Kinds of evidence: "sgx" is Intel hardware; "insecure-software" proves nothing and is for development.',
        f"platforms = {_array(map(_text, role.platforms))}",
        "# SHA-256 of the root certificates that software evidence may come from; hardware has its vendor's root.",
        f"insecure_roots = {_hex_array(role.insecure_roots)}",
        "# Exact programs (MRENCLAVE). The strongest pin: only code with this digest is trusted.",
        f"measurements = {_hex_array(role.measurements)}",
        "# Programs by who signed them, at this security version or above. Each signer CAN READ what you store.",
        f"signers = {_array(signers)}",
        "# Clusters. Without this pin the host could start the genuine program with custodians of its own choice.",
        f"clusters = {_hex_array(role.clusters)}",
        "# States of processor and microcode that are good enough.",
        f"tcb_statuses = {_array(map(_text, role.tcb_statuses))}",
        "# Known weaknesses (vendor advisories) that are not.",
        f"refused_advisories = {_array(map(_text, role.refused_advisories))}",
        "# Lowest edition of the vendor's assessment: an older one does not know the newer weaknesses.",
        f"min_tcb_evaluation = {role.min_tcb_evaluation}",
        "# Settings that may differ from the default, exactly so; any other difference is refused.",
        f"config = {_array(config)}",
    ]


def _array(items: Iterable[str]) -> str:
    lines = [f"    {item},\n" for item in items]
    return f"[\n{''.join(lines)}]" if lines else "[]"


def _hex_array(values: Iterable[bytes]) -> str:
    return _array(f'"{value.hex()}"' for value in values)


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but TOML wants DEL escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
