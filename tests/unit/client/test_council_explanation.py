"""A charter as programs are told it."""

from strongroom.client.council_explanation import charter_json
from strongroom.client.custodians import parse_charter
from strongroom.protocol.codec import encode
from tests.support.governed import GovernedLog


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
