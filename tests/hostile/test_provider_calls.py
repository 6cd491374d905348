"""Strangers don't make calls at a provider without end, and those who are known there don't pay for them."""

import pytest

from strongroom.enclave.authenticator import provider_calls
from strongroom.enclave.authenticator.device import GRANT
from strongroom.enclave.authenticator.provider_calls import (
    KNOWN_BURST,
    STRANGERS_BURST,
    STRANGERS_REFILL,
    ProviderCalls,
)
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.errors import Number, Refused, StrongroomError
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import DeviceBegin, Push
from tests.support.issuer import REDIRECT, VAULT, answer, desk_at_issuer
from tests.support.turned import Turned

METHOD, ANOTHER = b"m" * 32, b"n" * 32
OWNER, THIEF = b"owner's key", b"thief's key"


@pytest.fixture
def platform(tmp_path):
    return Turned("authenticator", tmp_path / "machine")


@pytest.fixture
def calls(platform):
    return ProviderCalls(Clock(platform))


def taken(calls, key=THIEF, method=METHOD):
    for count in range(2 * STRANGERS_BURST):
        try:
            calls.take(method, key)
        except Refused as error:
            if error.number is not Number.THROTTLED:
                raise
            return count
    return 2 * STRANGERS_BURST


def test_strangers_share_an_allowance_however_many_keys_they_make(platform, calls):
    assert taken(calls) == STRANGERS_BURST
    assert taken(calls, b"another key") == 0
    platform.time += STRANGERS_REFILL
    assert taken(calls) == 1
    assert taken(calls, method=ANOTHER) == STRANGERS_BURST


def test_who_signed_in_before_has_an_allowance_of_his_own_there_and_nowhere_else(calls):
    calls.signed_in(METHOD, OWNER)
    taken(calls)
    assert taken(calls, OWNER) == KNOWN_BURST
    taken(calls, method=ANOTHER)
    assert taken(calls, OWNER, ANOTHER) == 0


def test_a_morning_of_sign_ins_takes_nothing(calls):
    for number in range(2 * STRANGERS_BURST):
        key = b"%d" % number
        calls.take(METHOD, key)
        calls.take(METHOD, key)
        calls.signed_in(METHOD, key)
    assert taken(calls) == STRANGERS_BURST


def test_one_account_at_the_provider_gives_no_calls_beyond_its_own(calls):
    taken(calls)
    for _ in range(10):
        calls.signed_in(METHOD, OWNER)
    assert taken(calls) == provider_calls.SIGN_IN


async def number_of(action):
    try:
        await action
    except StrongroomError as error:
        return error.number
    return None


@pytest.mark.parametrize("kind", ["redeem", "push", "device"])
async def test_a_stranger_s_requests_stop_reaching_the_provider(platform, monkeypatch, kind):
    monkeypatch.setattr(provider_calls, "STRANGERS_BURST", 3)
    async with desk_at_issuer(platform) as (desk, issuer):

        async def refuse(writer, headers):
            await answer(writer, {"error": "invalid_grant"}, 400)

        for path in ("/token", "/push", "/device"):
            issuer.routes[path] = refuse
        issuer.metadata = {
            "pushed_authorization_request_endpoint": f"{issuer.url}/push",
            "device_authorization_endpoint": f"{issuer.url}/device",
            "grant_types_supported": [GRANT],
        }
        audience = desk.method.public.audiences[0]
        device = type(audience)(client_id="device", channel="device", redirect_uri="")
        desk.method.public.audiences.append(device)
        common = {"vault_cluster": VAULT, "capsule": desk.capsule(), "method": desk.digest}

        async def ask():
            match kind:
                case "redeem":
                    await desk.sign_in()
                case "push":
                    push = Push(
                        **common,
                        channel="native",
                        redirect_uri=REDIRECT,
                        salt=desk.salt,
                        state="s" * 43,
                        code_challenge="c" * 43,
                        anew=False,
                    )
                    await desk.service.handle(desk.caller(), push)
                case _:
                    await desk.service.handle(desk.caller(), DeviceBegin(**common))

        numbers = []
        for _ in range(5):
            numbers.append(await number_of(ask()))
            desk.binding_key = SigningKey.generate().public
        assert numbers == [Number.SIGN_IN_REFUSED] * 3 + [Number.THROTTLED] * 2
        assert sum(issuer.calls[path] for path in ("/token", "/push", "/device")) == 3


async def test_who_has_signed_in_at_the_provider_does_so_again_while_strangers_flood_it(platform, monkeypatch):
    monkeypatch.setattr(provider_calls, "STRANGERS_BURST", 3)
    async with desk_at_issuer(platform) as (desk, issuer):
        await desk.sign_in()
        owner, honest = desk.binding_key, issuer.routes["/token"]

        async def refuse(writer, headers):
            await answer(writer, {"error": "invalid_grant"}, 400)

        issuer.routes["/token"], desk.binding_key = refuse, SigningKey.generate().public
        numbers = [await number_of(desk.sign_in()) for _ in range(4)]
        assert numbers[-1] is Number.THROTTLED
        issuer.routes["/token"], desk.binding_key = honest, owner
        await desk.sign_in()
