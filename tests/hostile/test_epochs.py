"""Epochs that turn: under a host that fails, lies and remembers, nothing is lost, and what is erased stays closed."""

import asyncio
import random
from contextlib import suppress

import pytest

from strongroom.enclave.runtime import epochs
from strongroom.enclave.vault import resealing
from strongroom.enclave.vault.buckets import LOAD
from strongroom.enclave.vault.rows import RowSealer, epoch_of
from strongroom.protocol.cluster_messages import Rotate
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import LifeLeaf, parse_leaf
from strongroom.protocol.limits import MAX_EPOCHS
from strongroom.protocol.link import Put, Row
from strongroom.protocol.log_messages import Trail
from strongroom.protocol.vault_messages import Item, StoreItem
from tests.support.epochs import at_rest, epochs_in_use, owner_of, ring_of, rotate, service_of, snapshot, until
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import for_bob, permit

OPEN = permit("collect", "update", "delete", "audit")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What waits between attempts, waits for less long than in earnest; a walk has many steps."""
    monkeypatch.setattr(epochs, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(epochs, "DAMAGED_SECONDS", 0.02)
    monkeypatch.setattr(resealing, "BUCKETS_AT_ONCE", 1)
    monkeypatch.setattr(resealing, "GRACE_SECONDS", 0)


async def filled(world, count=40):
    """Addresses of records; their secrets are numbered."""
    alice, addresses = await world.client("alice"), [fresh() for _ in range(count)]
    instructions = world.instructions(OPEN)
    items = [
        StoreItem(
            address=address,
            replaces=0,
            secret=b"secret %d" % number,
            metadata=b"",
            instructions=instructions,
            terms=None,
        )
        for number, address in enumerate(addresses)
    ]
    await alice.store(None, b"", b"", items=items)
    return addresses


async def verify_all(world, addresses):
    bob = await world.client("bob")
    for number, result in enumerate(await bob.collect(*addresses)):
        assert isinstance(result, Item), Number(result.number)
        assert result.secret == b"secret %d" % number


def leaves_of_life(world):
    parsed = map(parse_leaf, world.vault.host.log)
    return [(leaf.event, leaf.number) for leaf in parsed if isinstance(leaf, LifeLeaf)]


# --- the promise --------------------------------------------------------------------------------------------------


async def test_a_new_epoch_is_for_all_new_writes_and_old_rows_follow_at_the_same_version(world):
    addresses = await filled(world)
    handles = [world.handle(address) for address in addresses]
    assert epochs_in_use(world.vault) == {1}
    assert await rotate(world) == 2
    assert set(ring_of(world.vault).epochs) == {1, 2}, "the old one is kept while something needs it"
    (address, key) = await stored(world)
    assert epoch_of(world.vault.host.rows[key].sealed) == 2
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == {2}
    assert {world.vault.host.rows[handle].version for handle in handles} == {1}
    assert set(ring_of(world.vault).epochs) == {2}
    assert leaves_of_life(world) == [("rotated", 2), ("erased", 2)]
    await verify_all(world, addresses)
    await world.vault.start()
    assert set(ring_of(world.vault).epochs) == {2}
    await verify_all(world, addresses)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_only_the_owner_begins_an_epoch(world):
    stranger = await owner_of(world.vault, (await world.client("alice")).binding)
    assert await number_of(stranger.ask(Rotate())) is Number.NOT_OWNER_KEY
    assert set(ring_of(world.vault).epochs) == {1}
    assert leaves_of_life(world) == []


async def test_progress_is_told_and_ends_at_nothing_to_do(world):
    await filled(world)
    facts = service_of(world.vault).facts
    assert facts().resealed == 0
    await rotate(world)
    seen = []
    while len(ring_of(world.vault).epochs) > 1:
        seen.append(facts().resealed)
        await asyncio.sleep(0)
    assert sorted(set(seen))[-1] > len(set(seen)) > 2
    assert max(seen) <= facts().rows
    await at_rest(world.vault)
    assert facts().resealed == 0


async def test_epochs_that_nothing_was_written_under_go_as_well(world):
    addresses = await filled(world, 10)
    for number in range(2, 7):
        assert await rotate(world) == number
    await at_rest(world.vault)
    assert set(ring_of(world.vault).epochs) == epochs_in_use(world.vault) == {6}
    await verify_all(world, addresses)


async def test_an_epoch_that_begins_while_old_rows_are_sealed_anew_replaces_both_before_it(world):
    addresses = await filled(world)
    await rotate(world)
    await until(lambda: service_of(world.vault).facts().resealed)
    assert 1 in epochs_in_use(world.vault)
    await rotate(world)
    await at_rest(world.vault)
    assert set(ring_of(world.vault).epochs) == epochs_in_use(world.vault) == {3}
    await verify_all(world, addresses)
    assert [number for event, number in leaves_of_life(world) if event == "erased"][-1] == 3


async def test_too_many_epochs_wait_for_the_old_ones(world, monkeypatch):
    """A host that withholds a row keeps epochs; it must not make the ring too large to be sealed."""
    _, key = await stored(world)
    del world.vault.host.rows[key]
    owner = await owner_of(world.vault, world.owner)
    for number in range(2, MAX_EPOCHS + 1):
        assert (await owner.ask(Rotate())).epoch == number
    assert await number_of(owner.ask(Rotate())) is Number.NOT_NOW
    await world.vault.start()
    assert len(ring_of(world.vault).epochs) == MAX_EPOCHS


async def test_an_authenticator_keeps_no_old_epoch(world):
    bob, address = await world.client("bob"), (await stored(world))[0]
    owner = await owner_of(world.authenticator, world.owner)
    assert (await owner.ask(Rotate())).epoch == 2
    await at_rest(world.authenticator)
    assert set(ring_of(world.authenticator).epochs) == {2}
    # Tickets of before are worth nothing; a new sign-in is.
    assert await collect_error(bob, address) is not None
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_an_authenticator_whose_answer_from_the_database_is_lost_goes_on_with_the_ring_that_was_written(
    world, monkeypatch
):
    host, owner = world.authenticator.host, await owner_of(world.authenticator, world.owner)
    commit = host.commit

    async def written_and_denied(*what):
        await commit(*what)
        raise Unavailable(Number.STORE_UNAVAILABLE)

    monkeypatch.setattr(host, "commit", written_and_denied)
    assert (await owner.ask(Rotate())).epoch == 2
    await at_rest(world.authenticator)
    host.fail_commit = Unavailable(Number.STORE_UNAVAILABLE)
    monkeypatch.setattr(host, "commit", commit)
    assert await number_of(owner.ask(Rotate())) is Number.STORE_UNAVAILABLE
    host.fail_commit = None
    assert (await owner.ask(Rotate())).epoch == 3


# --- what is erased stays closed ----------------------------------------------------------------------------------


async def test_a_row_of_an_erased_epoch_that_the_host_brings_back_does_not_open(world):
    """Of a deleted record: with the index, and without it."""
    address, key = await stored(world)
    copy = world.vault.host.rows[key]
    gone = await (await world.client("alice")).delete(address, 1)
    sealer = RowSealer(world.vault.platform, ring_of(world.vault))
    assert SECRET in sealer.open(key, copy), "until then it is readable to the Vault"
    assert gone.epoch == 1
    await rotate(world)
    await at_rest(world.vault)
    assert min(ring_of(world.vault).epochs) > gone.epoch
    with pytest.raises(Untrusted) as closed:
        sealer.open(key, copy)
    assert closed.value.number is Number.INTEGRITY
    world.vault.host.rows[key] = copy
    assert await collect_error(await world.client("bob"), address) is Number.ROLLED_BACK


async def test_a_database_from_before_is_not_served_with_the_ring_of_after(world):
    await filled(world, 3)
    rows, log = snapshot(world.vault.host)
    await rotate(world)
    await at_rest(world.vault)
    rows[RING_KEY] = world.vault.host.rows[RING_KEY]
    world.vault.host.rows, world.vault.host.log = rows, log
    assert await number_of(world.vault.start()) is Number.ROLLED_BACK


async def test_an_older_ring_in_the_place_of_the_newest_is_refused(world):
    """It has the epochs that were erased, and not the new one."""
    await filled(world, 3)
    older = world.vault.host.rows[RING_KEY]
    await rotate(world)
    between = world.vault.host.rows[RING_KEY]
    await at_rest(world.vault)
    newest = world.vault.host.rows[RING_KEY]
    for ring in (older, between, Row(newest.version, between.sealed)):
        world.vault.host.rows[RING_KEY] = ring
        assert await number_of(world.vault.start()) in (Number.ROLLED_BACK, Number.INTEGRITY)


async def test_an_old_copy_of_a_row_at_its_own_version_is_refused_after_it_was_sealed_anew(world):
    """The version did not change; the bytes did."""
    address, key = await stored(world)
    old = world.vault.host.rows[key]
    await rotate(world)
    await at_rest(world.vault)
    assert world.vault.host.rows[key].version == old.version
    world.vault.host.rows[key] = old
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY


async def test_what_the_log_says_opens_when_the_epochs_of_its_time_are_gone(world):
    alice, address = await world.client("alice"), fresh()
    await alice.store(address, SECRET, world.instructions(OPEN))
    await alice.collect(address)
    for _ in range(2):
        await rotate(world)
        await at_rest(world.vault)
    await world.vault.start()
    alice = await world.client("alice")
    trail = await alice.ask(Trail(address=address, tickets=alice.tickets, place=0, limit=10))
    assert len(trail.entries) >= 2


async def test_a_row_and_an_entry_of_the_log_do_not_open_in_each_others_place(world):
    from strongroom.enclave.vault.rows import ENTRY_KEY

    sealer = RowSealer(world.vault.platform, ring_of(world.vault))
    for entry in (sealer.seal(ENTRY_KEY, 7, b"row"), b"\x01" + (1).to_bytes(4, "big") + sealer.seal_entry(7, b"e")[5:]):
        with pytest.raises(Untrusted):
            sealer.open_entry(7, entry)
    entry = sealer.seal_entry(7, b"entry")
    assert sealer.open_entry(7, entry) == b"entry"
    for key in (ENTRY_KEY, bytes(32)):
        with pytest.raises(Untrusted):
            sealer.open(key, Row(7, entry))
    with pytest.raises(Untrusted):
        sealer.open_entry(8, entry)


# --- a host that withholds ----------------------------------------------------------------------------------------


async def test_a_row_that_is_withheld_keeps_its_epoch_and_is_not_lost(world, capfd):
    """To let go of the epoch would lose the record for ever, when the host finds it again."""
    addresses = await filled(world)
    key = world.handle(addresses[7])
    row = world.vault.host.rows.pop(key)
    await rotate(world)
    await asyncio.sleep(0.3)
    assert set(ring_of(world.vault).epochs) == {1, 2}
    assert epochs_in_use(world.vault) == {2}, "all others are done"
    assert capfd.readouterr().err.count("old epochs are still in use") == 1
    await verify_all(world, addresses[:7])
    world.vault.host.rows[key] = row
    await at_rest(world.vault)
    assert set(ring_of(world.vault).epochs) == {2}
    await verify_all(world, addresses)


async def test_a_walk_begins_again_after_a_restart(world):
    addresses = await filled(world)
    await rotate(world)
    await until(lambda: service_of(world.vault).facts().resealed)
    world.vault.enclave._cluster.epochs._tending.cancel()
    assert epochs_in_use(world.vault) == {1, 2}
    await world.vault.start()
    await at_rest(world.vault)
    assert set(ring_of(world.vault).epochs) == epochs_in_use(world.vault) == {2}
    await verify_all(world, addresses)


async def test_a_walk_ends_however_fast_rows_are_added(world, monkeypatch):
    """Else whoever stores all the time keeps the old epoch."""
    monkeypatch.setattr(resealing, "BUCKETS_AT_ONCE", 16)
    addresses, its_look, looks = await filled(world), resealing.Resealing._look, []

    async def look(self, keys, oldest):
        looks.append(keys)
        assert len(looks) < 10, "it goes on and on"
        damaged = await its_look(self, keys, oldest)
        await filled(world, 2 * LOAD)
        return damaged

    monkeypatch.setattr(resealing.Resealing, "_look", look)
    await rotate(world)
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {2}
    await verify_all(world, addresses)


# --- what is under way when an epoch begins -----------------------------------------------------------------------


class Gate:
    """Holds up the host's commits."""

    def __init__(self, host):
        self._commit, self._open, self.waiting = host.commit, asyncio.Event(), 0
        host.commit = self.commit

    async def commit(self, puts, size, leaves):
        self.waiting += 1
        await self._open.wait()
        return await self._commit(puts, size, leaves)

    def open(self):
        self._open.set()


