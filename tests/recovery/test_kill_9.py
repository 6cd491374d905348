"""Real processes, killed at random moments under load: nothing lost, nothing half, nothing invented.

A short run of `python -m tests.soak`, which `make soak` makes as long as one likes.
"""

import pytest

from tests.soak.kills import soak
from tests.soak.ledger import Batch, Ledger, Violation

KILLS = 12


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def test_kill_9_at_any_moment_loses_nothing_acknowledged_and_leaves_nothing_half(database):
    outcome = await soak(database, KILLS)
    assert outcome.kills.total() == KILLS
    assert outcome.acknowledged > 10 * KILLS
    assert outcome.unknown > 0, "nothing was under way when it was killed"
    assert outcome.log > outcome.acknowledged, "every acknowledged write stands in the log"


# --- the checker itself -------------------------------------------------------------------------------------------


@pytest.fixture
def ledger():
    return Ledger()


def stored(ledger, secret=b"one"):
    record = ledger.new(b"\0" * 16)
    record.acknowledged(record.begin(secret), 1)
    return record


def test_what_is_as_acknowledged_or_as_it_was_sent_last_is_right(ledger):
    record = stored(ledger)
    ledger.verify([(record, 1, b"one")])
    record.begin(b"two")
    ledger.verify([(record, 1, b"one")])
    record.begin(b"three")
    record.begin(None)
    ledger.verify([(record, None, None)])
    assert record.version == 2


@pytest.mark.parametrize(
    "found",
    [(None, None), (1, b"another"), (2, b"one"), (0, b"one")],
    ids=["lost", "altered", "counted up", "counted down"],
)
def test_what_is_lost_or_invented_is_seen(ledger, found):
    record = stored(ledger)
    with pytest.raises(Violation):
        ledger.verify([(record, *found)])


def test_a_write_that_was_seen_to_be_undone_can_not_be_done_later(ledger):
    record = stored(ledger)
    record.begin(b"two")
    ledger.verify([(record, 1, b"one")])
    with pytest.raises(Violation):
        ledger.verify([(record, 2, b"two")])


def test_a_write_that_was_seen_stays(ledger):
    record = stored(ledger)
    record.begin(b"two")
    ledger.verify([(record, 2, b"two")])
    with pytest.raises(Violation):
        ledger.verify([(record, 1, b"one")])


def test_half_a_batch_is_seen(ledger):
    records = [ledger.new(bytes([number]) * 16) for number in range(3)]
    batch = Batch("a batch", records)
    for record in records:
        record.begin(b"secret", batch)
    with pytest.raises(Violation, match="half of a batch: 2 of 3"):
        ledger.verify([(records[0], 1, b"secret"), (records[1], None, None), (records[2], 1, b"secret")])


def test_two_winners_over_one_version_are_seen(ledger):
    record = stored(ledger)
    first, second = record.begin(b"two"), record.begin(b"three")
    record.acknowledged(first, 2)
    with pytest.raises(Violation):
        record.acknowledged(second, 2)


def test_a_counter_that_nobody_raised_is_seen(ledger):
    record = stored(ledger)
    record.opens_asked = 2
    record.opened(2)
    with pytest.raises(Violation):
        record.opened(3)
