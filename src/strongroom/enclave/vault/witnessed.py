"""Witnessed time: what rules that grant by its passing may go by (RULES 24)."""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.errors import Number, Untrusted


class WitnessedTime:
    """The time as somebody besides the host vouches for it: witnesses, by the newest cosignature.

    Without them the host's clock will do on the insecure software platform, which protects nothing anyway; on hardware
    there is no witnessed time then, and instructions whose rules need one are refused when they are stored.
    """

    def __init__(self, platform: Platform, clock: Clock, witnessing: Witnessing) -> None:
        self._platform = platform
        self._clock = clock
        self._witnessing = witnessing

    def now(self) -> int | None:
        """Unix seconds; what witnesses say may be as old as the lease. Raises as `Clock.now`."""
        if self._witnessing.exists:
            return self._witnessing.time
        return self._clock.now() if self._platform.kind == "insecure-software" else None

    def latest(self) -> int | None:
        """As `now`, but a time from which on something counts, such as days without the owner.

        A host in league with one witness has that one say a time of long ago. So this is one that enough witnesses do
        not pass, and where they are further apart than clocks are, it raises `Untrusted` CLOCK: nobody knows then.
        """
        now = self.now()
        if now is None or not self._witnessing.exists:
            return now
        latest = self._witnessing.seen.at
        if not latest:
            raise Untrusted(Number.CLOCK, "a witness and the host's clock disagree on the time")
        return max(now, latest)
