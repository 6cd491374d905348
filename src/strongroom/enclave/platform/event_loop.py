"""An event loop that needs no honest clock.

Under Gramine every clock is the host's, the "monotonic" one too, so it may stand still, jump ahead, or go back. An
ordinary loop would then run every time-out at once, or never again. This one counts the time that passes itself:

* a step back counts as nothing;
* a step ahead counts for no more than what the loop was waiting for, and a second of work;
* a wait that ran out counts in full, whatever the clock says of it.

The host still decides how long a second is. It can make us slow, as it always can; it can't wedge us.
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

    def read(self, most: float = _WORK) -> float:
        """Count what the clock says has passed since the last call, at most `most`."""
        clock = time.time()
        step = clock - self._clock
        self._clock = clock
        if step > 0:
            self._passed += min(step, most)
        return self._passed

    def wait_ended(self, began: float, seconds: float, *, ran_out: bool) -> None:
        """Count a wait of at most `seconds`; one that ran out lasted that long."""
        self.read(seconds + _WORK)
        if ran_out:
            self._passed = max(self._passed, began + seconds)


class _Waiting(selectors.BaseSelector):
    """A selector that tells `passing` how long the loop waited."""

    def __init__(self, passing: PassingTime) -> None:
        self._passing = passing
        self._selector = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._selector.select(timeout)  # no time-out waits, so nobody minds how long; or no wait at all
        began = self._passing.read()
        events = self._selector.select(timeout)
        self._passing.wait_ended(began, timeout, ran_out=not events)
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
