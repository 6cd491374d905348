"""The SDK against a real Vault, a real Authenticator and an issuer: sign-ins, tickets, and every operation."""

import asyncio
import threading
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from strongroom import Refused, Unavailable, Untrusted, Vault
from strongroom.client import sign_in
from strongroom.client.errors import BadInput
from strongroom.client.loopback import Expected, RedirectListener
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.client.results import NewSecret, Person, Released
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import ById, OfNamespace, Ticket
from strongroom.protocol.sign_in_messages import Begun, SignedIn
from tests.idp.provider import NATIVE, Provider
from tests.support.evidence import changed
from tests.support.issuer import CLIENT_ID, Issuer
from tests.support.served import AtTheIssuer, Cut, ServedWorld
from tests.support.world import World

SECRET = b"AGE-SECRET-KEY-1 is not for everybody"


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


class AtBoth:
    """Signs in as `who` at whichever of two issuers is asked."""

    def __init__(self, served, other, who):
        self.users = [AtTheIssuer(other, who), AtTheIssuer(served.issuer, who)]
        self.urls: list[str] = []

    async def authorize(self, url):
        self.urls.append(url)
        await next(user for user in self.users if url.startswith(user.issuer.url + "/")).authorize(url)


async def put(served, *recipients, who="alice", **options):
    async with served.sdk(who) as alice:
        return await alice.store(SECRET, namespace="team", instructions=served.for_(*recipients), **options)


# --- the main job ---------------------------------------------------------------------------------------------


async def test_one_stores_for_another_who_collects(served):
    receipt = await put(served, "bob", metadata=b"age identity")
    assert receipt.version == 1
    people: list[Person] = []
    async with served.sdk("bob", signed_in=people.append) as bob:
        released = await bob.collect(receipt.address)
    assert (released.secret, released.metadata, released.version) == (SECRET, b"age identity", 1)
    principal = f"{method_digest(encode(served.method)).hex()}:bob"
    assert people == [Person(served.issuer.url, "bob", "bob@example.com", principal)]
    assert (released.author.email, released.terms, released.opens) == ("alice@example.com", None, 0)
    assert SECRET.decode() not in repr(released)


async def test_an_outsider_is_refused_after_one_sign_in(served):
    receipt = await put(served, "bob")
    async with served.sdk("mallory") as mallory:
        with pytest.raises(Refused) as caught:
            await mallory.collect(receipt.address)
        assert len(mallory._desk._sign_in.urls) == 1
    assert caught.value.number is Number.REFUSED
    assert caught.value.reason == ""


async def test_a_name_is_found_by_text_and_a_missing_one_is_refused_alike(served):
    await put(served, "bob", name="signing key/2026")
    async with served.sdk("bob") as bob:
        assert (await bob.collect("team/signing key/2026")).secret == SECRET
        assert await number_of(bob.collect("team/nothing")) is Number.REFUSED
        assert await number_of(bob.collect("nowhere/nothing")) is Number.REFUSED
        assert await number_of(bob.collect("00" * 16)) is Number.REFUSED


async def test_a_namespace_and_its_record_may_ask_for_different_sign_ins(served):
    other = Issuer(served.issuer.clock)
    async with other.serving():
        theirs = oidc_method(other.url, CLIENT_ID)
        own = served.for_("bob", method=theirs)
        async with served.sdk("alice") as alice:
            await alice.store(SECRET, namespace="team", instructions=own, name="key")

        people: list[Person] = []
        async with served.sdk(sign_in=AtBoth(served, other, "bob"), signed_in=people.append) as bob:
            assert (await bob.collect("team/key")).secret == SECRET
        assert [person.issuer for person in people] == [served.issuer.url, other.url]


async def test_many_are_collected_with_one_sign_in_and_few_round_trips(served):
    items = [NewSecret(b"secret %d" % at, served.for_("bob")) for at in range(40)]
    async with served.sdk("alice") as alice:
        receipts = await alice.store_many(items, namespace="team")
        mine = await alice.store(b"for alice alone", namespace="team", instructions=served.for_("alice"))
    missing = ById(id=bytes(16))
    wanted = [missing, *(receipt.address for receipt in receipts), mine.address, receipts[7].address]
    async with served.sdk("bob") as bob:
        served.vault.calls.clear()
        results = await bob.collect_many(wanted)
        assert len(bob._desk._sign_in.urls) == 1
        assert served.vault.count(Operation.FRAME) <= 6
    assert [result.secret for result in results[1:41]] == [item.secret for item in items]
    assert results[42].secret == items[7].secret
    for refused in (results[0], results[41]):
        assert isinstance(refused, Refused)
        assert refused.number is Number.REFUSED


