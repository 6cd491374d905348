"""Trust policies as data: which evidence a relying party accepts for a role.

An empty list denies. Software evidence is accepted only by a policy whose name says `insecure`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, encode
from strongroom.protocol.evidence import Bytes32, ConfigValue, Count, ShortText
from strongroom.protocol.primitives import Domain, digest

PlatformKind = Literal["sgx", "insecure-software"]
TcbStatus = Literal[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
]


class SignerRule(Message):
    """Trust in whoever holds a signing key: every verdict from it says `signer_can_read`."""

    signer: Bytes32
    """MRSIGNER."""
    product_id: Annotated[int, Meta(ge=0, le=0xFFFF)]
    min_svn: Annotated[int, Meta(ge=0, le=0xFFFF)]


class RolePolicy(Message):
    """What evidence must show to be accepted in one role."""

    platforms: Annotated[list[PlatformKind], Meta(max_length=8)]
    insecure_roots: Annotated[list[Bytes32], Meta(max_length=8)]
    """SHA-256 of the DER of software roots; only `insecure-software` uses them."""
    measurements: Annotated[list[Bytes32], Meta(max_length=64)]
    """Exact MRENCLAVE values."""
    signers: Annotated[list[SignerRule], Meta(max_length=16)]
    clusters: Annotated[list[Bytes32], Meta(max_length=64)]
    """Cluster ids. Without them a host could start a genuine enclave of its own cluster."""
    tcb_statuses: Annotated[list[TcbStatus], Meta(max_length=8)]
    refused_advisories: Annotated[list[ShortText], Meta(max_length=64)]
    min_tcb_evaluation: Count
    config: Annotated[list[ConfigValue], Meta(max_length=64)]
    """Accepted configuration claims, exactly; an unmentioned value other than the default is refused (RULES 7)."""


class TrustPolicy(Message):
    """A client's own policy: `trust.toml`."""

    version: Literal[1]
    name: ShortText
    """Must contain `insecure` when software evidence is accepted."""
    vault: RolePolicy
    authenticator: RolePolicy


def policy_digest(policy: RolePolicy) -> bytes:
    """Digest (32 bytes) of a complete policy: what caches and pooled sessions are keyed by (RULES 5)."""
    return digest(Domain.POLICY, encode(policy))
