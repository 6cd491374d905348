"""How an enclave may say that it stands, for whoever shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.protocol.status import (
    EpochStatus,
    GapStatus,
    InstanceStatus,
    ReleaseStatus,
    SeatStatus,
    Status,
)

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e&lt;\x1b[2J'
"""What somebody may call himself."""
NOW = 1_800_000_000
SERVING = Status(
    version=1,
    role="vault",
    state="serving",
    cluster="ab" * 32,
    build="strongroom 0.2.0",
    development=False,
    started=NOW - 4000,
    council=1,
    threshold=2,
    approvals=2,
    custodians=[SeatStatus("Ann", True), SeatStatus("Bob", True), SeatStatus("Cleo", True)],
    pending=[],
    endorsements=0,
    recoveries=1,
    generation=1,
    epochs=EpochStatus(3, [2, 3], 4200, 10_000),
    instances=[InstanceStatus("rack 4", "cd" * 32, NOW - 90_000, True)],
    handovers=1,
    release=4,
    releases=[ReleaseStatus("0.2.0", 3, "sgx", "cd" * 32, True), ReleaseStatus("0.3.0", 4, "sgx", "ef" * 32, False)],
    log_size=123_456,
    witnesses=3,
    cosignatures=2,
    witnessed=NOW - 3,
    gap=None,
)
_NO_RING: dict[str, Any] = {
    "epochs": None, "instances": [], "release": 0, "releases": [], "log_size": 0, "witnesses": 0, "witnessed": 0,
}  # fmt: skip


def changed(**fields: Any) -> Status:
    """`SERVING`, but for these."""
    return msgspec.structs.replace(SERVING, **fields)


FOUNDING = changed(
    state="founding",
    cluster="",
    council=0,
    custodians=[],
    pending=[SeatStatus("Ann", True), SeatStatus("Bob", False), SeatStatus("Cleo", False)],
    recoveries=0,
    generation=0,
    handovers=0,
    **_NO_RING,
)
RECOVERING = changed(
    state="recovering",
    custodians=[SeatStatus("Ann", True), SeatStatus("Bob", False), SeatStatus("Cleo", False)],
    **_NO_RING,
)
GAP = changed(
    state="gap",
    custodians=[SeatStatus("Ann", False), SeatStatus("Bob", True), SeatStatus("Cleo", False)],
    gap=GapStatus(100, 12_345, NOW - 500, "aa" * 300),
    **_NO_RING,
)
HOSTILE_LABELS = changed(
    build=HOSTILE,
    custodians=[SeatStatus(HOSTILE, True)],
    pending=[SeatStatus(HOSTILE, False)],
    instances=[InstanceStatus(HOSTILE, HOSTILE, NOW, True)],
    releases=[ReleaseStatus(HOSTILE, 1, HOSTILE, HOSTILE, True)],
    cluster=HOSTILE,
    role=HOSTILE,
    gap=GapStatus(1, 2, 10**30, HOSTILE),
    started=-(10**30),
    witnessed=10**18,
)