async def turns(count=300):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_was_sealed_before_an_epoch_began_is_not_written_under_the_old_one(world):
    """The walk may have passed its place; when the old epoch is erased, the record would be lost."""
    addresses = await filled(world, 3)
    alice, other = await world.client("alice"), await world.client("alice")
    owner = await owner_of(world.vault, world.owner)
    gate = Gate(world.vault.host)
    first = asyncio.create_task(alice.update(addresses[0], 1, secret=b"secret 0"))
    await until(lambda: gate.waiting)
    rotating = asyncio.create_task(owner.ask(Rotate()))
    await turns()
    late = asyncio.create_task(other.update(addresses[1], 1, secret=b"secret 1"))
    await turns()
    assert not rotating.done()
    gate.open()
    await asyncio.gather(first, rotating, late)
    row = world.vault.host.rows[world.handle(addresses[1])]
    assert (row.version, epoch_of(row.sealed)) == (2, 2)
    await at_rest(world.vault)
    assert set(ring_of(world.vault).epochs) == epochs_in_use(world.vault) == {2}
    await verify_all(world, addresses)


async def test_what_was_sealed_under_an_epoch_that_has_ended_is_not_written(world):
    """However long a request takes: it is told to come again."""
    sealer = RowSealer(world.vault.platform, ring_of(world.vault))
    put = Put(bytes(32), 0, 1, sealer.seal(bytes(32), 1, b"late"))
    await rotate(world)
    await at_rest(world.vault)
    before = snapshot(world.vault.host)
    assert await number_of(service_of(world.vault)._ledger.commit([put], [])) is Number.BUSY
    assert snapshot(world.vault.host) == before


