"""What an enclave says of its state, in every state, to anybody: the host may read and show it (`spec/cluster.md`).

Nothing here is secret, and nothing here is proven but to whom it was told inside an attested session.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_STATUS

State = Literal["founding", "joining", "standing-by", "recovering", "gap", "drilling", "drilled", "starting", "serving"]
"""`founding`: waits for custodians, and first for the owner. `standing-by`: has the ring and not the database. `gap`:
recovered, and waits for custodians to sign what is given up. `drilling`: waits for shares, and will never serve.
`drilled`: they have opened the ring, which is forgotten again."""


class SeatStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One custodian."""

    name: str
    done: bool
    """Has accepted a council that is set up; submitted a share to a recovery; signed a gap."""


class ReleaseStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One program of a listed release."""

    version: str
    svn: int
    kind: str
    measurement: str
    """Hex."""
    admitted: bool
    """May have the ring now: listed, not below the floor, and past the delay."""


class EpochStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ring's epochs."""

    current: int
    kept: list[int]
    """Those in the ring, oldest first; more than one while old rows are sealed anew."""
    resealed: int
    """Rows looked at since the current one began; 0 when there is nothing to do."""
    rows: int
    """Rows of the database, about."""


class InstanceStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that can open the ring by itself."""

    label: str
    """What its wrap is bound to."""
    measurement: str
    since: int
    """Unix time at which it was admitted."""
    own: bool
    """It is the one that answers."""


class GapStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log in the database, and as others have seen it."""

    found_size: int
    known_size: int
    known_at: int
    """When a witness cosigned that; 0: unknown."""
    statement: str
    """Encoded `Gap` in hex: what custodians sign; empty where there is none to sign."""


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    version: Literal[1]
    role: str
    state: State
    cluster: str
    """Cluster id in hex; empty while founding."""
    build: str
    development: bool
    started: int
    """Unix time of this process."""
    council: int
    """Serial of the council: 0 is that of the genesis statement."""
    threshold: int
    approvals: int
    """How many of the approvers must sign a list of releases; 0: there are none."""
    custodians: list[SeatStatus]
    pending: list[SeatStatus]
    """Of a council that is being set up."""
    endorsements: int
    """How many of those in office must still agree to that one."""
    recoveries: int
    generation: int
    epochs: EpochStatus | None
    instances: list[InstanceStatus]
    handovers: int
    """Hand-overs of the ring by this process."""
    release: int
    """Serial of the list of releases."""
    releases: list[ReleaseStatus]
    log_size: int
    """Leaves; 0 without a log."""
    witnesses: int
    cosignatures: int
    witnessed: int
    """Unix time that the witnesses vouch for; 0: none."""
    gap: GapStatus | None


def encode_status(status: Status) -> bytes:
    """JSON, so that every operator's tool reads it."""
    return msgspec.json.encode(status)


def decode_status(untrusted: bytes) -> Status:
    """Raises `Misuse` MALFORMED or TOO_LARGE."""
    if len(untrusted) > MAX_STATUS:
        raise Misuse(Number.TOO_LARGE, "status")
    try:
        return msgspec.json.decode(untrusted, type=Status)
    except msgspec.DecodeError:
        raise Misuse(Number.MALFORMED, "not a status") from None
