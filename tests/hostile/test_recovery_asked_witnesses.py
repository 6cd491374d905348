"""Witnesses whom a custodian asks before he signs what is given up: they know what a host kept back (RULES 25)."""

import hashlib

import httpx
import pytest

from strongroom.client.recovery import ask_witness, verify_with_witness, witness_paths
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.notes import Checkpoint, cosign, parse_checkpoint, sign_checkpoint
from tests.support.recovering import Cluster, hand_over, in_haste, looked, reaches, sign_gap, watched_cluster
from tests.support.vault import stored

WITNESS = "http://127.0.0.1:1"


@pytest.fixture
async def world(tmp_path, monkeypatch):
    in_haste(monkeypatch)
    async with watched_cluster(tmp_path) as world:
        yield world


async def gap_shown(world, database, kept_back=()):
    """What a custodian finds on a machine with this database, whose host keeps word of these generations back."""
    machine = world.machine(database)
    honest = machine.host.witnessed
    hidden = [log_origin(world.vault_cluster, generation=one) for one in kept_back]

    async def witnessed(origin):
        return [] if origin in hidden else await honest(origin)

    machine.host.witnessed = witnessed
    await machine.begin("recover")
    machine.serve()
    for index in (1, 2):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "gap")
    return machine, await looked(machine)


async def recover(world, database):
    machine, _ = await gap_shown(world, database)
    for index in (1, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)


def note_of(world, generation):
    return world.watch.states[0].latest(log_origin(world.vault_cluster, generation=generation)).note


@pytest.fixture
def asking(world, monkeypatch):
    """The first witness of the cluster, as far as a custodian reads it."""

    def answer(request):
        for generation in range(9):
            origin = log_origin(world.vault_cluster, generation=generation)
            if request.url.path == f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint":
                note = note_of(world, generation)
                return httpx.Response(200, content=note) if note else httpx.Response(404)
        raise AssertionError(request.url)

    real = httpx.AsyncClient
    monkeypatch.setattr("httpx.AsyncClient", lambda **options: real(**options, transport=httpx.MockTransport(answer)))


async def twice_written(world):
    """A backup, one made later, and what was written after both: each longer than the one before."""
    address, _ = await stored(world)
    first = world.database
    alice = await world.client("alice")
    for version in range(1, 4):
        await alice.update(address, version, secret=b"newer")
    second = world.database
    await alice.update(address, 4, secret=b"newest")
    return first, second


async def test_a_later_generation_that_the_host_keeps_back_is_known_to_the_witness_though_it_is_shorter(world, asking):
    """Custodians gave up the lines of generation 0 long ago; with what they sign today it would be served again."""
    first, second = await twice_written(world)
    await recover(world, first)
    machine, found = await gap_shown(world, second, kept_back=[1])
    assert found.gap.generation == 1
    note = note_of(world, 1)
    assert parse_checkpoint(note).checkpoint.size < found.gap.found_size
    with pytest.raises(Untrusted, match="in generation 1 of the log") as caught:
        await ask_witness(WITNESS, found)
    assert caught.value.number is Number.ROLLED_BACK
    with pytest.raises(Untrusted):
        verify_with_witness(found, 1, note)
    machine.serving.cancel()


async def test_what_custodians_gave_up_before_is_held_against_nobody(world, asking):
    """The witness has seen more of generation 0 than there is now; generation 1 is what counts."""
    first, _ = await twice_written(world)
    await recover(world, first)
    machine, found = await gap_shown(world, first)
    assert found.gap.generation == 2
    assert parse_checkpoint(note_of(world, 0)).checkpoint.size > found.gap.known_size
    assert await ask_witness(WITNESS, found) == found.gap.known_size
    machine.serving.cancel()


async def test_a_log_as_long_as_the_gap_says_and_another_one_is_more_than_it_says(world):
    first, _ = await twice_written(world)
    machine, found = await gap_shown(world, first)
    other = Checkpoint(log_origin(world.vault_cluster), found.gap.known_size, bytes(32))
    signed = sign_checkpoint(world.vault.ring.log_key, other)
    line = cosign(world.watch.keys[0], world.watch.names[0], other, int(world.vault.platform.now()))
    with pytest.raises(Untrusted) as caught:
        verify_with_witness(found, 0, signed.with_lines([line]).note)
    assert caught.value.number is Number.ROLLED_BACK
    assert verify_with_witness(found, 0, note_of(world, 0)) == found.gap.known_size
    machine.serving.cancel()


async def test_where_nobody_watches_the_log_no_witness_is_asked(tmp_path):
    """Generations are times there: a list of all numbers up to that would not fit into memory."""
    world = Cluster(tmp_path)
    await world.start()
    await world.namespace()
    machine, found = await gap_shown(world, world.database)
    assert found.gap.generation > 1_000_000_000
    assert len(witness_paths(found)) < 100
    with pytest.raises(Misuse, match="no witnesses") as caught:
        await ask_witness(WITNESS, found)
    assert caught.value.number is Number.NOT_NOW
    machine.serving.cancel()
