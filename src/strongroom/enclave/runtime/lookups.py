"""Names looked up for outbound calls, each by a thread of the platform's that nothing can end but its answer.

Whoever defines a provider may run the name server for it, and have that one never answer: the call ends at its
deadline, the thread goes on for as long as the machine's resolver is patient. Attacks stopped here:

1. Slow names of one definition that take every thread: a lookup counts until its thread has ended, not its call, and
   the more a definition has under way, the fewer there may be of all for it to begin another.
2. Those of many definitions: whoever finds no thread free, or has a slow name server, goes by the addresses that the
   name had last. They are checked like any others, and TLS says whether it is still the provider there.
3. One name asked for again and again: whoever asks for what is being looked up shares its answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from contextlib import suppress
from typing import Final

from strongroom.enclave.platform.port import LOOKUPS, Platform
from strongroom.protocol.errors import Number, Unavailable

PATIENCE: Final = 1.0
"""Seconds until the addresses of last time do."""
MAX_DEFINITIONS: Final = 1024
"""Whose names are remembered; the one that was used longest ago is forgotten first."""
MAX_NAMES: Final = 16
"""The same, of one definition."""

_Name = tuple[str, int]


class Lookups:
    """What is being looked up, and what was found last."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._under_way: dict[_Name, tuple[bytes, asyncio.Task[list[str]]]] = {}
        self._last: OrderedDict[bytes, OrderedDict[_Name, list[str]]] = OrderedDict()

    async def addresses(self, definition: bytes, host: str, port: int) -> list[str]:
        """Untrusted numeric addresses of `host`. Raises OSError, and `Unavailable` PROVIDER_UNAVAILABLE when too many
        names are being looked up."""
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        name = (host, port)
        last = self._last[definition].get(name) if definition in self._last else None
        task = self._task(definition, name)
        if task is not None:
            done, _ = await asyncio.wait([task], timeout=None if last is None else PATIENCE)
            if done:
                self._remember(definition, name, task.result())
                return task.result()
        if last is None:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "too many names are being looked up")
        return last

    def _task(self, definition: bytes, name: _Name) -> asyncio.Task[list[str]] | None:
        """The lookup of `name`, which nobody's deadline ends; None when none may begin."""
        if name in self._under_way:
            return self._under_way[name][1]
        own = Counter(asked for asked, _ in self._under_way.values())[definition]
        if len(self._under_way) >= LOOKUPS >> own:
            return None
        task = asyncio.ensure_future(self._platform.resolve(*name))
        self._under_way[name] = definition, task
        task.add_done_callback(lambda ended: self._end(definition, name, ended))
        return task

    def _end(self, definition: bytes, name: _Name, ended: asyncio.Task[list[str]]) -> None:
        """Whoever waited for it may have given up by now."""
        del self._under_way[name]
        if not ended.cancelled() and ended.exception() is None:
            self._remember(definition, name, ended.result())

    def _remember(self, definition: bytes, name: _Name, found: list[str]) -> None:
        names = self._last.setdefault(definition, OrderedDict())
        names[name] = found
        names.move_to_end(name)
        self._last.move_to_end(definition)
        if len(names) > MAX_NAMES:
            names.popitem(last=False)
        if len(self._last) > MAX_DEFINITIONS:
            self._last.popitem(last=False)