async def test_a_row_that_is_written_while_it_is_sealed_anew_stays_as_it_was_written(world, capfd):
    addresses = await filled(world, 3)
    alice, handle = await world.client("alice"), world.handle(addresses[0])
    its_sealed, held = resealing.Resealing._sealed, asyncio.Event()

    async def late(self, old):
        sealed = await its_sealed(self, old)
        await held.wait()
        return sealed

    resealing.Resealing._sealed = late  # type: ignore[method-assign]
    try:
        await rotate(world)
        await turns()
        await alice.update(addresses[0], 1, secret=b"secret 0")
        written = world.vault.host.rows[handle]
        held.set()
        await at_rest(world.vault)
    finally:
        resealing.Resealing._sealed = its_sealed  # type: ignore[method-assign]
    assert world.vault.host.rows[handle] == written
    assert "old epochs" not in capfd.readouterr().err, "and the others of its commit were not held up"
    await verify_all(world, addresses)


async def test_a_decision_stands_when_its_record_is_sealed_anew_meanwhile(world):
    """Else re-sealing would have people sign in twice."""
    address, key = await stored(world)
    bob, held, asked = await world.client("bob"), asyncio.Event(), []
    post = world.vault.host.carry

    async def slow(url, body):
        asked.append(url)
        await held.wait()
        return await post(url, body)

    world.vault.host.carry = slow
    collecting = asyncio.create_task(bob.collect(address))
    await until(lambda: asked)
    world.vault.host.carry = post
    await rotate(world)
    await at_rest(world.vault)
    assert epoch_of(world.vault.host.rows[key].sealed) == 2
    count = len(asked)
    held.set()
    assert await collecting == [released(1, SECRET)]
    assert len(asked) == count


