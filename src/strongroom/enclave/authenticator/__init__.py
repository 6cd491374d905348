"""Decides OK or DENY; never sees a stored secret."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.enclave.authenticator.service import AuthenticatorService
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.ring import Ring
from strongroom.protocol.primitives import Domain, expand_key
from strongroom.protocol.session import KEY_ID


def build_authenticator(
    platform: Platform, clock: Clock, ring: Ring, identity: Identity, link: HostLink, config: Mapping[str, str]
) -> AuthenticatorService:
    """Wire the Authenticator's parts together. It keeps nothing in a database and reads no configuration."""

    def open_capsule(capsule: bytes, vault_cluster: bytes) -> bytes:
        return identity.key_for(capsule).open(capsule[KEY_ID:], Domain.CAPSULE, vault_cluster)

    # Of the newest epoch: tickets live ten minutes, so a new epoch costs a sign-in and leaves no old key in use.
    ticket_key = expand_key(ring.epochs[ring.epoch], Domain.TICKET)
    return AuthenticatorService(platform, clock, ring.cluster_id, ticket_key, open_capsule)
