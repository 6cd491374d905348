"""A limit holds what others allow to be put under it: else a list that its approvers have signed ends a cluster."""

import pytest
from msgspec.structs import replace

from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse
from strongroom.protocol.evidence import Evidence
from strongroom.protocol.limits import (
    MAX_CUSTODIANS,
    MAX_EPOCHS,
    MAX_EVIDENCE,
    MAX_GENESIS,
    MAX_INSTANCES,
    MAX_LISTED_PROGRAMS,
    MAX_RELEASES,
    MAX_STATUS,
)
from strongroom.protocol.status import (
    EpochStatus,
    GapStatus,
    InstanceStatus,
    ReleaseStatus,
    SeatStatus,
    Status,
    decode_status,
    encode_status,
)

MOST = 2**63 - 1


def test_evidence_of_which_every_part_is_as_long_as_it_may_be_is_read():
    evidence = Evidence(
        version=1,
        kind="insecure-software",
        quote=bytes(32 * 1024),
        collateral=bytes(64 * 1024),
        claims=bytes(16 * 1024),
        genesis=bytes(MAX_GENESIS),
        cluster_signature=bytes(64),
        releases=bytes(MAX_RELEASES),
    )
    assert decode(encode(evidence), Evidence, limit=MAX_EVIDENCE) == evidence
    for part in ("quote", "collateral", "claims", "genesis", "releases"):
        # The longest that this holds is what was just read.
        longer = replace(evidence, **{part: getattr(evidence, part) + b"x"})
        with pytest.raises(Misuse):
            decode(encode(longer), Evidence, limit=2 * MAX_EVIDENCE)


def test_a_status_that_has_as_much_to_say_as_it_may_is_read():
    seats = [SeatStatus("é" * 256, True)] * MAX_CUSTODIANS
    # As many programs as one list names, and in hex as many bytes of measurements as fit it.
    hexed = "f" * (2 * MAX_RELEASES // MAX_LISTED_PROGRAMS)
    releases = [ReleaseStatus("\\" * 64, MOST, "insecure-software", hexed, False)] * MAX_LISTED_PROGRAMS
    status = Status(
        version=1,
        role="authenticator",
        state="standing-by",
        cluster="f" * 64,
        build="1" * 256,
        development=False,
        started=MOST,
        council=MOST,
        threshold=MOST,
        approvals=MOST,
        custodians=seats,
        pending=seats,
        endorsements=MOST,
        recoveries=MOST,
        generation=MOST,
        epochs=EpochStatus(MOST, [MOST] * MAX_EPOCHS, MOST, MOST),
        instances=[InstanceStatus("é" * 256, "f" * 1024, MOST, False)] * MAX_INSTANCES,
        handovers=MOST,
        release=MOST,
        releases=releases,
        log_size=MOST,
        witnesses=MOST,
        cosignatures=MOST,
        witnessed=MOST,
        gap=GapStatus(MOST, MOST, MOST, "f" * 2 * 4096),
    )
    encoded = encode_status(status)
    assert len(encoded) <= MAX_STATUS
    assert decode_status(encoded) == status
