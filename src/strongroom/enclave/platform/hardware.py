"""What the back ends of all hardware have in common: no way in for developers, no root but the maker's."""

from __future__ import annotations

import os
import time


class Hardware:
    """The part of `Platform` that is the same on all hardware."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        return ()

    def now(self) -> float:
        return time.time()

    def random(self, size: int) -> bytes:
        # Of Gramine (RDRAND, never the host's) or of the guest's kernel, which is measured and seeded by the processor.
        return os.urandom(size)

    def development_custodian(self) -> None:
        return None
