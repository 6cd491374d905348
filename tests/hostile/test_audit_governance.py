"""Threat: a log that tells another life of the key ring than was signed by the people who govern the cluster."""

from typing import Any

import pytest

from strongroom.client.audit.export import Export
from strongroom.client.audit.syslog import message_of
from strongroom.protocol.codec import encode
from strongroom.protocol.leaves import parse_leaf
from strongroom.protocol.primitives import Domain
from tests.support.evidence import changed
from tests.support.governed import GovernedLog, People
from tests.support.logs import Tiled, audited, findings, states


def lived(*events: str) -> GovernedLog:
    """A log in which these things happened, honestly."""
    made = GovernedLog()
    made.grow()
    for event in events:
        getattr(made, event)()
        made.commit(entries=1)
    return made


async def looked_at(made: GovernedLog, **more: Any) -> Any:
    return await audited(made, charter=encode(made.charter), **more)


async def test_an_honest_life_holds_and_is_told():
    made = lived("release", "govern", "release", "recover")
    made.tell("given", 2, bytes(32), "sgx 11aa")
    made.tell("rotated", 2)
    made.commit(ring=b"e" * 32)
    made.tell("erased", 2)
    made.commit(ring=b"f" * 32)
    report = await looked_at(made)
    assert not report.failed
    assert states(report)["governance"] == states(report)["life"] == states(report)["ring"] == "holds"
    assert [one.event for one in report.facts.newest] == [
        "released", "governed", "released", "recovered", "given", "rotated", "erased"
    ]  # fmt: skip
    assert report.facts.newest[4].text == "sgx 11aa"


async def test_a_log_that_went_back_as_custodians_signed_holds_and_says_what_was_given_up():
    made = GovernedLog()
    made.grow()
    known = len(made.leaves)
    made.recover(lost=6)
    made.commit(entries=2)
    report = await looked_at(made)
    assert not report.failed
    assert f"went back to leaf {known - 6} of {known}" in findings(report, "generations")
    made.recover(lost=3)
    assert not (await looked_at(made)).failed


async def test_what_was_known_before_a_recovery_is_said_to_be_gone_and_what_was_kept_must_be_there():
    made = GovernedLog()
    made.grow()
    kept, lost = made.note(len(made.leaves) - 6), made.note()
    made.recover(lost=6)
    made.commit(entries=20)
    report = await looked_at(made, since=[kept, lost])
    assert not report.failed
    assert "6 leaves that were known before are gone: custodians gave them up" in findings(report, "since")
    made.leaves[4] = made.leaves[7]
    report = await looked_at(made, since=[kept])
    assert "altered" in findings(report, "since")


# --- what a host, or an enclave that was broken into, could say ----------------------------------------------------


async def test_a_log_that_began_anew_without_a_charter_is_named():
    made = GovernedLog()
    made.grow()
    made.recover(lost=6)
    report = await audited(made)
    assert "no charter here says that custodians agreed" in findings(report, "generations")


async def test_a_gap_that_too_few_signed_is_named():
    made = GovernedLog()
    made.grow()
    made.recover(lost=6)
    (gap,) = made.charter.gaps
    made.charter = changed(made.charter, gaps=[changed(gap, signed=gap.signed[:1])])
    report = await looked_at(made)
    assert "1 custodians signed of the 2" in findings(report, "governance")
    assert states(report)["generations"] == "fails"


async def test_a_log_that_went_back_further_than_custodians_signed_is_named():
    made = GovernedLog()
    made.grow()
    before = list(made.leaves)
    made.recover(lost=3)
    made.leaves = [*before[:-6], *made.leaves[len(before) - 3 :]]
    report = await looked_at(made)
    assert "begins after" in findings(report, "generations")


async def test_a_log_that_went_on_from_other_leaves_than_custodians_signed_is_named():
    made = GovernedLog()
    made.grow()
    made.recover(lost=3)
    made.leaves[2] = encode(changed(parse_leaf(made.leaves[2]), commitment=b"x" * 32))
    assert "altered" in findings(await looked_at(made), "generations")


async def test_a_recovery_whose_line_names_another_gap_is_named():
    made = GovernedLog()
    made.grow()
    made.recover(lost=3)
    made.leaves[-2] = encode(changed(parse_leaf(made.leaves[-2]), about=b"x" * 32))
    assert "other gaps than the charter has" in findings(await looked_at(made), "governance")


async def test_a_recovery_that_only_the_charter_knows_is_named():
    made = lived("recover")
    made.charter = changed(made.charter, recoveries=2)
    assert "the charter says 2 recoveries" in findings(await looked_at(made), "governance")


async def test_a_list_that_only_the_log_knows_is_named():
    made = lived("release")
    made.charter = changed(made.charter, releases=b"")
    assert "the charter has no list of releases" in findings(await looked_at(made), "governance")


async def test_a_log_that_is_shown_in_its_generation_of_before_was_put_back():
    made = GovernedLog()
    made.grow()
    before, old = list(made.leaves), made.note()
    made.recover(lost=3)
    report = await looked_at(made, leaves=before, note=old, since=[made.note()])
    assert "was at generation 1, and is shown at 0: it was put back" in findings(report, "since")
    assert "the charter has 1 gaps, and the log began anew 0 times" in findings(report, "governance")


async def test_a_checkpoint_that_names_another_generation_than_its_last_commit_is_named():
    made = GovernedLog()
    made.grow()
    made.generation = 1
    note = made.note()
    assert "of generation 1, and the last commit that it covers of 0" in findings(
        await looked_at(made, note=note), "generations"
    )


