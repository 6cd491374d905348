"""Who has an old ring: custodians who were replaced, with an old copy of the database, or a program with a hole.

Such a ring holds what never turns (cluster key, handle key, key of the log) and the epochs of its time. The host seals
what it likes to the public keys of machines that run the newest program, whose evidence is genuine.
"""

import asyncio

import pytest
from msgspec.structs import replace as changed

from strongroom.client.custodians import OpenShare
from strongroom.enclave.runtime.sealed_ring import (
    Epoch,
    RingSecrets,
    RingState,
    charter_of,
    open_by_recovery_key,
    parse_sealed,
    seal_ring,
)
from strongroom.enclave.vault.head import Head
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number
from strongroom.protocol.governance import verify_charter
from strongroom.protocol.index import HEAD_KEY, RING_KEY, row_digest
from strongroom.protocol.link import Row
from strongroom.protocol.primitives import KemKey
from strongroom.protocol.shares import combine
from strongroom.protocol.tlog import Frontier, leaf_hash
from tests.support.ceremony import Custodians, convene, talk
from tests.support.epochs import at_rest
from tests.support.recovering import Cluster, hand_over
from tests.support.vault import number_of, stored
from tests.support.world import for_bob, permit


class Keys:
    """What a `RowSealer` wants of a ring."""

    def __init__(self, cluster: bytes, secrets: RingSecrets) -> None:
        self.cluster_id = cluster
        self.handle_key = secrets.handle_key
        self.epochs = {one.number: one.key for one in secrets.epochs}
        self.epoch = secrets.epochs[-1].number
        self.state = RingState(secrets, None, ())  # type: ignore[arg-type] # of which a head takes the epochs only


class Attacker:
    """A host with a copy from before, and the shares of custodians who have been replaced since."""

    def __init__(self, world: Cluster) -> None:
        self.world = world
        self.rows, _ = world.database
        before = parse_sealed(self.rows[RING_KEY].sealed)
        self.old = open_by_recovery_key(before, KemKey(combine(world.founded.shares[:2]))).secrets
        self.council = world.founded.custodians
        """In office now."""

    def forged_ring(self, secrets: RingSecrets) -> bytes:
        """Of the council of now, for the machines of now, with secrets of the attacker's choice."""
        now = parse_sealed(self.world.vault.host.rows[RING_KEY].sealed)
        charter = charter_of(now)
        state = RingState(secrets, charter, tuple(one.instance for one in now.instances))
        return seal_ring(self.world.vault.platform, state, verify_charter(charter)[1][-1].recovery_key)

    def put_back(self, ring: bytes, secrets: RingSecrets) -> None:
        """Rows of before, at the end of the log of now, which goes on; with this ring."""
        host, keys = self.world.vault.host, Keys(self.world.vault_cluster, secrets)
        sealer = RowSealer(self.world.vault.platform, keys)  # type: ignore[arg-type]
        head = decode(sealer.open(HEAD_KEY, self.rows[HEAD_KEY]), Head, limit=1 << 20)
        frontier = Frontier()
        for leaf in host.log:
            frontier.append(leaf_hash(leaf))
        head = changed(head, size=frontier.size, frontier=frontier.hashes, ring=row_digest(ring))
        version = host.rows[HEAD_KEY].version + 1
        sealed = Row(version, sealer.seal(HEAD_KEY, version, encode(head)))
        host.rows = {**self.rows, RING_KEY: Row(host.rows[RING_KEY].version, ring), HEAD_KEY: sealed}


async def reshare(world: Cluster) -> Custodians:
    """Another council takes office: these."""
    new = Custodians.named(3)
    owner = await talk(world.vault, world.owner)
    new.receive(convened := await owner.ask(convene(new, 2)))
    for at in range(3):
        await owner.ask(new.acceptance(at, convened.statement))
    for at in range(2):
        await owner.ask(world.founded.custodians.endorsement(at, convened.statement))
    return new


@pytest.fixture(params=[0, 3], ids=["alone", "witnesses"])
async def attacker(tmp_path, request):
    """After Bob's right was revoked and the council replaced."""
    world = Cluster(tmp_path, witnesses=request.param)
    await world.start()
    await world.namespace()
    address, _ = await stored(world, for_bob() + permit("update", "delete"))
    attacker = Attacker(world)
    alice = await world.client("alice")
    await alice.update(address, 1, instructions=world.instructions(permit("update", "delete", "audit")))
    attacker.council = await reshare(world)
    yield attacker
    world.close()


async def test_an_old_ring_with_epochs_of_ones_own_does_not_open_under_the_newest_council(attacker):
    secrets = changed(attacker.old, epochs=[*attacker.old.epochs, Epoch(10, b"A" * 32)])
    attacker.put_back(attacker.forged_ring(secrets), secrets)
    assert await number_of(attacker.world.vault.begin("open")) is Number.INTEGRITY


async def test_custodians_in_office_do_not_recover_a_ring_of_their_predecessors_making(attacker):
    """It can be sealed to their recovery key, which is public."""
    attacker.put_back(attacker.forged_ring(attacker.old), attacker.old)
    machine = await attacker.world.recovering()
    for share in attacker.council.shares[:2]:
        await hand_over(machine, OpenShare(share))
    assert await number_of(asyncio.wait_for(machine.serving, 5)) is Number.INTEGRITY


async def test_the_newest_ring_is_not_followed_by_a_database_of_before(attacker):
    """Its epochs have been erased or not: the end of the log is sealed in the newest, which an old ring has not."""
    genuine = attacker.world.vault.host.rows[RING_KEY].sealed
    attacker.put_back(genuine, attacker.old)
    assert await number_of(attacker.world.vault.begin("open")) is Number.ROLLED_BACK


async def test_a_council_that_takes_office_begins_an_epoch_and_all_is_sealed_anew(attacker):
    vault = attacker.world.vault
    await at_rest(vault)
    assert [one.number for one in vault.ring.state.secrets.epochs] == [2]
    assert vault.ring.state.secrets.ring_token != attacker.old.ring_token
    await vault.begin("open")
