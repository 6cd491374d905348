"""Signing in by the SDK: tickets, Authenticators that lie or are down, and what the provider's redirect says."""

import asyncio
from contextlib import nullcontext
from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom import Unavailable, Untrusted
from strongroom.client.errors import BadInput
from strongroom.client.methods import oidc_method
from strongroom.client.sign_in import browser
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import Ticket
from strongroom.protocol.sign_in_messages import Begun, SignedIn
from tests.support.evidence import changed
from tests.support.issuer import CLIENT_ID, Issuer
from tests.support.served import SECRET, AtBoth, AtTheIssuer, Cut, ServedWorld, number_of, put, urls_of
from tests.support.world import World


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


# --- tickets --------------------------------------------------------------------------------------------------


async def test_parallel_requests_open_one_browser_window(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        results = await asyncio.gather(*(bob.collect(receipt.address) for _ in range(20)))
        assert len(urls_of(bob)) == 1
    assert {result.secret for result in results} == {SECRET}


async def test_an_expired_ticket_costs_another_sign_in(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        await bob.collect(receipt.address)
        for instance in (served.world.vault, served.world.authenticator):
            instance.platform.ahead += 599
        assert (await bob.collect(receipt.address)).secret == SECRET
        assert len(urls_of(bob)) == 2


@pytest.mark.parametrize("many", [False, True])
async def test_a_ticket_that_only_the_server_thinks_expired_is_renewed_too(served, many):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        await bob.collect(receipt.address)
        served.world.authenticator.platform.ahead += 700  # the client's clock is behind
        if many:
            (released,) = await bob.collect_many([receipt.address])
        else:
            released = await bob.collect(receipt.address)
        assert released.secret == SECRET
        assert len(urls_of(bob)) == 2


async def test_after_signing_out_somebody_else_may_sign_in(served):
    user = AtTheIssuer(served.issuer, "alice")
    async with served.sdk(sign_in=user) as both:
        receipt = await both.store(SECRET, namespace="team", instructions=served.for_("bob"))
        assert await number_of(both.collect(receipt.address)) is Number.REFUSED
        both.sign_out()
        user.who = "bob"
        assert (await both.collect(receipt.address)).secret == SECRET
    assert len(user.urls) == 2


@pytest.mark.parametrize("many", [False, True])
async def test_a_changed_record_is_described_anew(served, many):
    other = Issuer(served.issuer.clock)
    async with other.serving(), served.sdk("alice") as alice:
        receipt = await alice.store(SECRET, namespace="team", instructions=served.for_("bob"))

        async with served.sdk(sign_in=AtBoth(served, other, "bob")) as bob:
            await bob.collect(receipt.address)
            changed_to = served.for_("bob", method=oidc_method(other.url, CLIENT_ID))
            await alice.update(receipt.address, instructions=changed_to)
            released = (await bob.collect_many([receipt.address]))[0] if many else await bob.collect(receipt.address)
            assert released.version == 2


async def test_servers_that_restart_during_a_sign_in_are_not_noticed(served):
    """The capsule outlives the session in which it was made, and the Authenticator's HPKE key."""
    receipt = await put(served, "bob")
    restarted: list[bool] = []

    async def carry(operation, body):
        if operation is Operation.SESSION and not restarted:
            restarted.append(True)
            await served.world.authenticator.start()
            await served.world.vault.start()
        return await served.authenticator.honestly(operation, body)

    served.authenticator.carry = carry
    async with served.sdk("bob") as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
    assert restarted


async def test_a_secret_without_a_way_to_sign_in_says_so(served):
    receipt = await put(served, "bob")
    async with served.sdk() as nobody:
        with pytest.raises(BadInput, match="needs a sign-in"):
            await nobody.collect(receipt.address)


async def test_no_method_for_this_client_is_explained(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob", issuer="https://other.example.com") as bob:
        with pytest.raises(BadInput, match="no sign-in method suits") as caught:
            await bob.collect(receipt.address)
    assert served.issuer.url in caught.value.hint


# --- Authenticators -------------------------------------------------------------------------------------------


async def test_the_clients_own_policy_decides_before_an_authenticator_hears_anything(served):
    receipt = await put(served, "bob")
    served.authenticator.calls.clear()
    distrust = changed(served.trust, authenticator=changed(served.trust.authenticator, clusters=[bytes(32)]))
    async with served.sdk("bob", trust=distrust) as bob:
        with pytest.raises(Untrusted, match="is not one that the policy names"):
            await bob.collect(receipt.address)
        assert urls_of(bob) == []
    assert served.authenticator.calls == [Operation.EVIDENCE]


async def test_a_vault_at_the_authenticators_address_gets_no_sign_in(served):
    receipt = await put(served, "bob")
    served.authenticator.carry = served.vault.honestly
    async with served.sdk("bob") as bob:
        with pytest.raises(Untrusted, match="role vault"):
            await bob.collect(receipt.address)
        assert urls_of(bob) == []


async def test_another_authenticator_that_the_client_trusts_can_not_take_the_place(served, tmp_path):
    receipt = await put(served, "bob")
    other = await World(tmp_path / "state").start()
    served.authenticator.carry = other.authenticator.enclave.handle
    clusters = [served.world.authenticator_cluster, other.authenticator_cluster]
    trust = changed(served.trust, authenticator=changed(served.trust.authenticator, clusters=clusters))
    async with served.sdk("bob", trust=trust) as bob:
        assert await number_of(bob.collect(receipt.address)) is Number.AUTHENTICATOR_UNTRUSTED
        assert urls_of(bob) == []


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Begun, {"issuer": "https://login.attacker.example"}),
        (Begun, {"client_id": "another"}),
        (Begun, {"redirect_uri": "http://127.0.0.1/elsewhere"}),
        (Begun, {"authorization_endpoint": "file:///etc/passwd"}),
        (SignedIn, {"ticket": Ticket(authenticator=bytes(32), sealed=b"")}),
    ],
)
async def test_what_an_authenticator_says_must_fit_what_the_vault_described(served, kind, fields):
    """Both are attested; this catches a defect in either before a user signs in to something else."""
    receipt = await put(served, "bob")
    service = served.world.authenticator.enclave._door._service
    honest = service.handle

    async def handle(caller, request):
        reply = await honest(caller, request)
        return changed(reply, **fields) if isinstance(reply, kind) else reply

    service.handle = handle
    async with served.sdk("bob") as bob:
        with pytest.raises(Untrusted):
            await bob.collect(receipt.address)
        assert len(urls_of(bob)) == (kind is SignedIn)


