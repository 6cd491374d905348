"""An event loop that needs no honest clock.

Under Gramine every clock is the host's, the "monotonic" one too, so it may stand still, jump ahead, or go back. An
ordinary loop would then run every time-out at once, or never again. This one counts the time that passes itself:

* a step back counts as nothing;
* a step ahead counts for no more than what the loop was waiting for, and a second of work for each of its turns;
* a wait that ran out counts in full, whatever the clock says of it.

The host still decides how long a second is: with a clock that stands still and a byte now and then it holds time-outs
up for as long as it likes, which it could do by stopping us as well.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Mapping
from typing import Any, Final

_WORK: Final = 1.0
"""Seconds that one turn of the loop may take, as far as time-outs are concerned."""


class PassingTime:
    """Seconds that have passed since it was made: never fewer than before."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._clock = time.time()
        self._allowed = _WORK

    def read(self) -> float:
        """Count what the clock says has passed since the last call, as far as this turn allows."""
        clock = time.time()
        step = min(max(clock - self._clock, 0.0), self._allowed)
        self._clock = clock
        self._allowed -= step
        self._passed += step
        return self._passed

    def turn(self, wait: float = 0.0) -> None:
        """The next turn of the loop may count its work, and `wait` seconds before it."""
        self._allowed = wait + _WORK

    def wait_ran_out(self, began: float, seconds: float) -> None:
        """Nothing happened in it, so it lasted that long."""
        self.read()
        self._passed = max(self._passed, began + seconds)


class _Waiting(selectors.BaseSelector):
    """A selector that tells `passing` how long the loop waited."""

    def __init__(self, passing: PassingTime) -> None:
        self._passing = passing
        self._selector = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            self._passing.turn()
            return self._selector.select(timeout)  # no time-out waits, so nobody minds how long; or no wait at all
        began = self._passing.read()
        self._passing.turn(timeout)
        events = self._selector.select(timeout)
        if not events:
            self._passing.wait_ran_out(began, timeout)
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()


class EnclaveLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop; its time is the one that passed."""

    def __init__(self) -> None:
        self._passing = PassingTime()
        super().__init__(_Waiting(self._passing))

    def time(self) -> float:
        return self._passing.read()
