"""Limits on guessing and on sending: counted before the answer is known, so that parallel attempts gain nothing.

Attacks stopped here:

1. Guessing: a few attempts at one account (`Limit`), then one after each delay, which doubles up to `LONGEST_DELAY`.
   Neither a success of another session nor a clock that the host sets back makes a delay shorter.
2. Locking people out, by failing in their name. Sessions that have signed in at an account before have a count of
   their own there ("device cookies"); strangers share one. And directories lock accounts by themselves: with these
   delays strangers cause fewer failures at an account in half an hour than the ten that Microsoft advises to lock at.
3. Emptying the table, to be rid of a delay or of somebody's device cookie: each definition or server has a share of
   it (`shares`), and of strangers' counts none goes before it has rested for the first delay. Who fills a share makes
   strangers wait there, never those who are known.

Counts are of this process and its memory, unlike those of the Vault, which a failed sign-in never reaches (RULES 21):
who can restart the enclave starts them anew. That is the host, which must then still guess through a directory that
counts, too, and codes end with the process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.authenticator.shares import Place, Shares
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.errors import Number, Refused

LONGEST_DELAY: Final = 3600
"""Seconds."""
MEMORY: Final = 24 * 3600
"""Seconds without an attempt after which a count starts anew."""
MAX_ALLOWANCES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Limit:
    """On attempts at one account."""

    free: int
    """Attempts before the first delay."""
    first_delay: int
    """Seconds."""


PASSWORDS: Final = Limit(free=2, first_delay=1800)
"""An account of Active Directory has up to three names that share nothing (user@domain, DOMAIN\\user, DN), so up to
three counts: two each leave room below ten."""
MAILS: Final = Limit(free=3, first_delay=900)


@dataclass(slots=True)
class _Count:
    attempts: int = 0
    since: int = 0
    """When the last one was."""


class Throttle:
    """Attempts by what they are at, and by whose session."""

    def __init__(self, clock: Clock, limit: Limit) -> None:
        self._clock = clock
        self._limit = limit
        self._strangers: Shares[_Count] = Shares()
        """By account."""
        self._known: Shares[_Count] = Shares()
        """Of sessions that have signed in, by all that makes a session known."""

    def verify(self, accounts: Collection[Place], session: Place) -> None:
        """As `enter`, but counts nothing."""
        now = self._clock.now()
        for count in self._counts(accounts, session):
            self._verify(count, now)

    def enter(self, accounts: Collection[Place], session: Place) -> None:
        """Count one attempt, which is at all of `accounts`. Raises `Refused` THROTTLED when it comes too early for one
        of them, `Untrusted` CLOCK."""
        now = self._clock.now()
        counts = self._counts(accounts, session)
        for count in counts:
            self._verify(count, now)
        if not self.knows(session):
            for account, count in zip(accounts, counts, strict=True):
                if not self._strangers.has_room(account, lambda other: self._may_go(other, now)):
                    raise Refused(Number.THROTTLED, "too many accounts of one server or definition were tried")
                self._strangers.keep(account, count)
        for count in counts:
            count.attempts = 1 + (count.attempts if now - count.since < MEMORY else 0)
            count.since = now

    def clear(self, accounts: Collection[Place], session: Place) -> None:
        """The attempt succeeded: from now on this session has its own count, and this one is none against strangers.

        Theirs goes on: else each sign-in of the owner would give a guesser new attempts.
        """
        if not self.knows(session):
            for account in accounts:
                self._take_back(account)
        if self._known.has_room(session, lambda _: True):
            self._known.keep(session, _Count())

    def knows(self, session: Place) -> bool:
        """Whether the session has signed in there before."""
        return self._known.get(session) is not None

    def _counts(self, accounts: Collection[Place], session: Place) -> list[_Count]:
        known = self._known.get(session)
        if known is not None:
            return [known]
        return [self._strangers.get(account) or _Count() for account in accounts]

    def _take_back(self, account: Place) -> None:
        count = self._strangers.get(account)
        if count is not None:
            count.attempts -= 1
            if count.attempts <= 0:
                self._strangers.drop(account)

    def _verify(self, count: _Count, now: int) -> None:
        if now < count.since:
            count.since = now  # the clock was set back: the delay begins again, so it's neither shorter nor endless
        if now - count.since < self._delay(count):
            raise Refused(Number.THROTTLED, "too many attempts at one account or address")

    def _delay(self, count: _Count) -> int:
        """Seconds from the last attempt to the next."""
        if count.attempts < self._limit.free:
            return 0
        doublings = min(count.attempts - self._limit.free, LONGEST_DELAY.bit_length())
        return min(self._limit.first_delay << doublings, LONGEST_DELAY)

    def _may_go(self, count: _Count, now: int) -> bool:
        return now - count.since >= max(self._delay(count), self._limit.first_delay)


@dataclass(slots=True)
class _Allowance:
    left: int
    since: int
    """When it last grew."""


class Allowances:
    """How often something may be done that costs somebody: `burst` times, then once every `refill` seconds."""

    def __init__(self, clock: Clock, *, burst: int, refill: int) -> None:
        self._clock = clock
        self._burst = burst
        self._refill = refill
        self._allowances: OrderedDict[bytes, _Allowance] = OrderedDict()

    def take(self, name: bytes) -> None:
        """Take one of `name`'s. Raises `Refused` THROTTLED when none is left, `Untrusted` CLOCK."""
        now = self._clock.now()
        allowance = self._allowances.setdefault(name, _Allowance(self._burst, now))
        self._allowances.move_to_end(name)
        if len(self._allowances) > MAX_ALLOWANCES:
            self._allowances.popitem(last=False)
        allowance.since = min(allowance.since, now)
        grown = (now - allowance.since) // self._refill
        allowance.left = min(self._burst, allowance.left + grown)
        allowance.since += grown * self._refill
        if not allowance.left:
            raise Refused(Number.THROTTLED, "as often as may be for now")
        allowance.left -= 1

    def give(self, name: bytes, number: int) -> None:
        """Give back what was taken for something that cost nobody anything."""
        allowance = self._allowances.get(name)
        if allowance is not None:
            allowance.left = min(self._burst, allowance.left + number)
