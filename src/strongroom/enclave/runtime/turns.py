"""Places among the outbound calls under way, so that no definition's calls keep those of another from being made.

Whoever stores a record defines what is called for it, and strangers make the calls. Attacks stopped here:

1. A definition that names somebody else's provider, at a port that never answers: places are filed under the complete
   definition, and only then under host and port.
2. A definition whose servers all hang: few of its calls are under way at once, and the next ones wait without a place.
3. Many such definitions: nobody waits for the places of all. When they are taken, the definition that has most of them
   gives one up, its oldest. Calls that are answered are done long before that; those that hang are what is oldest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from strongroom.protocol.errors import Number, Unavailable

CALLS_PER_SERVER: Final = 8
"""Of one definition to one host and port."""
CALLS_PER_DEFINITION: Final = 16
CALLS: Final = 256


class Turns:
    """Who has a place."""

    def __init__(self) -> None:
        self._servers: WeakValueDictionary[tuple[bytes, str, int], asyncio.Semaphore] = WeakValueDictionary()
        self._definitions: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()
        self._under_way: dict[asyncio.Timeout, bytes] = {}
        """Oldest first."""

    @asynccontextmanager
    async def turn(self, definition: bytes, host: str, port: int) -> AsyncIterator[None]:
        """A place for one call, waited for only behind calls of the same definition. Raises `Unavailable` PROVIDER_SLOW
        when it is given up to somebody else."""
        of_server = self._servers.setdefault((definition, host, port), asyncio.Semaphore(CALLS_PER_SERVER))
        of_definition = self._definitions.setdefault(definition, asyncio.Semaphore(CALLS_PER_DEFINITION))
        # The server's limit first: what waits for a slow one must not keep the same definition from its next server.
        async with of_server, of_definition:
            if len(self._under_way) >= CALLS:
                self._give_one_up()
            place = asyncio.timeout(None)
            try:
                async with place:
                    self._under_way[place] = definition
                    try:
                        yield
                    finally:
                        self._under_way.pop(place, None)
            except TimeoutError:
                if place.expired():
                    raise Unavailable(Number.PROVIDER_SLOW, "gave its place up to a newer call") from None
                raise

    def _give_one_up(self) -> None:
        held = Counter(self._under_way.values())
        most = max(held.values())
        place = next(place for place, definition in self._under_way.items() if held[definition] == most)
        del self._under_way[place]
        place.reschedule(asyncio.get_running_loop().time())
