"""An audit of a log whose witnesses custodians have replaced, and of one that began anew more often than is kept."""

import pytest

from strongroom.client.audit import governance as audited_governance
from strongroom.client.audit import rules
from strongroom.client.audit.log import Audit, found
from strongroom.protocol import governance
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Watchers
from strongroom.protocol.leaves import LifeLeaf, parse_leaf
from tests.support import governed
from tests.support.evidence import changed
from tests.support.governed import GovernedLog
from tests.support.logs import Shown, Witness, findings, states


def watchers(*witnesses):
    return Watchers(witnesses=[one.vkey for one in witnesses], cosignatures=len(witnesses) // 2 + 1)


async def looked_at(made, by=(), *, since=(), charter=None):
    """As `strongroom audit` does, with the charter that came along."""
    charter = encode(charter or made.charter)
    founding = found(made.cluster.genesis, {made.cluster.id}, charter)
    audit = Audit(founding, now=made.at + 60, charter=charter)
    return await audit.run(Shown(made.leaves), note=made.note(by=by), since=since)


@pytest.fixture
def new():
    return [Witness(f"new-{at}.example") for at in range(3)]


def began_anew(new):
    made = GovernedLog()
    made.grow()
    made.recover(lost=3, watchers=watchers(*new))
    made.commit(entries=2)
    return made


# --- witnesses who were replaced --------------------------------------------------------------------------------------


async def test_the_witnesses_whom_custodians_named_are_counted(new):
    report = await looked_at(began_anew(new), new[:2])
    assert not report.failed
    (cosigned,) = (check for check in report.checks if check.name == "cosignatures")
    assert (cosigned.state, cosigned.detail.partition(";")[0]) == ("holds", "2 of 3, it takes 2")
    assert "others watch it from generation 1 on" in findings(report, "generations")


async def test_fewer_of_them_than_it_takes_are_named_and_others_count_for_nothing(new):
    report = await looked_at(began_anew(new), [new[0], Witness("old.example")])
    assert "1 of 3 witnesses have cosigned" in findings(report, "cosignatures")


async def test_witnesses_whom_too_few_custodians_named_are_none(new):
    made = began_anew(new)
    (gap,) = made.charter.gaps
    report = await looked_at(made, new, charter=changed(made.charter, gaps=[changed(gap, signed=gap.signed[:1])]))
    assert states(report)["cosignatures"] == "not checked"
    assert "1 custodians signed of the 2" in findings(report, "governance")


async def test_a_charter_of_another_cluster_names_no_witnesses(new):
    made, other = began_anew(new), began_anew(new)
    report = await looked_at(made, new, charter=other.charter)
    assert states(report)["cosignatures"] == "not checked"
    assert "another cluster's" in findings(report, "governance")


async def test_a_gap_that_leaves_the_new_witnesses_out_is_named(new):
    made = began_anew(new)
    made.recover(lost=1)
    assert "leaves out the witnesses" in findings(await looked_at(made), "governance")


async def test_what_those_of_before_have_cosigned_is_counted_by_them(new):
    """A checkpoint of an earlier generation is one that witnesses saw by whom there were then."""
    made = GovernedLog()
    made.grow()
    older = made.note(len(made.leaves) - 3)
    made.recover(lost=3, watchers=watchers(*new))
    report = await looked_at(made, new, since=[older])
    assert not report.failed
    assert states(report)["since"] == "holds"


# --- a charter that keeps the newest gaps -----------------------------------------------------------------------------


@pytest.fixture
def _keeps_three(monkeypatch):
    for module in (governance, audited_governance, rules, governed):
        monkeypatch.setattr(module, "MAX_RECOVERIES", 3)


def often(times):
    made = GovernedLog()
    made.grow()
    notes = [made.note()]
    for _ in range(times):
        made.commit(entries=2)
        made.recover(lost=3)
        made.commit(entries=2)
        notes.append(made.note())
    return made, notes


@pytest.mark.usefixtures("_keeps_three")
@pytest.mark.parametrize("times", [2, 3, 4, 9])
async def test_a_log_that_began_anew_more_often_than_is_kept_holds(times):
    made, _ = often(times)
    assert len(made.charter.gaps) == min(times, 3)
    report = await looked_at(made)
    assert not report.failed
    assert ("before the oldest gap" in findings(report, "generations")) == (times > 3)


@pytest.mark.usefixtures("_keeps_three")
async def test_a_list_that_is_not_full_may_not_begin_later(new):
    made, _ = often(3)
    report = await looked_at(made, charter=changed(made.charter, gaps=made.charter.gaps[1:]))
    assert {"generations", "governance"} <= {check.name for check in report.failed}
    assert "other gaps than the charter has" in findings(report, "governance")
    assert "the charter has 2 gaps, and the log began anew 3 times" in findings(report, "governance")


@pytest.mark.usefixtures("_keeps_three")
async def test_a_full_list_holds_the_newest_gaps_and_no_others():
    made, _ = often(5)
    earlier = often(3)[0]
    report = await looked_at(made, charter=changed(made.charter, gaps=made.charter.gaps[:-1]))
    assert report.failed
    report = await looked_at(made, charter=changed(earlier.charter, recoveries=5))
    assert report.failed


@pytest.mark.usefixtures("_keeps_three")
async def test_who_audited_before_the_oldest_gap_that_is_kept_is_told_to_begin_there():
    made, notes = often(5)
    report = await looked_at(made, since=[notes[1]])
    assert "audit without it" in findings(report, "since")
    report = await looked_at(made, since=[notes[3], notes[4]])
    assert not report.failed
    assert states(report)["since"] == "holds"


@pytest.mark.usefixtures("_keeps_three")
def test_what_an_audit_keeps_of_recoveries_is_bounded():
    made, _ = often(0)
    kept = rules.Life()
    for number in range(1000):
        kept.begin(number, 0)
        made.tell("recovered", number, bytes([1]) * 32)
    for leaf in made.leaves[-1000:]:
        told = parse_leaf(leaf)
        assert isinstance(told, LifeLeaf)
        kept.take(told)
    assert (len(kept.begun), len(kept.gaps), kept.times) == (4, 4, 1000)
