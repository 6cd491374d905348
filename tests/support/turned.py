"""A clock that stands still until a test turns it."""

from tests.support.world import Platform


class Turned(Platform):
    """`time` is what it shows, in unix seconds."""

    time = 1_800_000_000.0

    def now(self):
        return self.time
