"""What commands say of a change whose outcome nobody knows."""

import pytest

from strongroom.cli import conflict
from strongroom.cli.terminal import EXIT_UNAVAILABLE, Failure
from strongroom.client.errors import Unanswered, Unreachable
from strongroom.protocol.errors import Number, Unavailable

GONE = Unreachable("https://x can't be reached", "check it", broken=False, sent=False)


@pytest.mark.parametrize("error", [Unanswered(GONE), Unavailable(Number.WITNESSES_UNAVAILABLE)])
def test_who_gets_no_answer_to_a_change_is_told_where_to_look(error):
    with pytest.raises(Failure) as caught, conflict.unanswered("if it was stored, then at 00ff", "look"):
        raise error
    assert caught.value.error == f"{error.error}; if it was stored, then at 00ff"
    assert (caught.value.hint, caught.value.status) == ("look", EXIT_UNAVAILABLE)


@pytest.mark.parametrize("error", [GONE, Unavailable(Number.BUSY)])
def test_what_was_never_sent_is_told_as_it_is(error):
    with pytest.raises(Unavailable) as caught, conflict.unanswered("if it was stored, then at 00ff", "look"):
        raise error
    assert caught.value is error
