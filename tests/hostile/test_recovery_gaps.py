"""A recovery on a database that is older than what witnesses have seen: nobody but enough custodians gives that up."""

import asyncio
import dataclasses

import msgspec
import pytest

from strongroom.client.recovery import (
    STALE_SECONDS,
    approval,
    approve,
    explain_gap,
    explain_state,
    verify_with_witness,
    witness_paths,
)
from strongroom.enclave.runtime.sealed_ring import charter_of, parse_sealed
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.governance import verify_charter
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.leaves import CommitLeaf, LifeLeaf, log_origin, parse_leaf
from strongroom.protocol.log_messages import Freshen
from strongroom.protocol.notes import Checkpoint, cosign, parse_checkpoint, sign_checkpoint
from strongroom.protocol.primitives import Domain, NoteKey, SigningKey, digest
from strongroom.protocol.tlog import verify_consistency
from tests.support.recovering import (
    hand_over,
    in_haste,
    looked,
    reaches,
    sign_gap,
    status,
    talking,
    unreachable,
    up,
    watched_cluster,
)
from tests.support.vault import SECRET, collect_error, number_of, released, stored


@pytest.fixture
async def world(tmp_path, monkeypatch):
    in_haste(monkeypatch)
    async with watched_cluster(tmp_path) as world:
        yield world


async def rolled_back(world):
    """A record whose release bob lost after the backup; the machine that waits on the backup, and the record."""
    address, _ = await stored(world)
    backup = world.database
    alice = await world.client("alice")
    await alice.update(address, 1, instructions=world.instructions(WITHOUT_BOB))
    assert await collect_error(await world.client("bob"), address) is Number.REFUSED
    return await world.recovering(backup), address


WITHOUT_BOB = """permit(principal, action, resource) when {
    context.identity has email && context.identity.email == "alice@example.com" };
"""


async def unwitnessed(world, address):
    """A machine with a database whose last line no witness has seen."""
    bob = await world.client("bob")
    world.vault.host.witnesses = world.vault.host.no_witnesses
    await bob.collect(address)
    return world.machine()


async def open_ring(world, machine):
    for index in (0, 1):
        await hand_over(machine, world.opened(index))


async def quiet(machine, seconds=0.3):
    """Nothing is served or written meanwhile."""
    before = dict(machine.host.rows)
    await asyncio.sleep(seconds)
    assert not machine.serving.done()
    assert machine.host.rows == before
    machine.serving.cancel()


async def database_before_and_after_a_right_was_lost(world):
    """The record, the database where bob may collect it, and the one where he may not any more."""
    address, _ = await stored(world)
    before = world.database
    alice = await world.client("alice")
    await alice.update(address, 1, instructions=world.instructions(WITHOUT_BOB))
    return address, before, world.database


def exchange(machine, database):
    """The host shows another database from now on."""
    machine.host.rows, machine.host.log = dict(database[0]), list(database[1])


async def is_refused_as_rolled_back(world, machine, database):
    with pytest.raises(Untrusted) as caught:
        await world.served(machine)
    assert caught.value.number is Number.ROLLED_BACK
    assert (machine.host.rows, machine.host.log) == database


# --- no gap -----------------------------------------------------------------------------------------------------------


async def test_the_newest_database_goes_on_with_its_log(world):
    """Clients that knew it find theirs extended."""
    address, _ = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    known = parse_checkpoint(bob.checkpoint).checkpoint
    machine = await world.recovering()
    await open_ring(world, machine)
    await world.served(machine)
    assert parse_any_evidence(await machine.evidence())[1].generation == 0
    bob = await world.client("bob")
    fresh = await bob.ask(Freshen(size=known.size))
    now = parse_checkpoint(fresh.checkpoint).checkpoint
    assert now.origin == known.origin
    verify_consistency(known.size, known.root, now.size, now.root, fresh.proof)
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_a_database_that_is_ahead_of_the_witnesses_lacks_nothing(world):
    """Not all commits wait for them."""
    address, _ = await stored(world)
    machine = await unwitnessed(world, address)
    assert world.watch.states[0].latest(log_origin(world.vault_cluster)).size < len(machine.host.log)
    await machine.begin("recover")
    machine.serve()
    await open_ring(world, machine)
    await world.served(machine)
    assert parse_any_evidence(await machine.evidence())[1].generation == 0


