"""What a page of the browser SDK stores Python's SDK collects, and the other way round."""

import asyncio

from strongroom.client.policy import Policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import AuthenticatorRef, method_digest
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import Terms
from tests.support.in_front import SECRET, WEB_ID, InFront, number_of, page, python, stored, terms
from tests.support.passkeys import SoftwarePasskey, method_of


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
