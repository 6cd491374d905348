"""An enclave that is recovering."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from strongroom.enclave.runtime.nursery import Hopes, Place, Waiting
from strongroom.enclave.runtime.ring import Ring
from strongroom.protocol.link import Row

Survey = Callable[[Ring, bytes], Awaitable[tuple[int, bytes]]]
"""Ring and row of the ring as found → size and root of the log in the database."""


class Recovering(Waiting):
    """See `nursery.Waiting`."""

    def __init__(self, place: Place, found: Row, survey: Survey) -> None:
        super().__init__(place, Hopes("recovering", bytes(32), b"", None, 0))
        self._found = found
        self._survey = survey
