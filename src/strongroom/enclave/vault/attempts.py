"""Refused attempts: who goes on trying what a record does not permit has to wait, longer each time (RULES 21).

Attacks stopped here:

1. Guessing at length: after a few that are free, each refusal doubles the time in which nothing is permitted.
2. Locking somebody out: what one identity tries hinders no other. There is no limit on a record as a whole, so whoever
   may `update` it always can.
3. One Authenticator of a quorum that locks somebody out by naming them as refused, or makes room for somebody by
   naming a hundred others: it is counted who was refused by whom, and who says most makes room first.
4. Starting afresh by going away, or by a restart: the row is durable before the refusal is answered, and remembers
   for a day.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final

from msgspec import Meta

from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32, Count, UnixTime
from strongroom.protocol.limits import ATTEMPTS_KEPT, FREE_ATTEMPTS, MAX_ATTEMPT_DELAY
from strongroom.protocol.messages import Principal

MAX_IDENTITIES: Final = 64
"""Of one record; of the Authenticator that names most of them, the one that was refused longest ago makes room."""


class Refusals(Message):
    """Of one identity, by one Authenticator."""

    cluster: Bytes32
    identity: Principal
    count: Count
    last: UnixTime


class Attempts(Message):
    """Payload of the attempts row of a record: the most recent identities, oldest first."""

    refusals: Annotated[list[Refusals], Meta(max_length=MAX_IDENTITIES)]

    def is_throttled(self, cluster: bytes, identity: str, now: int) -> bool:
        """Whether whom this Authenticator calls so has to wait at the unix time `now`, on its word."""
        return any(
            lasts(one.last + (wait := delay_after(one.count)), now, wait)
            for one in self.refusals
            if (one.cluster, one.identity) == (cluster, identity)
        )

    def add(self, cluster: bytes, identity: str, now: int) -> Attempts:
        """With one more refusal counted."""
        kept = [one for one in self.refusals if now < one.last + ATTEMPTS_KEPT]
        before = [one for one in kept if (one.cluster, one.identity) == (cluster, identity)]
        others = [one for one in kept if one not in before]
        count = 1 + sum(one.count for one in before)
        refusals = [*others, Refusals(cluster=cluster, identity=identity, count=count, last=now)]
        if len(refusals) > MAX_IDENTITIES:
            ((most, _),) = Counter(one.cluster for one in refusals).most_common(1)
            refusals.remove(next(one for one in refusals if one.cluster == most))
        return Attempts(refusals=refusals)


NO_ATTEMPTS: Final = Attempts(refusals=[])


def delay_after(count: int) -> int:
    """Seconds to wait after so many refusals."""
    if count < FREE_ATTEMPTS:
        return 0
    return min(1 << min(count - FREE_ATTEMPTS, 32), MAX_ATTEMPT_DELAY)
