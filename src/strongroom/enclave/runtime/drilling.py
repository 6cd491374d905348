"""A drill: custodians see that their shares open a copy of the ring, and nothing comes of it (RULES 25).

1. A host that calls it a drill and means a recovery: with M shares given "for a drill" its copy would be the cluster,
   and the real one would be over. So a drill is a way to start of its own. The attempt says so, which evidence shows
   and to which shares are sealed: a custodian sees by the quote which of the two it is, and what he sealed to a drill
   opens in no recovery.
2. A host that goes on from a drill. SERVE has no ring from it, ever. No gap is made out that could be signed, no
   witness is asked, nothing is written; the ring is forgotten as soon as the database was compared with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar, Final, NoReturn

from msgspec.structs import replace as changed

from strongroom.enclave.runtime.gaps import Head
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.recovering import Recovering
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.sealed_ring import RingState
from strongroom.enclave.runtime.status import seats
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.primitives import KemKey
from strongroom.protocol.status import State, Status

_STATES: Final[dict[State, State]] = {"recovering": "drilling", "starting": "drilling"}


class Drilling(Recovering):
    """See `nursery.Waiting`."""

    DRILL: ClassVar = True
    _brought: Sequence[int] = ()
    """Whose shares have opened the ring."""

    async def opened(self, identity: Identity) -> NoReturn:
        """Returns never: there is no ring to serve. Raises `StrongroomError` for a copy that is not whole."""
        await super().opened(identity)
        raise Misuse(Number.NOT_NOW, "a drill serves nothing")

    def status(self) -> Status:
        status = super().status()
        state = _STATES.get(status.state, status.state)
        custodians = seats(self._council, self._brought) if self._brought else status.custodians
        return changed(status, state=state, custodians=custodians)

    def _open(self, recovery: KemKey) -> None:
        self._brought = tuple(self._shares)
        super()._open(recovery)

    async def _compare(self, ring: RingState) -> None:
        """That the log of this copy is of this ring, and where it ends; and no more. Raises `StrongroomError`."""
        found = Head(*await self._survey(Ring(ring, self.place.key, self._found.version), self._found.sealed))
        self._surveyed = found
        self._state = "drilled"
        print(
            f"drill: the ring opens, and the log of this copy ends at {found.size}; nothing is served. "
            "End this, and destroy the copy",
            file=sys.stderr,
            flush=True,
        )
