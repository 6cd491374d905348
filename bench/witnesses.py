"""`python -m bench witnesses [--json FILE]`: what witnesses cost a Vault.

None, one, and two of three, each a process on this machine, so that their own work shares its cores; on machines of
their own a round trip over the network takes the place of that. An update waits for cosignatures, since a rollback
would undo it; a store does not, and is only cosigned in its turn.
"""

from contextlib import ExitStack
from typing import Final

from bench.figures import Figures, by_clock, finish, latency
from bench.turns import Contender

NONE: Final = "no witness"
WATCHED: Final = {
    NONE: (),
    "one witness": ("witnesses=1", "cosignatures=1"),
    "two of three witnesses": ("witnesses=3", "cosignatures=2"),
}


def main() -> int:
    figures = Figures()
    with ExitStack() as stack:
        contenders = [Contender(name, "bench.strongroom", *options) for name, options in WATCHED.items()]
        for contender in contenders:
            stack.callback(contender.close)
        figures.rounds(contenders, ("store", "update", "alone", "collect"))
    figures.table()
    print("`alone` is `update` by one client, whose latency is not that of a queue")
    for name in WATCHED:
        if name != NONE:
            print(f"{name}, to none: stores a second {figures.ratio(name, NONE, 'store', by_clock)}")
            print(f"{name}, to none: updates a second {figures.ratio(name, NONE, 'update', by_clock)}")
            print(f"{name}, to none: latency of an update alone {figures.ratio(name, NONE, 'alone', latency)}")
    return finish(figures)
