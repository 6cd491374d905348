"""A host that goes back in time with a row, a bucket, the head or the log, while the Vault runs or before it starts."""

import asyncio
import os

import pytest

from strongroom.enclave.vault import ledger
from strongroom.enclave.vault.buckets import LOAD, Index, find
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.index import HEAD_KEY, RING_KEY, bucket_key, bucket_of
from strongroom.protocol.leaves import CommitLeaf, Entry, EntryLeaf, commitment, log_verifier, parse_leaf
from strongroom.protocol.link import Row
from strongroom.protocol.log_messages import Freshen, Trail
from strongroom.protocol.messages import OfNamespace
from strongroom.protocol.notes import verify_checkpoint
from strongroom.protocol.primitives import verify_note_signature
from strongroom.protocol.tlog import leaf_hash, verify_consistency, verify_inclusion
from tests.support import trees
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import for_bob, permit

OPEN = permit("collect", "update", "delete", "audit")


def its_ledger(world):
    return world.vault.enclave._door._service._ledger


def tampered(world, key, row):
    """Put a row there, or none."""
    if row is None:
        del world.vault.host.rows[key]
    else:
        world.vault.host.rows[key] = row


# --- rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_older_row_in_its_own_place_with_its_own_version_is_refused(world, restarted):
    """The whole point: it opens, and it is last month's."""
    address, key = await stored(world)
    old = world.vault.host.rows[key]
    alice = await world.client("alice")
    await alice.update(
        address, 1, instructions=world.instructions(permit("update", "delete", email="alice@example.com"))
    )
    world.vault.host.rows[key] = old
    if restarted:
        await world.vault.start()
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK


async def test_a_record_that_is_said_to_be_gone_is_missed(world):
    address, key = await stored(world)
    del world.vault.host.rows[key]
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK
    await world.vault.start()
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK


async def test_a_deleted_record_does_not_come_back(world):
    address, key = await stored(world)
    old = world.vault.host.rows[key]
    await (await world.client("alice")).delete(address, 1)
    world.vault.host.rows[key] = old
    await world.vault.start()
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK


async def test_refusals_are_not_forgotten_with_an_older_row_or_none(world):
    address, _ = await stored(world)
    key = world.vault.enclave._door._service._release._shelf.attempts_key(world.handle(address))
    mallory = await world.client("mallory")
    await collect_error(mallory, address)
    once = world.vault.host.rows[key]
    await collect_error(mallory, address)
    for lie in (once, None):
        tampered(world, key, lie)
        await world.vault.start()
        assert await number_of((await world.client("mallory")).collect(address)) is Number.ROLLED_BACK


async def test_a_namespace_that_is_hidden_lets_nobody_store_and_is_not_founded_again(world):
    key = world.handle(OfNamespace(namespace="team"))
    del world.vault.host.rows[key]
    alice = await world.client("alice")
    assert await number_of(alice.store(fresh(), SECRET, world.instructions(for_bob()))) is Number.ROLLED_BACK
    assert await number_of(world.namespace()) is Number.ROLLED_BACK


# --- buckets and head -------------------------------------------------------------------------------------------


async def filled(world, records=3 * LOAD):
    """Records enough for several buckets; an address and its row key."""
    alice = await world.client("alice")
    instructions = world.instructions(OPEN)
    addresses = [fresh() for _ in range(records)]
    for at in range(0, records, 8):
        await asyncio.gather(*(alice.store(one, SECRET, instructions) for one in addresses[at : at + 8]))
    assert its_ledger(world)._index.buckets > 3
    return addresses


async def test_a_row_and_its_bucket_of_the_same_earlier_time_are_refused(world, monkeypatch):
    """Both fit each other; the tree knows better. Nothing is at hand, so that every bucket is read anew."""
    address = (await filled(world))[0]
    key = world.handle(address)
    bucket = bucket_key(bucket_of(key, its_ledger(world)._index.buckets))
    old = {one: world.vault.host.rows[one] for one in (key, bucket)}
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    world.vault.host.rows.update(old)
    its_ledger(world)._index._cache.clear()
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK
    assert await number_of(world.vault.start()) is Number.ROLLED_BACK


