"""How often a provider of sign-ins is called on behalf of people it has not signed in here before.

Else any stranger who may describe a record makes calls at its provider without end (codes that he made up, pushed
requests, device flows), until the provider blocks this Authenticator for everybody. Sessions that have signed in by the
same definition have an allowance of their own, so that strangers don't use up theirs.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.authenticator.shares import Shares
from strongroom.enclave.authenticator.throttle import Allowances
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.primitives import Domain, digest

STRANGERS_BURST: Final = 300
STRANGERS_REFILL: Final = 1
"""Of all strangers to one definition, in calls and seconds; what a sign-in took that succeeded is given back."""
KNOWN_BURST: Final = 60
KNOWN_REFILL: Final = 60
"""Of one known session."""
SIGN_IN: Final = 2
"""Calls of a sign-in at most: the request that begins it, and the one that ends it."""


class ProviderCalls:
    """Counts of calls, by definition and session."""

    def __init__(self, clock: Clock) -> None:
        self._of_strangers = Allowances(clock, burst=STRANGERS_BURST, refill=STRANGERS_REFILL)
        self._of_known = Allowances(clock, burst=KNOWN_BURST, refill=KNOWN_REFILL)
        self._known: Shares[bytes] = Shares()

    def take(self, method: bytes, binding_key: bytes) -> None:
        """Before a call. Raises `Refused` THROTTLED when it may not be made now."""
        if (known := self._known.get((method, binding_key))) is not None:
            self._of_known.take(known)
        else:
            self._of_strangers.take(method)

    def signed_in(self, method: bytes, binding_key: bytes) -> None:
        """The provider has named somebody to this session."""
        session = (method, binding_key)
        if self._known.get(session) is None:
            self._of_strangers.give(method, SIGN_IN)
        if self._known.has_room(session, lambda _: True):
            self._known.keep(session, digest(Domain.MARK, method, binding_key))
