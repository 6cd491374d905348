"""Decides OK or DENY; never sees a stored secret."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.enclave.authenticator.service import AuthenticatorService
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.ring import Ring
from strongroom.protocol.reach import EGRESS, parse_egress


def build_authenticator(
    platform: Platform, clock: Clock, ring: Ring, identity: Identity, link: HostLink, config: Mapping[str, str]
) -> AuthenticatorService:
    """Wire the Authenticator's parts together. It keeps nothing in a database. Every value of `config` is a claim
    already; of these it reads one, where it may call beyond the public Internet. Raises `Misuse` MALFORMED."""
    egress = Egress(platform, reach=parse_egress(config.get(EGRESS, "")))
    return AuthenticatorService(platform, clock, ring, config, egress, link)
