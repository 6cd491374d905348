"""Where the log in a database ends, beside what witnesses have seen of it (RULES 25).

Who recovers a cluster on last month's database gives up what came after: revoked rights among it. So it is found out
before anything is served. The host asks the witnesses, and could keep their word back, all of it or the newest:

1. All of it: then no gap is seen, the log goes on under its name, and the witnesses who know more do not cosign it.
2. The newest only: then the gap looks smaller than it is, and custodians would sign that. So they are told by when
   (`Known.at`) so many witnesses said that they know no later one that the others are too few to have seen more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from strongroom.protocol.errors import Untrusted
from strongroom.protocol.limits import MAX_WITNESSES
from strongroom.protocol.notes import Cosignature, SignedCheckpoint, Verifier, cosignatures, verify_checkpoint
from strongroom.protocol.tlog import verify_consistency


class Words(Protocol):
    """What a host carries."""

    async def witnessed(self, origin: str) -> list[bytes]:
        """Cosigned checkpoints. Raises `Unavailable` WITNESSES_UNAVAILABLE."""

    async def consistency(self, old: int, size: int) -> list[bytes]:
        """From the database. Raises `Unavailable` STORE_UNAVAILABLE."""


class Head(NamedTuple):
    """Where a log ends."""

    size: int
    root: bytes


class Known(NamedTuple):
    """A log as witnesses have seen it."""

    head: Head
    at: int
    """Unix time at which witnesses said, each of its own last one, that they know no later; as late as holds for so
    many that no later one can have been cosigned by enough. 0: too few have said anything."""


async def lost(words: Words, log: Verifier, witnesses: Sequence[Verifier], needed: int, found: Head) -> Known | None:
    """The newest checkpoint that a witness has cosigned and that the database's log (`found`) does not extend; None:
    there is none, as far as the host says.

    Raises `Unavailable` when witnesses or database do not answer.
    """
    seen = await heard(words, log, witnesses)
    at = _vouched(seen, len(witnesses) - needed + 1)
    heads = {Head(signed.checkpoint.size, signed.checkpoint.root) for signed, _ in seen}
    for head in sorted(heads, reverse=True):
        if not await _extends(words, found, head):
            return Known(head, at)
    return None


async def heard(
    words: Words, log: Verifier, witnesses: Sequence[Verifier]
) -> list[tuple[SignedCheckpoint, list[Cosignature]]]:
    """What witnesses have cosigned of this log; what the host shows besides is left out. Raises `Unavailable`."""
    seen = []
    for note in (await words.witnessed(log.name))[:MAX_WITNESSES]:
        try:
            signed = verify_checkpoint(note, log)
        except Untrusted:
            continue
        if lines := cosignatures(signed, witnesses):
            seen.append((signed, lines))
    return seen


async def _extends(words: Words, found: Head, head: Head) -> bool:
    if head.size >= found.size:
        return head == found
    try:
        proof = await words.consistency(head.size, found.size)
        verify_consistency(head.size, head.root, found.size, found.root, proof)
    except Untrusted:
        return False
    return True


def _vouched(seen: Sequence[tuple[SignedCheckpoint, list[Cosignature]]], enough: int) -> int:
    """The time that `enough` witnesses, each by its newest word, vouch for."""
    times: dict[bytes, int] = {}
    for _, lines in seen:
        for one in lines:
            times[one.witness.public] = max(one.time, times.get(one.witness.public, 0))
    latest = sorted(times.values(), reverse=True)
    return latest[enough - 1] if len(latest) >= enough else 0
