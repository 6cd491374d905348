"""Of which generation a signed checkpoint is, as an audit reads it."""

import pytest

from strongroom.client.audit.log import found
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.notes import verify_checkpoint
from tests.support.governed import GovernedLog


@pytest.mark.parametrize("generation", [0, 1, 1_795_682_000, 2**63 - 1])
def test_a_checkpoint_names_the_generation_of_its_log(generation: int) -> None:
    """Where nobody watches the log, a recovery counts generations by the time."""
    made = GovernedLog()
    founding = found(made.cluster.genesis, [made.cluster.id])
    made.generation = generation
    made.grow(1)
    note = made.note()
    number, named = founding.named_by(note)
    assert number == generation
    assert verify_checkpoint(note, named.log).checkpoint.origin == log_origin(made.cluster.id, generation=generation)


@pytest.mark.parametrize("number", ["01", "-1", "1e3", "", "9" * 20])
def test_what_names_no_generation_is_refused_by_the_log_of_the_first_one(number: str) -> None:
    made = GovernedLog().grow(1)
    founding = found(made.cluster.genesis, [made.cluster.id])
    origin = log_origin(made.cluster.id).rpartition("/")[0]
    note = made.note().replace(made.checkpoint().origin.encode(), f"{origin}/{number}".encode(), 1)
    generation, named = founding.named_by(note)
    assert generation == 0
    with pytest.raises(Untrusted):
        verify_checkpoint(note, named.log)
