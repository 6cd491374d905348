"""The browser SDK against a real Vault and Authenticator, Python's SDK at the other end, and networks that lie."""

import asyncio
import dataclasses
import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from strongroom import Refused, Untrusted
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError
from strongroom.protocol.evidence import Evidence
from strongroom.protocol.instructions import AuthenticatorRef, method_digest
from strongroom.protocol.limits import MAX_FRAME
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import Terms
from strongroom.protocol.primitives import Domain, KemKey, verify_signature
from strongroom.protocol.session import open_hello
from tests.idp.provider import PAGE, Provider
from tests.support import policies
from tests.support.issuer import CLIENT_ID
from tests.support.page import WEB, Page, driven
from tests.support.passkeys import SoftwarePasskey, method_of
from tests.support.served import Cut, ServedWorld
from tests.support.world import World

pytestmark = [pytest.mark.needs("web")]

SECRET = b"AGE-SECRET-KEY-PQ-1 is not for everybody"
CALLBACK = "http://127.0.0.1:4173/callback"
WEB_ID = "strongroom-page"
VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"


def web_method(served):
    return oidc_method(
        served.issuer.url, CLIENT_ID, web_client_id=WEB_ID, web_redirect_uri=CALLBACK, scopes=("openid", "email")
    )


@asynccontextmanager
async def opened(folder):
    async with ServedWorld.open(folder) as served:
        served.method = web_method(served)
        await served.namespace("share")
        yield served


@pytest.fixture(scope="module")
async def together(tmp_path_factory):
    async with opened(tmp_path_factory.mktemp("sdk") / "state") as served:
        yield served


@pytest.fixture
async def served(together):
    """A world for all tests in which nobody lies: each stores records of its own."""
    claims = dict(together.issuer.claims)
    yield together
    together.issuer.claims = claims
    together.method = web_method(together)


@pytest.fixture
async def alone(tmp_path):
    """A world of its own."""
    async with opened(tmp_path / "state") as served:
        yield served


class InFront:
    """A user in front of a page: signs in as the first of `people`, then as the next."""

    def __init__(self, served, *people):
        self.served = served
        self.people = list(people)
        self.queries = []
        self.back = {}

    async def authorize(self, event):
        query = {name: values[0] for name, values in parse_qs(urlsplit(event["url"]).query).items()}
        self.queries.append(query)
        assert (query["client_id"], query["redirect_uri"]) == (WEB_ID, CALLBACK)
        who = self.people[min(len(self.queries), len(self.people)) - 1]
        issuer = self.served.issuer
        issuer.nonce = query["nonce"]
        issuer.claims |= {"sub": who, "email": f"{who}@example.com", "aud": WEB_ID}
        back = {"code": "a-code", "state": query["state"], "iss": issuer.url} | self.back
        return {"untrustedQuery": "?" + urlencode(back)}


def page(served, *people, user=None, passkey=None, trust=None, return_to=None):
    user = user or InFront(served, *people)

    async def sign(event):
        said = passkey.sign_in(event["challenge"], origin="http://localhost:4173", rp_id="localhost")
        return dataclasses.asdict(said)

    events = {"authorize": user.authorize, "assert": sign}
    return Page.open(served.vault.url, trust or served.trust, events, return_to)


def python(served, who):
    """Python's SDK signs in natively: the issuer's tokens are for that client then."""
    served.issuer.claims["aud"] = CLIENT_ID
    return served.sdk(who)


async def stored(served, *recipients, **options):
    async with python(served, "alice") as alice:
        return await alice.store(SECRET, namespace="share", instructions=served.for_(*recipients), **options)


def terms(**changes):
    fields = {"expires_at": 0, "max_opens": 0, "closed": False, "fillable": False, "blob": None, "blob_bytes": 0}
    return fields | changes


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


# --- both ways ------------------------------------------------------------------------------------------------


async def test_what_python_stores_a_page_collects(served):
    receipt = await stored(served, "bob", metadata=b"beside", terms=Terms(**terms(max_opens=3)))
    user = InFront(served, "bob")
    async with page(served, user=user) as bob:
        released = await bob.call("collect", receipt.address.id.hex())
        people = await bob.call("signedIn")
    assert (released["secret"], released["metadata"], released["version"]) == (SECRET, b"beside", 1)
    assert released["author"]["email"] == "alice@example.com"
    assert (released["opens"], released["terms"]["max_opens"]) == (1, 3)
    principal = f"{method_digest(encode(served.method)).hex()}:bob"
    assert [one["principal"] for one in people] == [principal]
    assert user.queries[0]["code_challenge_method"] == "S256"


