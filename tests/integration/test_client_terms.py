"""The SDK against a real Vault, a real Authenticator and an issuer: terms, journals, filling, blobs."""

import pytest

from strongroom.client.addresses import format_address
from strongroom.client.policy import Policy
from strongroom.protocol.blobs import verify_statement
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.messages import OfNamespace
from tests.support.served import ServedWorld
from tests.support.vault import terms

SECRET = b"AGE-SECRET-KEY-1 is not for everybody"


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def put(served, *recipients, who="alice", **options):
    async with served.sdk(who) as alice:
        return await alice.store(SECRET, namespace="team", instructions=served.for_(*recipients), **options)


async def test_a_share_is_opened_seen_by_its_sender_and_revoked(served):
    receipt = await put(served, "bob", terms=terms(max_opens=2, blob=bytes(16), blob_bytes=1000))
    request_id = bytes(16)
    async with served.sdk("bob") as bob, served.sdk("alice") as alice:
        opened = [await bob.collect(receipt.address, request_id=request_id) for _ in range(2)]
        assert [(one.opens, one.author.email) for one in opened] == [(1, "alice@example.com")] * 2
        journal = await alice.history(receipt.address)
        assert [(visit.action, visit.person.email) for visit in journal.visits] == [
            ("create", "alice@example.com"),
            ("collect", "bob@example.com"),
            ("collect", "bob@example.com"),
            ("audit", "alice@example.com"),
        ]
        assert journal.opens == 1
        cluster = (await alice.verify()).genuine.genesis.cluster_key
        grant = await alice.grant_blob(receipt.address)
        assert verify_statement(grant.statement, grant.signature, cluster).live
        await alice.update(receipt.address, secret=b"", terms=terms(max_opens=2, closed=True, blob=bytes(16)))
        with pytest.raises(Refused) as caught:
            await bob.collect(receipt.address)
        assert caught.value.number is Number.CLOSED
        grant = await alice.grant_blob(receipt.address)
        assert not verify_statement(grant.statement, grant.signature, cluster).live


async def test_a_request_is_filled_once_and_its_depositor_collects_it(served):
    rules = Policy.anyone_with_email("bob@example.com", method=served.method).may("fill")
    mine = Policy.depositor_may("collect", "update", "delete", "audit")
    async with served.sdk("alice") as alice, served.sdk("bob") as bob:
        receipt = await alice.store(
            b"", namespace="team", instructions=served.instructions(rules | mine), terms=terms(fillable=True)
        )
        await bob.fill(receipt.address, SECRET, replaces=receipt.version)
        with pytest.raises(Misuse) as caught:
            await bob.fill(receipt.address, b"again")
        assert caught.value.number is Number.CONFLICT
        released = await alice.collect(receipt.address)
        assert (released.secret, released.author.email) == (SECRET, "bob@example.com")


async def test_a_record_of_ones_own_is_found_by_whom_one_signed_in_as(served):
    async with served.sdk("alice") as alice:
        (me,) = await alice.sign_in(OfNamespace(namespace="team"))
        mine = Policy.depositor_may("collect", "update", "delete")
        own = await alice.store(
            SECRET, namespace="team", name="desk-1", person=me.principal, instructions=served.instructions(mine)
        )
        assert (await alice.collect(format_address(own.address))).secret == SECRET
    async with served.sdk("mallory") as mallory:
        with pytest.raises(Refused):
            await mallory.store(
                b"trap", namespace="team", name="desk-2", person=me.principal, instructions=served.instructions(mine)
            )
