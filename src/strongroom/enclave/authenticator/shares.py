"""A bounded table of which everybody has a share, so that nobody pushes out what is kept on somebody else's behalf."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

MAX_SHARE: Final = 4096
"""Entries of one share."""
MAX_ENTRIES: Final = 65_536
"""Of all together."""

Place = tuple[bytes, bytes]
"""Share, and name in it."""
T = TypeVar("T")


class Shares(Generic[T]):
    """What was kept last is last, within its share."""

    def __init__(self) -> None:
        self._shares: dict[bytes, OrderedDict[bytes, T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def get(self, place: Place) -> T | None:
        share = self._shares.get(place[0])
        return None if share is None else share.get(place[1])

    def keep(self, place: Place, entry: T) -> None:
        """Where there is room (`has_room`)."""
        share = self._shares.setdefault(place[0], OrderedDict())
        self._size += place[1] not in share
        share[place[1]] = entry
        share.move_to_end(place[1])

    def drop(self, place: Place) -> None:
        """Does nothing where there is none."""
        share = self._shares.get(place[0])
        if share is None or share.pop(place[1], None) is None:
            return
        self._size -= 1
        if not share:
            del self._shares[place[0]]

    def has_room(self, place: Place, may_go: Callable[[T], bool]) -> bool:
        """Whether `place` may be kept; makes the room.

        A full share gives up its oldest entry that may go, and has no room when none may. When all together are too
        many, the largest share gives up one, at worst the oldest: who pushes out others must fill as many shares as
        large as theirs.
        """
        share = self._shares.get(place[0], OrderedDict())
        if place[1] in share:
            return True
        if len(share) >= MAX_SHARE:
            oldest = next((name for name, entry in share.items() if may_go(entry)), None)
            if oldest is None:
                return False
            self.drop((place[0], oldest))
        elif self._size >= MAX_ENTRIES:
            largest = max(self._shares, key=lambda name: len(self._shares[name]))
            entries = self._shares[largest]
            self.drop((largest, next((name for name, entry in entries.items() if may_go(entry)), next(iter(entries)))))
        return True
