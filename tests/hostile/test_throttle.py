"""Guessing is counted before the answer is known, and strangers who guess lock nobody out."""

import asyncio

import pytest

from strongroom.enclave.authenticator import sign_ins, throttle
from strongroom.enclave.authenticator.throttle import (
    BURST,
    FIRST_DELAY,
    FREE,
    LONGEST_DELAY,
    MAX_ALLOWANCES,
    MAX_NAMES,
    MEMORY,
    REFILL,
    Allowances,
    Throttle,
    account,
)
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import DirectoryMethod, DirectoryPublic, method_digest
from strongroom.protocol.sign_in_messages import PasswordSignIn
from tests.support.issuer import VAULT, Desk
from tests.support.world import Platform

BOB, ANN = b"bob", b"ann"
OWNER, THIEF, ACCOMPLICE = b"owner's key", b"thief's key", b"accomplice's key"
DAY = 24 * 3600


class Turned(Platform):
    """A clock that stands still until a test turns it."""

    time = 1_800_000_000.0

    def now(self):
        return self.time


@pytest.fixture
def platform(tmp_path):
    return Turned("authenticator", tmp_path / "machine")


@pytest.fixture
def guard(platform):
    return Throttle(Clock(platform))


def tries(guard, name, key, most=100):
    """How many attempts are let through at once."""
    for count in range(most):
        try:
            guard.enter(name, key)
        except Refused as error:
            if error.number is not Number.THROTTLED:
                raise
            return count
    return most


def wait_until_let(platform, guard, name, key):
    """Seconds until one more attempt is let through, to the second."""
    for waited in range(0, 2 * DAY):
        try:
            guard.enter(name, key)
            return waited
        except Refused:
            platform.time += 1
    raise AssertionError("never")


# --- guessing -------------------------------------------------------------------------------------------------------


def test_an_account_is_tried_three_times_before_the_first_delay(guard):
    assert tries(guard, BOB, THIEF) == FREE == 3


def test_more_sessions_give_no_more_attempts(guard):
    keys = [bytes([number]) * 65 for number in range(50)]
    assert sum(tries(guard, BOB, key) for key in keys) == FREE


def test_delays_double_up_to_an_hour(platform, guard):
    tries(guard, BOB, THIEF)
    delays = [wait_until_let(platform, guard, BOB, THIEF) for _ in range(5)]
    assert delays == [FIRST_DELAY, 2 * FIRST_DELAY, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]


def test_attempts_that_are_throttled_cost_no_further_delay(platform, guard):
    tries(guard, BOB, THIEF)
    for _ in range(1000):
        tries(guard, BOB, ACCOMPLICE)
    platform.time += FIRST_DELAY
    assert tries(guard, BOB, OWNER) == 1


