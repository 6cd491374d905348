"""Messages about the log of a Vault (`spec/messages.md`, `spec/log.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32, Count
from strongroom.protocol.limits import MAX_CHECKPOINT, MAX_MESSAGE, MAX_PROOF, MAX_TRAIL
from strongroom.protocol.messages import Address, Tagged, Tickets

CheckpointBytes = Annotated[bytes, Meta(max_length=MAX_CHECKPOINT)]
"""A signed checkpoint, byte for byte as `protocol.notes` reads it."""


class Freshen(Tagged, tag="freshen"):
    """First request of a client in every session, and later whenever it hears of a checkpoint that others have seen: is
    this the log that I know, or one that extends it?"""

    size: Count
    """Of the highest checkpoint of this cluster that the client has seen; 0: none."""


class Freshness(Tagged, tag="freshness"):
    """The log as it is now. A session lives in one run of one Vault, in which a log only grows, so one proof a session
    will do."""

    checkpoint: CheckpointBytes
    """The newest, signed."""
    proof: Annotated[list[Bytes32], Meta(max_length=MAX_PROOF)]
    """Of consistency with the log of `size` leaves (RFC 6962 2.1.2); empty for 0, and where this log is shorter."""
    cosigned: CheckpointBytes | None
    """The newest one that enough witnesses have cosigned, which `checkpoint` extends; nil without witnesses. What came
    after it they have not seen yet: while they are away, it grows old."""


class Logged(Tagged, tag="logged"):
    """What every other reply of a Vault comes in: the reply, and a checkpoint that covers all that it rests on."""

    checkpoint: CheckpointBytes
    """Signed; not always cosigned yet."""
    reply: Annotated[bytes, Meta(max_length=MAX_MESSAGE)]
    """Encoded `VaultReply`."""


class Trail(Tagged, tag="trail"):
    """The log's entries about one record; takes the right `audit`, and is an entry itself."""

    address: Address
    tickets: Tickets
    place: Count
    """Index + 1 of the leaf to begin with: `previous` of the last entry that came before; 0: the newest one."""
    limit: Annotated[int, Meta(ge=1, le=MAX_TRAIL)]


class TrailEntry(Message):
    """One entry, and the proof that it is in the log."""

    index: Count
    """Of its leaf."""
    leaf: Annotated[bytes, Meta(max_length=4096)]
    """Encoded `EntryLeaf`, as the log holds it."""
    opened: Annotated[bytes, Meta(max_length=4096)]
    """Encoded `Entry`, to which the leaf is committed."""
    proof: Annotated[list[Bytes32], Meta(max_length=MAX_PROOF)]
    """Of inclusion in the log of the checkpoint that comes with it (RFC 6962 2.1.1)."""


class TrailOf(Tagged, tag="trail-of"):
    """Entries with consecutive numbers, newest first. An entry that the host holds back is an error, LOG_OMITTED."""

    version: Count
    """Of the record."""
    entries: Annotated[list[TrailEntry], Meta(max_length=MAX_TRAIL)]
    checkpoint: CheckpointBytes
