"""Approvals from afar (RULES 17): one page asks, another approves, and then the first may, once."""

import pytest

from strongroom.client.policy import Policy
from strongroom.client.quorum import two_of
from strongroom.protocol.errors import Misuse, Number
from tests.support.in_front import SECRET, number_of, page, stored_by


@pytest.fixture
async def address(served):
    """What any two of bob, carol and dave may collect."""
    people = [[(served.method, name)] for name in ("bob", "carol", "dave")]
    return await stored_by(served, two_of(people).may_when_approved("collect") | Policy.depositor_may("audit"))


async def test_what_a_second_person_approves_on_a_page_of_theirs_opens_once(served, address):
    async with page(served, "bob") as bob, page(served, "carol") as carol:
        assert await number_of(bob.call("collect", address)) == Number.REFUSED
        asked = await bob.call("ask", address, "collect", {"seconds": 3600})
        (question,) = await carol.call("questions", address)
        assert (question["question"], question["action"]) == (asked["question"], "collect")
        assert (question["person"]["email"], question["approvals"]) == ("bob@example.com", [])
        assert question["expires_at"] == asked["expiresAt"]
        assert await carol.call("approve", address, asked["question"]) == 1
        assert (await bob.call("collect", address))["secret"] == SECRET
        assert await carol.call("questions", address) == []
        assert await number_of(bob.call("collect", address)) == Number.REFUSED


async def test_nobody_approves_of_their_own_question(served, address):
    async with page(served, "bob") as bob, page(served, "bob") as elsewhere:
        asked = await bob.call("ask", address, "collect")
        assert await number_of(elsewhere.call("approve", address, asked["question"])) == Number.REFUSED
        assert await number_of(bob.call("collect", address)) == Number.REFUSED


async def test_what_was_approved_for_one_page_opens_in_no_other_of_the_same_person(served, address):
    async with page(served, "bob") as bob, page(served, "bob") as elsewhere, page(served, "carol") as carol:
        asked = await bob.call("ask", address, "collect")
        await carol.call("approve", address, asked["question"])
        assert await number_of(elsewhere.call("collect", address)) == Number.REFUSED


async def test_a_question_that_would_stand_for_seconds_or_years_is_not_sent(served, address):
    async with page(served, "bob") as bob:
        for seconds in (59, 31 * 24 * 3600, 90.5):
            with pytest.raises(Misuse, match="a question stands for"):
                await bob.call("ask", address, "collect", {"seconds": seconds})