async def test_an_authenticator_that_is_down_is_named(served):
    receipt = await put(served, "bob")

    async def carry(operation, body):
        raise Cut

    served.authenticator.carry = carry
    async with served.sdk("bob") as bob:
        with pytest.raises(Unavailable, match=served.authenticator.url):
            await bob.collect(receipt.address)


async def test_a_provider_that_sends_the_browser_to_a_file_is_refused(served):
    receipt = await put(served, "bob")
    served.issuer.metadata["authorization_endpoint"] = "file:///etc/passwd"
    await served.world.authenticator.start()
    async with served.sdk("bob") as bob:
        with pytest.raises(StrongroomError):
            await bob.collect(receipt.address)
        assert urls_of(bob) == []


@pytest.mark.parametrize("approved", [False, True])
async def test_a_provider_that_shows_the_page_of_another_one_as_its_own_is_asked_about(served, approved):
    """Mix-up: people sign in at a page of repute, and the code goes with its verifier to the depositor's endpoint."""
    receipt = await put(served, "bob")
    served.issuer.metadata["authorization_endpoint"] = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    await served.world.authenticator.start()
    asked = []

    async def approve(method):
        asked.append((method.issuer, method.page))
        if method.page and not approved:
            raise BadInput("no", "never")

    async with served.sdk("bob", approve=approve) as bob:
        with nullcontext() if approved else pytest.raises(BadInput, match="no"):
            await bob.collect(receipt.address)
        assert [urlsplit(url).hostname for url in urls_of(bob)] == ["login.microsoftonline.com"] * approved
    assert asked == [(served.issuer.url, ""), (served.issuer.url, "https://login.microsoftonline.com")]


async def test_where_nobody_is_asked_a_provider_shows_no_page_but_its_own(served):
    receipt = await put(served, "bob")
    served.issuer.metadata["authorization_endpoint"] = "http://127.0.0.1:1/authorize"
    await served.world.authenticator.start()
    async with served.sdk("bob", issuer=served.issuer.url) as bob:
        with pytest.raises(BadInput, match=r"sign in at http://127\.0\.0\.1:1, and nobody has approved"):
            await bob.collect(receipt.address)
        assert urls_of(bob) == []


# --- the provider ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "number"),
    [
        ({"iss": "https://login.attacker.example"}, Number.TOKEN_UNTRUSTED),
        ({"error": "access_denied"}, Number.SIGN_IN_REFUSED),
    ],
)
async def test_what_the_redirect_says_reaches_the_caller(served, extra, number):
    receipt = await put(served, "bob")
    user = AtTheIssuer(served.issuer, "bob")
    user.extra = extra
    async with served.sdk(sign_in=user) as bob:
        assert await number_of(bob.collect(receipt.address)) is number


async def test_a_user_who_never_comes_back_is_not_waited_for_for_ever(served, monkeypatch):
    receipt = await put(served, "bob")
    monkeypatch.setattr(browser, "BROWSER_SECONDS", 0.1)

    class Gone:
        async def authorize(self, url):
            pass

    async with served.sdk(sign_in=Gone()) as bob:
        assert await number_of(bob.collect(receipt.address)) is Number.SIGN_IN_PENDING


async def test_each_sign_in_has_its_own_state_nonce_and_challenge(served):
    receipt = await put(served, "bob")
    urls = []
    for _ in range(2):
        async with served.sdk("bob") as bob:
            await bob.collect(receipt.address)
            urls += urls_of(bob)
    first, second = (parse_qs(urlsplit(url).query) for url in urls)
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) == 43
