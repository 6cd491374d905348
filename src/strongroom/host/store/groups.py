"""Commits that wait together: a durable transaction costs about the same for one of them and for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.link import Commit, Put

MAX_GROUP: Final = 512
"""Commits in one transaction: bounds how long the first of them waits."""
MAX_GROUP_BYTES: Final = 32 * 1024 * 1024


class Waiting(NamedTuple):
    """A commit, and who waits for it."""

    commit: Commit
    done: asyncio.Future[None]


class Group(list[Waiting]):
    """What goes into one transaction."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def add(self, waiting: Waiting) -> None:
        self.append(waiting)
        self._bytes += sum(len(put.sealed) for put in waiting.commit.puts)

    @property
    def full(self) -> bool:
        """Whether what else waits should wait for the next transaction."""
        return len(self) >= MAX_GROUP or self._bytes > MAX_GROUP_BYTES


def settle(group: Sequence[Waiting], outcomes: Sequence[StrongroomError | None]) -> None:
    """Tell each how its commit ended; in the loop's thread."""
    for waiting, outcome in zip(group, outcomes, strict=True):
        if waiting.done.done():
            continue  # cancelled meanwhile
        if outcome is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(outcome)


class Merged(NamedTuple):
    """`commit` does what those of `members` (indexes) do one after the other."""

    commit: Commit
    members: frozenset[int]


def merge(commits: Sequence[Commit]) -> Merged:
    """The first of `commits`, and of the rest those that fit to what goes before: the others are conflicts.

    They are so only if the merged commit itself is none: else what goes before did not happen.
    """
    size = commits[0].size
    puts: dict[bytes, Put] = {}
    leaves: list[bytes] = []
    members: set[int] = set()
    for number, commit in enumerate(commits):
        changed = _changed(puts, commit) if commit.size == size + len(leaves) else None
        if changed is not None:
            puts |= changed
            leaves += commit.leaves
            members.add(number)
    return Merged(Commit(list(puts.values()), size, leaves), frozenset(members))


def _changed(puts: dict[bytes, Put], commit: Commit) -> dict[bytes, Put] | None:
    """The rows that `commit` changes, each from where it was before all of them; None if it does not fit."""
    changed: dict[bytes, Put] = {}
    for put in commit.puts:
        before = changed.get(put.key) or puts.get(put.key)
        if before is None:
            changed[put.key] = put
        elif put.replaces == before.version:
            changed[put.key] = Put(put.key, before.replaces, put.version, put.sealed)
        else:
            return None
    return changed
