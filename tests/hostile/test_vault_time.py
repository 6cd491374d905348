"""Time in rules, and waits after refusals: what a clock may and may not change."""

import pytest

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.vault.attempts import MAX_IDENTITIES, NO_ATTEMPTS, delay_after
from strongroom.enclave.vault.plans import plan_of
from strongroom.enclave.vault.standing import SEEN_AGAIN
from strongroom.enclave.vault.witnessed import WitnessedTime
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.limits import ATTEMPTS_KEPT, FREE_ATTEMPTS, MAX_ATTEMPT_DELAY
from strongroom.protocol.primitives import Domain, digest
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import Platform, for_bob, permit

DAY = 86_400
NOW = 2_000_000_000
A, B = (digest(Domain.MARK, name) for name in (b"A", b"B"))
"""Authenticator clusters."""
OWNER = permit("collect", "update", "delete", email="alice@example.com")


def when(condition, action="collect"):
    return f'permit(principal, action == Action::"{action}", resource) when {{ {condition} }};\n'


DEPUTY = OWNER + when("context.record has idle_days && context.record.idle_days >= 3") + permit("audit")


class Hardware(Platform):
    """A platform whose clock the host sets."""

    kind = "tdx"

    def __init__(self):
        """Nothing but its clock is asked for."""

    def now(self):
        return float(NOW)


async def later(world, seconds, *people):
    """Clients of people, that much later."""
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead += seconds
    return [await world.client(who) for who in people]


async def test_the_deputy_gets_in_after_days_without_the_owner_and_not_before(world):
    address, _ = await stored(world, DEPUTY)
    (bob,) = await later(world, 3 * DAY - 60, "bob")
    assert await collect_error(bob, address) is Number.REFUSED
    (bob,) = await later(world, 120, "bob")
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_whatever_the_owner_is_permitted_makes_the_deputy_wait_anew(world):
    address, _ = await stored(world, DEPUTY)
    (alice,) = await later(world, 2 * DAY, "alice")
    await alice.collect(address)
    (bob,) = await later(world, 2 * DAY, "bob")
    assert await collect_error(bob, address) is Number.REFUSED
    (bob,) = await later(world, DAY + 60, "bob")
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_what_others_are_permitted_or_the_owner_is_refused_makes_nobody_wait(world):
    address, _ = await stored(world, when("context.record has idle_days && context.record.idle_days >= 3") + for_bob())
    for _ in range(2):
        alice, bob = await later(world, 2 * DAY, "alice", "bob")
        assert await bob.collect(address) == [released(1, SECRET)]
    assert await alice.collect(address) == [released(1, SECRET)], "and she is a deputy of her own"


async def test_rules_that_begin_to_ask_for_the_owners_absence_count_it_from_then_on(world):
    address, _ = await stored(world, permit("update", "delete"))
    (mallory,) = await later(world, 20 * DAY, "mallory")
    await mallory.update(address, 1, instructions=world.instructions(DEPUTY))
    assert await collect_error(mallory, address) is Number.REFUSED
    (mallory,) = await later(world, 4 * DAY, "mallory")
    assert await mallory.collect(address) == [released(2, SECRET)]


async def test_a_standing_row_that_the_host_hides_lets_no_deputy_in(world):
    before = set(world.vault.host.kept)
    address, _ = await stored(world, DEPUTY)
    shelf = world.vault.enclave._door._service._release._shelf
    key = shelf.standing_key(shelf.handle(address))
    assert key in set(world.vault.host.kept) - before
    del world.vault.host.rows[key]
    await world.vault.start()
    (bob,) = await later(world, 4 * DAY, "bob")
    assert await number_of(bob.collect(address)) is Number.ROLLED_BACK


async def test_that_the_owner_was_there_is_written_once_an_hour(world):
    address, _ = await stored(world, DEPUTY)
    shelf = world.vault.enclave._door._service._release._shelf
    key = shelf.standing_key(shelf.handle(address))
    (alice,) = await later(world, SEEN_AGAIN + 1, "alice")
    for _ in range(5):
        await alice.collect(address)
    assert world.vault.host.rows[key].version == 2


async def test_rules_go_by_the_time_where_it_is_witnessed(world):
    now = int(world.vault.platform.now())
    rules = OWNER + when(f"context.record has unix_time && context.record.unix_time >= {now + 100}") + permit("audit")
    address, _ = await stored(world, rules)
    (bob,) = await later(world, 0, "bob")
    assert await collect_error(bob, address) is Number.REFUSED
    (bob,) = await later(world, 200, "bob")
    assert await bob.collect(address) == [released(1, SECRET)]


def test_on_hardware_a_clock_that_was_set_back_between_two_runs_is_behind_the_floor_of_the_first():
    """On the insecure one a clock that had jumped ahead would stop it for ever: its collateral is its host's own."""
    platform = Hardware()
    clock = Clock(platform)
    clock.restore_floor(int(platform.now()) + 100)
    with pytest.raises(Untrusted) as caught:
        clock.now()
    assert caught.value.number is Number.CLOCK


def unwitnessed(world, platform):
    """The time as a Vault without witnesses has it on that platform."""
    return WitnessedTime(platform, Clock(platform), world.vault.enclave._door._service._witnessing)


