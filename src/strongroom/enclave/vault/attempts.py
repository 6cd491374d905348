"""Refused attempts: who goes on trying what a record does not permit has to wait, longer each time (RULES 21).

Attacks stopped here:

1. Guessing at length: after a few that are free, each refusal doubles the time in which nothing is permitted.
2. Locking somebody out: what one identity tries hinders no other. There is no limit on a record as a whole, so whoever
   may `update` it always can.
3. Starting afresh by going away, or by a restart: the row is durable before the refusal is answered, and remembers
   for a day.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Count, UnixTime
from strongroom.protocol.limits import ATTEMPTS_KEPT, FREE_ATTEMPTS, MAX_ATTEMPT_DELAY
from strongroom.protocol.messages import Principal

MAX_IDENTITIES: Final = 64
"""Of one record; the one that was refused longest ago makes room."""


class Refusals(Message):
    """Of one identity."""

    identity: Principal
    count: Count
    last: UnixTime


class Attempts(Message):
    """Payload of the attempts row of a record: the most recent identities, oldest first."""

    refusals: Annotated[list[Refusals], Meta(max_length=MAX_IDENTITIES)]

    def is_throttled(self, identity: str, now: int) -> bool:
        """Whether this identity has to wait at the unix time `now`."""
        return any(
            lasts(one.last + (wait := delay_after(one.count)), now, wait)
            for one in self.refusals
            if one.identity == identity
        )

    def add(self, identity: str, now: int) -> Attempts:
        """With one more refusal counted."""
        kept = [one for one in self.refusals if now < one.last + ATTEMPTS_KEPT]
        before = next((one.count for one in kept if one.identity == identity), 0)
        others = [one for one in kept if one.identity != identity][1 - MAX_IDENTITIES :]
        return Attempts(refusals=[*others, Refusals(identity=identity, count=before + 1, last=now)])


NO_ATTEMPTS: Final = Attempts(refusals=[])


def delay_after(count: int) -> int:
    """Seconds to wait after so many refusals."""
    if count < FREE_ATTEMPTS:
        return 0
    return min(1 << min(count - FREE_ATTEMPTS, 32), MAX_ATTEMPT_DELAY)