def test_strangers_cause_fewer_failures_in_half_an_hour_than_directories_lock_at(platform, guard):
    """Active Directory's own advice is ten, and strict ones say five, within 15 to 30 minutes."""
    made = []
    for _ in range(8 * 3600 // 10):
        if tries(guard, BOB, THIEF):
            made.append(platform.time)
        platform.time += 10
    counts = [FREE if time == made[0] else 1 for time in made]
    worst = max(
        sum(count for time, count in zip(made, counts, strict=True) if start <= time < start + 1800) for start in made
    )
    assert worst <= 4


def test_a_day_of_guessing_gives_few_attempts(platform, guard):
    attempts = 0
    for _ in range(DAY // 60):
        attempts += tries(guard, BOB, THIEF)
        platform.time += 60
    assert attempts <= 28


def test_waiting_for_the_longest_delay_gives_one_attempt_and_not_three(platform, guard):
    for _ in range(10):
        tries(guard, BOB, THIEF)
        platform.time += LONGEST_DELAY
    assert tries(guard, BOB, THIEF) == 1


def test_a_count_is_forgotten_after_a_quiet_day(platform, guard):
    tries(guard, BOB, THIEF)
    platform.time += MEMORY
    assert tries(guard, BOB, THIEF) == FREE


def test_a_clock_that_goes_back_makes_no_delay_shorter_and_none_endless(platform, guard):
    tries(guard, BOB, THIEF)
    platform.time += FIRST_DELAY - 1
    platform.time -= 7 * DAY
    assert tries(guard, BOB, THIEF) == 0
    assert wait_until_let(platform, guard, BOB, THIEF) == FIRST_DELAY


def test_a_clock_behind_its_floor_lets_nobody_in(platform):
    clock = Clock(platform)
    clock.raise_floor(int(platform.time))
    platform.time -= 1
    with pytest.raises(Untrusted) as caught:
        Throttle(clock).enter(BOB, OWNER)
    assert caught.value.number is Number.CLOCK


def test_the_owner_s_sign_ins_give_a_guesser_no_new_attempts(platform, guard):
    guard.enter(BOB, OWNER)
    guard.clear(BOB, OWNER)
    tries(guard, BOB, THIEF)
    for _ in range(10):
        guard.enter(BOB, OWNER)
        guard.clear(BOB, OWNER)
    assert tries(guard, BOB, THIEF) == 0


def test_success_on_a_new_device_takes_back_that_attempt_and_no_other(guard):
    guard.enter(BOB, THIEF)
    guard.enter(BOB, THIEF)
    guard.enter(BOB, OWNER)
    guard.clear(BOB, OWNER)
    assert tries(guard, BOB, THIEF) == 1


def test_a_stolen_device_guesses_no_faster(platform, guard):
    guard.enter(BOB, OWNER)
    guard.clear(BOB, OWNER)
    assert tries(guard, BOB, OWNER) == FREE
    assert wait_until_let(platform, guard, BOB, OWNER) == FIRST_DELAY


# --- locking out ----------------------------------------------------------------------------------------------------


def test_strangers_can_t_lock_the_owner_out_where_he_has_signed_in_before(platform, guard):
    guard.enter(BOB, OWNER)
    guard.clear(BOB, OWNER)
    for _ in range(100):
        tries(guard, BOB, THIEF)
        platform.time += FIRST_DELAY
        guard.enter(BOB, OWNER)
        guard.clear(BOB, OWNER)


def test_having_signed_in_at_one_account_helps_at_no_other(guard):
    guard.enter(ANN, THIEF)
    guard.clear(ANN, THIEF)
    tries(guard, BOB, ACCOMPLICE)
    assert tries(guard, BOB, THIEF) == 0


def test_other_accounts_are_not_delayed(guard):
    tries(guard, BOB, THIEF)
    guard.enter(ANN, THIEF)


# --- spelling -------------------------------------------------------------------------------------------------------

METHOD = b"m" * 32


@pytest.mark.parametrize(
    "user",
    [
        "BOB", " bob ", "bob@example.com", "Bob@EXAMPLE.COM", "EXAMPLE\\bob", "example.com\\Bob", "bób", "BÖB",
        "ｂｏｂ", "uid=bob,dc=example", "UID = Bob , dc=example", "uid=\\62ob,dc=example", "uid=bob+cn=x,dc=example",
        "2.5.4.3=bob,dc=example", "uid=bob", "b\u0301ob",
    ],
)  # fmt: skip
def test_one_account_is_one_account_however_it_is_spelled(user):
    assert account(METHOD, user) == account(METHOD, "bob")


@pytest.mark.parametrize("user", ["bobby", "uid=bob\\,x,dc=example", "", "\\", "@", "b ob"])
def test_other_accounts_are_others(user):
    assert account(METHOD, user) != account(METHOD, "bob")
    assert account(b"n" * 32, user) != account(METHOD, user)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_memory_is_bounded(monkeypatch, guard):
    monkeypatch.setattr(throttle, "MAX_NAMES", 10)
    for number in range(100):
        name = b"%d" % number
        guard.enter(name, THIEF)
        if number % 2:
            tries(guard, name, THIEF)
        guard.clear(b"own", THIEF + name)
    assert len(guard._free) + len(guard._delayed) <= 10
    assert len(guard._known) <= 10
    assert MAX_NAMES <= 100_000


def test_a_delay_is_not_pushed_out_by_names_that_were_tried_once(monkeypatch, guard):
    monkeypatch.setattr(throttle, "MAX_NAMES", 10)
    tries(guard, BOB, THIEF)
    for number in range(100):
        guard.enter(b"%d" % number, THIEF)
    assert tries(guard, BOB, THIEF) == 0


def test_a_table_full_of_delays_lets_no_name_go_uncounted(monkeypatch, guard):
    monkeypatch.setattr(throttle, "MAX_NAMES", 10)
    for number in range(10):
        tries(guard, b"%d" % number, THIEF)
    assert tries(guard, BOB, THIEF) == FREE


def test_what_was_pushed_out_can_be_cleared(monkeypatch, guard):
    monkeypatch.setattr(throttle, "MAX_NAMES", 1)
    guard.enter(BOB, OWNER)
    guard.enter(ANN, THIEF)
    guard.clear(BOB, OWNER)
    assert guard.knows(BOB, OWNER)
    assert not guard.knows(BOB, THIEF)


# --- allowances -----------------------------------------------------------------------------------------------------


def taken(allowances, name):
    for count in range(10 * BURST):
        try:
            allowances.take(name)
        except Refused as error:
            if error.number is not Number.THROTTLED:
                raise
            return count
    raise AssertionError("without end")


def test_an_allowance_is_a_burst_and_then_one_a_minute(platform):
    allowances = Allowances(Clock(platform))
    assert taken(allowances, BOB) == BURST
    platform.time += REFILL - 1
    assert taken(allowances, BOB) == 0
    platform.time += 1
    assert taken(allowances, BOB) == 1
    platform.time += 10 * DAY
    assert taken(allowances, BOB) == BURST
    assert taken(allowances, ANN) == BURST


def test_a_clock_that_goes_back_gives_no_allowance_and_takes_none_for_long(platform):
    allowances = Allowances(Clock(platform))
    taken(allowances, BOB)
    platform.time -= 7 * DAY
    assert taken(allowances, BOB) == 0
    platform.time += REFILL
    assert taken(allowances, BOB) == 1


def test_allowances_are_bounded(platform):
    allowances = Allowances(Clock(platform))
    for number in range(MAX_ALLOWANCES + 10):
        allowances.take(b"%d" % number)
    assert len(allowances._allowances) == MAX_ALLOWANCES


# --- at the Authenticator -------------------------------------------------------------------------------------------


class Directory:
    """In place of a directory, which has tests of its own: takes its time, and one password."""

    def __init__(self, *_):
        self.asked = 0

    async def sign_in(self, digest, method, user, password):
        self.asked += 1
        await asyncio.sleep(0.01)
        if password != "right":
            raise Refused(Number.SIGN_IN_REFUSED, "wrong password")
        return fact(digest, "directory", "bob")


@pytest.fixture
def desk(platform, monkeypatch):
    monkeypatch.setattr(sign_ins, "Directories", Directory)
    return Desk(platform)


DIRECTORY = DirectoryMethod(
    public=DirectoryPublic(name="ad.example.com"),
    flavour="active-directory",
    servers=["ldaps://ad.example.com"],
    certificates=b"",
    base="dc=example,dc=com",
    user_dn="",
    groups=[],
    email_domains=[],
)


async def sign_in(desk, user="bob@example.com", password="wrong"):
    request = PasswordSignIn(
        vault_cluster=VAULT,
        capsule=desk.capsule(DIRECTORY),
        method=method_digest(encode(DIRECTORY)),
        user=user,
        password=password,
        with_ticket=None,
    )
    try:
        await desk.service.handle(desk.caller(), request)
    except StrongroomError as error:
        return error.number
    return None


async def test_parallel_attempts_can_t_outrun_the_counting(desk):
    numbers = await asyncio.gather(*(sign_in(desk) for _ in range(50)))
    assert numbers.count(Number.SIGN_IN_REFUSED) == FREE
    assert numbers.count(Number.THROTTLED) == 50 - FREE
    assert desk.service._sign_ins._directories.asked == FREE


async def test_an_account_is_not_tried_more_often_by_spelling_it_otherwise(desk):
    numbers = [await sign_in(desk, user) for user in ("bob@example.com", "EXAMPLE\\bob", "BOB", "Bób@example.com")]
    assert numbers == [Number.SIGN_IN_REFUSED] * FREE + [Number.THROTTLED]


async def test_the_right_password_is_throttled_like_a_wrong_one(desk):
    """Else the delay would not hinder who guesses."""
    for _ in range(FREE):
        await sign_in(desk)
    assert await sign_in(desk, password="right") is Number.THROTTLED


async def test_the_owner_signs_in_while_strangers_guess(desk, platform):
    assert await sign_in(desk, password="right") is None
    stranger = Desk(platform)
    stranger.service = desk.service
    for _ in range(FREE + 5):
        await sign_in(stranger)
    assert await sign_in(stranger, password="right") is Number.THROTTLED
    assert await sign_in(desk, password="right") is None
