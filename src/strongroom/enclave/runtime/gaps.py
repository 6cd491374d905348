"""Where the log in a database ends, beside what witnesses have seen of it (RULES 25).

Who recovers a cluster on last month's database gives up what came after: revoked rights among it. So it is found out
before anything is served. The host asks the witnesses, and could keep their word back, all of it or the newest:

1. All of it: then no gap is seen, the log goes on under its name, and the witnesses who know more do not cosign it.
2. The newest only: then the gap looks smaller than it is, and custodians would sign that. So they are told by when
   (`Known.at`) so many witnesses said that they know no later one that the others are too few to have seen more.

Witnesses whom custodians replace are asked as far as they answer: who is gone for good keeps no key back.

A backup may be older than a recovery that gave something up. So later generations of the log are asked for, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from strongroom.protocol.errors import Untrusted
from strongroom.protocol.limits import MAX_RECOVERIES, MAX_WITNESSES
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


NOBODY: Final = Head(0, bytes(32))
"""In the place of what witnesses have seen, where there are none."""


class Known(NamedTuple):
    """A log as witnesses have seen it."""

    head: Head
    at: int
    """Unix time at which witnesses said, each of its own last one, that they know no later; as late as holds for so
    many that no later one can have been cosigned by enough. 0: too few have said anything."""


class Loss(NamedTuple):
    """What a database lacks."""

    known: Known
    generation: int
    """The first in which the log can go on from what was found, by what is known."""


class Logs(NamedTuple):
    """Those of one cluster, one a generation, and who watches them."""

    of: Callable[[int], Verifier]
    witnesses: Sequence[Verifier]
    needed: int


_Seen = list[tuple[SignedCheckpoint, list[Cosignature]]]


async def last_known(words: Words, logs: Logs, generation: int, found: Head) -> Loss:
    """What those who watched the log until now know of it, where others are to follow them: `found`, where nothing that
    they tell is missed, and `NOBODY`, where they tell nothing.

    The new ones know no log, and not all of the old ones may be heard: what is known may not be all. Raises as `lost`.
    """
    seen = await _seen(words, logs, generation)
    missed = await _missed(words, seen, found)
    heard = [one for one in seen if seen[one]]
    known_in, head = missed[-1] if missed else (heard[-1], found) if heard else (generation, NOBODY)
    at = _vouched(seen[known_in], len(logs.witnesses) - logs.needed + 1)
    return Loss(Known(head, at), max(seen) + 1)


async def lost(words: Words, logs: Logs, generation: int, found: Head) -> Loss | None:
    """What witnesses have cosigned in the database's generation or a later one, and its log (`found`) does not extend;
    None: nothing, as far as the host says.

    Raises `Unavailable` when witnesses or database do not answer.
    """
    seen = await _seen(words, logs, generation)
    newest = max(seen)
    missed = await _missed(words, seen, found)
    if newest == generation and not missed:
        return None
    # Where a recovery began a generation and wrote nothing, this one can begin it.
    begun = newest > generation and all([await _extends(words, found, head) for head in _heads(seen[newest])])
    known_in, head = missed[-1] if missed else (newest, max(_heads(seen[newest])))
    at = _vouched(seen[known_in], len(logs.witnesses) - logs.needed + 1)
    return Loss(Known(head, at), newest if begun else newest + 1)


async def _seen(words: Words, logs: Logs, generation: int) -> dict[int, _Seen]:
    """By generation, oldest first: this one, and later ones as far as witnesses know each after the other."""
    seen = {generation: await _heard(words, logs, generation)}
    newest = generation
    while newest < generation + MAX_RECOVERIES and (later := await _heard(words, logs, newest + 1)):
        newest += 1
        seen[newest] = later
    return seen


async def _missed(words: Words, seen: Mapping[int, _Seen], found: Head) -> list[tuple[int, Head]]:
    """What the database does not extend, oldest first: of which generation, and where it ends."""
    return [(one, head) for one in seen for head in sorted(_heads(seen[one])) if not await _extends(words, found, head)]


async def _heard(words: Words, logs: Logs, generation: int) -> _Seen:
    """What witnesses have cosigned of a log; what the host shows besides is left out."""
    log = logs.of(generation)
    seen = []
    for note in (await words.witnessed(log.name))[:MAX_WITNESSES]:
        try:
            signed = verify_checkpoint(note, log)
        except Untrusted:
            continue
        if lines := cosignatures(signed, logs.witnesses):
            seen.append((signed, lines))
    return seen


def _heads(seen: _Seen) -> Iterable[Head]:
    return {Head(signed.checkpoint.size, signed.checkpoint.root) for signed, _ in seen}


async def _extends(words: Words, found: Head, head: Head) -> bool:
    if head.size >= found.size:
        return head == found
    try:
        proof = await words.consistency(head.size, found.size)
        verify_consistency(head.size, head.root, found.size, found.root, proof)
    except Untrusted:
        return False
    return True


def _vouched(seen: _Seen, enough: int) -> int:
    """The time that `enough` witnesses, each by its newest word, vouch for."""
    times: dict[bytes, int] = {}
    for _, lines in seen:
        for one in lines:
            times[one.witness.public] = max(one.time, times.get(one.witness.public, 0))
    latest = sorted(times.values(), reverse=True)
    return latest[enough - 1] if len(latest) >= enough else 0
