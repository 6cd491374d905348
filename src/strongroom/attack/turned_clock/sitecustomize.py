"""A machine whose clock is wrong: Python imports this by itself where the kit puts its directory on PYTHONPATH.

The offset, in seconds, stands in the file that STRONGROOM_ATTACK_CLOCK names, so that the clock can be turned while a
process runs.
"""

import os
import time

_FILE = os.environ.get("STRONGROOM_ATTACK_CLOCK")
_true_time = time.time


def _turned_time() -> float:
    with open(_FILE or os.devnull) as offset:
        return _true_time() + float(offset.read() or 0)


if _FILE:
    time.time = _turned_time