async def test_an_altered_bucket_is_refused(world):
    address = (await filled(world))[0]
    bucket = bucket_key(bucket_of(world.handle(address), its_ledger(world)._index.buckets))
    row = world.vault.host.rows[bucket]
    bent = bytearray(row.sealed)
    bent[39] ^= 1
    world.vault.host.rows[bucket] = Row(row.version, bytes(bent))
    its_ledger(world)._index._cache.clear()
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY
    assert await number_of(world.vault.start()) is Number.ROLLED_BACK


@pytest.mark.parametrize("which", ["head", "buckets", "ring", "no head"])
async def test_parts_of_different_times_are_refused_at_the_start(world, which):
    await filled(world)
    before = dict(world.vault.host.rows)
    await stored(world)
    own = {"head": [HEAD_KEY], "buckets": [bucket_key(n) for n in range(8)], "ring": [RING_KEY]}
    if which == "no head":
        del world.vault.host.rows[HEAD_KEY]
    elif which == "ring":  # sealed anew, as by a changed program, and put back
        other = its_ring(world).draft(world.vault.platform).row
        world.vault.host.rows[RING_KEY] = Row(world.vault.host.rows[RING_KEY].version, other)
    else:
        world.vault.host.rows.update({key: before[key] for key in own[which] if key in before})
    assert await number_of(world.vault.start()) is Number.ROLLED_BACK


@pytest.mark.parametrize("leaves", [-1, 1])
async def test_a_log_of_another_length_than_the_head_says_is_refused_at_the_start(world, leaves):
    await stored(world)
    log = world.vault.host.log
    world.vault.host.log = log[:leaves] if leaves < 0 else [*log, log[-1]]
    assert await number_of(world.vault.start()) is Number.ROLLED_BACK


def its_ring(world):
    return world.vault.enclave._cluster._ring


async def test_a_head_that_was_put_back_under_a_running_vault_stops_its_writing(world):
    address, _ = await stored(world)
    head = world.vault.host.rows[HEAD_KEY]
    bob = await world.client("bob")
    await bob.collect(address)
    world.vault.host.rows[HEAD_KEY] = head
    assert await number_of(bob.collect(address)) in (Number.STORE_UNAVAILABLE, Number.ROLLED_BACK)
    assert await number_of(bob.collect(address)) is Number.ROLLED_BACK, "and it does not go on from there"


async def test_the_index_grows_a_bucket_at_a_time_and_every_row_stays_listed(world):
    addresses = await filled(world, 6 * LOAD)
    index = its_ledger(world)._index
    assert index.listings <= LOAD * index.buckets < index.listings + LOAD
    await world.vault.start()
    bob = await world.client("bob")
    assert [len(await bob.collect(*addresses[at : at + 16])) for at in range(0, len(addresses), 16)] == [16] * 6
    rows = [world.vault.host.rows.get(bucket_key(number)) for number in range(index.buckets)]
    rebuilt = Index.of(rows, index.listings)
    assert rebuilt.root == its_ledger(world)._index.root
    for key, row in world.vault.host.kept.items():
        if key != RING_KEY:
            listing = find(rebuilt.content(bucket_of(key, rebuilt.buckets)) or b"", key)
            assert listing.version == row.version


async def test_a_bucket_is_read_only_when_it_is_not_at_hand(world):
    address = (await filled(world))[0]
    bob, read, honest = await world.client("bob"), [], world.vault.host.read

    async def listen(keys):
        read.append(len(keys))
        return await honest(keys)

    world.vault.host.read = listen
    await bob.collect(address)
    assert sum(read) == 1
    read.clear()
    its_ledger(world)._index._cache.clear()
    await bob.collect(address)
    assert sum(read) <= 6, "a record, the buckets of record and attempts, and those that the commit changes"


