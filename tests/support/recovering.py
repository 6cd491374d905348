"""A cluster with named custodians whose machines are gone, and the one that recovers it; its witnesses are real."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.client.custodians import OpenShare
from strongroom.client.recovery import approval, approve, look, seal_share, submit
from strongroom.client.standings import Standing
from strongroom.enclave.platform.port import SealingKey
from strongroom.enclave.runtime import recovering
from strongroom.enclave.runtime.sealed_ring import charter_of, parse_sealed
from strongroom.enclave.vault import witnessing
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Unavailable
from strongroom.protocol.evidence import cluster_id, parse_any_evidence, parse_genesis
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.link import Operation, Row
from strongroom.protocol.notes import parse_checkpoint
from strongroom.protocol.primitives import Domain, SigningKey, derive_key
from strongroom.protocol.status import Status, decode_status
from tests.support.ceremony import ClusterClient, Founded, Nursed, found, talk
from tests.support.watch import Watch
from tests.support.world import AUTHENTICATOR_URL, Platform, World


class OtherMachine(Platform):
    """Another machine of the same maker: it opens nothing that the first one sealed."""

    def __init__(self, role: Any, state: Path) -> None:
        super().__init__(role, state)
        self._own = os.urandom(32)

    def sealing_key(self) -> SealingKey:
        key = derive_key(self._own, Domain.PLATFORM_SEALING, self._measurement)
        return SealingKey(key, f"insecure software, program {self._measurement.hex()}")

    def development_custodian(self) -> bytes | None:
        return None


def watched(instance: Nursed, watch: Watch | None) -> None:
    """Give an instance's host real witnesses, who know each log that they are asked about; or none."""

    def know(origin: str) -> None:
        statement = charter_of(parse_sealed(instance.host.rows[RING_KEY].sealed)).genesis.statement
        generation = int(origin.rpartition("/")[2])
        log = log_verifier(cluster_id(statement), parse_genesis(statement).log_key, generation)
        if watch is not None and log.name == origin:
            watch.logs.setdefault(origin, [log])

    async def cosign(note: bytes) -> bytes:
        if watch is None:
            return b""
        know(parse_checkpoint(note).checkpoint.origin)
        return b"".join(watch.ask(at, note, instance.host.log) for at in up(watch))

    async def witnessed(origin: str) -> list[bytes]:
        if watch is None:
            return []
        found = []
        for at in up(watch):
            note = watch.states[at].latest(origin).note
            if note:
                signed = parse_checkpoint(note)
                again = watch.ask(at, note, []).decode().splitlines()
                found.append(signed.with_lines(again).note)
        return found

    instance.host.witnesses = cosign
    instance.host.witnessed = witnessed  # type: ignore[attr-defined]


def up(watch: Watch) -> list[int]:
    return [at for at in range(len(watch.keys)) if at not in watch.down]


