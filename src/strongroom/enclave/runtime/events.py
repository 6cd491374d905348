"""What an enclave tells its operator, as lines on stderr (docs/decisions/0009): why sign-ins failed, never whose.

The host reads these lines, so they hold no name, no address, no credential and no text of a provider's or a
client's, only the reasons of errors, which never do.
"""

from __future__ import annotations

import sys

from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Number, StrongroomError

BURST = 20
"""Lines in `PERIOD`; of the others only the number is told, so that a stranger can't fill the operator's disk."""
PERIOD = 60
"""Seconds."""
_QUIET = frozenset({Number.SIGN_IN_PENDING, Number.MALFORMED, Number.STALE_KEY})


class Events:
    """Lines for the operator, at most BURST a PERIOD."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0
        self._told = 0

    def refused(self, request: Message, error: StrongroomError) -> None:
        """A request that failed."""
        if error.number in _QUIET or error.number is Number.CLOCK:
            return
        now = self._clock.now()
        if not 0 <= now - self._since < PERIOD:
            if self._told > BURST:
                _print(f"{self._told - BURST} more requests were refused")
            self._since, self._told = now, 0
        self._told += 1
        if self._told <= BURST:
            kind = request.__struct_config__.tag
            _print(f"refused: {kind} [{int(error.number)}] {error.reason or error.error}")


def _print(line: str) -> None:
    print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