async def test_what_a_page_stores_python_collects(served):
    reference = encode(AuthenticatorRef(url=served.authenticator.url, policy=encode(served.world.policy())))
    async with page(served, "alice") as alice:
        given = {"authenticators": [reference], "methods": [encode(served.method)], "collectors": ["bob@example.com"]}
        instructions = await alice.call("instructions", given)
        assert instructions == served.for_("bob")
        receipt = await alice.call(
            "store", {"secret": SECRET, "instructions": instructions, "terms": terms()}, {"namespace": "share"}
        )
        address = receipt["address"]["id"].hex()
        async with python(served, "bob") as bob:
            assert (await bob.collect(address)).secret == SECRET
        journal = await alice.call("history", address)
        visits = [(one["action"], one["person"]["email"]) for one in journal["visits"]]
        assert ("collect", "bob@example.com") in visits
        assert visits[-1] == ("audit", "alice@example.com")
        assert journal["opens"] == 1


async def test_a_page_updates_revokes_and_deletes(served):
    async with page(served, "alice") as alice:
        item = {"secret": SECRET, "instructions": served.for_("bob"), "terms": terms()}
        address = (await alice.call("store", item, {"namespace": "share"}))["address"]["id"].hex()
        assert (await alice.call("update", address, {"secret": b"second"}, {}))["version"] == 2
        assert await number_of(alice.call("update", address, {"secret": b"third"}, {"replaces": 1})) == Number.CONFLICT
        assert (await alice.call("update", address, {"terms": terms(closed=True)}, {"replaces": 2}))["version"] == 3
        async with python(served, "bob") as bob:
            assert await number_of(bob.collect(address)) == Number.CLOSED
        served.issuer.claims["aud"] = WEB_ID
        assert (await alice.call("delete", address))["version"] == 4
        assert await number_of(alice.call("collect", address)) == Number.REFUSED


async def test_many_are_stored_and_collected_at_once(served):
    instructions = served.for_("alice")
    async with page(served, "alice") as alice:
        items = [{"secret": bytes([at]) * 60_000, "instructions": instructions} for at in range(16)]
        addresses = [one["address"]["id"].hex() for one in await alice.call("storeMany", items, {"namespace": "share"})]
        wanted = [*addresses, "00" * 16, addresses[3]]
        found = await alice.call("collectMany", wanted)
        assert [one["secret"][0] for at, one in enumerate(found) if at != 16] == [*range(16), 3]
        assert found[16]["error"]["number"] == Number.REFUSED


async def test_a_record_of_ones_own_is_found_again(served):
    principal = f"{method_digest(encode(served.method)).hex()}:alice"
    own = {"by": "person", "namespace": "share", "person": principal, "name": "desk-1"}
    item = {"secret": b"desk", "instructions": served.for_("alice"), "address": own}
    async with page(served, "alice") as alice, page(served, "mallory") as mallory:
        await alice.call("store", item, {"namespace": "share"})
        assert (await alice.call("collect", own))["secret"] == b"desk"
        stolen = {**item, "address": {**own, "name": "desk-2"}}
        assert await number_of(mallory.call("store", stolen, {"namespace": "share"})) == Number.REFUSED


async def test_requests_in_parallel_share_one_sign_in_and_one_session(served):
    receipt = await stored(served, "bob")
    user = InFront(served, "bob")
    before = served.vault.count(Operation.SESSION)
    async with page(served, user=user) as bob:
        calls = (bob.call("collect", receipt.address.id.hex()) for _ in range(100))
        assert {one["secret"] for one in await asyncio.gather(*calls)} == {SECRET}
    assert len(user.queries) == 1
    assert served.vault.count(Operation.SESSION) == before + 1


