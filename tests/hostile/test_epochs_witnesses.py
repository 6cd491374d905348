"""Epochs of a Vault that has witnesses, while the host keeps it from them."""

import asyncio

import pytest

from strongroom.enclave.runtime import epochs
from strongroom.enclave.vault import resealing, witnessing
from strongroom.protocol.cluster_messages import Rotate
from strongroom.protocol.errors import Number
from tests.support.epochs import at_rest, epochs_in_use, owner_of, ring_of, rotate, snapshot
from tests.support.vault import SECRET, number_of, released, stored
from tests.support.watch import Watch
from tests.support.world import World


class Watched(World):
    """With witnesses."""

    watch: Watch


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """Two of three witnesses. What waits for them, waits for less long than in earnest."""
    monkeypatch.setattr(epochs, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(resealing, "GRACE_SECONDS", 0)
    monkeypatch.setattr(witnessing, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    world = Watched(tmp_path)
    world.watch = Watch(tmp_path, 3, lambda: world.vault.platform.now())
    world.vault.witnesses, world.vault.cosignatures = world.watch.vkeys, 2
    world.vault.host.witnesses = world.watch.carry_for(world.vault)
    await world.start()
    await world.namespace()
    yield world
    world.watch.close()


async def test_an_epoch_that_no_witness_has_seen_yet_has_begun_all_the_same(world):
    """It is durable: what is old has to follow it, though the owner was told of a failure."""
    address, _ = await stored(world)
    owner = await owner_of(world.vault, world.owner)
    world.watch.down = {0, 1, 2}
    assert await number_of(owner.ask(Rotate())) is Number.WITNESSES_UNAVAILABLE
    assert ring_of(world.vault).epoch == 2
    world.watch.down = set()
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {2}
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_nothing_is_sealed_anew_while_requests_may_not_write(world, monkeypatch):
    """Without witnesses the log must not grow on and on."""
    await stored(world)
    owner = await owner_of(world.vault, world.owner)
    monkeypatch.setattr(witnessing, "WITNESS_PATIENCE", -1)
    world.watch.down = {0, 1, 2}
    assert await number_of(owner.ask(Rotate())) is Number.WITNESSES_UNAVAILABLE
    size = len(world.vault.host.log)
    await asyncio.sleep(0.2)
    assert 1 in epochs_in_use(world.vault)
    assert len(world.vault.host.log) == size
    world.watch.down = set()
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == {2}


async def test_a_database_from_before_an_epoch_ended_is_not_served_again(world):
    """With its old ring, which still opens what was deleted."""
    address, _ = await stored(world)
    await (await world.client("alice")).delete(address, 1)
    before = snapshot(world.vault.host)
    await rotate(world)
    await at_rest(world.vault)
    world.vault.host.rows, world.vault.host.log = before
    starting = asyncio.create_task(world.vault.start())
    await asyncio.sleep(0.3)
    assert not starting.done()
    starting.cancel()
    await asyncio.wait({starting})
