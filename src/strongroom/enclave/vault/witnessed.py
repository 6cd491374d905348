"""Witnessed time: what rules that grant by its passing may go by (RULES 24)."""

from __future__ import annotations

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock


class WitnessedTime:
    """The time as somebody besides the host vouches for it.

    Nobody does so far. On the insecure software platform, which protects nothing anyway, the host's clock will do; on
    hardware there is no witnessed time until there are witnesses, and instructions whose rules need one are refused
    when they are stored.
    """

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = platform
        self._clock = clock

    def now(self) -> int | None:
        """Unix seconds. Raises as `Clock.now`."""
        return self._clock.now() if self._platform.kind == "insecure-software" else None