async def test_builders_write_the_rules_that_pythons_write(served):
    passkeys = method_of(SoftwarePasskey("bob@example.com"), SoftwarePasskey("al@example.com"))
    name = 'x" || true \\ \u00e9\U0001f511'
    async with page(served, "bob") as one:
        given = {"oidc": encode(served.method), "passkeys": encode(passkeys), "name": name}
        texts = await one.call("rules", given)
    bob = Policy.anyone_with_email("Bob@Example.com", "al@example.com", method=served.method)
    issuer = served.issuer.url
    people = [
        bob.may("collect", "audit"),
        bob.allow_phishable().may("collect"),
        bob.with_passkey(passkeys).may("collect"),
        bob.with_second_person("Carol@example.com", served.method).may("fill"),
        bob.with_passkey(passkeys, "bob@example.com")
        .with_second_person("carol@example.com", served.method)
        .may("collect"),
        Policy.anyone_in_domain("example.com", issuer=issuer).may("describe"),
        Policy.members_of("\U0001f511 keys", "\uff5e", 'a "quoted" \\ one', issuer=issuer).may("create"),
        Policy.person(served.method, name).may("update"),
        Policy.anyone_signed_in(served.method).may("admin", "set-quota") | Policy.depositor_may("delete"),
    ]
    assert texts == [policy.cedar for policy in people]


# --- who is let in --------------------------------------------------------------------------------------------


async def test_an_outsider_is_refused_and_asked_to_sign_in_once(served):
    receipt = await stored(served, "bob")
    user = InFront(served, "mallory")
    async with page(served, user=user) as mallory:
        with pytest.raises(Refused):
            await mallory.call("collect", receipt.address.id.hex())
    assert len(user.queries) == 1


async def test_after_signing_out_the_provider_asks_anew(served):
    receipt = await stored(served, "bob")
    user = InFront(served, "mallory", "bob")
    async with page(served, user=user) as somebody:
        address = receipt.address.id.hex()
        assert await number_of(somebody.call("collect", address)) == Number.REFUSED
        await somebody.call("signOut")
        assert (await somebody.call("collect", address))["secret"] == SECRET
    assert [query.get("prompt") for query in user.queries] == [None, "login"]


async def test_a_second_person_joins_on_the_same_page(served):
    bob = Policy.anyone_with_email("bob@example.com", method=served.method)
    rules = bob.with_second_person("carol@example.com", served.method).may("collect")
    instructions = served.instructions(rules | Policy.depositor_may("update", "delete"))
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    user = InFront(served, "bob", "carol")
    async with page(served, user=user) as both:
        assert await number_of(both.call("collect", address)) == Number.REFUSED
        assert (await both.call("signIn", address, {"joining": "joined"}))["email"] == "carol@example.com"
        assert (await both.call("collect", address))["secret"] == SECRET
        assert [one["subject"] for one in await both.call("signedIn")] == ["bob", "carol"]
    assert user.queries[1]["prompt"] == "login"


async def test_a_passkey_joins_an_account(served):
    passkey = SoftwarePasskey("bob@example.com")
    passkeys = method_of(passkey, rp_id="localhost", origin="http://localhost:4173")
    rules = Policy.anyone_with_email("bob@example.com", method=served.method).with_passkey(passkeys).may("collect")
    instructions = served.instructions(
        rules | Policy.depositor_may("update", "delete"), methods=[served.method, passkeys]
    )
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    async with page(served, "bob", passkey=passkey) as bob:
        assert await number_of(bob.call("collect", address)) == Number.REFUSED
        methods = (await bob.call("describe", address))["methods"]
        (method,) = (one for one in methods if one["kind"] == "passkey")
        person = await bob.call("signIn", address, {"joining": "joined", "method": method})
        assert person["principal"] == f"{method_digest(encode(passkeys)).hex()}:bob@example.com"
        assert (await bob.call("collect", address))["secret"] == SECRET


@pytest.mark.needs("oidc")
async def test_a_real_provider_signs_the_user_of_a_page_in(served):
    with Provider(page_redirect=CALLBACK) as provider:
        served.method = oidc_method(provider.issuer, web_client_id=PAGE, web_redirect_uri=CALLBACK)
        await served.namespace("real")
        walk = []

        async def authorize(event):
            end = await asyncio.to_thread(provider.sign_in, event["url"], "alice")
            walk.append(end)
            return {"untrustedQuery": urlsplit(end).query}

        async with Page.open(served.vault.url, served.trust, {"authorize": authorize}) as alice:
            item = {"secret": SECRET, "instructions": served.for_("alice")}
            receipt = await alice.call("store", item, {"namespace": "real"})
            assert (await alice.call("collect", receipt["address"]))["secret"] == SECRET
        assert len(walk) == 1


