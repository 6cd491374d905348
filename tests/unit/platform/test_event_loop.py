"""Time-outs of an enclave whose clock is the attacker's."""

import asyncio
import signal
import time
from types import SimpleNamespace

import pytest

from strongroom.enclave.platform import event_loop
from strongroom.enclave.platform.event_loop import EnclaveLoop, PassingTime


@pytest.fixture
def clock(monkeypatch):
    """The host's clock as the loop sees it: an object whose `read` a test replaces."""
    host = SimpleNamespace(read=time.time)
    monkeypatch.setattr(event_loop, "time", SimpleNamespace(time=lambda: host.read()))
    return host


def stuck(signal_number, frame):
    raise AssertionError("the loop is stuck")


def run(work):
    before = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(20)  # the only upper bound: how long a busy machine takes proves nothing
    try:
        with asyncio.Runner(loop_factory=EnclaveLoop) as runner:
            return runner.run(work)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


async def timed_out(seconds, work=None):
    """True seconds until a time-out of `seconds` strikes."""
    began = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await (work or asyncio.Event().wait())
    return time.perf_counter() - began


def test_an_honest_clock_is_followed(clock):
    assert run(timed_out(0.1)) >= 0.1


def test_a_clock_that_goes_back_does_not_hold_a_time_out_up(clock):
    async def work():
        asyncio.get_running_loop().call_later(0.05, setattr, clock, "read", lambda: time.time() - 1e6)
        return await timed_out(0.2)

    assert run(work()) > 0.1


def test_a_clock_that_goes_back_again_and_again_does_not_hold_a_time_out_up(clock):
    start = time.time()
    clock.read = lambda: start - time.perf_counter()
    run(timed_out(0.1))


def test_a_clock_that_stands_still_does_not_hold_a_time_out_up(clock):
    clock.read = lambda: 1e9
    assert run(timed_out(0.1)) >= 0.1


def test_a_jump_ahead_does_not_strike_what_has_longer_to_go(clock):
    async def work():
        loop = asyncio.get_running_loop()
        fired: list[str] = []
        loop.call_later(30, fired.append, "too early")
        loop.call_later(0.02, setattr, clock, "read", lambda: time.time() + 1e6)
        await asyncio.sleep(0.1)
        assert fired == []
        return loop.time()

    assert run(work()) < 3


def test_a_jump_ahead_in_a_wait_counts_for_no_more_than_the_wait(clock):
    passing = PassingTime()
    began = passing.read()
    passing.turn(5.0)
    now = time.time()
    clock.read = lambda: now + 1e6
    assert passing.read() <= began + 5.0 + 1.0


def test_a_clock_that_jumps_at_every_look_counts_a_second_a_turn_at_most(clock):
    """Else a hundred looks in one turn would be a hundred seconds, and every time-out strike at once."""
    passing = PassingTime()
    began = passing.read()
    passing.turn()
    for hour in range(100):
        clock.read = lambda hour=hour: 1e9 + 3600 * hour
        passing.read()
    assert passing.read() <= began + 1.0


def test_time_never_goes_back(clock):
    passing = PassingTime()
    readings = []
    for wall in (1e9, 0.0, 1e9, 5.0, -1e9, 2e9, 2e9, 2e9 + 0.25):
        clock.read = lambda wall=wall: wall
        passing.turn()
        readings.append(passing.read())
    assert readings == sorted(readings)
    assert readings[-1] - readings[-2] == pytest.approx(0.25)


def test_the_monotonic_clock_is_not_asked(clock, monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: pytest.fail("it is the host's"))
    run(timed_out(0.01))


def test_a_host_that_is_silent_costs_no_processor_time():
    async def work():
        began = time.process_time()
        await timed_out(0.3)
        return time.process_time() - began

    assert run(work()) < 0.15