async def test_a_generation_that_begins_without_a_recovery_is_named():
    made = GovernedLog()
    made.grow()
    made.generation = 1
    made.start()
    assert "begins without a recovery" in findings(await looked_at(made), "life")


async def test_a_council_that_only_the_log_knows_is_named():
    made = lived("govern")
    made.charter = changed(made.charter, successions=[])
    assert "0 councils after the first one, and the log tells of 1" in findings(await looked_at(made), "governance")


async def test_a_council_that_the_log_does_not_tell_of_is_named():
    made = lived("govern")
    honest = made.charter
    made = lived()
    made.charter = changed(made.charter, successions=honest.successions)
    assert states(await looked_at(made))["governance"] == "fails"


async def test_a_council_that_nobody_endorsed_is_named():
    made = lived("govern")
    (signed,) = made.charter.successions
    strangers = People().seats(Domain.ENDORSEMENT, signed.statement, 0, 1)
    made.charter = changed(made.charter, successions=[changed(signed, endorsed=strangers)])
    assert "signature" in findings(await looked_at(made), "governance")


async def test_a_charter_of_another_cluster_is_none():
    made, other = lived("release"), lived("release")
    made.charter = other.charter
    assert "another cluster's" in findings(await looked_at(made), "governance")


async def test_an_older_list_of_releases_beside_the_log_is_named():
    made = lived("release")
    older = made.charter.releases
    made.release()
    made.charter = changed(made.charter, releases=older)
    assert "another list of releases" in findings(await looked_at(made), "governance")


async def test_a_list_that_no_approver_of_that_time_signed_is_named():
    made = lived()
    made.people, council = People(), made.people
    made.release()
    made.people = council
    assert "no approver" in findings(await looked_at(made), "governance")


async def test_a_list_stays_good_when_another_council_takes_office():
    assert not (await looked_at(lived("release", "govern"))).failed


async def test_another_council_may_approve_the_same_list_and_only_that_once_more():
    report = await looked_at(lived("release", "govern", "approve", "release"))
    assert not report.failed
    # Under the same council there is no reason to.
    assert "list 1 of releases follows list 1" in findings(await looked_at(lived("release", "approve")), "life")
    # Another list under the same number is another list.
    made = lived("release", "govern")
    made.facts["release"] = 0
    made.tell("released", 1, b"x" * 32)
    made.commit(release=1)
    assert "list 1 of releases follows list 1" in findings(await looked_at(made), "life")


@pytest.mark.parametrize(("name", "event"), [("release", "released"), ("recoveries", "recovered")])
async def test_what_rises_without_a_line_is_named(name, event):
    made = lived()
    made.facts[name] = 1
    made.commit()
    assert f"{name} goes from 0 to 1, and no line says {event}" in findings(await looked_at(made), "life")


async def test_a_line_that_no_commit_bears_out_is_named():
    made = lived()
    made.tell("released", 1, b"x" * 32)
    made.commit()
    assert "the line says 1" in findings(await looked_at(made), "life")


@pytest.mark.parametrize(
    ("event", "number", "what"),
    [
        ("rotated", 3, "epoch 3 begins after 1"),
        ("erased", 2, "epochs before 2 are erased"),
        ("governed", 2, "council 2 takes office after 0"),
        ("released", 2, "list 2 of releases follows list 0"),
    ],
)
async def test_lines_out_of_order_are_named(event, number, what):
    made = lived()
    made.tell(event, number)
    made.commit(release=number if event == "released" else 0)
    assert what in findings(await looked_at(made), "life")


async def test_a_line_that_no_commit_follows_is_named():
    made = lived()
    made.tell("given", 2)
    assert "1 entries that no commit made true" in findings(await looked_at(made), "leaves")


async def test_a_ring_that_changes_a_second_time_after_a_list_is_named():
    """Once it may: when witnesses have seen the list, that is kept with the ring."""
    made = lived("release")
    made.commit(ring=b"t" * 32)
    assert states(await looked_at(made))["ring"] == "holds"
    made.commit(ring=b"u" * 32)
    assert "no start and no reason" in findings(await looked_at(made), "ring")


async def test_more_lines_than_a_cluster_can_have_cost_no_memory():
    made = lived()
    for number in range(1, 400):
        made.tell("governed", number, bytes(32))
    made.commit()
    report = await looked_at(made)
    assert "more happened in one commit" in findings(report, "life")
    assert (report.facts.events, len(report.facts.newest)) == (399, 100)


# --- what collectors get --------------------------------------------------------------------------------------------


async def test_an_export_tells_the_life_of_the_ring_in_its_place():
    made = lived("release")
    records = [one async for one in Export(made.founding, Tiled(made.leaves), 0).up_to(made.note())]
    assert [one["index"] for one in records] == list(range(len(made.leaves)))
    (life,) = [one for one in records if one["leaf"] == "life"]
    assert (life["event"], life["number"], life["text"]) == ("released", 1, "1.1")
    assert life["commit"] == life["index"] + 1
    assert message_of(life, "host").startswith(b"<109>1 ")  # a notice


async def test_an_export_goes_on_when_the_log_has_begun_anew():
    made = GovernedLog()
    made.grow()
    made.recover(lost=3)
    records = [one async for one in Export(made.founding, Tiled(made.leaves), 0).up_to(made.note())]
    assert records[-1]["generation"] == 1
    assert records[-1]["log"].endswith("/0/1")