# --- a page that the user leaves ------------------------------------------------------------------------------

SHARE = "http://127.0.0.1:4173/#/s/0123"


class Leaving(InFront):
    """A user whose page is gone while they are at the provider."""

    def __init__(self, served, *people):
        super().__init__(served, *people)
        self.left: asyncio.Queue[Any] = asyncio.Queue()

    async def authorize(self, event):
        self.left.put_nowait((await super().authorize(event))["untrustedQuery"])


async def test_a_page_goes_on_when_the_user_comes_back_from_the_provider(served):
    receipt = await stored(served, "bob")
    user, address = Leaving(served, "bob"), receipt.address.id.hex()
    async with page(served, user=user, return_to=SHARE) as bob:
        asking = asyncio.create_task(bob.call("collect", address))
        query = await user.left.get()
        asking.cancel()
        assert await bob.call("deliver", query) == {"to": "page", "url": SHARE}
        await bob.load()
        assert (await bob.call("resumeSignIn"))["email"] == "bob@example.com"
        assert (await bob.call("collect", address))["secret"] == SECRET
        # It counted once, whoever brings it again.
        assert await bob.call("deliver", query) == {"to": "nobody"}
        assert await bob.call("resumeSignIn") is None


async def test_a_second_person_joins_though_the_page_is_left_for_each(served):
    bob = Policy.anyone_with_email("bob@example.com", method=served.method)
    rules = bob.with_second_person("carol@example.com", served.method).may("collect")
    instructions = served.instructions(rules | Policy.depositor_may("update", "delete"))
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    user = Leaving(served, "bob", "carol")
    async with page(served, user=user, return_to=SHARE) as both:
        for how in ({}, {"joining": "joined"}):
            asking = asyncio.create_task(both.call("signIn", address, how))
            await both.call("deliver", await user.left.get())
            asking.cancel()
            await both.load()
            await both.call("resumeSignIn")
        assert [one["subject"] for one in await both.call("signedIn")] == ["bob", "carol"]
        assert (await both.call("collect", address))["secret"] == SECRET


async def test_a_redirect_that_nobody_here_began_is_kept_for_nobody(served):
    user = Leaving(served, "bob")
    receipt = await stored(served, "bob")
    async with page(served, user=user, return_to=SHARE) as bob:
        assert await bob.call("deliver", "?code=of-mallory&state=AAAA") == {"to": "nobody"}
        asking = asyncio.create_task(bob.call("collect", receipt.address.id.hex()))
        query = await user.left.get()
        asking.cancel()
        assert await bob.call("deliver", query + "&code=of-mallory") == {"to": "nobody"}
        mixed_up = query.replace("iss=", "iss=https%3A%2F%2Fevil.example&was=")
        assert await bob.call("deliver", mixed_up) == {"to": "page", "url": SHARE}
        await bob.load()
        assert await number_of(bob.call("resumeSignIn")) == Number.TOKEN_UNTRUSTED


async def test_a_sign_in_of_another_binding_key_is_not_gone_on_with(served):
    user = Leaving(served, "bob")
    receipt = await stored(served, "bob")
    async with page(served, user=user, return_to=SHARE) as bob:
        asking = asyncio.create_task(bob.call("collect", receipt.address.id.hex()))
        query = await user.left.get()
        asking.cancel()
        await bob.call("deliver", query)
        await bob.call("forgetKey")
        await bob.load()
        assert await bob.call("resumeSignIn") is None
        assert await bob.call("signedIn") == []


# --- redirects that lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("back", "number"),
    [
        ({"state": "another"}, Number.TOKEN_UNTRUSTED),
        ({"iss": "https://evil.example"}, Number.TOKEN_UNTRUSTED),
        ({"code": ""}, Number.TOKEN_UNTRUSTED),
        ({"error": "access_denied"}, Number.SIGN_IN_REFUSED),
    ],
)
async def test_a_redirect_that_is_not_the_providers_answer_to_this_page_is_refused(alone, back, number):
    receipt = await stored(alone, "bob")
    user = InFront(alone, "bob")
    user.back = back
    async with page(alone, user=user) as bob:
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == number
    assert "/token" not in alone.issuer.calls or alone.issuer.calls["/token"] == 1  # alice's


