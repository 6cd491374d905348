"""Limits on guessing and on sending: counted before the answer is known, so that parallel attempts gain nothing.

Attacks stopped here:

1. Guessing: `FREE` attempts at one account, then one after each delay, which doubles up to `LONGEST_DELAY`. Neither a
   success of another session nor a clock that the host sets back makes a delay shorter.
2. Locking people out, by failing in their name. Sessions whose binding key has signed in at an account before have a
   count of their own there ("device cookies"); strangers share one. And directories lock accounts by themselves: with
   these delays strangers cause at most 4 failures in any half hour, which is less than directories lock at.
3. Spelling one account in many ways: `account` folds what directories fold.
4. Filling memory: tables are bounded. What goes first is what a stranger gains least by: counts without a delay. To
   push out a delay he must fail three times at each of `MAX_NAMES` accounts, and gains three attempts.

Counts are of this process and its memory, unlike those of the Vault, which a failed sign-in never reaches (RULES 21):
who can restart the enclave starts them anew. That is the host, which must then still guess through a directory that
counts, too, and codes end with the process.
"""

from __future__ import annotations

import re
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.primitives import Domain, digest

FREE: Final = 3
"""Attempts before the first delay."""
FIRST_DELAY: Final = 900
"""Seconds. Less, and three attempts with those after the first delays would make a directory lock the account."""
LONGEST_DELAY: Final = 3600
"""Seconds."""
MEMORY: Final = 24 * 3600
"""Seconds without an attempt after which a count starts anew."""
MAX_NAMES: Final = 16_384
"""Counts of strangers, and as many of known sessions."""
BURST: Final = 60
"""Of an allowance at most, and at first."""
REFILL: Final = 60
"""Seconds until an allowance has grown by one."""
MAX_ALLOWANCES: Final = 16_384
_RDN: Final = re.compile(r"\s*[a-z0-9.-]+\s*=((?:\\.|[^,;+\\])*)", re.DOTALL)
"""The first of a distinguished name, in lower case."""
_ESCAPED: Final = re.compile(r"\\([0-9a-f]{2})")


def account(method: bytes, user: str) -> bytes:
    """The name under which attempts at a directory's user are counted.

    `BOB`, `bob@example.com`, `EXAMPLE\\bob`, `uid=bob,dc=example` and, as Active Directory sees it, `bób` are one. That
    people of several domains may share a count costs them a delay; several counts of one would cost him the account.
    """
    spelled = unicodedata.normalize("NFKD", user).casefold()
    folded = "".join(character for character in spelled if not unicodedata.combining(character))
    if (first := _RDN.match(folded)) is not None:
        folded = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), first[1])
    else:
        folded = folded.rpartition("\\")[2].partition("@")[0]
    return digest(Domain.MARK, method, folded.strip().encode())


@dataclass(slots=True)
class _Count:
    attempts: int = 0
    since: int = 0
    """When the last one was."""

    @property
    def delay(self) -> int:
        """Seconds from the last attempt to the next."""
        if self.attempts < FREE:
            return 0
        doublings = min(self.attempts - FREE, LONGEST_DELAY.bit_length())
        return min(FIRST_DELAY << doublings, LONGEST_DELAY)


class Throttle:
    """Attempts by what they are at, and by whose session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free: OrderedDict[bytes, _Count] = OrderedDict()
        self._delayed: OrderedDict[bytes, _Count] = OrderedDict()
        """Of strangers, by name, without and with a delay; the one attempted last is last."""
        self._known: OrderedDict[tuple[bytes, bytes], _Count] = OrderedDict()
        """Of sessions that have signed in, by name and binding key; the one that signed in last is last."""

    def enter(self, name: bytes, binding_key: bytes) -> None:
        """Count an attempt at `name`. Raises `Refused` THROTTLED when it comes too early, `Untrusted` CLOCK."""
        now = self._clock.now()
        known = self._known.get((name, binding_key))
        if known is not None:
            _enter(known, now)
            return
        count = self._free.get(name) or self._delayed.get(name) or _Count()
        _enter(count, now)
        self._keep(name, count)

    def clear(self, name: bytes, binding_key: bytes) -> None:
        """The attempt succeeded: from now on this session has its own count, and this one is none against strangers.

        Theirs goes on: else each sign-in of the owner would give a guesser new attempts.
        """
        if (name, binding_key) not in self._known:
            count = self._free.get(name) or self._delayed.get(name)
            if count is not None:
                count.attempts = max(0, count.attempts - 1)
                self._keep(name, count)
        self._known[name, binding_key] = _Count()
        self._known.move_to_end((name, binding_key))
        if len(self._known) > MAX_NAMES:
            self._known.popitem(last=False)

    def knows(self, name: bytes, binding_key: bytes) -> bool:
        """Whether the session has signed in there before."""
        return (name, binding_key) in self._known

    def _keep(self, name: bytes, count: _Count) -> None:
        self._free.pop(name, None)
        self._delayed.pop(name, None)
        (self._delayed if count.delay else self._free)[name] = count
        if len(self._free) + len(self._delayed) > MAX_NAMES:
            # Never this one, or a full table would let names be guessed at without being counted.
            (self._delayed if next(iter(self._free), name) == name else self._free).popitem(last=False)


def _enter(count: _Count, now: int) -> None:
    """Takes the attempt. Raises `Refused` THROTTLED."""
    if now < count.since:
        count.since = now  # the clock was set back: the delay begins again, so it's neither shorter nor without end
    waited = now - count.since
    if waited < count.delay:
        raise Refused(Number.THROTTLED, "too many attempts at one account or address")
    if waited >= MEMORY:
        count.attempts = 0
    count.attempts += 1
    count.since = now


@dataclass(slots=True)
class _Allowance:
    left: int
    since: int
    """When it last grew."""


class Allowances:
    """How often something may be done that costs somebody: `BURST` times, then once every `REFILL` seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._allowances: OrderedDict[bytes, _Allowance] = OrderedDict()

    def take(self, name: bytes) -> None:
        """Take one of `name`'s. Raises `Refused` THROTTLED when none is left, `Untrusted` CLOCK."""
        now = self._clock.now()
        allowance = self._allowances.setdefault(name, _Allowance(BURST, now))
        self._allowances.move_to_end(name)
        if len(self._allowances) > MAX_ALLOWANCES:
            self._allowances.popitem(last=False)
        allowance.since = min(allowance.since, now)
        grown = (now - allowance.since) // REFILL
        allowance.left = min(BURST, allowance.left + grown)
        allowance.since += grown * REFILL
        if not allowance.left:
            raise Refused(Number.THROTTLED, "as many codes were sent as may be for now")
        allowance.left -= 1
