"""What a Vault tells the host about a record's blob: sizes, ids and times only (`spec/blobs.md`).

The host keeps ciphertext for whoever shows a statement of its own Vault, signed by the cluster key, and nothing for
strangers. Statements are kept by nobody; of two about one blob the one with the higher version counts.
"""

from __future__ import annotations

from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.evidence import Bytes16, Count, UnixTime
from strongroom.protocol.limits import MAX_STATEMENT
from strongroom.protocol.primitives import Domain, SigningKey, verify_signature


class BlobStatement(Message):
    """This blob may be kept: so large, so long."""

    blob: Bytes16
    version: Count
    """Of the record: a later statement replaces this one."""
    max_bytes: Count
    expires_at: UnixTime
    """0: until a later statement says otherwise."""
    live: bool
    """False: erase it. The record is closed or deleted."""


def sign_statement(cluster_key: SigningKey, statement: BlobStatement) -> tuple[bytes, bytes]:
    """The statement's exact bytes, and the cluster key's signature (64 bytes) over them."""
    data = encode(statement)
    return data, cluster_key.sign(Domain.BLOB, data)


def verify_statement(untrusted: bytes, signature: bytes, cluster_key: bytes) -> BlobStatement:
    """What a Vault said whose cluster has this public key (65 bytes).

    Raises `Untrusted` INTEGRITY unless that key signed exactly these bytes, then `Misuse` when they are no statement.
    """
    verify_signature(cluster_key, signature, Domain.BLOB, untrusted)
    return decode(untrusted, BlobStatement, limit=MAX_STATEMENT)
