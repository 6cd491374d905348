"""An enclave that is founding."""

from __future__ import annotations

from strongroom.enclave.runtime.nursery import Hopes, Place, Waiting


class Founding(Waiting):
    """See `nursery.Waiting`."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, Hopes("founding", bytes(32), b"", None, 0))
