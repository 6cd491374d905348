"""Marks: what must not come twice about a sign-in, such as a bearer token or the counter of a passkey (RULES 12, 21).

An Authenticator has no memory that its host could not roll back, so it hands marks along with each OK, and the Vault
makes them durable before it acts on the OK. Attacks stopped here:

1. A bearer token that somebody copied, used for another binding key: of one name and value there is one token.
2. The signature of a copied passkey, whose counter is behind that of the genuine one: a value never falls.
3. Marks made up by a depositor's own Authenticator, to use up somebody else's: rows are filed by Authenticator cluster
   and principal, so they meet only what this very Authenticator says of this very person. The person whose sign-in it
   was, not who was permitted: else a copied token would count once more beside somebody else's sign-in.
4. A mark forgotten while a ticket made of the same token still counts: it is kept for the life of a ticket longer.
5. A database filled for nothing, by an Authenticator of a depositor's own that knows ever new people: each row counts
   against the quotas of whoever stored the record that was decided on.
6. A clock turned ahead so that marks expire, and back again: what has expired leaves only when there is no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from strongroom.enclave.vault.records import Charge
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number, Refused, Untrusted
from strongroom.protocol.limits import MAX_MARKS, MAX_TICKET_LIFE

MAX_ROW: Final = 8 * 1024
"""Bytes that a row of marks takes at most, padded."""


class Marks(Message):
    """Payload of the marks row of a person: one a name, the most recent last."""

    marks: Annotated[list[Mark], Meta(max_length=MAX_MARKS)]

    def holds(self, marks: Sequence[Mark]) -> bool:
        """Whether there is nothing to write for these. Raises `Untrusted` TOKEN_UNTRUSTED."""
        known = {one.name: (one.value, one.token) for one in self.marks}
        return all(known.get(mark.name) == (mark.value, mark.token) for mark in _highest(marks))

    def add(self, marks: Sequence[Mark], now: int) -> Marks:
        """With those of one decision, at the unix time `now`.

        Raises `Untrusted` TOKEN_UNTRUSTED for one that came before, `Misuse` TICKET_EXPIRED for one that could not be
        kept for as long as it has to, `Refused` THROTTLED when there are too many.
        """
        known = {one.name: one for one in self.marks}
        for mark in _highest(marks):
            old = known.pop(mark.name, None)
            if old is not None and (mark.value, mark.token) != (old.value, old.token) and mark.value <= old.value:
                raise Untrusted(Number.TOKEN_UNTRUSTED, "it was used before, or its counter went back")
            if old is None and _is_over(mark, now):
                raise Misuse(Number.TICKET_EXPIRED)
            known[mark.name] = mark
        kept = list(known.values())
        if len(kept) > MAX_MARKS:
            kept = [mark for mark in kept if not _is_over(mark, now)]
        if len(kept) > MAX_MARKS:
            raise Refused(Number.THROTTLED, "too many sign-ins that count once")
        return Marks(marks=kept)


NO_MARKS: Final = Marks(marks=[])


@dataclass(frozen=True, slots=True)
class Marking:
    """Marks to write down: row key, what one decision said of one person, when."""

    key: bytes
    marks: tuple[Mark, ...]
    at: int
    charges: tuple[Charge, ...] = ()
    """If they open the row: rows stay for ever."""


def _highest(marks: Sequence[Mark]) -> list[Mark]:
    """One a name: a ticket may hold two sign-ins with one passkey. Raises `Untrusted` TOKEN_UNTRUSTED."""
    highest: dict[bytes, Mark] = {}
    for mark in sorted(marks, key=lambda mark: mark.value):
        old = highest.get(mark.name)
        if old is not None and old.value == mark.value and old.token != mark.token:
            raise Untrusted(Number.TOKEN_UNTRUSTED, "two tokens at one value")
        highest[mark.name] = mark
    return list(highest.values())


def _is_over(mark: Mark, now: int) -> bool:
    """No ticket that was made of the same sign-in counts any more."""
    return bool(mark.expires_at) and now >= mark.expires_at + MAX_TICKET_LIFE
