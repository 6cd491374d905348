"""The owner's consent to instances that join (RULES 4, 7).

Releases say which programs may have a cluster's ring, and a quote shows one on sound hardware; both anybody can bring
who rents a machine. So the owner says that somebody is expected, for some time: whoever holds an invitation may have
such an instance join until then.

Attacks stopped here: strangers who join with a released program, and push the owner's own machines out of the ring; an
invitation to one cluster used at another one; one that is good for ever because a clock was wrong when it was made.
"""

from __future__ import annotations

from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Number, Refused, Untrusted
from strongroom.protocol.evidence import Bytes64, UnixTime
from strongroom.protocol.limits import MAX_INVITATION
from strongroom.protocol.primitives import Domain, SigningKey, verify_signature


class Invitation(Message):
    """To one cluster, for whoever shows it."""

    expires_at: UnixTime
    signature: Bytes64
    """`Domain.INVITATION` by the owner's key, over cluster id and `expires_at` (8 bytes, big-endian)."""


def invite(owner: SigningKey, cluster: bytes, expires_at: int) -> Invitation:
    """An invitation to `cluster` (32 bytes) until `expires_at` (unix seconds)."""
    return Invitation(expires_at=expires_at, signature=owner.sign(Domain.INVITATION, *_parts(cluster, expires_at)))


def verify_invitation(untrusted: Invitation | None, owner_key: bytes, cluster: bytes, now: int) -> None:
    """`owner_key` (65 bytes) is that of the genesis statement of `cluster`. Raises `Refused` NOT_OWNER_KEY."""
    if untrusted is None:
        raise Refused(Number.NOT_OWNER_KEY, "the owner of the cluster has not invited it")
    if untrusted.expires_at <= now:
        raise Refused(Number.NOT_OWNER_KEY, f"its invitation expired {now - untrusted.expires_at} s ago")
    if untrusted.expires_at > now + MAX_INVITATION:
        raise Refused(Number.NOT_OWNER_KEY, f"its invitation is for longer than {MAX_INVITATION // 86400} days")
    try:
        verify_signature(owner_key, untrusted.signature, Domain.INVITATION, *_parts(cluster, untrusted.expires_at))
    except Untrusted:
        raise Refused(Number.NOT_OWNER_KEY, "its invitation is not one by the owner of this cluster") from None


def _parts(cluster: bytes, expires_at: int) -> tuple[bytes, bytes]:
    return cluster, expires_at.to_bytes(8, "big")
