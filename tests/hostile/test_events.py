"""Lines for the operator: what failed and why, never whose; and nobody fills the disk, forges a line or stops a sign-in
by them."""

import io
import sys

import pytest

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.events import BURST, MAX_LINE, PERIOD, Events
from strongroom.protocol.errors import WORDS, Misuse, Number, Refused, Unavailable, Untrusted
from strongroom.protocol.sign_in_messages import CodeSignIn, PasswordSignIn
from tests.support.issuer import VAULT
from tests.support.world import Platform

PASSWORD = PasswordSignIn(
    vault_cluster=VAULT, capsule=b"", method=b"m" * 32, user="bob", password="secret", with_ticket=None
)
CODE = CodeSignIn(capsule=b"", handle=b"", code="12345678", with_ticket=None)
LOCKED = Refused(Number.SIGN_IN_REFUSED, "the account is locked")


class Turned(Platform):
    time = 1_800_000_000.0

    def now(self):
        return self.time


@pytest.fixture
def platform(tmp_path):
    return Turned("authenticator", tmp_path / "machine")


@pytest.fixture
def clock(platform):
    return Clock(platform)


@pytest.fixture
def events(clock):
    return Events(clock)


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_the_operator_learns_what_failed_and_why_and_not_whose(events, capsys):
    events.refused(PASSWORD, LOCKED)
    events.refused(CODE, Unavailable(Number.PROVIDER_SLOW))
    events.undelivered(550)
    assert lines(capsys) == [
        "refused: password-sign-in [203] the account is locked",
        f"refused: code-sign-in [406] {WORDS[Number.PROVIDER_SLOW][0]}",
        "undelivered: the mail server replied 550 to a recipient or a code",
    ]


@pytest.mark.parametrize("number", [Number.SIGN_IN_PENDING, Number.MALFORMED, Number.STALE_KEY, Number.CLOCK])
def test_what_is_no_news_is_not_told(events, capsys, number):
    events.refused(PASSWORD, Misuse(number, "every second"))
    assert lines(capsys) == []


@pytest.mark.parametrize(
    "reason",
    [
        "first\nrefused: password-sign-in [203] forged",
        "first\r\x1b[2Kforged",
        "\x1b]0;title\x07",
        "a\x00b\x7fc\x85d",
        "right to left \u202e",
        "line\u2028separator",
        "\ud800",
        "x" * 10_000,
    ],
)
def test_whatever_a_reason_holds_it_is_one_line_of_printable_ascii(events, capsys, reason):
    events.refused(PASSWORD, Refused(Number.SIGN_IN_REFUSED, reason))
    told = capsys.readouterr().err
    assert told.endswith("\n")
    assert told[:-1].isascii()
    assert told[:-1].isprintable()
    assert told.startswith("refused: password-sign-in [203] ")
    assert len(told) <= MAX_LINE + 1


def test_a_flood_costs_few_lines_a_minute_and_is_counted(events, platform, capsys):
    for _ in range(1000):
        events.refused(PASSWORD, LOCKED)
    assert len(lines(capsys)) == BURST
    platform.time += PERIOD
    events.refused(PASSWORD, LOCKED)
    assert lines(capsys) == [
        f"{1000 - BURST} more: password-sign-in",
        "refused: password-sign-in [203] the account is locked",
    ]
    platform.time += PERIOD
    events.refused(PASSWORD, LOCKED)
    assert len(lines(capsys)) == 1


def test_a_flood_of_one_kind_hides_no_other(events, capsys):
    for _ in range(1000):
        events.refused(CODE, Refused(Number.SIGN_IN_REFUSED, "a wrong code"))
    lines(capsys)
    events.refused(PASSWORD, LOCKED)
    events.undelivered(550)
    assert len(lines(capsys)) == 2


def test_a_clock_behind_its_floor_stops_no_answer(events, clock, platform, capsys):
    """The error under way is the one that the client must get."""
    clock.raise_floor(int(platform.time))
    platform.time -= 100
    for _ in range(BURST + 5):
        events.refused(PASSWORD, LOCKED)
    assert len(lines(capsys)) == BURST
    with pytest.raises(Untrusted):
        clock.now()


def test_a_clock_that_goes_back_does_not_silence(events, platform, capsys):
    for _ in range(BURST + 1):
        events.refused(PASSWORD, LOCKED)
    lines(capsys)
    platform.time -= 7 * 24 * 3600
    events.refused(PASSWORD, LOCKED)
    assert lines(capsys)[-1] == "refused: password-sign-in [203] the account is locked"


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "no space left on device")


@pytest.mark.parametrize("closed", [False, True])
def test_an_operator_who_cannot_listen_stops_no_answer(events, monkeypatch, closed):
    listener = Full()
    if closed:
        listener.close()
    monkeypatch.setattr(sys, "stderr", listener)
    events.refused(PASSWORD, LOCKED)
    events.undelivered(550)
