"""How long ago somebody proved who they are: never less than it was."""

import pytest

from strongroom.enclave.authenticator.ceremonies import MAX_LIFE
from strongroom.protocol.evaluation import evaluate, parse_rules
from tests.support.passkeys import PasskeyDesk, SoftwarePasskey, method_of
from tests.support.world import Platform
from tests.unit.authenticator.test_rules import ALICES, when

PASSKEY = SoftwarePasskey("bob@example.com")


@pytest.fixture
def desk(tmp_path):
    return PasskeyDesk(Platform("authenticator", tmp_path / "machine"), method_of(PASSKEY))


def is_fresh(desk, signed_in, seconds):
    rules = parse_rules(when(f"context.identity has auth_age && context.identity.auth_age < {seconds}"))
    return [one.allowed for one in evaluate(rules, "collect", ALICES, desk.facts(signed_in), desk.clock.now())]


async def test_who_answers_a_challenge_is_there_now(desk):
    signed_in = await desk.passkey_sign_in(PASSKEY)
    assert is_fresh(desk, signed_in, 5) == [True]
    desk.platform.ahead = 60
    assert is_fresh(desk, signed_in, 60) == [False]


async def test_an_answer_that_is_sent_again_grows_no_younger(desk):
    """The handle serves again for five minutes: whoever kept the assertion has not touched the key anew."""
    begun = await desk.passkey_begin()
    assertion = PASSKEY.sign_in(begun.challenge)
    assert is_fresh(desk, await desk.passkey_finish(begun, assertion), 60) == [True]
    desk.platform.ahead = MAX_LIFE - 10
    assert is_fresh(desk, await desk.passkey_finish(begun, assertion), MAX_LIFE - 20) == [False]