async def test_a_database_in_which_nothing_was_missed_is_the_one_that_is_served(world):
    """Its last line no witness has seen: they would cosign a database without it."""
    address, _ = await stored(world)
    before = world.database
    machine = await unwitnessed(world, address)
    await machine.begin("recover")
    machine.serve()
    read, looks = machine.host.read, []

    async def exchanging(keys):
        if keys == [HEAD_KEY]:
            looks.append(keys)
        if len(looks) == 2:
            exchange(machine, before)
        return await read(keys)

    machine.host.read = exchanging
    await open_ring(world, machine)
    await is_refused_as_rolled_back(world, machine, before)


# --- a gap ------------------------------------------------------------------------------------------------------------


async def test_a_rolled_back_database_waits_for_custodians_and_shows_what_is_lost(world):
    machine, _ = await rolled_back(world)
    await open_ring(world, machine)
    now = await reaches(machine, "gap")
    newest = max(world.watch.states[at].latest(log_origin(world.vault_cluster)).size for at in up(world.watch))
    assert (now.gap.found_size, now.gap.known_size) == (len(machine.host.log), newest)
    assert now.gap.known_size > now.gap.found_size
    found = await looked(machine)
    (lost, *_, vouched) = explain_gap(found.gap, now.gap.known_at)
    assert f"{newest - len(machine.host.log)} lines would be given up" in lost
    assert "know no later line" in vouched
    assert explain_state(now).startswith("the ring is open; 0 of 2 custodians have signed")
    await quiet(machine)


async def test_after_enough_have_signed_that_gap_a_new_log_begins_which_names_it(world):
    """Among what is given up is that bob lost a right: whoever looks finds that it was, by whom, and how much."""
    machine, address = await rolled_back(world)
    found_size = len(machine.host.log)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    gap = (await looked(machine)).gap
    assert (await sign_gap(machine, world.opened(2))).missing == 1
    assert [seat.done for seat in (await status(machine)).custodians] == [False, False, True]
    assert (await sign_gap(machine, world.opened(0))).missing == 0
    await world.served(machine)
    claims = parse_any_evidence(await machine.evidence())[1]
    assert (claims.stage, claims.recoveries, claims.generation) == ("member", 1, 1)
    life, commit = map(parse_leaf, machine.host.log[found_size : found_size + 2])
    assert isinstance(life, LifeLeaf)
    assert (life.event, life.about, life.number) == ("recovered", digest(Domain.GAP, encode(gap)), 1)
    assert isinstance(commit, CommitLeaf)
    assert (commit.generation, commit.recoveries, commit.start) == (1, 1, True)
    charter = charter_of(parse_sealed(machine.host.rows[RING_KEY].sealed))
    verify_charter(charter)
    assert [one.statement for one in charter.gaps] == [encode(gap)]
    bob = await world.client("bob")
    assert await bob.collect(address) == [released(1, SECRET)]
    assert parse_checkpoint(bob.checkpoint).checkpoint.origin == log_origin(world.vault_cluster, generation=1)
    await machine.start()  # by itself, and with its witnesses


async def test_the_database_that_custodians_signed_for_is_the_one_that_is_served(world):
    """They saw that bob's right was revoked; the host then shows a copy of before. Both have the same ring."""
    address, before, after = await database_before_and_after_a_right_was_lost(world)
    await collect_error(await world.client("bob"), address)
    machine = await world.recovering(after)
    await open_ring(world, machine)
    assert (await reaches(machine, "gap")).gap.found_size == len(after[1]) > len(before[1])
    await sign_gap(machine, world.opened(0))
    exchange(machine, before)
    await sign_gap(machine, world.opened(1))
    await is_refused_as_rolled_back(world, machine, before)


