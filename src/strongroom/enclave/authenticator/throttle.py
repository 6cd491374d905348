"""Limits on guessing: attempts at one account or code, before the answer is known."""

from __future__ import annotations

from strongroom.enclave.runtime.clock import Clock


class Throttle:
    """Attempts by what they are at, and by whose session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def enter(self, name: bytes, binding_key: bytes) -> None:
        """Count an attempt at `name`. Raises `Refused` THROTTLED when it comes too early."""

    def clear(self, name: bytes, binding_key: bytes) -> None:
        """The attempt succeeded."""