# --- a network that lies --------------------------------------------------------------------------------------


class Liar:
    """Carries frames of a page, bends what `bend` says of the answers, and keeps all."""

    def __init__(self, line, operation, bend, after=0):
        self.line, self.operation, self.bend, self.after = line, operation, bend, after
        self.seen = []
        line.carry = self.carry

    async def carry(self, operation, body):
        answer = await self.line.honestly(operation, body)
        if operation is not self.operation:
            return answer
        self.seen.append(answer)
        return self.bend(answer, self.seen) if len(self.seen) > self.after else answer


def flipped(answer, at=-1):
    bent = bytearray(answer)
    bent[at] ^= 1
    return bytes(bent)


FRAMES = {
    "altered": lambda answer, seen: flipped(answer),
    "altered-counter": lambda answer, seen: flipped(answer, 23),
    "of-another-session": lambda answer, seen: flipped(answer, 3),
    "replayed": lambda answer, seen: seen[0],
    "cut-short": lambda answer, seen: answer[:-1],
    "empty": lambda answer, seen: b"",
    "endless": lambda answer, seen: bytes(MAX_FRAME + 1),
}


@pytest.mark.parametrize("what", FRAMES)
async def test_an_answer_that_was_tampered_with_is_refused(alone, what):
    receipt = await stored(alone, "bob")
    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())
        Liar(alone.vault, Operation.FRAME, FRAMES[what], after=0 if what != "replayed" else 1)
        if what == "replayed":
            await bob.call("describe", receipt.address.id.hex())
        with pytest.raises(Untrusted) as caught:
            await bob.call("describe", receipt.address.id.hex())
    assert caught.value.number is Number.INTEGRITY


async def test_two_answers_that_were_swapped_are_refused(alone):
    first, second = await stored(alone, "bob"), await stored(alone, "bob")
    held: asyncio.Queue[Any] = asyncio.Queue()

    async def carry(operation, body):
        """Each of two frames gets the other one's answer."""
        answer = await alone.vault.honestly(operation, body)
        if operation is not Operation.FRAME:
            return answer
        mine = asyncio.get_running_loop().create_future()
        held.put_nowait((answer, mine))
        if held.qsize() == 2:
            (one, first_waits), (two, second_waits) = held.get_nowait(), held.get_nowait()
            first_waits.set_result(two)
            second_waits.set_result(one)
        return await mine

    async with page(alone, "bob") as bob:
        await bob.call("collect", first.address.id.hex())
        alone.vault.carry = carry
        calls = [bob.call("describe", receipt.address.id.hex()) for receipt in (first, second)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Untrusted, Untrusted]
    assert {getattr(result, "number", None) for result in results} == {Number.INTEGRITY}


@pytest.mark.parametrize("number", [Number.REFUSED, Number.CONFLICT, Number.TICKET_MISSING, Number.CLOSED])
async def test_no_network_can_say_no_in_the_enclaves_place(alone, number):
    receipt = await stored(alone, "bob")
    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())

        async def carry(operation, body):
            raise StrongroomError(number)

        alone.vault.carry = carry
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.INTERNAL


async def test_evidence_of_another_enclave_is_refused_before_anything_is_sent(alone):
    async def carry(operation, body):
        assert operation is Operation.EVIDENCE, "something was sent to an enclave that nobody trusts"
        return await alone.authenticator.honestly(operation, body)

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        with pytest.raises(Untrusted):
            await bob.call("collect", "00" * 16)