async def test_a_batch_of_records_with_different_sign_ins(served):
    other = Issuer(served.issuer.clock)
    async with other.serving():
        receipts = []
        async with served.sdk("alice") as alice:
            for instructions in (served.for_("bob"), served.for_("bob", method=oidc_method(other.url, CLIENT_ID))):
                receipts.append(await alice.store(SECRET, namespace="team", instructions=instructions))

        async with served.sdk(sign_in=AtBoth(served, other, "bob")) as bob:
            results = await bob.collect_many([receipt.address for receipt in receipts])
    assert [type(result) for result in results] == [Released, Released]


async def test_more_than_one_reply_holds_is_collected_all_the_same(served):
    large = [bytes([at]) * 60_000 for at in range(40)]
    async with served.sdk("alice") as alice:
        receipts = []
        for start in range(0, 40, 10):
            items = [NewSecret(secret, served.for_("bob")) for secret in large[start : start + 10]]
            receipts += await alice.store_many(items, namespace="team")
    async with served.sdk("bob") as bob:
        results = await bob.collect_many([receipt.address for receipt in receipts])
    assert [result.secret for result in results] == large


# --- changing -------------------------------------------------------------------------------------------------


async def test_an_update_replaces_what_is_there_or_exactly_what_was_seen(served):
    async with served.sdk("alice") as alice:
        receipt = await alice.store(SECRET, namespace="team", instructions=served.for_("bob", "alice"))
        assert (await alice.update(receipt.address, secret=b"second")).version == 2
        assert (await alice.update(receipt.address, secret=b"third", replaces=2)).version == 3
        assert await number_of(alice.update(receipt.address, secret=b"fourth", replaces=2)) is Number.CONFLICT
        assert (await alice.collect(receipt.address)).secret == b"third"


