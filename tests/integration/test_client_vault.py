"""The SDK against a real Vault, a real Authenticator and an issuer: every operation, and the blocking face."""

import asyncio
import threading

import pytest

from strongroom import Refused, Vault
from strongroom.client.errors import BadInput
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.client.results import NewSecret, Person, Released
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import ById, OfNamespace
from tests.support.issuer import CLIENT_ID, Issuer
from tests.support.served import SECRET, AtBoth, AtTheIssuer, Cut, ServedWorld, number_of, put, urls_of


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


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
        assert len(urls_of(mallory)) == 1
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
        assert len(urls_of(bob)) == 1
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