# --- commits that end in the dark --------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [False, True])
async def test_a_commit_that_is_said_to_have_failed_is_found_out_about(world, made):
    address, _ = await stored(world)
    alice, honest = await world.client("alice"), world.vault.host.commit
    request_id = os.urandom(16)

    async def fail(puts, size, leaves):
        if made:
            await honest(puts, size, leaves)
        raise Unavailable(Number.STORE_UNAVAILABLE)

    world.vault.host.commit = fail
    assert await number_of(alice.update(address, 1, secret=b"new", request_id=request_id)) is Number.STORE_UNAVAILABLE
    world.vault.host.commit = honest
    expected = released(2, b"new") if made else released(1, SECRET)
    assert await (await world.client("bob")).collect(address) == [expected]
    assert (await alice.update(address, 1, secret=b"new", request_id=request_id)).version == 2
    assert await (await world.client("bob")).collect(address) == [released(2, b"new")]


async def test_a_commit_that_turns_up_late_is_taken_for_what_it_is(world):
    """The host says no, the Vault goes on, and then the first commit is there after all."""
    address, _ = await stored(world)
    alice, honest, late = await world.client("alice"), world.vault.host.commit, []

    async def keep_back(puts, size, leaves):
        late.append((puts, size, leaves))
        raise Unavailable(Number.STORE_UNAVAILABLE)

    world.vault.host.commit = keep_back
    assert await number_of(alice.update(address, 1, secret=b"late")) is Number.STORE_UNAVAILABLE

    async def late_first(puts, size, leaves):
        if late:
            await honest(*late.pop())
        return await honest(puts, size, leaves)

    world.vault.host.commit = late_first
    bob = await world.client("bob")
    assert await number_of(bob.collect(address)) is Number.STORE_UNAVAILABLE, "somebody wrote in between"
    assert await bob.collect(address) == [released(2, b"late")]
    await world.vault.start()
    assert await (await world.client("bob")).collect(address) == [released(2, b"late")]


async def test_a_commit_that_turns_up_after_it_was_found_not_made_is_no_attack(world):
    """As a database may do it that was slow for once: what was read since must not look like a lie for ever."""
    address, _ = await stored(world)
    alice, honest, late = await world.client("alice"), world.vault.host.commit, []

    async def keep_back(puts, size, leaves):
        late.append((puts, size, leaves))
        raise Unavailable(Number.STORE_UNAVAILABLE)

    world.vault.host.commit = keep_back
    assert await number_of(alice.update(address, 1, secret=b"late")) is Number.STORE_UNAVAILABLE
    world.vault.host.commit = honest
    await alice.describe(address)  # the head is the old one: the commit was not made
    await honest(*late.pop())
    bob = await world.client("bob")
    await bob.describe(address)
    assert await bob.collect(address) == [released(2, b"late")]


async def test_half_a_commit_is_none(world):
    address, key = await stored(world)
    alice, honest = await world.client("alice"), world.vault.host.commit

    async def half(puts, size, leaves):
        await honest([put for put in puts if put.key == key], size, [])
        raise Unavailable(Number.STORE_UNAVAILABLE)

    world.vault.host.commit = half
    assert await number_of(alice.update(address, 1, secret=b"new")) is Number.STORE_UNAVAILABLE
    world.vault.host.commit = honest
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK


