"""What a Vault tells the host about a record's blob: sizes, ids and times only (`spec/blobs.md`).

The host keeps ciphertext for whoever shows a statement of its own Vault, signed by the cluster key, and nothing for
strangers. Statements are kept by nobody; of two about one blob the one with the higher version counts.
"""

from __future__ import annotations

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes16, Count, UnixTime


class BlobStatement(Message):
    """This blob may be kept: so large, so long."""

    blob: Bytes16
    version: Count
    """Of the record: a later statement replaces this one."""
    max_bytes: Count
    expires_at: UnixTime
    """0: until a later statement says otherwise."""
    live: bool
    """False: erase it. The record is closed."""
