"""An enclave that is joining."""

from __future__ import annotations

from strongroom.enclave.runtime.nursery import Hopes, Place, Waiting


class Joining(Waiting):
    """See `nursery.Waiting`."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, Hopes("joining", bytes(32), b"", None, 0))