async def test_fewer_signatures_than_custodians_it_takes_serve_nothing(world):
    machine, _ = await rolled_back(world)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    for _ in range(2):
        assert (await sign_gap(machine, world.opened(1))).missing == 1
    await quiet(machine)


async def test_a_signature_of_another_gap_is_refused(world):
    """Of another attempt, and of another place in the log; also where it is passed off as this one's."""
    machine, _ = await rolled_back(world)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    session, found = await talking(machine), await looked(machine)
    signed = approval(found, world.opened(0))
    key = world.founded.shares[0].key
    for field in ("known_size", "generation", "recoveries", "at"):
        other = encode(msgspec.structs.replace(found.gap, **{field: getattr(found.gap, field) + 1}))
        signature = key.sign(Domain.GAP, other)
        named = msgspec.structs.replace(signed, gap=digest(Domain.GAP, other), signature=signature)
        assert await number_of(approve(session, named)) is Number.ATTEMPT_OVER
        passed_off = msgspec.structs.replace(signed, signature=signature)
        assert await number_of(approve(session, passed_off)) is Number.INTEGRITY
    for wrong in (
        msgspec.structs.replace(signed, index=1),
        msgspec.structs.replace(signed, signature=SigningKey.generate().sign(Domain.GAP, encode(found.gap))),
        msgspec.structs.replace(signed, signature=key.sign(Domain.ENDORSEMENT, encode(found.gap))),
    ):
        assert await number_of(approve(session, wrong)) is Number.INTEGRITY
    assert await number_of(approve(session, msgspec.structs.replace(signed, index=3))) is Number.SHARE_FOREIGN
    assert not any(seat.done for seat in (await status(machine)).custodians)


async def test_a_signature_is_for_one_attempt(world):
    """One that was made for an attempt that ended is worth nothing to the next, though it gives up as much."""
    machine, _ = await rolled_back(world)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    signed = approval(await looked(machine), world.opened(0))
    machine.serving.cancel()
    await machine.begin("recover")
    machine.serve()
    assert await number_of(approve(await talking(machine), signed)) is Number.NOT_NOW
    await open_ring(world, machine)
    await reaches(machine, "gap")
    assert await number_of(approve(await talking(machine), signed)) is Number.ATTEMPT_OVER
    for index in (0, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)


async def test_a_custodian_signs_no_gap_that_is_not_what_was_shown(world):
    machine, _ = await rolled_back(world)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    found = await looked(machine)
    other = msgspec.structs.replace(found.gap, cluster=bytes(32))
    shown = msgspec.structs.replace(found.status.gap, statement=encode(other).hex())
    smaller = msgspec.structs.replace(found.status.gap, known_size=found.gap.found_size + 1)
    for gap in (shown, smaller):
        lied_to = replaced(found, status=msgspec.structs.replace(found.status, gap=gap))
        with pytest.raises(Untrusted):
            approval(lied_to, world.opened(0))
    with pytest.raises(Misuse):
        approval(replaced(found, status=msgspec.structs.replace(found.status, gap=None)), world.opened(0))


def replaced(found, **fields):
    return dataclasses.replace(found, **fields)


async def test_another_history_than_witnesses_have_seen_is_given_up_by_name(world):
    """The database was restored and written to, and is longer than what witnesses know."""
    address, _ = await stored(world)
    bob = await world.client("bob")
    clone = world.machine()
    clone.platform = world.vault.platform
    await clone.start()
    for _ in range(3):
        await bob.collect(address)
    machine = await world.recovering()
    await open_ring(world, machine)
    now = await reaches(machine, "gap")
    assert now.gap.known_size < now.gap.found_size
    found = await looked(machine)
    assert "these are not the same ones" in explain_gap(found.gap, now.gap.known_at)[0]
    for index in (0, 1):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)


async def test_a_proof_that_the_host_has_bent_is_a_gap_and_not_a_start(world):
    address, _ = await stored(world)
    machine = await unwitnessed(world, address)
    honest = machine.host.consistency

    async def bent(old, size):
        proof = await honest(old, size)
        return [bytes(32), *proof[1:]]

    machine.host.consistency = bent
    await machine.begin("recover")
    machine.serve()
    await open_ring(world, machine)
    await reaches(machine, "gap")
    await quiet(machine)


