"""The clock floor: the host tells the time, so a time once proven past is never forgotten (RULES 24).

Only dates that somebody other than a depositor vouches for may raise the floor: the collateral of verified
quotes. Never a token: one provider with a token of the year 2500 would stop everybody.
"""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.protocol.errors import Number, Untrusted


def lasts(end: int, now: int, longest: int) -> bool:
    """True until `end`, for what was dated at most `longest` seconds ahead when it was made.

    A later end was dated while the clock had jumped ahead. Once it is right again, such a thing would outlive its
    limit by as long as the jump.
    """
    return now < end <= now + longest


class Clock:
    """Unix seconds from the host, never below the floor."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._floor = 0

    @property
    def floor(self) -> int:
        return self._floor

    def seconds(self) -> int:
        """For measuring how much time has passed: what the host's clock says, and never less than the floor."""
        return max(self._floor, int(self._platform.now()))

    def raise_floor(self, proven: int) -> None:
        """Remember that `proven` is past. Never beyond the host's clock: wrong collateral must not stop us."""
        self._floor = max(self._floor, min(proven, int(self._platform.now())))

    def restore_floor(self, floor: int) -> None:
        """Take up the floor of an earlier run: a clock that was set back while nobody ran is behind it.

        Not on the insecure platform, whose collateral is dated by its own host's clock: one that had jumped ahead would
        stop it for ever.
        """
        if self._platform.kind == "insecure-software":
            self.raise_floor(floor)
        else:
            self._floor = max(self._floor, floor)

    def now(self) -> int:
        """Raises `Untrusted` CLOCK when the host's clock is behind the floor."""
        now = int(self._platform.now())
        if now < self._floor:
            raise Untrusted(Number.CLOCK, f"the host's clock is {self._floor - now} s behind a time proven past")
        return now
