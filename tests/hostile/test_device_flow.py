"""The device flow: whose it is, how it is bound, and how often the provider is asked."""

import hashlib
from urllib.parse import parse_qs

import pytest

from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator import device
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import DeviceBegin, DevicePoll
from tests.support.evidence import changed
from tests.support.issuer import CLIENT_ID, VAULT, answer, base64url, desk_at_issuer, refusal
from tests.support.world import Platform


@pytest.fixture
def platform(tmp_path):
    return Platform("authenticator", tmp_path / "machine")


@pytest.fixture
async def place(platform):
    async with desk_at_issuer(platform) as found:
        yield found


async def device_flow(desk, issuer, method=(), **started):
    async def begin(writer, headers):
        found = {"device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": f"{issuer.url}/device"}
        await answer(writer, {**found, "expires_in": 600, **started})

    issuer.metadata = {"device_authorization_endpoint": f"{issuer.url}/device_authorization"}
    issuer.routes["/device_authorization"] = begin
    desk.method = changed(oidc_method(issuer.url, CLIENT_ID, device_client_id="tv"), **dict(method))
    request = DeviceBegin(vault_cluster=VAULT, capsule=desk.capsule(), method=desk.digest)
    return await desk.service.handle(desk.caller(), request)


async def test_the_device_flow_is_bound_to_who_began_it_and_marked_phishable(place, platform):
    desk, issuer = place
    begun = await device_flow(desk, issuer)
    assert (begun.user_code, begun.interval) == ("ABCD-EFGH", 5)
    poll = DevicePoll(capsule=desk.capsule(), handle=begun.handle)
    honest = issuer.routes["/token"]

    async def pending(writer, headers):
        await answer(writer, {"error": "authorization_pending"}, 400)

    issuer.routes["/token"] = pending
    await refusal(desk.service.handle(desk.caller(), poll), Refused, Number.SIGN_IN_PENDING)
    issuer.routes["/token"], issuer.claims = honest, {"aud": "tv", "nonce": None}
    platform.ahead = 5
    owner, desk.binding_key = desk.binding_key, SigningKey.generate().public
    await refusal(desk.service.handle(desk.caller(), poll), Refused, Number.REFUSED)
    desk.binding_key = owner
    signed_in = await desk.service.handle(desk.caller(), poll)
    facts = desk.service._sealer.verify_ticket(
        signed_in.ticket, binding_key=owner, vault_cluster=VAULT, now=desk.clock.now()
    )
    assert [(fact.channel, fact.phishable) for fact in facts] == [("device", True)]
    platform.ahead = 700
    await refusal(desk.service.handle(desk.caller(), poll), Refused, Number.SIGN_IN_REFUSED)


async def test_the_device_flow_is_off_unless_the_method_allows_it(place):
    desk, _ = place
    request = DeviceBegin(vault_cluster=VAULT, capsule=desk.capsule(), method=desk.digest)
    await refusal(desk.service.handle(desk.caller(), request), Misuse, Number.UNKNOWN_METHOD)


@pytest.mark.parametrize(
    "started", [{"verification_uri": "javascript:alert(1)"}, {"user_code": ""}, {"expires_in": -1}]
)
async def test_a_device_flow_that_would_fool_its_user_is_refused(place, started):
    desk, issuer = place
    with pytest.raises(StrongroomError):
        await device_flow(desk, issuer, **started)


async def test_a_device_flow_is_polled_no_faster_than_the_provider_asks(place, platform):
    """One stranger's poll in a loop would have the provider block this Authenticator for everybody."""
    desk, issuer = place
    begun = await device_flow(desk, issuer, interval=7)
    other = await device_flow(desk, issuer, interval=7)

    async def pending(writer, headers):
        await answer(writer, {"error": "authorization_pending"}, 400)

    issuer.routes["/token"] = pending
    for ahead, handle, calls in (
        (0, begun, 1), (0, begun, 1), (6, begun, 1), (6, other, 2), (8, begun, 3), (9, begun, 3)
    ):  # fmt: skip
        platform.ahead = ahead
        poll = DevicePoll(capsule=desk.capsule(), handle=handle.handle)
        await refusal(desk.service.handle(desk.caller(), poll), Refused, Number.SIGN_IN_PENDING)
        assert issuer.calls["/token"] == calls


def test_flows_whose_pace_is_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(device, "MAX_POLLS", 3)
    polls = device.DevicePolls()
    flow = device.DeviceFlow(
        binding_key=SigningKey.generate().public, vault_cluster=VAULT, method=bytes(32), expires_at=99, device_code="c",
        nonce="n", code_verifier="v", interval=5,
    )  # fmt: skip
    for n in range(10):
        polls.verify_pace(bytes([n]), flow, 1)
        assert len(polls._next) <= 3
    with pytest.raises(Refused):
        polls.verify_pace(b"\x09", flow, 5)


def sent(issuer, **containing):
    """The one form that says so."""
    forms = [{name: values[0] for name, values in parse_qs(form).items()} for form in issuer.forms]
    (found,) = [form for form in forms if containing.items() <= form.items()]
    return found


async def test_the_challenge_and_the_nonce_of_a_device_flow_cover_the_binding_key(place, platform):
    desk, issuer = place
    begun = await device_flow(desk, issuer)
    asked = sent(issuer, code_challenge_method="S256")
    issuer.claims = {"aud": "tv", "nonce": asked["nonce"]}
    await desk.service.handle(desk.caller(), DevicePoll(capsule=desk.capsule(), handle=begun.handle))
    verifier = sent(issuer, grant_type=device.GRANT)["code_verifier"]
    assert asked["code_challenge"] == base64url(hashlib.sha256(verifier.encode()).digest())
    issuer.forms.clear()
    await device_flow(desk, issuer)
    again = sent(issuer, code_challenge_method="S256")
    assert again["nonce"] != asked["nonce"]
    assert again["code_challenge"] != asked["code_challenge"]
    assert again["nonce"] != verifier != asked["nonce"]


@pytest.mark.parametrize("nonce", ["", "x" * 43, 7])
async def test_a_token_of_a_device_flow_that_names_another_nonce_is_refused(place, nonce):
    desk, issuer = place
    begun = await device_flow(desk, issuer)
    issuer.claims = {"aud": "tv", "nonce": nonce}
    poll = DevicePoll(capsule=desk.capsule(), handle=begun.handle)
    await refusal(desk.service.handle(desk.caller(), poll), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize(("changes", "reason"), [({"acr_values": ["mfa"]}, "acr"), ({"max_age": 60}, "auth_time")])
async def test_a_device_flow_proves_the_strength_that_the_method_asks_for(place, changes, reason):
    desk, issuer = place
    begun = await device_flow(desk, issuer, changes)
    asked = sent(issuer, code_challenge_method="S256")
    assert {name: asked.get(name) for name in changes} == {"acr_values": "mfa"} or asked["max_age"] == "60"
    issuer.claims = {"aud": "tv", "nonce": None}
    poll = DevicePoll(capsule=desk.capsule(), handle=begun.handle)
    assert reason in await refusal(desk.service.handle(desk.caller(), poll), Untrusted, Number.TOKEN_UNTRUSTED)
