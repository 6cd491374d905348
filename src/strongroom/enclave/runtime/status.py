"""How an enclave stands, for operators and for whoever asks: `protocol.status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.enclave.runtime.identity import BUILD
from strongroom.enclave.runtime.releasing import Releasing
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import ServiceFacts
from strongroom.protocol.evidence import Council
from strongroom.protocol.status import EpochStatus, InstanceStatus, ReleaseStatus, SeatStatus, Status

if TYPE_CHECKING:
    from strongroom.enclave.runtime.nursery import Hopes, Place


def blank_status(place: Place, hopes: Hopes) -> Status:
    """Of an enclave without a ring: what it hopes for, and nothing else yet."""
    return Status(
        version=1,
        role=place.role,
        state=hopes.stage if hopes.stage != "member" else "starting",
        cluster=hopes.cluster_id.hex() if any(hopes.cluster_id) else "",
        build=BUILD,
        development=False,
        started=place.started,
        council=0,
        threshold=0,
        approvals=0,
        custodians=[],
        pending=[],
        endorsements=0,
        recoveries=hopes.recoveries,
        generation=0,
        epochs=None,
        instances=[],
        handovers=0,
        release=0,
        releases=[],
        log_size=0,
        witnesses=0,
        cosignatures=0,
        witnessed=0,
        gap=None,
    )


def seats(council: Council, done: Sequence[int]) -> list[SeatStatus]:
    """The custodians of a council, and which of them (by index) have done what is waited for."""
    return [SeatStatus(one.name, index in done) for index, one in enumerate(council.custodians)]


def member_status(
    ring: Ring,
    facts: ServiceFacts,
    releasing: Releasing,
    *,
    started: int,
    handovers: int,
    pending: list[SeatStatus],
    endorsements: int,
) -> Status:
    """Of an enclave that holds the ring."""
    council, statement, watchers = ring.council, ring.statement, ring.watching
    admitted = releasing.admitted()
    return Status(
        version=1,
        role=statement.role,
        state="serving",
        cluster=ring.cluster_id.hex(),
        build=BUILD,
        development=statement.development,
        started=started,
        council=ring.council_serial,
        threshold=council.threshold,
        approvals=council.approvals,
        custodians=[SeatStatus(one.name, True) for one in council.custodians],
        pending=pending,
        endorsements=endorsements,
        recoveries=ring.recoveries,
        generation=ring.generation,
        epochs=EpochStatus(ring.epoch, list(ring.epochs), facts.resealed, facts.rows),
        instances=[
            InstanceStatus(one.label, one.measurement.hex(), one.since, one.key == ring.own_key)
            for one in ring.state.instances
        ],
        handovers=handovers,
        release=ring.release,
        releases=[
            ReleaseStatus(
                release.version,
                release.svn,
                program.kind,
                program.measurement.hex(),
                program in admitted,
            )
            for release in (ring.releases_list.releases if ring.releases_list is not None else ())
            for program in release.programs
        ],
        log_size=facts.log_size,
        witnesses=len(watchers.witnesses),
        cosignatures=watchers.cosignatures,
        witnessed=facts.witnessed,
        gap=None,
    )
