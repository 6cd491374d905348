"""What an enclave tells its operator, as lines on stderr (docs/decisions/0009): why sign-ins failed, never whose.

The host reads these lines, so they hold no name, no address, no credential and no text of a provider's or a
client's, only the reasons of errors, which never do. A line is one line of printable ASCII whatever a reason holds, and
nothing here raises: telling of an error must not become one.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from typing import Final

from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Number, StrongroomError, Untrusted

BURST: Final = 10
"""Lines on one kind of request in `PERIOD`; of the others only the number is told. So a stranger neither fills the
operator's disk nor hides what fails beside his own attempts, if they are of another kind."""
PERIOD: Final = 60
"""Seconds."""
MAX_LINE: Final = 240
"""Characters."""
_QUIET: Final = frozenset({Number.SIGN_IN_PENDING, Number.MALFORMED, Number.STALE_KEY, Number.CLOCK})


class Events:
    """Lines for the operator."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0
        self._told: Counter[str] = Counter()

    def refused(self, request: Message, error: StrongroomError) -> None:
        """A request that failed."""
        if error.number not in _QUIET:
            kind = str(request.__struct_config__.tag)
            self._tell(kind, f"refused: {kind} [{int(error.number)}] {error.reason or error.error}")

    def undelivered(self, reply: int) -> None:
        """A mail server refused one recipient or mail by this number (RFC 5321 §4.2), which nobody else is told."""
        self._tell("undelivered", f"undelivered: the mail server replied {reply} to a recipient or a code")

    def interrupted(self, error: StrongroomError) -> None:
        """A mail server that had taken the sender broke off before it took the mail, which nobody else is told."""
        self._tell("undelivered", f"undelivered: {error.reason or error.error}")

    def _tell(self, kind: str, line: str) -> None:
        with suppress(Untrusted):  # a clock behind its floor: the period goes on
            now = self._clock.now()
            if not 0 <= now - self._since < PERIOD:
                for flood, told in self._told.items():
                    if told > BURST:
                        _print(f"{told - BURST} more: {flood}")
                self._since = now
                self._told.clear()
        self._told[kind] += 1
        if self._told[kind] <= BURST:
            _print(line)


def _print(line: str) -> None:
    """Escaped: a line break would let a reason pass for lines of its own, and terminals act on control characters."""
    with suppress(OSError, ValueError):  # nobody listens, or the operator's disk is full
        print(ascii(line)[1:-1][:MAX_LINE], file=sys.stderr, flush=True)
