"""What the log's leaves say (`spec/log.md`). Anybody may read them; what is nobody else's business is sealed.

Every commit of a Vault appends one leaf for each entry of the access log that it makes true, then one `CommitLeaf`. So
a checkpoint always ends with a commit, and commits to all that the database held then.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Bytes16, Bytes32, Count, Generation, ShortText, UnixTime
from strongroom.protocol.messages import Principal
from strongroom.protocol.notes import ED25519, Verifier
from strongroom.protocol.primitives import Domain, digest

MAX_LEAF: Final = 4096


class EntryLeaf(Message, tag="entry", tag_field="leaf"):
    """One line of the access log. Whose, and what it says, only the Vault and those whom it tells can read."""

    commitment: Bytes32
    """See `commitment`."""
    sealed: Annotated[bytes, Meta(max_length=2048)]
    """Encoded `Entry`, sealed by the Vault to this place in the log."""


class CommitLeaf(Message, tag="commit", tag_field="leaf"):
    """One commit: what the database must hold after it (RULES 23)."""

    version: Literal[1]
    shard: Count
    generation: Generation
    """Of the log: rises with a recovery that abandons a head (RULES 25)."""
    owner: Bytes16
    """Which run of a Vault wrote this: random, drawn at its start. Changes only in a leaf with `start` true."""
    start: bool
    """The first commit of this run."""
    nonce: Bytes16
    """Fresh randomness of the Vault: a cosignature above it was made after it (RULES 24)."""
    at: UnixTime
    """By the Vault's clock."""
    clock_floor: UnixTime
    index_root: Bytes32
    """Root over the digests of the buckets of the index."""
    buckets: Count
    ring: Bytes32
    """Digest of the sealed key ring."""
    release: Count
    """Serial of the list of releases that this Vault goes by; 0: none."""
    recoveries: Count
    """How often the ring was recovered by custodians."""
    unticketed: Count
    """Requests without a valid ticket since the commit before (RULES 21)."""
    changes: Count
    """Rows that this commit wrote, its own bookkeeping left out."""


LifeEvent = Literal["given", "rotated", "erased", "released", "governed", "recovered"]
"""`given`: a machine got the ring; `about` is the digest of its evidence. `rotated`, `erased`: a new epoch, or the end
of old ones; `about` is zeros. `released`: a list of releases; `about` is the digest of the list (`Domain.RELEASES`).
`governed`: a council took office; `about` is its `statement_digest`. `recovered`: by custodians; `about` is the digest
(`Domain.GAP`) of the gap that they signed, or zeros where there was none."""


class LifeLeaf(Message, tag="life", tag_field="leaf"):
    """One event in the life of the key ring, for anybody to read. Followed by the commit that made it true."""

    event: LifeEvent
    at: UnixTime
    """By the Vault's clock."""
    about: Bytes32
    number: Count
    """given: how many machines can open the ring now. rotated: the new epoch. erased: the oldest that is left.
    released: serial. governed: serial of the council. recovered: how often by now."""
    text: ShortText
    """given: platform and measurement (hex). released: versions. Else empty."""


AnyLeaf = EntryLeaf | LifeLeaf | CommitLeaf


class Entry(Message):
    """What an `EntryLeaf` is committed to: one decision about one record."""

    handle: Bytes32
    """Row key of the record."""
    number: Count
    """Of this entry among those about this record, counted from 1: a gap is an omission."""
    previous: Count
    """Index + 1 of the leaf of the entry before it about this record; 0: this is the first."""
    at: UnixTime
    version: Count
    """Of the record."""
    action: Annotated[str, Meta(max_length=32)]
    identity: Principal
    """Whom the Authenticators named; of several the first."""
    outcome: Count
    """0 for OK, else the error number answered."""
    blinding: Bytes32
    """Random, so that nobody can guess what a commitment is to."""


def commitment(opened: bytes) -> bytes:
    """What a leaf says in public about an encoded `Entry`: who was shown that can prove to anybody what it says."""
    return digest(Domain.LOG_COMMITMENT, opened)


def log_origin(cluster: bytes, shard: int = 0, generation: int = 0) -> str:
    """Name of the log of a shard of a cluster (RULES 23)."""
    return f"strongroom/{cluster.hex()}/{shard}/{generation}"


def log_verifier(cluster: bytes, log_key: bytes, generation: int = 0) -> Verifier:
    """Verifier key of the log of the cluster that was founded with `log_key`."""
    return Verifier(log_origin(cluster, generation=generation), ED25519, log_key)


def parse_leaf(data: bytes) -> AnyLeaf:
    """Raises `Untrusted` INTEGRITY for bytes that no Vault wrote."""
    try:
        return decode(data, AnyLeaf, limit=MAX_LEAF)  # type: ignore[no-any-return]
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "not a leaf of a Vault's log") from None