@pytest.mark.parametrize("field", ["claims", "genesis", "cluster_signature", "quote", "collateral"])
async def test_evidence_with_a_flipped_bit_is_refused(alone, field):
    async def carry(operation, body):
        assert operation is Operation.EVIDENCE
        evidence = decode(await alone.vault.honestly(operation, body), Evidence, limit=2**20)
        fields = {name: getattr(evidence, name) for name in evidence.__struct_fields__}
        return encode(Evidence(**fields | {field: flipped(fields[field], len(fields[field]) // 2)}))

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        with pytest.raises(Untrusted) as caught:
            await bob.call("verify")
    assert caught.value.number is Number.EVIDENCE


async def test_a_session_key_put_in_between_does_not_open_the_hello(alone):
    """The answer to a hello that another enclave of the same program gave."""

    async def carry(operation, body):
        answer = await alone.vault.honestly(operation, body)
        return flipped(answer, 40) if operation is Operation.SESSION else answer

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        assert await number_of(bob.call("describe", "00" * 16)) == Number.INTEGRITY


async def test_a_lost_session_is_opened_again_once_and_no_more(alone):
    receipt = await stored(alone, "bob")
    lost = [1, 3]

    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())

        async def carry(operation, body):
            if operation is Operation.FRAME and lost[0]:
                lost[0] -= 1
                raise Misuse(Number.UNKNOWN_SESSION)
            return await alone.vault.honestly(operation, body)

        alone.vault.carry = carry
        assert (await bob.call("collect", receipt.address.id.hex()))["secret"] == SECRET
        lost[0] = lost.pop()
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.UNKNOWN_SESSION


async def test_a_lost_answer_is_asked_for_again_and_counts_one_opening(alone):
    receipt = await stored(alone, "bob", terms=Terms(**terms(max_opens=1)))
    cut = [True]

    async with page(alone, "bob") as bob:
        address = receipt.address.id.hex()
        await bob.call("signIn", address)

        async def carry(operation, body):
            answer = await alone.vault.honestly(operation, body)
            if operation is Operation.FRAME and cut:
                cut.pop()
                raise Cut
            return answer

        alone.vault.carry = carry
        assert (await bob.call("collect", address))["opens"] == 1
        assert await number_of(bob.call("collect", address)) == Number.OPENED_OUT


async def test_an_authenticator_that_only_the_depositor_trusts_gets_no_sign_in(alone):
    """RULES 14: a share is no way to fish for sign-ins."""
    receipt = await stored(alone, "bob")
    user = InFront(alone, "bob")
    trust = alone.trust
    stranger = TrustPolicy(version=1, name=trust.name, vault=trust.vault, authenticator=alone.world.policy("vault"))
    async with page(alone, user=user, trust=stranger) as bob:
        with pytest.raises(Untrusted):
            await bob.call("collect", receipt.address.id.hex())
    assert user.queries == []


async def test_a_genuine_authenticator_of_another_cluster_gets_no_sign_in_in_its_place(alone, tmp_path):
    """The client trusts both; what the Vault seals to one must not be shown to the other."""
    receipt = await stored(alone, "bob")
    other = await World(tmp_path / "other").start()
    ours, theirs = alone.world.policy(), other.policy()
    assert ours.insecure_software is not None
    assert theirs.insecure_software is not None
    program = policies.software(
        roots=[*ours.insecure_software.roots, *theirs.insecure_software.roots],
        measurements=ours.insecure_software.measurements,
    )
    both = policies.role(clusters=[*ours.clusters, *theirs.clusters], insecure_software=program)
    trust = TrustPolicy(version=1, name="insecure test", vault=alone.trust.vault, authenticator=both)
    user = InFront(alone, "bob")

    async def carry(operation, body):
        return await other.authenticator.enclave.handle(operation, body)

    alone.authenticator.carry = carry
    async with page(alone, user=user, trust=trust) as bob:
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.AUTHENTICATOR_UNTRUSTED
    assert user.queries == []


# --- the vectors ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said():
    """What the SDK says of each vector: lines by their first word."""
    done = subprocess.run(driven("second_client.ts"), cwd=WEB, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        lines.setdefault(word, []).append(rest)
    return lines


def test_the_sdk_reads_every_vector_that_needs_no_cedar(said):
    vectors = {path.relative_to(VECTORS).as_posix(): json.loads(path.read_text()) for path in VECTORS.rglob("*.json")}
    read = [path for path, vector in vectors.items() if vector["run"] != "verify rules"]
    assert sorted(said["ok"]) == sorted(read)


def test_a_hello_and_a_proof_of_the_sdk_are_accepted(said):
    vector = json.loads((VECTORS / "handshake" / "complete.json").read_text())
    given, outputs = vector["inputs"], vector["outputs"]
    (made,) = map(json.loads, said["made"])
    opened = open_hello(KemKey(bytes.fromhex(given["server_kem_seed"])), bytes.fromhex(made["hello"]))
    assert encode(opened).hex() == outputs["hello_message"]
    binding, transcript = bytes.fromhex(outputs["binding_key"]), bytes.fromhex(outputs["transcript"])
    verify_signature(binding, bytes.fromhex(made["proof"]), Domain.PROOF, transcript)
