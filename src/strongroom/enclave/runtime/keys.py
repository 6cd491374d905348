"""The attested HPKE key, turned over hourly by a one-way ratchet (RULES 2).

The first state is random per start and lives in memory only. Each turn replaces the state by its hash, so what was
sealed to an erased key stays closed even to this enclave.

A key whose time lies further ahead than a period was made while the host's clock had jumped. It is turned over and
forgotten like an old one, or it would serve for as long as the jump.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import KEY_OVERLAP, KEY_PERIOD
from strongroom.protocol.primitives import Domain, KemKey, expand_key
from strongroom.protocol.session import KEY_ID, key_id

KEY_LIFE: Final = KEY_PERIOD + KEY_OVERLAP
"""Seconds for which a key opens anything, at most."""


class TurningKey:
    """The current KEM key and, for ten minutes after a turn, the one before."""

    def __init__(self, seed: bytes, now: int) -> None:
        self._state = seed
        self._period_end = 0
        self._current: KemKey
        self._expires: dict[bytes, tuple[KemKey, int]] = {}
        self._turn(now)

    def _turn(self, now: int) -> None:
        self._current = KemKey(expand_key(self._state, Domain.RATCHET_KEY))
        self._state = expand_key(self._state, Domain.RATCHET_STEP)
        self._period_end = now + KEY_PERIOD
        self._expires[key_id(self._current.public)] = (self._current, self.expires_at)

    @property
    def expires_at(self) -> int:
        """Unix time at which the current key stops opening anything."""
        return self._period_end + KEY_OVERLAP

    def current(self, now: int) -> KemKey:
        """The key to put into evidence made at `now`."""
        if not lasts(self._period_end, now, KEY_PERIOD):
            self._turn(now)
        self._expires = {name: entry for name, entry in self._expires.items() if lasts(entry[1], now, KEY_LIFE)}
        return self._current

    def find(self, sealed: bytes, now: int) -> KemKey:
        """The key that `sealed` (beginning with a key id) is sealed to. Raises `Misuse` STALE_KEY."""
        self.current(now)
        entry = self._expires.get(sealed[:KEY_ID])
        if entry is None:
            raise Misuse(Number.STALE_KEY)
        return entry[0]
