"""Enclaves that join in this process, and evidence of joiners that a host bends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from strongroom.enclave.platform.port import SealingKey
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.nursery import Hopes
from strongroom.protocol.cluster_messages import RingGiven, TakeRing
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Purpose, Role, Stage, evidence_digest
from strongroom.protocol.invitations import Invitation, invite
from strongroom.protocol.link import Operation
from strongroom.protocol.primitives import KemKey, SigningKey
from tests.support.ceremony import ClusterClient, Founded, Nursed
from tests.support.world import Instance, Platform

MEMBER = "http://member.test"


class Sealless(Platform):
    """A machine without a sealing key, as TDX and Nitro are."""

    def sealing_key(self) -> SealingKey | None:  # type: ignore[override]
        return None


def joiner_of(founded: Founded, platform: Platform | None = None, *, data: Instance | None = None) -> Nursed:
    """An enclave that can reach the member. A Vault has the member's database, an Authenticator one of its own, or
    that of `data`."""
    member = founded.instance
    joiner = Nursed(member.role, member.state, member.owner_key, peer=MEMBER, cluster=founded.cluster_id)
    joiner.fields["invitation"] = encode(invited(founded))
    joiner.witnesses, joiner.cosignatures = member.witnesses, member.cosignatures
    if platform is not None:
        joiner.platform = platform
    database = data or (member if member.role == "vault" else joiner)
    joiner.host.rows, joiner.host.log = database.host.rows, database.host.log
    joiner.host.witnesses = member.host.witnesses
    reach(joiner, member)
    return joiner


def invited(founded: Founded, *, seconds: int = 3600) -> Invitation:
    """By the owner, for so long."""
    return invite(founded.owner, founded.cluster_id, int(founded.instance.platform.now()) + seconds)


def reach(joiner: Nursed, member: Nursed) -> None:
    """Let `joiner` reach `member`, whatever enclave that has by then."""

    async def carry(operation: Operation, body: bytes) -> bytes:
        return await member.enclave.handle(operation, body)

    joiner.host.routes[MEMBER] = carry


async def join(founded: Founded, platform: Platform | None = None, **fields: Any) -> Nursed:
    """A joiner that has the ring, and serves nobody yet."""
    joiner = joiner_of(founded, platform)
    await joiner.begin("join", **fields)
    return joiner


class Forger:
    """The host as a joiner: it speaks the protocol by hand, and has quotes of any enclave that it can start."""

    def __init__(self, founded: Founded, platform: Platform | None = None) -> None:
        self.founded = founded
        self.platform = platform or founded.instance.platform
        self.key = KemKey(os.urandom(32))
        self.client = ClusterClient(founded.instance, SigningKey.generate())

    async def open(self) -> Forger:
        """A session that is not proved yet."""
        self.shown = evidence_digest(await self.founded.instance.evidence())
        await self.client.handshake()
        return self

    async def evidence(
        self,
        *,
        role: Role = "vault",
        stage: Stage = "joining",
        purpose: Purpose = "join",
        cluster: bytes | None = None,
        config: Mapping[str, str] | None = None,
    ) -> bytes:
        """Made by a genuine program for this session, but for what is given."""
        hopes = Hopes(stage, self.founded.cluster_id if cluster is None else cluster, b"", None, 0)
        host: Any = self.founded.instance.host
        identity = Identity(self.platform, Clock(self.platform), hopes, role, config or {}, host.collateral)
        kem_key = self.client.kem_public
        return await identity.peer_evidence(
            kem_key, self.client.binding.public, self.shown, purpose=purpose, own=self.key
        )

    async def take(self, evidence: bytes, label: str = "forged", *, invitation: Invitation | None = None) -> RingGiven:
        """The whole of it; invited by the owner, unless with another invitation."""
        await self.client.ask(self.client.proof(evidence))
        return await self.client.ask(TakeRing(label=label, invitation=invitation or invited(self.founded)))