# --- commits that fail --------------------------------------------------------------------------------------------


def failing(host, number, when):
    """The host says of its commit of this number from now on that it failed: `before` it made it, or `after`."""
    honest, count = host.commit, 0

    async def commit(puts, size, leaves):
        nonlocal count
        count += 1
        if count == number:
            if when == "after":
                await honest(puts, size, leaves)
            raise Unavailable(Number.STORE_UNAVAILABLE)
        await honest(puts, size, leaves)

    host.commit = commit


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_epoch_whose_commit_failed_is_not_used_unless_it_was_made(world, when):
    addresses = await filled(world, 5)
    owner = await owner_of(world.vault, world.owner)
    failing(world.vault.host, 1, when)
    assert await number_of(owner.ask(Rotate())) is Number.STORE_UNAVAILABLE
    epoch = 2 if when == "after" else 1
    _, key = await stored(world)
    assert epoch_of(world.vault.host.rows[key].sealed) == epoch
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {epoch}, "also without a restart"
    await world.vault.start()
    await verify_all(world, addresses)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 7))
async def test_a_commit_that_fails_at_any_step_is_made_up_for(world, number, when):
    """1: the epoch; 2 to 5: rows sealed anew; 6: the end of the old epoch."""
    addresses = await filled(world, 2 * LOAD)
    owner, honest = await owner_of(world.vault, world.owner), world.vault.host.commit
    failing(world.vault.host, number, when)
    with suppress(Unavailable):
        await owner.ask(Rotate())
    world.vault.host.commit = honest if number == 1 else world.vault.host.commit
    if number == 1:
        assert await until_answered(owner) == (3 if when == "after" else 2)
    await at_rest(world.vault)
    world.vault.host.commit = honest
    assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {ring_of(world.vault).epoch}
    assert ring_of(world.vault).epoch > 1
    await verify_all(world, addresses)


