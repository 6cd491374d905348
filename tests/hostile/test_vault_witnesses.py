"""A host that restores, clones or forks a Vault which has witnesses, or keeps it from them.

The witnesses are real; the host asks them, or not, or about something else.
"""

import asyncio
import os
from copy import deepcopy

import pytest

from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault, witnessing
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.limits import LEASE, LEASE_RELEASES, WITNESS_PATIENCE
from strongroom.protocol.link import Operation
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.log_messages import Freshen
from strongroom.protocol.notes import (
    COSIGNATURE,
    cosign,
    cosignatures,
    parse_checkpoint,
    parse_verifier,
    verify_checkpoint,
)
from tests.support.starting import start as started
from tests.support.vault import SECRET, ask, collect_error, fresh, number_of, released, stored, terms
from tests.support.watch import Watch
from tests.support.world import Instance, World, for_bob, permit

DAY = 86_400


class Slow(World):
    """A world whose Vault has witnesses."""

    def __init__(self, directory, count, needed):
        super().__init__(directory)
        self.watch = Watch(directory, count, lambda: self.vault.platform.now())
        self.vault.witnesses, self.vault.cosignatures = self.watch.vkeys, needed
        self.vault.host.witnesses = self.watch.carry_for(self.vault)


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """Two of three witnesses. What waits for them, waits for less long than in earnest."""
    monkeypatch.setattr(witnessing, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(witnessing, "RENEWAL_SECONDS", 0.1)
    world = Slow(tmp_path, 3, 2)
    await world.start()
    await world.namespace()
    yield world
    world.watch.close()


class Later:
    """The loop, as it will be after so many seconds."""

    def __init__(self, seconds):
        self._loop, self._seconds = asyncio.get_running_loop(), seconds

    def time(self):
        return self._loop.time() + self._seconds

    def __getattr__(self, name):
        return getattr(self._loop, name)


def its_witnessing(world):
    return world.vault.enclave._door._service._witnessing


def outage(world, *which):
    world.watch.down = set(which) or {0, 1, 2}


async def never(instance, seconds=0.3):
    """Whether an instance does not come up."""
    starting = asyncio.create_task(instance.start())
    await asyncio.sleep(seconds)
    ended = not starting.done()
    starting.cancel()
    await asyncio.wait({starting})
    return ended


# --- the start ----------------------------------------------------------------------------------------------------


async def test_a_database_that_was_put_back_as_a_whole_is_not_served(world):
    address, _ = await stored(world)
    before = (dict(world.vault.host.rows), list(world.vault.host.log))
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    newest = (dict(world.vault.host.rows), list(world.vault.host.log))
    world.vault.host.rows, world.vault.host.log = before
    assert await never(world.vault)
    world.vault.host.rows, world.vault.host.log = newest
    await world.vault.start()
    assert await (await world.client("bob")).collect(address) == [released(2, b"newer")]


async def test_one_witness_that_lies_is_not_enough_to_roll_back(world):
    """It is set back along with the database, and cosigns again."""
    address, _ = await stored(world)
    before = (dict(world.vault.host.rows), list(world.vault.host.log))
    latest = world.watch.states[0].latest(world.vault.ring_origin)
    await (await world.client("alice")).delete(address, 1)
    world.vault.host.rows, world.vault.host.log = before
    now = world.watch.states[0].latest(world.vault.ring_origin)
    assert world.watch.states[0].advance(world.vault.ring_origin, now, latest)
    assert await never(world.vault)


async def test_of_two_clones_one_is_served(world):
    """Both start from one database; the witnesses cosign the commit that came first."""
    await stored(world)
    clone = Instance("vault", world.vault.state, build_vault, world.owner.public)
    clone.witnesses, clone.cosignatures = world.vault.witnesses, world.vault.cosignatures
    clone.host.rows, clone.host.log = dict(world.vault.host.rows), list(world.vault.host.log)
    clone.host.witnesses = world.watch.carry_for(clone)
    await clone.start()
    alice = await world.client("alice")
    address = fresh()
    # The one that was there first is on another branch now: what it writes, no witness sees.
    instructions = world.instructions(for_bob())
    await alice.store(address, SECRET, instructions)
    assert await number_of(alice.update(address, 1, secret=b"new")) is Number.WITNESSES_UNAVAILABLE


async def test_two_running_clones_never_both_acknowledge_a_change(world):
    address, _ = await stored(world)
    clone = deepcopy_of(world)
    await clone.start()
    ends = []
    for instance in (world.vault, clone):
        world.vault, kept = instance, world.vault
        update = (await world.client("alice")).update(address, 1, secret=os.urandom(4))
        ends.append(await asyncio.gather(update, return_exceptions=True))
        world.vault = kept
    refused = [end for (end,) in ends if isinstance(end, Unavailable)]
    assert [error.number for error in refused] == [Number.WITNESSES_UNAVAILABLE]


def deepcopy_of(world):
    clone = Instance("vault", world.vault.state, build_vault, world.owner.public)
    clone.witnesses, clone.cosignatures = world.vault.witnesses, world.vault.cosignatures
    clone.host.rows, clone.host.log = deepcopy(world.vault.host.rows), list(world.vault.host.log)
    clone.host.witnesses = world.watch.carry_for(clone)
    clone.host.routes = world.vault.host.routes
    return clone


async def test_too_few_witnesses_at_the_start_are_waited_for(world):
    outage(world, 0, 1)
    assert await never(world.vault)
    outage(world, 0)
    await world.vault.start()


async def test_other_witnesses_than_the_founded_ones_are_refused(world, tmp_path):
    (tmp_path / "others").mkdir()
    others = Watch(tmp_path / "others", 3, world.vault.platform.now)
    world.vault.witnesses = others.vkeys
    assert await number_of(world.vault.start()) is Number.POLICY
    world.vault.witnesses, world.vault.cosignatures = [], 0
    assert await number_of(world.vault.start()) is Number.POLICY
    others.close()


@pytest.mark.parametrize(("count", "needed"), [(2, 1), (3, 1), (4, 2), (3, 4), (3, 0), (0, 1)])
async def test_so_few_cosignatures_that_two_histories_could_have_them_are_refused_at_genesis(tmp_path, count, needed):
    watch = Watch(tmp_path, count, lambda: 0)
    instance = Instance("vault", tmp_path, build_vault, bytes([4]) + bytes(64))
    instance.witnesses, instance.cosignatures = watch.vkeys, needed
    assert await number_of(instance.start()) is Number.MALFORMED
    assert instance.host.rows == {}
    watch.close()


async def test_one_witness_named_twice_is_refused_at_genesis(tmp_path):
    watch = Watch(tmp_path, 1, lambda: 0)
    instance = Instance("vault", tmp_path, build_vault, bytes([4]) + bytes(64))
    instance.witnesses, instance.cosignatures = watch.vkeys * 3, 2
    assert await number_of(instance.start()) is Number.MALFORMED
    watch.close()


async def test_an_authenticator_has_no_witnesses(world, tmp_path):
    start = started(owner_key=world.owner.public, witnesses=world.watch.vkeys, cosignatures=2)
    world.authenticator.host.rows.clear()
    enclave = Enclave(
        world.authenticator.platform, "authenticator", world.authenticator.build, world.authenticator.host
    )
    assert await number_of(enclave.handle(Operation.START, encode_link(start))) is Number.UNSUPPORTED
    assert RING_KEY not in world.authenticator.host.rows


# --- answers -----------------------------------------------------------------------------------------------------


async def test_nothing_that_a_rollback_would_undo_is_acknowledged_before_the_witnesses_saw_it(world):
    address, _ = await stored(world)
    alice, bob, mallory = [await world.client(person) for person in ("alice", "bob", "mallory")]
    asking = world.instructions(for_bob() + permit("ask", "collect", email="carol@example.com"))
    open_to_questions = fresh()
    await alice.store(open_to_questions, SECRET, asking)
    carol = await world.client("carol")
    await bob.collect(address)
    outage(world)
    for change in (
        alice.update(address, 1, secret=b"new"),
        mallory.collect(address),
        ask(carol, open_to_questions),
        alice.delete(address, 1),
    ):
        assert await number_of(change) is Number.WITNESSES_UNAVAILABLE


async def test_what_is_durable_and_not_cosigned_is_not_told_to_others_either(world):
    """bob must not act on an update that a rollback could still undo; of other records he hears."""
    changed_one, _ = await stored(world)
    other, _ = await stored(world)
    bob = await world.client("bob")
    outage(world)
    assert await number_of((await world.client("alice")).update(changed_one, 1, secret=b"new")) is (
        Number.WITNESSES_UNAVAILABLE
    )
    assert await bob.collect(other) == [released(1, SECRET)]
    assert await number_of(bob.collect(changed_one)) is Number.WITNESSES_UNAVAILABLE
    outage(world, 2)
    assert await bob.collect(changed_one) == [released(2, b"new")]


async def test_a_repetition_waits_as_its_first_did(world):
    address, _ = await stored(world)
    alice, request_id = await world.client("alice"), os.urandom(16)
    outage(world)
    for _ in range(2):
        again = alice.update(address, 1, secret=b"new", request_id=request_id)
        assert await number_of(again) is Number.WITNESSES_UNAVAILABLE
    outage(world, 0)
    assert (await alice.update(address, 1, secret=b"new", request_id=request_id)).version == 2


def made_and_said_to_have_failed(world):
    """The next commit is made, and answered as if it had not been."""
    host, honest = world.vault.host, world.vault.host.commit

    async def commit(puts, size, leaves):
        host.commit = honest
        await honest(puts, size, leaves)
        raise Unavailable(Number.STORE_UNAVAILABLE)

    host.commit = commit


def held_up(world, key, seconds=0.0):
    """The next reading of this row is answered when the event that is given is set."""
    host, honest, gate = world.vault.host, world.vault.host.read, asyncio.Event()

    async def read(keys):
        if key in keys and not gate.is_set():
            await gate.wait()
            host.read = honest
        return await honest(keys)

    host.read = read
    return gate


async def test_a_change_whose_failure_was_a_lie_waits_as_any_other(world):
    """The repetition finds it made, and must not confirm what no witness has seen; nor does anybody hear of it."""
    address, _ = await stored(world)
    alice, bob, request_id = await world.client("alice"), await world.client("bob"), os.urandom(16)
    await bob.collect(address)
    await asyncio.sleep(0.1)
    outage(world)
    made_and_said_to_have_failed(world)
    update = {"secret": b"new", "request_id": request_id}
    assert await number_of(alice.update(address, 1, **update)) is Number.STORE_UNAVAILABLE
    assert await number_of(alice.update(address, 1, **update)) is Number.WITNESSES_UNAVAILABLE
    made_and_said_to_have_failed(world)
    await number_of(alice.update(address, 2, secret=b"newer"))
    assert await number_of(bob.collect(address)) is Number.WITNESSES_UNAVAILABLE
    outage(world, 0)
    assert await bob.collect(address) == [released(3, b"newer")]


async def test_a_clock_that_is_wrong_for_a_moment_does_not_hide_a_change_from_the_witnesses(world):
    address, _ = await stored(world)
    alice, request_id = await world.client("alice"), os.urandom(16)
    await asyncio.sleep(0.1)
    outage(world)
    host, honest = world.vault.host, world.vault.host.commit

    async def commit(puts, size, leaves):
        host.commit = honest
        await honest(puts, size, leaves)
        world.vault.platform.ahead = -3600

    host.commit = commit
    await number_of(alice.update(address, 1, secret=b"new", request_id=request_id))
    world.vault.platform.ahead = 0
    again = alice.update(address, 1, secret=b"new", request_id=request_id)
    assert await number_of(again) is Number.WITNESSES_UNAVAILABLE


async def test_what_was_read_while_it_changed_waits_as_well(world):
    """The host holds up a reading until the update is made that it is to show."""
    address, key = await stored(world)
    alice, bob = await world.client("alice"), await world.client("bob")
    await bob.describe(address)
    await asyncio.sleep(0.1)
    outage(world)
    gate = held_up(world, key)
    describing = asyncio.create_task(bob.describe(address))
    await asyncio.sleep(0.02)
    world.vault.host.read, held = type(world.vault.host).read.__get__(world.vault.host), world.vault.host.read
    await number_of(alice.update(address, 1, instructions=world.instructions(for_bob() + permit("audit"))))
    world.vault.host.read = held
    gate.set()
    assert await number_of(describing) is Number.WITNESSES_UNAVAILABLE


async def test_what_a_journal_counts_is_told_when_the_witnesses_saw_it(world):
    address = fresh()
    rules = world.instructions(for_bob())
    alice, bob = await world.client("alice"), await world.client("bob")
    await alice.store(address, SECRET, rules, terms=terms(max_opens=3))
    await asyncio.sleep(0.1)
    outage(world)
    assert await number_of(bob.collect(address)) is Number.WITNESSES_UNAVAILABLE
    assert await number_of(alice.history(address)) is Number.WITNESSES_UNAVAILABLE


async def test_refusals_are_counted_and_logged_also_while_no_witness_answers(world, monkeypatch):
    address, _ = await stored(world)
    bob, mallory = await world.client("bob"), await world.client("mallory")
    outage(world)
    await bob.collect(address)
    its_witnessing(world)._loop = Later(WITNESS_PATIENCE + 1)
    before = len(world.vault.host.log)
    for _ in range(3):
        assert await number_of(mallory.collect(address)) is Number.WITNESSES_UNAVAILABLE
    assert [entry.outcome for entry in world.entries(before)] == [Number.REFUSED] * 3
    assert await bob.collect(address) == [released(1, SECRET)], "and nobody else is hindered by them"


async def test_a_new_record_and_a_release_do_not_wait(world):
    outage(world)
    address, _ = await stored(world)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_after_a_while_without_witnesses_nothing_more_is_written_and_reads_go_on(world, monkeypatch):
    address, _ = await stored(world)
    outage(world)
    bob = await world.client("bob")
    await bob.collect(address)
    its_witnessing(world)._loop = Later(WITNESS_PATIENCE + 1)
    alice = await world.client("alice")
    before = world.vault.host.kept
    assert await number_of(alice.store(fresh(), SECRET, world.instructions(for_bob()))) is Number.WITNESSES_UNAVAILABLE
    assert await number_of(alice.update(address, 1, secret=b"new")) is Number.WITNESSES_UNAVAILABLE
    assert world.vault.host.kept == before
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_cosignatures_of_strangers_other_checkpoints_and_one_witness_twice_count_for_nothing(world, tmp_path):
    (tmp_path / "strangers").mkdir()
    strangers = Watch(tmp_path / "strangers", 3, world.vault.platform.now)
    honest = world.vault.host.witnesses
    first: list[bytes] = []
    address, _ = await stored(world)
    alice = await world.client("alice")

    async def of_strangers(note):
        strangers.know(world.vault)
        return b"".join(strangers.ask(at, note, world.vault.host.log) for at in range(3))

    async def old_ones(note):
        first.append(first[0] if first else await honest(note))
        return first[0]

    async def twice(note):
        world.watch.down = {1, 2}
        line = await honest(note)
        world.watch.down = set()
        return line + line

    async def garbage(note):
        return b"\xff\xfe nonsense"

    for at, lie in enumerate((of_strangers, twice, garbage)):
        world.vault.host.witnesses = lie
        change = alice.update(address, 1, secret=bytes([at]))
        assert await number_of(change) is Number.WITNESSES_UNAVAILABLE, lie.__name__
        world.vault.host.witnesses = honest
        await asyncio.sleep(0.05)
        await world.vault.start()
        alice = await world.client("alice")
        address, _ = await stored(world)
    world.vault.host.witnesses = old_ones
    await alice.update(address, 1, secret=b"a")
    assert await number_of(alice.update(address, 2, secret=b"b")) is Number.WITNESSES_UNAVAILABLE
    strangers.close()


async def test_a_client_is_shown_a_checkpoint_that_covers_what_it_saw_and_one_that_witnesses_saw(world):
    """Also in an outage, for as long as the lease lasts: else nobody could open a session then."""
    address, _ = await stored(world)
    bob = await world.client("bob")
    outage(world)
    await bob.collect(address)
    log = log_verifier(world.vault_cluster, world.vault.ring.log_key.public)
    seen = verify_checkpoint(bob.checkpoint, log).checkpoint
    answer = await (await world.client()).ask(Freshen(size=seen.size))
    assert verify_checkpoint(answer.checkpoint, log).checkpoint == seen
    shown = verify_checkpoint(answer.cosigned, log)
    assert 0 < shown.checkpoint.size < seen.size
    keys = [parse_verifier(text, COSIGNATURE) for text in world.watch.vkeys]
    assert len(cosignatures(shown, keys)) >= 2


# --- lease and time -------------------------------------------------------------------------------------------------


async def test_a_vault_cut_off_from_its_witnesses_stops_releasing_after_the_lease(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    outage(world)
    assert await bob.collect(address) == [released(1, SECRET)]
    world.authenticator.platform.ahead = world.vault.platform.ahead = LEASE + 1
    bob = await world.client("bob")
    assert await number_of(bob.collect(address)) is Number.LEASE_ENDED
    outage(world, 2)
    await asyncio.sleep(0.2)
    assert await bob.collect(address) == [released(1, SECRET)], "one cosignature later it goes on"


async def test_a_clock_that_stands_still_does_not_prolong_the_lease(world, monkeypatch):
    """Then releases are counted."""
    address, _ = await stored(world)
    bob = await world.client("bob")
    outage(world)
    monkeypatch.setattr(witnessing, "LEASE_RELEASES", 3)
    for _ in range(3):
        assert await bob.collect(address) == [released(1, SECRET)]
    assert await number_of(bob.collect(address)) is Number.LEASE_ENDED
    assert LEASE_RELEASES == 10_000


async def test_what_is_held_up_until_the_lease_has_ended_is_not_released(world, monkeypatch):
    address, key = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    outage(world)
    gate = held_up(world, key)
    collecting = asyncio.create_task(bob.collect(address))
    await asyncio.sleep(0.02)
    its_witnessing(world)._loop = Later(LEASE + 100)
    gate.set()
    assert await number_of(collecting) is Number.LEASE_ENDED


async def test_a_cosignature_that_was_held_back_renews_no_more_than_what_was_left(world, monkeypatch):
    monkeypatch.setattr(witnessing, "LEASE_RELEASES", 3)
    address, _ = await stored(world)
    bob = await world.client("bob")
    await asyncio.sleep(0.1)
    honest, gate = world.vault.host.witnesses, asyncio.Event()

    async def late(note):
        lines = await honest(note)
        await gate.wait()
        return lines

    world.vault.host.witnesses = late
    its_witnessing(world)._waiting.clear()
    await stored(world)
    for _ in range(3):
        assert await bob.collect(address) == [released(1, SECRET)]
    gate.set()
    outage(world)
    await asyncio.sleep(0.1)
    numbers = [await number_of(bob.collect(address)) for _ in range(2)]
    assert Number.LEASE_ENDED in numbers


async def test_a_clock_that_steps_back_does_not_end_the_keeping_of_the_lease(world, monkeypatch):
    await world.vault.start()
    outage(world)
    await stored(world)
    monkeypatch.setattr(witnessing, "LEASE", 0.4)
    its_witnessing(world)._tired.set()
    await asyncio.sleep(0)
    world.vault.platform.ahead = -3600
    await asyncio.sleep(0.3)
    world.vault.platform.ahead = 0
    assert not any(task.done() for task in its_witnessing(world)._tasks)


async def test_an_outage_makes_no_list_of_all_its_commits(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    outage(world)
    for _ in range(30):
        await bob.collect(address)
    assert len(its_witnessing(world)._waiting) < 10


async def test_an_idle_vault_keeps_its_lease(world, monkeypatch):
    monkeypatch.setattr(witnessing, "LEASE", 0.2)
    await world.vault.start()
    size = len(world.vault.host.log)
    await asyncio.sleep(0.3)
    assert len(world.vault.host.log) > size
    await asyncio.sleep(0.3)
    await its_witnessing(world).verify_lease()


async def test_a_clock_ahead_of_the_witnesses_is_noticed(world):
    """Else questions and tickets would seem to have expired, and rules to grant by time."""
    address, _ = await stored(world)
    start = world.vault.platform.now()
    world.watch.witnesses[0]._clock = world.watch.witnesses[1]._clock = world.watch.witnesses[2]._clock = lambda: start
    world.authenticator.platform.ahead = world.vault.platform.ahead = 24 * 3600
    bob = await world.client("bob")
    assert await number_of(bob.collect(address)) in (Number.CLOCK, Number.LEASE_ENDED)


async def test_a_clock_that_stands_still_behind_the_witnesses_is_noticed(world):
    """Else what has expired would not, for as long as the host likes."""
    address, _ = await stored(world)
    later = int(world.vault.platform.now()) + 30 * 24 * 3600
    for witness in world.watch.witnesses:
        witness._clock = lambda: later
    await stored(world)
    await asyncio.sleep(0.1)
    assert await number_of((await world.client("bob")).collect(address)) is Number.CLOCK


async def test_a_clock_set_back_behind_the_witnesses_is_noticed(world):
    await stored(world)
    world.vault.platform.ahead = -3600
    with pytest.raises(Exception, match="behind"):
        its_witnessing(world)._clock.now()


async def test_the_time_that_witnesses_vouch_for_is_that_of_the_honest_among_them(world):
    """One of three that dates its cosignatures a year ahead moves nothing."""
    now = int(world.vault.platform.now())
    world.watch.witnesses[0]._clock = lambda: now + 365 * 24 * 3600
    world.watch.down = {2}
    await stored(world)
    await asyncio.sleep(0.05)
    assert abs(its_witnessing(world).time - now) < 60
    assert its_witnessing(world)._clock.floor <= now + 60


async def test_rules_by_time_go_by_the_witnesses_not_by_the_host(world):
    now = int(world.vault.platform.now())
    rules = permit("update", "delete") + (
        'permit(principal, action == Action::"collect", resource) when '
        f"{{ context.record has unix_time && context.record.unix_time >= {now + 200} }};"
    )
    address = fresh()
    await (await world.client("alice")).store(address, SECRET, world.instructions(rules))
    for witness in world.watch.witnesses:
        witness._clock = lambda: now + 1
    world.authenticator.platform.ahead = world.vault.platform.ahead = 300
    assert await collect_error(await world.client("bob"), address) is Number.REFUSED
    for witness in world.watch.witnesses:
        witness._clock = lambda: now + 201
    await stored(world)
    await asyncio.sleep(0.1)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


DEPUTY = permit("collect", "update", "delete", email="alice@example.com") + (
    'permit(principal, action == Action::"collect", resource) '
    "when { context.record has idle_days && context.record.idle_days >= 3 };"
)
"""Bob's, when the owner has been away for three days."""


def with_a_bad_witness(world, time):
    """A host that shows two of three, of which one says `time` whenever that suits it."""

    async def cosigned(note):
        checkpoint = parse_checkpoint(note).checkpoint
        bad = cosign(world.watch.keys[0], world.watch.names[0], checkpoint, time)
        return f"{bad}\n".encode() + world.watch.ask(1, note, world.vault.host.log)

    world.vault.host.witnesses = cosigned


async def test_a_host_in_league_with_a_witness_does_not_date_the_owners_visit_back_for_a_deputy(world):
    """Both say that it is two days ago. The honest witness does not, and who is right nobody can know."""
    start, address = int(world.vault.platform.now()), fresh()
    alice, bob = await world.client("alice"), await world.client("bob")
    await alice.store(address, SECRET, world.instructions(DEPUTY))
    world.watch.witnesses[1]._clock = lambda: start + 2 * DAY
    with_a_bad_witness(world, start)
    await stored(world)
    await asyncio.sleep(0.05)
    assert await number_of(alice.collect(address)) is Number.CLOCK
    assert await collect_error(bob, address) is Number.REFUSED


async def test_a_database_that_was_put_back_is_not_written_to(world):
    """Whoever looks at it afterwards should find it as it was."""
    await stored(world)
    before = (dict(world.vault.host.rows), list(world.vault.host.log))
    await stored(world)
    world.vault.host.rows, world.vault.host.log = dict(before[0]), list(before[1])
    assert await never(world.vault)
    assert (world.vault.host.rows, world.vault.host.log) == before