# --- what a host says of the witnesses --------------------------------------------------------------------------------


async def test_a_host_that_keeps_all_of_their_word_back_gets_no_cosignature(world):
    """It shows no gap, and then nothing is served or written: the witnesses know more."""
    machine, _ = await rolled_back(world)

    async def nothing(origin):
        return []

    machine.host.witnessed = nothing
    await open_ring(world, machine)
    now = await reaches(machine, "starting")
    assert "know a longer log" in explain_state(now)
    await quiet(machine)


async def test_a_host_that_keeps_the_newest_of_their_word_back_shows_how_old_it_is(world):
    """Custodians would sign a gap that is too small; a witness whom they ask themselves knows better."""
    address, _ = await stored(world)
    backup = world.database
    alice = await world.client("alice")
    await alice.update(address, 1, secret=b"newer")
    origin = log_origin(world.vault_cluster)
    older = [state.latest(origin).note for state in world.watch.states]
    world.vault.platform.ahead = 3600
    await (await world.client("alice")).delete(address, 2)
    newest = world.watch.states[0].latest(origin).note
    machine = world.machine(backup)
    machine.platform.ahead = 3600

    async def stale(asked):
        return older if asked == origin else []

    machine.host.witnessed = stale
    await machine.begin("recover")
    machine.serve()
    await open_ring(world, machine)
    now = await reaches(machine, "gap")
    found = await looked(machine)
    assert found.gap.known_size < parse_checkpoint(newest).checkpoint.size
    assert found.gap.at - now.gap.known_at > STALE_SECONDS
    assert any("Ask them yourself" in line for line in explain_gap(found.gap, now.gap.known_at))
    assert [generation for generation, _ in witness_paths(found)] == [0, 1]
    with pytest.raises(Untrusted) as caught:
        verify_with_witness(found, 0, newest)
    assert caught.value.number is Number.ROLLED_BACK
    assert verify_with_witness(found, 0, older[0]) == found.gap.known_size
    machine.serving.cancel()


async def test_too_few_words_vouch_for_no_time(world):
    """One of three may have missed the newest that the other two have cosigned."""
    machine, _ = await rolled_back(world)
    world.watch.down = {1, 2}
    await open_ring(world, machine)
    now = await reaches(machine, "gap")
    assert now.gap.known_at == 0
    found = await looked(machine)
    assert any("too few witnesses" in line for line in explain_gap(found.gap, 0))
    machine.serving.cancel()


async def test_what_no_log_and_no_witness_has_signed_is_no_gap(world):
    """A host that would have custodians give up something that never was."""
    address, _ = await stored(world)
    origin = log_origin(world.vault_cluster)
    seen = parse_checkpoint(world.watch.states[0].latest(origin).note)
    longer = Checkpoint(origin, seen.checkpoint.size + 9, bytes(32))
    # The log's own word that no witness has: of a commit that the host undid, and nobody was told of.
    alone = sign_checkpoint(world.vault.ring.log_key, longer)
    # A witness's that the log has not signed; and both, of another log.
    lying = cosign(world.watch.keys[0], world.watch.names[0], longer, int(world.vault.platform.now()))
    forged = sign_checkpoint(NoteKey(bytes(32)), longer).with_lines([lying])
    other = Checkpoint(log_origin(bytes(32)), longer.size, longer.root)
    elsewhere = sign_checkpoint(world.vault.ring.log_key, other).with_lines(
        [cosign(world.watch.keys[0], world.watch.names[0], other, int(world.vault.platform.now()))]
    )
    altered = seen.note.replace(b"\n%d\n" % seen.checkpoint.size, b"\n%d\n" % longer.size, 1)
    machine = world.machine()
    honest = machine.host.witnessed

    async def lies(asked):
        return [b"", b"nonsense", altered, alone.note, forged.note, elsewhere.note, *await honest(asked)]

    machine.host.witnessed = lies
    await machine.begin("recover")
    machine.serve()
    await open_ring(world, machine)
    await world.served(machine)
    assert parse_any_evidence(await machine.evidence())[1].generation == 0
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_it_waits_for_witnesses_who_do_not_answer(world):
    machine, _ = await rolled_back(world)
    honest, machine.host.witnessed = machine.host.witnessed, unreachable
    await open_ring(world, machine)
    await asyncio.sleep(0.1)
    assert (await status(machine)).state == "starting"
    machine.host.witnessed = honest
    await reaches(machine, "gap")
    machine.serving.cancel()