async def until_answered(owner):
    """The epoch that begins when somebody asks again and again."""
    for _ in range(3):
        with suppress(Unavailable):
            return (await owner.ask(Rotate())).epoch
    raise AssertionError("it never begins")


async def test_a_vault_killed_after_any_commit_goes_on_where_it_was(world):
    """kill -9 leaves what is durable: each state that a rotation goes through is a state to start from."""
    addresses = await filled(world, 2 * LOAD)
    states, honest = [snapshot(world.vault.host)], world.vault.host.commit

    async def commit(puts, size, leaves):
        await honest(puts, size, leaves)
        states.append(snapshot(world.vault.host))

    world.vault.host.commit = commit
    await rotate(world)
    await at_rest(world.vault)
    world.vault.host.commit = honest
    assert len(states) > 4
    epochs_before = 0
    for rows, log in states:
        world.vault.host.rows, world.vault.host.log = dict(rows), list(log)
        await world.vault.start()
        await at_rest(world.vault)
        assert epochs_before <= ring_of(world.vault).epoch
        epochs_before = ring_of(world.vault).epoch
        assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {epochs_before}
        await verify_all(world, addresses)


# --- everything at once -------------------------------------------------------------------------------------------


class Rough:
    """A host that takes its time, and whose database fails now and then, with a commit made or not."""

    def __init__(self, host, seed):
        self.random = random.Random(seed)
        self._read, self._commit = host.read, host.commit
        host.read, host.commit = self.read, self.commit
        self.failures = 0

    async def wait(self):
        for _ in range(self.random.choice([0, 0, 1, 3, 20])):
            await asyncio.sleep(0)

    async def read(self, keys):
        await self.wait()
        rows = await self._read(keys)
        await self.wait()
        return rows

    async def commit(self, puts, size, leaves):
        await self.wait()
        fate = self.random.random()
        if fate < 0.05:
            self.failures += 1
            raise Unavailable(Number.STORE_UNAVAILABLE)
        await self._commit(puts, size, leaves)
        await self.wait()
        if fate < 0.1:
            self.failures += 1
            raise Unavailable(Number.STORE_UNAVAILABLE)


