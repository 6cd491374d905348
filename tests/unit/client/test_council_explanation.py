"""A council and a charter in words, and as programs are told them."""

from strongroom.client.council_explanation import charter_json, explain_change, explain_council, explain_standing
from strongroom.client.custodians import parse_charter
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Custodian
from tests.support.councils import council
from tests.support.governed import GovernedLog
from tests.support.ssh_keys import SshKey


def told(made: GovernedLog) -> dict[str, object]:
    return charter_json(*parse_charter(encode(made.charter)))


def test_a_charter_tells_the_generation_of_its_last_gap() -> None:
    """A recovery may leave generations out, so the number of gaps is another one."""
    made = GovernedLog()
    made.start()
    made.commit(2)
    assert (told(made)["generation"], told(made)["recoveries"]) == (0, 0)
    made.generation = 6
    made.recover(lost=1)
    assert len(made.charter.gaps) == 1
    assert (told(made)["generation"], told(made)["recoveries"]) == (7, 1)
    assert told(made)["cluster"] == made.cluster.id.hex()


def people(**recipients: str) -> list[Custodian]:
    return [Custodian(name, recipient, name.encode()) for name, recipient in recipients.items()]


def test_who_signs_a_council_sees_what_goes() -> None:
    """Who is asked to agree sees beside the names of those who come that nobody is to approve programs any more."""
    keys = [SshKey(person=f"approver-{at}").public_key for at in range(2)]
    before = council(
        custodians=people(alice="age1a", bob="age1b", carol="age1c"),
        threshold=2,
        approvers=keys,
        approvals=2,
        release_delay=7 * 24 * 3600,
    )
    after = council(custodians=people(alice="age1a", carol="age1x", dora="age1d"), threshold=3)
    steps = explain_change(before, after, 4)
    shown = [(step.name, step.value) for step in steps]
    assert shown[0] == ("council", "4")
    assert {
        ("- threshold", "2 of 3"),
        ("+ threshold", "3 of 3"),
        ("= custodian", "alice"),
        ("- custodian", "bob"),
        ("- custodian", "carol"),
        ("+ custodian", "carol"),
        ("+ custodian", "dora"),
        ("- approvals", "2 of 2"),
        ("- delay", "7 days"),
        ("+ approvers", "none"),
    } <= set(shown)
    assert ("= custodian", "carol") not in shown
    assert [step.explanation for step in steps if step.value == "carol"] == ["age1c", "age1x"]
    assert [name for name, _ in shown].count("- approver") == 2
    same = [step.name[0] for step in explain_change(before, before, 5)[1:]]
    assert set(same) == {"="}
    assert ("= approvers", "none") in [(step.name, step.value) for step in explain_change(after, after, 5)]


def test_a_charter_shows_recoveries_gaps_and_earlier_councils() -> None:
    made = GovernedLog()
    made.start()
    made.commit(2)
    made.recover(lost=1)
    made.govern()
    charter, genesis, councils = parse_charter(encode(made.charter))
    shown = {step.name: step for step in explain_standing(charter, councils)}
    assert (shown["earlier"].value, shown["earlier"].explanation) == ("council 0", "2 of 3: c0, c1, c2")
    assert (shown["recoveries"].value, shown["generation"].value) == ("1", "1")
    assert shown["gap"].value == "1 line"
    assert "signed by 2 of council 0" in shown["gap"].explanation
    programs = charter_json(charter, genesis, councils)
    assert programs["earlier"] == [["c0", "c1", "c2"]]
    assert [gap["signed"] for gap in programs["gaps"]] == [2]
    assert explain_council(councils[-1], 1)[0].value == "1"
