"""What an operator is told when an instance could not join."""

import asyncio
from typing import Any, cast

import pytest

from strongroom.host.instance import CannotServe, WrongSettings
from strongroom.host.supervisor.enclave import Enclave
from strongroom.host.supervisor.starting import Quorum, Starting, Watch
from strongroom.protocol.errors import Number, from_number
from tests.support import starting


class Refused:
    """An enclave whose START ends so."""

    def __init__(self, number):
        self.number = number

    async def call(self, operation, body):
        raise from_number(self.number)


async def no_witnesses():
    return None


@pytest.mark.parametrize(
    ("number", "said", "next_step"),
    [
        (Number.NOT_OWNER_KEY, "does not take the invitation", "strongroom cluster invite"),
        (Number.PEER_REFUSED, "refused this one", "what the maker says of this machine"),
        (Number.NOT_RELEASED, "gives its key ring to no such program", "release propose"),
    ],
)
async def test_who_was_refused_is_told_what_to_do(number, said, next_step):
    start = starting.start(mode="join", peer="http://member.test", cluster=bytes(32))
    refused: Any = Refused(number)
    one = Starting(refused, "vault", start, Watch(asyncio.Event(), []), ("", ""), no_witnesses)
    with pytest.raises(WrongSettings, match=said) as caught:
        await one.begin(None)
    assert next_step in caught.value.hint


@pytest.mark.parametrize(
    ("founded", "said"),
    [
        (Quorum(0, 0, "vault"), "that of the vault of a cluster"),
        (Quorum(0, 0, "authenticator"), "closed"),
        (None, "closed"),
    ],
)
async def test_the_database_of_the_other_role_is_said_to_be_that_and_nobody_is_blamed(founded, said):
    async def quorum():
        return founded

    start = starting.start(mode="open")
    one = Starting(
        cast("Enclave", Refused(Number.INTEGRITY)),
        "authenticator",
        start,
        Watch(asyncio.Event(), []),
        ("closed", "tampering"),
        quorum,
    )
    with pytest.raises(CannotServe, match=said) as caught:
        await one.begin(None)
    assert ("tampering" in caught.value.hint) == (said == "closed")
