"""Who somebody is, as each Authenticator of a quorum says (RULES 17).

Up to one fewer than the quorum may be in wrong hands. Attacks stopped here:

1. One of them calls whom the others permit by somebody else's name, so that this name's rights count: those of who
   stored the record, of an address of its own, of an author. A name counts when as many as the quorum give it.
2. One of them speaks for the others about who approved, or asked: each name is kept with who gave it, and an
   Authenticator is told its own ones only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

from msgspec import Meta

from strongroom.protocol.authenticator_messages import Identity
from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32
from strongroom.protocol.limits import MAX_AUTHENTICATORS
from strongroom.protocol.messages import Person

NOBODY: Final = Person(principal="", email="")
ITSELF: Final = bytes(32)
"""In place of a cluster where it is the Vault that knows somebody: the owner of the cluster by their key."""


class Named(Message):
    """Somebody, as one Authenticator names them."""

    cluster: Bytes32
    person: Person

    @property
    def principal(self) -> str:
        return self.person.principal


def named(cluster: bytes, identity: Identity) -> Named:
    return Named(cluster=cluster, person=Person(principal=identity.principal, email=identity.email))


People = Annotated[list[Named], Meta(min_length=1, max_length=MAX_AUTHENTICATORS)]
"""One human, as each Authenticator of the quorum names them."""


def agreed(people: Sequence[Named], quorum: int) -> Person:
    """The name, and the verified address, that as many as the quorum give; each empty where there is none."""
    return Person(
        principal=_most(quorum, (one.principal for one in people)),
        email=_most(quorum, (one.person.email for one in people)),
    )


def are_called(people: Iterable[Named], principal: str, quorum: int) -> bool:
    """Whether as many as the quorum call somebody so."""
    return sum(one.principal == principal for one in people) >= quorum


def are_as_before(people: Iterable[Named], before: Iterable[Named], quorum: int) -> bool:
    """Whether as many as the quorum call somebody as they called somebody before."""
    said = {(one.cluster, one.principal) for one in before}
    return len({(one.cluster, one.principal) for one in people} & said) >= quorum


def is_same(one: Iterable[Named], other: Iterable[Named]) -> bool:
    """Whether two may be the same human: they share a principal or a verified address, whoever says so."""
    people = [named.person for named in one]
    principals = {person.principal for person in people}
    emails = {person.email.lower() for person in people if person.email}
    return any(named.principal in principals or named.person.email.lower() in emails for named in other)


def _most(quorum: int, names: Iterable[str]) -> str:
    """The most frequent name; of several, the first."""
    (name, count), *_ = Counter(names).most_common(1) or [("", 0)]
    return name if count >= quorum else ""