async def test_many_failed_commits_one_after_the_other_leave_a_vault_that_goes_on(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    world.vault.host.fail_commit = Unavailable(Number.STORE_FULL)
    for _ in range(2 * ledger.MAX_CANDIDATES):
        assert await number_of(bob.collect(address)) is Number.STORE_FULL
    world.vault.host.fail_commit = None
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_rows_are_read_while_others_are_written_and_nobody_sees_an_attack(world):
    """Buckets split, commits fly, readers read: nothing of it looks like a host that lies."""
    addresses = await filled(world)
    alice, bob = await world.client("alice"), await world.client("bob")
    its_ledger(world)._index._cache.clear()

    async def write():
        for _ in range(6):
            await asyncio.gather(*(alice.store(fresh(), SECRET, world.instructions(OPEN)) for _ in range(8)))

    async def read():
        for at in range(0, len(addresses), 4):
            results = await bob.collect(*addresses[at : at + 4])
            assert [result.secret for result in results] == [SECRET] * 4

    await asyncio.gather(write(), read(), read())


# --- the log ------------------------------------------------------------------------------------------------------


def the_verifier(world):
    return log_verifier(world.vault_cluster, its_ring(world).statement.log_key)


async def test_every_answer_comes_with_a_checkpoint_that_covers_it(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    sizes = []
    for _ in range(3):
        await bob.collect(address)
        signed = verify_checkpoint(bob.checkpoint, the_verifier(world))
        sizes.append(signed.checkpoint.size)
        hashes = [leaf_hash(leaf) for leaf in world.vault.host.log]
        assert signed.checkpoint.root == trees.root(hashes[: signed.checkpoint.size])
        assert signed.checkpoint.size == len(hashes)
    assert sizes == sorted(set(sizes))


async def test_a_client_is_shown_that_the_log_extends_the_one_it_knows(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    known = verify_checkpoint(bob.checkpoint, the_verifier(world)).checkpoint
    await bob.collect(address)
    for restart in (False, True):
        if restart:
            await world.vault.start()
        answer = await (await world.client()).ask(Freshen(size=known.size))
        now = verify_checkpoint(answer.checkpoint, the_verifier(world)).checkpoint
        verify_consistency(known.size, known.root, now.size, now.root, answer.proof)
    answer = await (await world.client()).ask(Freshen(size=now.size + 1000))
    assert (verify_checkpoint(answer.checkpoint, the_verifier(world)).checkpoint, answer.proof) == (now, [])


async def test_what_is_not_durable_is_not_signed(world):
    """Else two histories could get one size: that of a commit which failed, and that of the next one."""
    address, _ = await stored(world)
    bob, checkpoint = await world.client("bob"), its_ledger(world).log.checkpoint
    world.vault.host.fail_commit = Unavailable(Number.STORE_UNAVAILABLE)
    await number_of(bob.collect(address))
    assert its_ledger(world).log.checkpoint == checkpoint
    world.vault.host.fail_commit = None
    await bob.collect(address)
    verify_note_signature(its_ring(world).log_key.public, its_ring(world).log_key.sign(b"x"), b"x")
    assert its_ledger(world).log.checkpoint.checkpoint.size == checkpoint.checkpoint.size + 2


async def test_commits_say_what_the_database_must_hold(world):
    await stored(world)
    await (await world.client()).collect(fresh())
    await stored(world)
    commits = [leaf for leaf in map(parse_leaf, world.vault.host.log) if isinstance(leaf, CommitLeaf)]
    assert [leaf.start for leaf in commits] == [True] + [False] * (len(commits) - 1)
    assert len({leaf.owner for leaf in commits}) == 1
    assert len({leaf.nonce for leaf in commits}) == len(commits)
    assert commits[-1].index_root == its_ledger(world)._index.root
    assert sum(leaf.unticketed for leaf in commits) == 1
    await world.vault.start()
    last = parse_leaf(world.vault.host.log[-1])
    assert isinstance(last, CommitLeaf)
    assert (last.start, last.owner == commits[-1].owner) == (True, False)


async def trail(client, address, **changes):
    return await client.ask(
        Trail(address=address, tickets=client.tickets, place=changes.get("place", 0), limit=changes.get("limit", 128))
    )


async def test_an_owner_sees_every_collect_and_every_denial_each_proven_to_be_in_the_log(world):
    address, _ = await stored(world)
    await (await world.client("bob")).collect(address)
    await collect_error(await world.client("mallory"), address)
    alice = await world.client("alice")
    answer = await trail(alice, address)
    entries = [decode(one.opened, Entry, limit=4096) for one in answer.entries]
    said = [(one.number, one.action, one.identity.rsplit(":")[-1], one.outcome) for one in entries]
    assert said == [
        (4, "audit", "alice", 0),
        (3, "collect", "mallory", Number.REFUSED),
        (2, "collect", "bob", 0),
        (1, "create", "alice", 0),
    ]
    signed = verify_checkpoint(answer.checkpoint, the_verifier(world)).checkpoint
    for one in answer.entries:
        verify_inclusion(one.index, leaf_hash(one.leaf), signed.size, signed.root, one.proof)
        leaf = parse_leaf(one.leaf)
        assert isinstance(leaf, EntryLeaf)
        assert leaf.commitment == commitment(one.opened)
    older = await trail(alice, address, place=entries[1].previous, limit=1)
    assert [decode(one.opened, Entry, limit=4096).number for one in older.entries] == [2]


async def test_who_may_not_audit_sees_no_trail(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    assert await number_of(trail(bob, address)) is Number.REFUSED
    assert await number_of(trail(bob, fresh())) is Number.REFUSED


async def test_an_entry_that_the_host_holds_back_is_missed(world):
    address, _ = await stored(world)
    await (await world.client("bob")).collect(address)
    alice, honest = await world.client("alice"), world.vault.host.leaves

    async def omit(indexes):
        return [None if index == last else leaf for index, leaf in zip(indexes, await honest(indexes), strict=True)]

    (last,) = [at for at, leaf in enumerate(world.vault.host.log) if isinstance(parse_leaf(leaf), EntryLeaf)][-1:]
    world.vault.host.leaves = omit
    assert await number_of(trail(alice, address)) is Number.LOG_OMITTED


async def test_an_entry_of_another_place_or_record_is_not_taken_for_this_one(world):
    address, _ = await stored(world)
    other, _ = await stored(world)
    alice = await world.client("alice")
    about_other = world.entries()[-1]
    place = max(at for at, leaf in enumerate(world.vault.host.log) if isinstance(parse_leaf(leaf), EntryLeaf)) + 1
    assert about_other.handle == world.handle(other)
    assert await number_of(trail(alice, address, place=place)) is Number.INTEGRITY
    assert await number_of(trail(alice, address, place=1)) is Number.INTEGRITY, "the leaf of a commit"
    assert await number_of(trail(alice, address, place=10**6)) is Number.LOG_OMITTED
    first = next(at for at, leaf in enumerate(world.vault.host.log) if isinstance(parse_leaf(leaf), EntryLeaf))
    honest = world.vault.host.leaves

    async def swap(indexes):
        return [world.vault.host.log[first] if index != first else (await honest([index]))[0] for index in indexes]

    world.vault.host.leaves = swap
    assert await number_of(trail(alice, address)) is Number.INTEGRITY


async def test_readings_that_end_in_another_order_than_they_began_leave_each_its_own_account(world):
    """Each is told of the commits during it, and of no other's: else a change under way looks like an attack."""
    first, _ = await stored(world)
    second, _ = await stored(world)
    honest, gates = world.vault.host.read, {world.handle(one): asyncio.Event() for one in (first, second)}

    async def slowly(keys):
        rows = await honest(keys)
        for key in keys:
            if key in gates:
                await gates[key].wait()
        return rows

    alice = await world.client("alice")
    bobs = [await world.client("bob") for _ in range(2)]
    world.vault.host.read = slowly
    readings = [asyncio.create_task(bob.collect(one)) for bob, one in zip(bobs, (first, second), strict=True)]
    await asyncio.sleep(0.05)
    gates.pop(world.handle(second)).set()
    assert await readings[1] == [released(1, SECRET)]
    gate = gates.pop(world.handle(first))
    await alice.update(first, 1, secret=b"newer")
    gate.set()
    assert await readings[0] == [released(2, b"newer")]