async def test_who_may_not_update_learns_no_version(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        with pytest.raises(Refused) as caught:
            await bob.update(receipt.address, secret=b"mine")
    assert caught.value.version == 0


async def test_what_is_deleted_is_gone_and_can_be_put_back_by_its_owner(served):
    receipt = await put(served, "bob", name="key")
    async with served.sdk("alice") as alice, served.sdk("bob") as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
        erased = await alice.delete(receipt.address)
        assert erased.version == 2
        assert await number_of(bob.collect(receipt.address)) is Number.REFUSED
        again = {"namespace": "team", "name": "key", "instructions": served.for_("bob")}
        assert await number_of(alice.store(b"again", **again)) is Number.CONFLICT
        assert (await alice.store(b"again", **again, replaces=erased.version)).version == 3
        assert (await bob.collect("team/key")).secret == b"again"


async def test_putting_back_signs_in_as_the_deleted_record_asks(served):
    other = Issuer(served.issuer.clock)
    async with other.serving():
        method = oidc_method(other.url, CLIENT_ID)
        everything = Policy.anyone_with_email("alice@example.com", method=method).may("update", "delete")
        put_there = {
            "namespace": "team",
            "name": "key",
            "instructions": served.instructions(everything, methods=[method]),
        }
        async with served.sdk(sign_in=AtBoth(served, other, "alice")) as alice:
            await alice.store(SECRET, **put_there)
            await alice.delete("team/key")
        user = AtBoth(served, other, "alice")
        async with served.sdk(sign_in=user) as alice:
            assert (await alice.store(b"again", **put_there, replaces=2)).version == 3
    assert len(user.urls) == 2


async def test_a_store_whose_answer_is_lost_takes_place_once(served):
    async with served.sdk("alice") as alice:
        await alice.store(SECRET, namespace="team", instructions=served.for_("bob"))
        lost: list[bytes] = []

        async def carry(operation, body):
            answer = await served.vault.honestly(operation, body)
            if not lost:
                lost.append(answer)
                raise Cut
            return answer

        served.vault.carry = carry
        receipt = await alice.store(SECRET, namespace="team", instructions=served.for_("bob"), name="once")
        assert lost
        assert receipt.version == 1
        assert (await alice.update("team/once", metadata=b"x", replaces=1)).version == 2


async def test_a_store_is_repeated_by_its_ids(served):
    ids = {"record_id": b"r" * 16, "request_id": b"q" * 16}
    async with served.sdk("alice") as alice:
        receipts = [
            await alice.store(SECRET, namespace="team", instructions=served.for_("bob"), **ids) for _ in range(2)
        ]
        assert receipts[0] == receipts[1]
        assert (
            await number_of(alice.store(b"other", namespace="team", instructions=served.for_("bob"), **ids))
            is Number.CONFLICT
        )


async def test_the_owner_alone_makes_namespaces(served):
    async with served.sdk("alice") as alice:
        rules = Policy.namespace(create=Policy.anyone_signed_in(served.method))
        limits = dict.fromkeys(("max_records", "max_bytes", "max_records_per_identity", "max_bytes_per_identity"), 1)
        made = alice.create_namespace("mine", instructions=served.instructions(rules, permanent=True), **limits)
        assert await number_of(made) is Number.REFUSED


# --- tickets --------------------------------------------------------------------------------------------------


async def test_parallel_requests_open_one_browser_window(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        results = await asyncio.gather(*(bob.collect(receipt.address) for _ in range(20)))
        assert len(bob._desk._sign_in.urls) == 1
    assert {result.secret for result in results} == {SECRET}


async def test_an_expired_ticket_costs_another_sign_in(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        await bob.collect(receipt.address)
        for instance in (served.world.vault, served.world.authenticator):
            instance.platform.ahead += 599
        assert (await bob.collect(receipt.address)).secret == SECRET
        assert len(bob._desk._sign_in.urls) == 2


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
        assert len(bob._desk._sign_in.urls) == 2


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
        assert bob._desk._sign_in.urls == []
    assert served.authenticator.calls == [Operation.EVIDENCE]


async def test_a_vault_at_the_authenticators_address_gets_no_sign_in(served):
    receipt = await put(served, "bob")
    served.authenticator.carry = served.vault.honestly
    async with served.sdk("bob") as bob:
        with pytest.raises(Untrusted, match="role vault"):
            await bob.collect(receipt.address)
        assert bob._desk._sign_in.urls == []


async def test_another_authenticator_that_the_client_trusts_can_not_take_the_place(served, tmp_path):
    receipt = await put(served, "bob")
    other = await World(tmp_path / "state").start()
    served.authenticator.carry = other.authenticator.enclave.handle
    clusters = [served.world.authenticator_cluster, other.authenticator_cluster]
    trust = changed(served.trust, authenticator=changed(served.trust.authenticator, clusters=clusters))
    async with served.sdk("bob", trust=trust) as bob:
        assert await number_of(bob.collect(receipt.address)) is Number.AUTHENTICATOR_UNTRUSTED
        assert bob._desk._sign_in.urls == []


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
        assert len(bob._desk._sign_in.urls) == (kind is SignedIn)


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
        assert bob._desk._sign_in.urls == []


# --- the loopback redirect ------------------------------------------------------------------------------------

WAITING = Expected("/callback", "the-state", "https://login.example.com", iss_required=True)
GOOD = {"state": "the-state", "iss": "https://login.example.com", "code": "a-code"}


async def call(url, query, **options):
    async with httpx.AsyncClient(trust_env=False) as browser:
        return await browser.request(options.pop("method", "GET"), url, params=query, **options)


async def test_the_redirect_brings_the_code_and_answers_a_page_without_scripts():
    async with RedirectListener(WAITING) as listener:
        page = await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "a-code" not in page.text
    assert urlsplit(listener.redirect_uri).hostname == "127.0.0.1"


@pytest.mark.parametrize(
    "query",
    [
        GOOD | {"state": "another"},
        {"code": "a-code", "iss": GOOD["iss"]},
        {},
        [*GOOD.items(), ("state", "the-state")],
        [*GOOD.items(), ("code", "another")],
        GOOD | {"state": "another", "error": "access_denied"},
    ],
)
async def test_a_redirect_without_the_state_changes_nothing(query):
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri, query)).status_code == 404
        await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"


async def test_other_calls_of_this_machine_change_nothing():
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri.replace("/callback", "/favicon.ico"), GOOD)).status_code == 404
        assert (await call(listener.redirect_uri, GOOD, method="POST")).status_code == 404
        rebound = {"host": "strongroom.attacker.example"}
        assert (await call(listener.redirect_uri, GOOD, headers=rebound)).status_code == 404
        with pytest.raises(httpx.TransportError):
            await call(listener.redirect_uri, GOOD | {"padding": "x" * 20_000})
        await call(listener.redirect_uri, GOOD)
        assert await listener.code() == "a-code"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"state": "the-state", "code": "a-code"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"iss": "https://login.attacker.example"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"iss": "https://login.example.com/"}, Number.TOKEN_UNTRUSTED),
        (GOOD | {"code": ""}, Number.TOKEN_UNTRUSTED),
        ({"state": "the-state", "iss": GOOD["iss"], "error": "access_denied"}, Number.SIGN_IN_REFUSED),
        ({"state": "the-state", "error": "access_denied"}, Number.TOKEN_UNTRUSTED),
    ],
)
async def test_a_redirect_of_another_provider_or_with_an_error_ends_the_sign_in(query, number):
    async with RedirectListener(WAITING) as listener:
        assert (await call(listener.redirect_uri, query)).status_code == 400
        await call(listener.redirect_uri, GOOD)  # too late
        assert await number_of(listener.code()) is number


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
    monkeypatch.setattr(sign_in, "BROWSER_SECONDS", 0.1)

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
            urls += bob._desk._sign_in.urls
    first, second = (parse_qs(urlsplit(url).query) for url in urls)
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) == 43


