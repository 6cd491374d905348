"""The head row, which every commit replaces: where the log and the index stand after it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32, Count, UnixTime


class Head(Message):
    """Payload of the head row: where log and index stand after the commit that wrote it."""

    version: Literal[1]
    size: Count
    """Leaves of the log."""
    frontier: Annotated[list[Bytes32], Meta(max_length=63)]
    buckets: Count
    listings: Count
    index_root: Bytes32
    ring: Bytes32
    """Digest of the row of the sealed key ring."""
    clock_floor: UnixTime
