"""A cluster with named custodians, founded in this process by all that a real ceremony says and signs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.client.share.age import Opener, generate_identity, parse_identity
from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault
from strongroom.protocol.cluster_messages import Accept, ClusterReply, Convene, Convened, Endorse, Nominee
from strongroom.protocol.evidence import cluster_id, evidence_digest, parse_any_evidence
from strongroom.protocol.governance import statement_digest
from strongroom.protocol.link import Operation
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import ClientHandshake
from strongroom.protocol.shares import Share, parse_share
from tests.support import starting
from tests.support.watch import Watch
from tests.support.world import Instance, RawClient

BUILDS: dict[str, Any] = {"vault": build_vault, "authenticator": build_authenticator}


class Nursed(Instance):
    """An enclave that starts in any mode, and waits where that mode does."""

    def __init__(self, role: Any, state: Path, owner_key: bytes, **start: Any) -> None:
        super().__init__(role, state, BUILDS[role], owner_key)
        self.fields = start
        self.serving: asyncio.Task[bytes] | None = None

    async def begin(self, mode: str = "found", **fields: Any) -> None:
        """A new process of the enclave, up to where it waits."""
        self.enclave = Enclave(self.platform, self.role, self.build, self.host)  # type: ignore[arg-type]
        values = {"owner_key": self.owner_key, "witnesses": self.witnesses, "cosignatures": self.cosignatures}
        start = starting.start(**values | self.fields | {"mode": mode} | fields)
        await self.enclave.handle(Operation.START, encode_link(start))

    def serve(self) -> asyncio.Task[bytes]:
        """Have it serve when it has a ring."""
        self.serving = asyncio.ensure_future(self.enclave.handle(Operation.SERVE, b""))
        return self.serving


class ClusterClient(RawClient):
    """A client that speaks about the cluster, with an enclave at any stage."""

    def __init__(self, instance: Instance, binding: SigningKey | None = None) -> None:
        super().__init__(instance, binding)
        self.replies = ClusterReply

    async def handshake(self) -> None:
        evidence = await self.instance.evidence()
        self.claims = parse_any_evidence(evidence)[1]
        handshake = ClientHandshake(
            self.instance.role,
            evidence_digest(evidence),
            self.claims.kem_key,
            self.binding.public,
            seed=os.urandom(32),
            kem_seed=os.urandom(32),
        )
        self.kem_public = handshake.kem_public
        self.answer = await self.send(Operation.SESSION, handshake.hello)
        self.channel = handshake.finish(self.answer)


async def talk(instance: Instance, key: SigningKey | None = None) -> ClusterClient:
    """A proved session about the cluster; with the owner's key it is the owner's."""
    client = ClusterClient(instance, key)
    await client.open()
    return client


@dataclass
class Custodians:
    """People with age identities, and the shares that they got last."""

    names: list[str]
    identities: list[str]
    files: list[bytes]
    shares: list[Share]

    @classmethod
    def named(cls, count: int) -> Custodians:
        return cls([f"custodian-{at}" for at in range(count)], [generate_identity() for _ in range(count)], [], [])

    @property
    def nominees(self) -> list[Nominee]:
        return [
            Nominee(name=name, recipient=parse_identity(identity).recipient.text)
            for name, identity in zip(self.names, self.identities, strict=True)
        ]

    def receive(self, convened: Convened) -> None:
        """Each decrypts his file."""
        self.files = convened.shares
        self.shares = [
            parse_share(words_of(open_file(identity, file)))
            for identity, file in zip(self.identities, convened.shares, strict=True)
        ]

    def acceptance(self, index: int, statement: bytes, key: SigningKey | None = None) -> Accept:
        key = key or self.shares[index].key
        return Accept(
            statement=statement_digest(statement), index=index, signature=key.sign(Domain.ACCEPTANCE, statement)
        )

    def endorsement(self, index: int, statement: bytes) -> Endorse:
        key = self.shares[index].key
        return Endorse(
            statement=statement_digest(statement), index=index, signature=key.sign(Domain.ENDORSEMENT, statement)
        )


@dataclass
class Founded:
    """A cluster that serves."""

    instance: Nursed
    owner: SigningKey
    custodians: Custodians
    statement: bytes

    @property
    def cluster_id(self) -> bytes:
        return cluster_id(self.statement)

    @property
    def shares(self) -> list[Share]:
        return self.custodians.shares


def convene(custodians: Custodians, threshold: int, **fields: Any) -> Convene:
    values: dict[str, Any] = {
        "custodians": custodians.nominees,
        "threshold": threshold,
        "approvers": [],
        "approvals": 0,
        "release_delay": 0,
        "witnesses": [],
        "cosignatures": 0,
    }
    return Convene(**values | fields)


async def found_watched(state: Path, ahead: Callable[[], int] = lambda: 0, **fields: Any) -> tuple[Founded, Watch]:
    """As `found`, a Vault with two of three witnesses, whose clocks are so many seconds ahead of its own."""
    made: list[Nursed] = []
    watch = Watch(state, 3, lambda: made[0].platform.now() + ahead())

    def prepare(instance: Nursed) -> None:
        made.append(instance)
        instance.host.witnesses = watch.carry_for(instance)

    return await found(state, witnesses=watch.vkeys, cosignatures=2, prepare=prepare, **fields), watch


async def found(
    state: Path,
    *,
    role: str = "vault",
    custodians: int = 3,
    threshold: int = 2,
    approvers: Sequence[bytes] = (),
    approvals: int | None = None,
    release_delay: int = 0,
    witnesses: Sequence[str] = (),
    cosignatures: int = 0,
    prepare: Callable[[Nursed], Awaitable[None] | None] | None = None,
) -> Founded:
    """A member of a cluster that was founded by this ceremony. `approvers` are keys as OpenSSH writes them, decoded.
    `prepare` may change the instance (its platform, its host) before anything starts."""
    owner, people = SigningKey.generate(), Custodians.named(custodians)
    instance = Nursed(role, state, owner.public)
    instance.witnesses, instance.cosignatures = list(witnesses), cosignatures
    if prepare is not None:
        waiting = prepare(instance)
        if waiting is not None:
            await waiting
    await instance.begin("found")
    serving = instance.serve()
    client = await talk(instance, owner)
    convened = await client.ask(
        convene(
            people,
            threshold,
            approvers=list(approvers),
            approvals=(1 if approvers else 0) if approvals is None else approvals,
            release_delay=release_delay,
            witnesses=list(witnesses),
            cosignatures=cosignatures,
        )
    )
    people.receive(convened)
    for index in range(custodians):
        await client.ask(people.acceptance(index, convened.statement))
    await serving
    return Founded(instance, owner, people, convened.statement)


def open_file(identity: str, file: bytes) -> str:
    """What an age file holds."""
    opener = Opener(parse_identity(identity))
    return (opener.open(file) + opener.finish()).decode()


def words_of(sheet: str) -> str:
    """The words of a page, read the plain way."""
    rows = sheet.partition("\nWords\n")[2].partition("\n\n")[0].split()
    return " ".join(rows[1::2])