# --- once more --------------------------------------------------------------------------------------------------------


async def recovered_with_gap(world, database):
    machine = await world.recovering(database)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    for index in (1, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)
    return machine


async def test_a_backup_from_before_a_recovery_that_gave_something_up(world):
    """What that recovery gave up is not brought back; what came after it is given up, and by a log of its own."""
    address, _ = await stored(world)
    backup = world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    await recovered_with_gap(world, backup)
    await (await world.client("alice")).update(address, 1, secret=b"of generation 1")
    machine = await recovered_with_gap(world, backup)
    claims = parse_any_evidence(await machine.evidence())[1]
    assert claims.generation == 2
    charter = charter_of(parse_sealed(machine.host.rows[RING_KEY].sealed))
    verify_charter(charter)
    assert len(charter.gaps) == 1
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_the_head_that_was_given_up_is_not_served_again(world):
    """The old machine goes on where it was, or its database is recovered as if nothing had been."""
    address, _ = await stored(world)
    backup = world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    old, given_up = world.vault, world.database
    await recovered_with_gap(world, backup)
    starting = asyncio.create_task(old.start())
    await asyncio.sleep(0.3)
    assert not starting.done()
    starting.cancel()
    machine = await world.recovering(given_up)
    await open_ring(world, machine)
    await reaches(machine, "gap")
    await quiet(machine)


async def test_a_recovery_that_ended_between_witnesses_and_database_is_made_anew(world):
    """The new log is cosigned, and nothing of it was written: the next one begins it."""
    machine, address = await rolled_back(world)
    backup = dict(machine.host.rows), list(machine.host.log)
    await open_ring(world, machine)
    await reaches(machine, "gap")

    async def lost(puts, size, leaves):
        await asyncio.Event().wait()

    machine.host.commit = lost
    for index in (0, 1):
        await sign_gap(machine, world.opened(index))
    origin = log_origin(world.vault_cluster, generation=1)
    async with asyncio.timeout(5):
        while not world.watch.states[1].latest(origin).note:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    machine.serving.cancel()
    again = await recovered_with_gap(world, backup)
    assert parse_any_evidence(await again.evidence())[1].generation == 1
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_of_two_copies_that_are_recovered_witnesses_let_one_serve(world):
    """Two machines with a database each, and custodians who sign for both: no witness cosigns two logs of one name."""
    address, _ = await stored(world)
    backup = world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    machines = [await world.recovering(backup) for _ in range(2)]
    for machine in machines:
        await open_ring(world, machine)
        assert (await reaches(machine, "gap")).gap.known_size > len(backup[1])
        await sign_gap(machine, world.opened(0))
    assert [(await looked(machine)).gap.generation for machine in machines] == [1, 1]
    await asyncio.gather(*(sign_gap(machine, world.opened(1)) for machine in machines))
    served, waits = await asyncio.wait(
        [machine.serving for machine in machines], timeout=10, return_when=asyncio.FIRST_COMPLETED
    )
    assert (len(served), len(waits)) == (1, 1)
    winner, loser = sorted(machines, key=lambda machine: machine.serving in waits)
    await world.served(winner)
    assert (await status(loser)).state == "starting"
    assert parse_any_evidence(await loser.evidence())[1].stage == "recovering"
    await quiet(loser)
    # Nor does it later, by the ring that it may have sealed to itself in its own database before it was refused.
    starting = asyncio.create_task(loser.start())
    await asyncio.wait({starting}, timeout=0.3)
    assert not starting.done() or starting.exception() is not None
    starting.cancel()
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