def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for witnesses, waits for less long than in earnest."""
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recovering, "RETRY_SECONDS", 0.01)


@asynccontextmanager
async def watched_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """With two of three witnesses, two of three custodians, and a namespace."""
    world = Cluster(folder, witnesses=3)
    await world.start()
    await world.namespace()
    yield world
    world.close()


@contextmanager
def other_witnesses(world: Cluster, folder: Path) -> Iterator[Watch]:
    """Three more, who know nothing of this log."""
    folder.mkdir()
    others = Watch(folder, 3, lambda: world.vault.platform.now())
    yield others
    others.close()


async def authenticator_elsewhere(folder: Path, mode: str) -> tuple[Founded, Nursed]:
    """One with named custodians, and another machine with a copy of its database, which starts in this mode."""
    founded = await found(folder, role="authenticator")
    machine = Nursed("authenticator", folder, founded.owner.public)
    machine.platform = OtherMachine("authenticator", folder)
    machine.host.rows = dict(founded.instance.host.rows)
    await machine.begin(mode)
    return founded, machine


Database = tuple[dict[bytes, Row], list[bytes]]


class Cluster(World):
    """A Vault with named custodians, its Authenticator, and witnesses if there are to be any."""

    founded: Founded

    def __init__(self, state: Path, witnesses: int = 0, threshold: int = 2, custodians: int = 3) -> None:
        super().__init__(state)
        self.directory, self.threshold, self.custodians = state, threshold, custodians
        self.watch = Watch(state, witnesses, lambda: self.vault.platform.now()) if witnesses else None

    async def start(self) -> Cluster:
        keys = self.watch.vkeys if self.watch is not None else []
        self.founded = await found(
            self.directory,
            custodians=self.custodians,
            threshold=self.threshold,
            witnesses=keys,
            cosignatures=len(keys) // 2 + 1 if keys else 0,
            prepare=lambda instance: watched(instance, self.watch),
        )
        self.owner = self.founded.owner
        self._serve(self.founded.instance)
        await self.authenticator.start()
        self.vault_cluster = self.founded.cluster_id
        self.authenticator_cluster = parse_any_evidence(await self.authenticator.evidence())[1].cluster_id
        return self

    def _serve(self, instance: Nursed) -> None:
        instance.host.routes[AUTHENTICATOR_URL] = self._to_authenticator
        self.vault = instance

    @property
    def database(self) -> Database:
        """A backup of this moment."""
        return dict(self.vault.host.rows), list(self.vault.host.log)

    def machine(self, database: Database | None = None, role: Any = "vault") -> Nursed:
        """A new machine with a copy of the database, where nothing runs yet."""
        machine = Nursed(role, self.directory, self.owner.public)
        machine.platform = OtherMachine(role, self.directory)
        rows, log = database or self.database
        machine.host.rows, machine.host.log = dict(rows), list(log)
        machine.witnesses, machine.cosignatures = self.vault.witnesses, self.vault.cosignatures
        watched(machine, self.watch)
        return machine

    async def recovering(self, database: Database | None = None) -> Nursed:
        """A new machine that waits for custodians."""
        machine = self.machine(database)
        await machine.begin("recover")
        machine.serve()
        return machine

    def opened(self, index: int) -> OpenShare:
        return OpenShare(self.founded.shares[index])

    async def bring_back(self, machine: Nursed, who: Sequence[int] = (0, 1)) -> None:
        """Custodians submit their shares, and sign what is given up if there is anything."""
        for index in who:
            await hand_over(machine, self.opened(index))
        await self.finish(machine, who)

    async def finish(self, machine: Nursed, who: Sequence[int] = (0, 1)) -> None:
        """From the last share on."""
        if (await leaves(machine, "recovering", "starting")).state == "gap":
            for index in who:
                await sign_gap(machine, self.opened(index))
        await self.served(machine)

    async def served(self, machine: Nursed) -> None:
        """Once it serves, it is the Vault."""
        assert machine.serving is not None
        await asyncio.wait_for(machine.serving, 10)
        self._serve(machine)

    def close(self) -> None:
        if self.watch is not None:
            self.watch.close()


class Talking:
    """A session as the client's functions want it, with an enclave in this process."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self.claims = client.claims
        self.listed = None
        self.now = int(client.instance.platform.now())
        self.seen: Standing | None = None

    async def known(self) -> Standing | None:
        return self.seen

    async def ask(self, request: Message, kind: Any = object) -> Any:
        reply = await self._client.ask(request)
        assert isinstance(reply, kind)
        return reply


async def talking(machine: Nursed, key: SigningKey | None = None) -> Any:
    return Talking(await talk(machine, key))


async def hand_over(machine: Nursed, opened: OpenShare) -> Any:
    """A custodian submits his share, as the command does."""
    session = await talking(machine)
    return await submit(session, seal_share(session.claims, opened))


async def looked(machine: Nursed, seen: Standing | None = None) -> Any:
    """What a custodian finds, who has `seen` the cluster so: a `Look`."""
    session = await talking(machine)
    session.seen = seen
    return await look(session)


async def sign_gap(machine: Nursed, opened: OpenShare) -> Any:
    session = await talking(machine)
    return await approve(session, approval(await look(session), opened))


async def status(machine: Nursed) -> Status:
    return decode_status(await machine.enclave.handle(Operation.STATUS, b""))


async def reaches(machine: Nursed, state: str) -> Any:
    """How it stands once it is in that state: a `Status`."""
    async with asyncio.timeout(10):
        while (now := await status(machine)).state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return now


async def leaves(machine: Nursed, *states: str) -> Status:
    """How it stands once it is in none of these states."""
    async with asyncio.timeout(10):
        while (now := await status(machine)).state in states:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return now


async def unreachable(origin: str) -> list[bytes]:
    """What a courier says that reaches too few."""
    raise Unavailable