class Somebody:
    """Stores, updates, deletes and collects records of their own; knows what each may hold."""

    def __init__(self, world, seed):
        self.world, self.random = world, random.Random(seed)
        self.records = {}
        """Address → what it may hold: (version, secret or None)."""

    async def live(self, steps):
        client = await self.world.client("alice")
        for number in range(steps):
            known = [address for address, states in self.records.items() if len(states) == 1]
            action = self.random.choice(["store", "update", "collect", "collect", "delete"])
            if action == "store" or not known:
                address = fresh()
                await self.attempt(
                    address, (1, b"%d" % number), client.store(address, b"%d" % number, self.world.instructions(OPEN))
                )
                continue
            address = self.random.choice(known)
            ((version, secret),) = self.records[address]
            if secret is None:
                continue
            if action == "collect":
                try:
                    (result,) = await client.collect(address)
                except Unavailable:
                    continue
                assert isinstance(result, Item), Number(result.number)
                assert (result.version, result.secret) == (version, secret)
            elif action == "update":
                new = b"%d again" % number
                await self.attempt(address, (version + 1, new), client.update(address, version, secret=new))
            else:
                await self.attempt(address, (version + 1, None), client.delete(address, version))

    async def attempt(self, address, state, request):
        self.records.setdefault(address, {(0, None)})
        try:
            await request
        except Unavailable:
            self.records[address].add(state)
        else:
            self.records[address] = {state}


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_people_do_and_whatever_fails_meanwhile_nothing_is_lost(world, seed):
    await filled(world, 2 * LOAD)
    refused, _ = await stored(world, for_bob())
    rough = Rough(world.vault.host, seed)
    everybody = [Somebody(world, f"{seed} {number}") for number in range(4)]
    owner = await owner_of(world.vault, world.owner)

    async def turn():
        for _ in range(4):
            with suppress(Unavailable, Misuse):
                await owner.ask(Rotate())
            await asyncio.sleep(rough.random.random() / 5)

    async def guess():
        mallory = await world.client("mallory")
        for _ in range(4):
            try:
                (result,) = await mallory.collect(refused)
            except Unavailable:
                continue
            assert not isinstance(result, Item)

    await asyncio.gather(turn(), guess(), *(one.live(40) for one in everybody))
    world.vault.host.read, world.vault.host.commit = rough._read, rough._commit
    assert rough.failures
    await rotate(world)
    await at_rest(world.vault)
    assert epochs_in_use(world.vault) == set(ring_of(world.vault).epochs) == {ring_of(world.vault).epoch}
    for restarted in (False, True):
        if restarted:
            await world.vault.start()
        reader = await world.client("alice")
        for one in everybody:
            for address, states in one.records.items():
                (result,) = await reader.collect(address)
                found = (result.version, result.secret) if isinstance(result, Item) else None
                if found is None:
                    assert any(secret is None for _, secret in states), Number(result.number)
                    assert result.number in (Number.REFUSED, Number.THROTTLED)
                else:
                    assert found in states
