"""The journal of a record that has terms: who asked for it, with what answer, and how often it was released.

One row beside the record's own, written in the commit that writes the access log (RULES 15). Attacks stopped here:

1. Two collects at once for the last opening: the writer sees one after the other, and the second is decided anew.
2. A lost answer that uses up an opening: the retry of the same request by the same person and key counts once.
3. A flood of refusals that washes away who opened: refusals, questions, and looks into the journal make room first.
4. One who may open and does so a hundred times, so that nobody sees who else did: then what the same person has done
   before makes room, and the first time of each stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from strongroom.protocol.codec import Message, encode
from strongroom.protocol.evidence import Bytes32, Count
from strongroom.protocol.limits import MAX_JOURNAL
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.vault_messages import Visit

MAX_OPENINGS: Final = 64
"""Openings whose repetition is recognised."""
MAX_ROW: Final = 32 * 1024 - 1
"""Bytes of an encoded journal, which padding takes to 32 KiB: 256 of them fit one commit."""


class Opening(Message):
    """One release that was counted."""

    token: Bytes32
    """Digest of who collected, with which binding key, in which request: see `opening_token`."""
    number: Count
    """Of the opening, counted from 1."""


class Journal(Message):
    """Payload of a journal row."""

    number: Count
    """Of the last visit."""
    opens: Count
    openings: Annotated[list[Opening], Meta(max_length=MAX_OPENINGS)]
    """The most recent ones, oldest first."""
    visits: Annotated[list[Visit], Meta(max_length=MAX_JOURNAL)]
    """Oldest first."""

    def find(self, token: bytes) -> Opening | None:
        """The opening that this request is a repetition of."""
        return next((one for one in self.openings if one.token == token), None)

    def has_room(self, token: bytes, max_opens: int) -> bool:
        """Whether one more release is allowed, or this one was counted already."""
        return not max_opens or self.opens < max_opens or self.find(token) is not None

    def add(self, visit: Visit, token: bytes | None) -> Journal:
        """With one more visit; `token` names a release that counts."""
        number, opens, openings = self.number + 1, self.opens, self.openings
        if token is not None and self.find(token) is None:
            opens += 1
            openings = [*openings, Opening(token=token, number=opens)][-MAX_OPENINGS:]
        visits = [*self.visits, msgspec.structs.replace(visit, number=number)]
        journal = Journal(number=number, opens=opens, openings=openings, visits=visits)
        while len(visits) > MAX_JOURNAL or len(encode(journal)) > MAX_ROW:
            gone = _expendable(visits[:-1])  # the newest is always there
            visits = visits[:gone] + visits[gone + 1 :]
            journal = msgspec.structs.replace(journal, visits=visits)
        return journal


EMPTY: Final = Journal(number=0, opens=0, openings=[], visits=[])


@dataclass(slots=True)
class Note:
    """A visit to write into a journal, by the commit that makes it true."""

    key: bytes
    visit: Visit
    """Its number is given by the journal."""
    token: bytes | None = None
    """Of a release that counts."""
    max_opens: int = 0
    fresh: bool = False
    """The record was just stored: what an earlier one at this address left is none of its business."""
    journal: Journal = field(default=EMPTY)
    """As it is with this visit; filled in by the commit."""

    @property
    def opens(self) -> int:
        """What this release is told: its own number, or how many there were if it does not count."""
        opening = None if self.token is None else self.journal.find(self.token)
        return self.journal.opens if opening is None else opening.number


def opening_token(principal: str, binding_key: bytes, request_id: bytes) -> bytes:
    """What makes a repetition: the same person, the same key, the same request (RULES 27)."""
    return digest(Domain.OPENING, principal.encode(), binding_key, request_id)


def _expendable(visits: Sequence[Visit]) -> int:
    """Which one makes room."""
    known: set[tuple[str, str]] = set()
    repeated = None
    for at, one in enumerate(visits):
        if _is_idle(one):
            return at
        key = (one.person.principal, one.action)
        if repeated is None and key in known:
            repeated = at
        known.add(key)
    return repeated or 0


def _is_idle(visit: Visit) -> bool:
    """Nothing was released or changed by it."""
    return visit.outcome != 0 or visit.action in ("audit", "ask")