# --- the blocking face ----------------------------------------------------------------------------------------


async def test_the_blocking_face_serves_several_threads(served):
    receipt = await put(served, "bob")
    results = []

    def work():
        user = AtTheIssuer(served.issuer, "bob")
        with Vault(served.vault.url, served.trust, sign_in=user, now=served.now) as vault:
            threads = [
                threading.Thread(target=lambda: results.append(vault.collect(receipt.address))) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert vault.describe(receipt.address).quorum == 1
            assert vault.describe(OfNamespace(namespace="team")).methods[0].issuer == served.issuer.url
            assert vault.verify().genuine.claims.role == "vault"
            assert vault.collect_many([receipt.address]) == [vault.collect(receipt.address)]
            with pytest.raises(Refused):
                vault.update(receipt.address, secret=b"x")
        with pytest.raises(BadInput, match="closed"):
            vault.collect(receipt.address)
        assert len(user.urls) == 1

    await asyncio.to_thread(work)
    assert [result.secret for result in results] == [SECRET] * 8
    assert not [thread for thread in threading.enumerate() if thread.name == "strongroom"]


async def test_the_blocking_face_writes(served):
    def work():
        user = AtTheIssuer(served.issuer, "alice")
        with Vault(served.vault.url, served.trust, sign_in=user, now=served.now) as vault:
            receipt = vault.store(SECRET, namespace="team", instructions=served.for_("alice"), name="blocking")
            vault.sign_out()
            assert vault.update("team/blocking", metadata=b"m").version == 2
            assert vault.collect(receipt.address).metadata == b"m"
            assert vault.delete("team/blocking", replaces=2).version == 3
            assert len(user.urls) == 2

    await asyncio.to_thread(work)


async def test_closing_ends_what_other_threads_wait_for(served):
    async def carry(operation, body):
        await asyncio.sleep(60)
        raise Cut

    served.vault.carry = carry
    vault = Vault(served.vault.url, served.trust, now=served.now)
    waiting = asyncio.create_task(asyncio.to_thread(vault.verify))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(vault.close)
    with pytest.raises(BadInput, match="closed during the call"):
        await waiting


# --- a certified provider -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


class InABrowser:
    """Walks the provider's login and consent pages, then follows the redirect."""

    def __init__(self, provider, who):
        self.provider = provider
        self.who = who

    async def authorize(self, url):
        back = await asyncio.to_thread(self.provider.sign_in, url, self.who)
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(back)).status_code == 200


class OnAPhone:
    def __init__(self, provider, who):
        self.provider = provider
        self.who = who

    async def show_code(self, code):
        await asyncio.to_thread(self.provider.approve_device, code.verification_uri_complete, self.who)


@pytest.mark.needs("oidc")
async def test_a_certified_provider_signs_in_by_browser(served, provider):
    served.method = oidc_method(provider.issuer, NATIVE)
    await served.namespace("theirs")
    async with served.sdk(sign_in=InABrowser(provider, "alice")) as alice:
        receipt = await alice.store(SECRET, namespace="theirs", instructions=served.for_("bob"), name="key")
    async with served.sdk(sign_in=InABrowser(provider, "bob")) as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
    async with served.sdk(sign_in=InABrowser(provider, "mallory")) as mallory:
        assert await number_of(mallory.collect("theirs/key")) is Number.REFUSED


@pytest.mark.needs("oidc")
async def test_a_certified_provider_signs_in_by_device_flow(served, provider):
    served.method = oidc_method(provider.issuer, "another-native", device_client_id=NATIVE)
    await served.namespace("devices")
    collectors = Policy.anyone_with_email("bob@example.com", method=served.method).allow_phishable().may("collect")
    creators = Policy.anyone_signed_in(served.method).allow_phishable()
    async with served.sdk(binding_key=served.world.owner) as owner:
        rules = Policy.namespace(create=creators)
        limits = dict.fromkeys(("max_records", "max_bytes", "max_records_per_identity", "max_bytes_per_identity"), 9999)
        await owner.create_namespace(
            "devices", instructions=served.instructions(rules, permanent=True), replaces=1, **limits
        )
    async with served.sdk(sign_in=OnAPhone(provider, "bob")) as bob:
        instructions = served.instructions(collectors, permanent=True)
        receipt = await bob.store(SECRET, namespace="devices", instructions=instructions)
        assert (await bob.collect(receipt.address)).secret == SECRET