@pytest.mark.parametrize("name", ["unix_time", "minute_of_day", "weekday", "idle_days"])
async def test_on_hardware_rules_that_go_by_the_hosts_time_are_refused_when_they_are_stored(world, name):
    address, _ = await stored(world)
    platform = Hardware()
    witnessed = unwitnessed(world, platform)
    assert witnessed.now() is None
    rules = world.instructions(OWNER + when(f"context.record has {name} && context.record.{name} >= 0"))
    alice = await world.client("alice")
    await alice.store(fresh(), SECRET, rules)
    world.vault.enclave._door._service._deposit._intake._witnessed = witnessed
    assert await number_of(alice.store(fresh(), SECRET, rules)) is Number.TIME_UNWITNESSED, "remembered or not"
    assert await number_of(alice.update(address, 1, instructions=rules)) is Number.TIME_UNWITNESSED
    await alice.store(fresh(), SECRET, world.instructions(for_bob()))


async def test_time_that_nobody_witnesses_any_more_lets_nobody_in(world):
    """Stored on a development cluster, and its database brought elsewhere."""
    rules = OWNER + when("context.record has unix_time && context.record.unix_time >= 0") + DEPUTY
    address, _ = await stored(world, rules)
    (bob,) = await later(world, 4 * DAY, "bob")
    assert await bob.collect(address) == [released(1, SECRET)]
    platform = Hardware()
    cases = world.vault.enclave._door._service._release._gate._cases
    cases._witnessed = unwitnessed(world, platform)
    assert await collect_error(bob, address) is Number.REFUSED


async def test_names_are_looked_for_as_words(world):
    def needs(condition):
        return plan_of(world.instructions(OWNER + when(condition))).needs

    assert needs("context.record.approval_count > 1") == {"approval_count"}
    assert needs("context.record.approvals.contains(principal)") == {"approvals"}
    assert needs('context.identity.groups.contains("my_weekdays")') == frozenset()
    assert needs('context["record"]["idle_days"] > 1') == {"idle_days"}


# --- waits after refusals ---------------------------------------------------------------------------------------


def test_each_refusal_after_the_free_ones_doubles_the_wait_up_to_an_hour():
    assert [delay_after(n) for n in range(FREE_ATTEMPTS)] == [0] * FREE_ATTEMPTS
    assert [delay_after(FREE_ATTEMPTS + n) for n in range(14)] == [min(2**n, MAX_ATTEMPT_DELAY) for n in range(14)]
    assert delay_after(2**62) == MAX_ATTEMPT_DELAY


def test_waits_end_and_are_remembered_for_a_day():
    row = NO_ATTEMPTS
    for _ in range(FREE_ATTEMPTS + 4):
        row = row.add(A, "mallory", NOW)
    assert row.is_throttled(A, "mallory", NOW + 15)
    assert not row.is_throttled(A, "mallory", NOW + 16)
    assert not row.is_throttled(A, "bob", NOW)
    again = row.add(A, "mallory", NOW + 3600)
    assert again.is_throttled(A, "mallory", NOW + 3600 + 31), "the count goes on"
    afresh = row.add(A, "mallory", NOW + ATTEMPTS_KEPT)
    assert not afresh.is_throttled(A, "mallory", NOW + ATTEMPTS_KEPT)


def test_a_wait_dated_while_the_clock_ran_ahead_locks_nobody_out():
    row = NO_ATTEMPTS
    for _ in range(100):
        row = row.add(A, "bob", NOW + 10**9)
    assert row.is_throttled(A, "bob", NOW + 10**9)
    assert not row.is_throttled(A, "bob", NOW)


def test_the_row_keeps_the_most_recent_identities_and_no_more():
    row = NO_ATTEMPTS
    for n in range(MAX_IDENTITIES + 10):
        row = row.add(A, f"person{n}", NOW + n)
    assert len(row.refusals) == MAX_IDENTITIES
    assert row.refusals[0].identity == "person10"


def test_an_authenticator_that_makes_up_names_washes_away_nobody_whom_another_refused():
    row = NO_ATTEMPTS
    for _ in range(FREE_ATTEMPTS + 4):
        row = row.add(B, "mallory", NOW)
    for n in range(MAX_IDENTITIES * 2):
        row = row.add(A, f"person{n}", NOW + 1)
    assert len(row.refusals) == MAX_IDENTITIES
    assert row.is_throttled(B, "mallory", NOW + 15)
    assert not row.is_throttled(A, "mallory", NOW + 15), "and it is not told to wait on another one's word"


async def test_whoever_is_refused_on_one_record_is_hindered_on_no_other(world):
    (one, _), (other, _) = await stored(world, for_bob()), await stored(world, permit("collect", "update", "delete"))
    mallory = await world.client("mallory")
    for _ in range(FREE_ATTEMPTS + 8):
        assert await collect_error(mallory, one) is Number.REFUSED
    assert await mallory.collect(other) == [released(1, SECRET)]


async def test_a_refusal_is_durable_before_it_is_answered(world):
    address, _ = await stored(world, permit("update", email="mallory@example.com") + permit("delete"))
    mallory = await world.client("mallory")
    for _ in range(FREE_ATTEMPTS + 8):
        assert await collect_error(mallory, address) is Number.REFUSED
    await world.vault.start()
    mallory = await world.client("mallory")
    assert await number_of(mallory.update(address, 1, secret=b"x")) is Number.THROTTLED
