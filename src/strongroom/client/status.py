"""How a server stands: as its host says, or as its enclave says in an attested session.

    reported = await reported_status("https://vault.example.com")
    status = await attested_status("https://vault.example.com", load_trust(Path("trust.toml")))

The host's word is good for those who run it. Whoever does not trust the host believes the session alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.checkpoints import warn
from strongroom.client.cluster import cluster_session, role_policy
from strongroom.client.session import fetch_evidence
from strongroom.client.transport import Transport, Unsealed
from strongroom.protocol.cluster_messages import AskStatus, StatusIs
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.status import Status, decode_status


class LeaseSaid(msgspec.Struct, frozen=True):
    """Who writes the database."""

    held: bool
    holder: str
    """Address; empty: not known."""
    until: int
    """Unix time; 0: for as long as they run."""


class NoteSaid(msgspec.Struct, frozen=True):
    """A backup, a look at one, or a drill."""

    at: int
    path: str
    holds: bool = True
    """Of a backup that was verified."""


class HostSaid(msgspec.Struct, frozen=True):
    """What a host says of itself. All of it may be made up."""

    url: str = ""
    version: str = ""
    started: int = 0
    uptime: int = 0
    engine: str = ""
    where: str = ""
    lease: LeaseSaid | None = None
    backup: NoteSaid | None = None
    verify: NoteSaid | None = None
    restore: NoteSaid | None = None
    drill: NoteSaid | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """The host's word, about the enclave and about itself."""

    untrusted_state: str
    untrusted_status: Status | None
    """None: the enclave does not say, or is not there."""
    untrusted_host: HostSaid


async def reported_status(url: str) -> Reported:
    """What the host at `url` says. Raises `Unavailable`, and `Untrusted` INTEGRITY for what is no such answer."""
    transport = Transport(url)
    try:
        return parse_reported(await transport.status())
    except Unsealed as error:
        raise error.as_error() from None
    finally:
        await transport.aclose()


def parse_reported(untrusted: bytes) -> Reported:
    """Raises `Untrusted` INTEGRITY."""
    try:
        parts = msgspec.json.decode(untrusted, type=dict[str, msgspec.Raw])
        host = msgspec.json.decode(parts.pop("host", msgspec.Raw(b"{}")), type=HostSaid)
        if set(parts) == {"state"}:
            return Reported(msgspec.json.decode(parts["state"], type=str), None, host)
        status = decode_status(msgspec.json.encode(parts))
    except (msgspec.DecodeError, Misuse):
        raise Untrusted(Number.INTEGRITY, "the server answered with something else than its status") from None
    return Reported(status.state, status, host)


async def attested_status(url: str, trust: TrustPolicy, *, notice: Callable[[str], None] = warn) -> Status:
    """What the enclave at `url` says, once `trust` has accepted it, whatever its stage and role.

    `notice` is told, in words, that the cluster was recovered. Raises `Untrusted` with the reason, what the enclave
    answered, and `Unavailable`.
    """
    claims = parse_any_evidence(await fetch_evidence(url))[1]  # untrusted: what is claimed is what is appraised
    policy = role_policy(trust, claims.role)
    async with cluster_session(url, role=claims.role, policy=policy, stage=claims.stage, notice=notice) as session:
        answer = await session.ask(AskStatus(), StatusIs)
    try:
        status = decode_status(answer.status)
    except Misuse:
        raise Misuse(Number.UNSUPPORTED, "the enclave's status is none that this version knows") from None
    return status
