"""Shares and desks in the records of a real Vault: what a sender keeps, what a receiver believes."""

import asyncio
import dataclasses
import secrets
from typing import Any

import msgspec
import pytest

from strongroom.client.errors import BadInput
from strongroom.client.share.access import recipients_of, share_instructions
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.desk import Desk
from strongroom.client.share.errors import NotReady, Unreadable
from strongroom.client.share.format import FULL_DESK, Card, DeskEntry, encode_json
from strongroom.client.share.shares import Draft, Receiver, Shares
from strongroom.client.share.site import Link, Site
from strongroom.protocol.errors import Refused
from strongroom.protocol.instructions import parse_instructions
from strongroom.protocol.messages import ByPerson, OfNamespace, Terms
from tests.support.packs import Packed
from tests.support.served import ServedWorld
from tests.support.vault import FAR

ORIGIN = "http://127.0.0.1:9"


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path) as served:
        yield served


@pytest.fixture
def site(served):
    return Site(
        origin=ORIGIN,
        digest=bytes(32),
        name="Example",
        vault=served.vault.url,
        authenticators=(served.authenticator.url,),
        namespace="team",
        methods=(served.method,),
        max_bytes=1 << 20,
        default_days=14,
        max_days=90,
        contact="mailto:a@example.com",
    )


def entry(**changes):
    fields = {
        "id": secrets.token_hex(16), "kind": "share", "title": "Report", "recipients": ["bob@example.com"],
        "groups": [], "second": None, "passkeys": [], "expires_at": 2_000_000_000, "max_opens": 0, "sent_at": 1,
        "size": 1, "files": 1, "blob": secrets.token_hex(16), "box": None, "state": "uploading",
    }  # fmt: skip
    return DeskEntry(**(fields | changes))


# --- the desk -------------------------------------------------------------------------------------------------


async def test_a_desk_keeps_what_was_sent_and_shows_it_to_nobody_else(served, site):
    async with served.sdk("alice") as alice, served.sdk("bob") as bob:
        desk = Desk(alice, site, served.trust)
        assert await desk.entries() == []
        first, second = entry(sent_at=1), entry(sent_at=2)
        await desk.put(first)
        await desk.put(second)
        await desk.change(first.id, state="sent")
        await desk.change("0" * 32, state="sent")  # of nothing: nothing
        sent = msgspec.structs.replace(first, state="sent")
        assert await desk.entries() == [second, sent]
        assert await desk.find(first.id) == sent
        with pytest.raises(BadInput, match="you have sent no share"):
            await desk.find("0" * 32)
        assert await Desk(bob, site, served.trust).entries() == []
        (alices,) = await people(alice)
        with pytest.raises(Refused):
            await bob.collect(ByPerson(namespace="team", person=alices.principal, name="desk-1"))


async def people(vault):
    return await vault.sign_in(OfNamespace(namespace="team"))


async def test_a_full_page_is_followed_by_another_and_entries_stay_where_they_are(served, site):
    crowd = [f"{'x' * 60}{n}@{'d' * 60}.example.com" for n in range(100)]
    async with served.sdk("alice") as alice:
        desk = Desk(alice, site, served.trust)
        entries = [entry(sent_at=n, recipients=crowd) for n in range(4)]
        for one in entries:
            await desk.put(one)
        pages = await desk._pages()
        assert len(pages) == 2
        assert FULL_DESK < pages[0].size <= 64 * 1024
        await desk.change(entries[0].id, state="revoked")
        assert [len(page.entries) for page in await desk._pages()] == [len(page.entries) for page in pages]
        assert {one.id for one in await desk.entries()} == {one.id for one in entries}
        with pytest.raises(BadInput, match="too many"):
            await desk.put(entry(recipients=[f"{'x' * 60}{n}@{'d' * 180}.example" for n in range(100)]))


async def test_two_devices_that_write_at_once_both_get_their_entry_in(served, site):
    async with served.sdk("alice") as phone, served.sdk("alice") as laptop:
        ours = [entry(sent_at=n) for n in range(4)]
        desks = [Desk(phone, site, served.trust), Desk(laptop, site, served.trust)]
        await people(phone)
        await people(laptop)
        await asyncio.gather(*(desks[n % 2].put(one) for n, one in enumerate(ours)))
        assert {one.id for one in await desks[0].entries()} == {one.id for one in ours}


# --- what a receiver believes ---------------------------------------------------------------------------------


def link(record_id):
    return Link(ORIGIN, "share", record_id)


async def stored(vault, served, site, secret, **terms):
    record_id = secrets.token_bytes(16)
    fields = {
        "expires_at": FAR if "blob" in terms else 0,
        "max_opens": 0,
        "closed": False,
        "fillable": False,
        "blob": None,
        "blob_bytes": 0,
    } | terms
    await vault.store(
        secret,
        namespace="team",
        instructions=share_instructions(site, served.trust, recipients_of(["bob@example.com"])),
        record_id=record_id,
        terms=Terms(**fields) if terms else None,
    )
    return link(record_id)


async def test_a_share_that_points_at_the_blob_of_another_record_is_refused(served, site):
    """Who may only set a secret would have the receiver fetch what was granted to others."""
    packed = Packed({"a": b"x"})
    blob = bytes.fromhex(packed.share.blob)
    async with served.sdk("alice") as alice, served.sdk("bob") as bob, BlobHost(ORIGIN) as host:
        receiver = Receiver(bob)
        secret = encode_json(packed.share)
        other = await stored(alice, served, site, secret, blob=bytes(16), blob_bytes=packed.pack.size)
        short = await stored(alice, served, site, secret, blob=blob, blob_bytes=packed.pack.size - 1)
        none = await stored(alice, served, site, secret, expires_at=0)
        for one in (other, short, none):
            with pytest.raises(Unreadable, match="blob of another record"):
                await receiver.open(one, host)
        bare = await stored(alice, served, site, secret)
        with pytest.raises(Unreadable, match="no share"):
            await receiver.open(bare, host)


async def test_a_share_that_is_not_whole_says_what_it_waits_for(served, site):
    packed = Packed({"a": b"x"})
    blob, size = bytes.fromhex(packed.share.blob), packed.pack.size
    unfinished = encode_json(msgspec.structs.replace(packed.share, manifest=None))
    async with served.sdk("alice") as alice, served.sdk("bob") as bob, BlobHost(ORIGIN) as host:
        for secret, terms, words in (
            (unfinished, {"blob": blob}, "still being uploaded"),
            (b"", {"blob": bytes(15) + b"1"}, "was revoked"),
            (b"", {"blob": bytes(15) + b"2", "fillable": True}, "nobody has answered"),
        ):
            one = await stored(alice, served, site, secret, blob_bytes=size, **terms)
            with pytest.raises(NotReady, match=words):
                await Receiver(bob).open(one, host)


async def test_nothing_is_stored_for_a_site_whose_methods_are_not_its_namespaces(served, site):
    other = msgspec.structs.replace(served.method, algorithms=["RS256"])
    async with served.sdk("alice") as alice:
        shares = Shares(alice, served.trust, dataclasses.replace(site, methods=(other,)), now=served.now)
        draft = Draft(title="x", recipients=recipients_of(["bob@example.com"]), expires_at=int(served.now()) + 86_400)
        packed = Packed({"a": b"x"})
        for sending in (shares.send(packed.pack.sources, draft), shares.request(draft, 1000)):
            with pytest.raises(BadInput, match="its namespace does not have"):
                await sending
        assert await Desk(alice, site, served.trust).entries() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": ""}, "1 to 200"),
        ({"title": "x" * 201}, "1 to 200"),
        ({"title": "a\x07"}, "control character"),
        ({"message": "x" * 8001}, "at most 8,000"),
        ({"expires_at": -1}, "at most 90 days"),
        ({"expires_at": 91 * 86_400}, "at most 90 days"),
    ],
)
async def test_what_no_receiver_would_take_is_not_sent(served, site, changes, words):
    if "expires_at" in changes:
        changes["expires_at"] += int(served.now())
    fields: dict[str, Any] = {
        "title": "x", "recipients": recipients_of(["bob@example.com"]), "expires_at": int(served.now()) + 86_400
    }  # fmt: skip
    async with served.sdk("alice") as alice:
        shares = Shares(alice, served.trust, site, now=served.now)
        with pytest.raises(BadInput, match=words):
            await shares.send(Packed({"a": b"x"}).pack.sources, Draft(**(fields | changes)))
        with pytest.raises(BadInput, match="the site takes"):
            await shares.send(Packed({"a": bytes(1 << 20)}).pack.sources, Draft(**fields))


# --- whom it is for -------------------------------------------------------------------------------------------


def card(name):
    return Card(
        format="strongroom passkey 1", name=name, rp_id="share.example.com", origin="https://share.example.com",
        credential_id="AAAA", public_key="AAAA",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), "nobody"),
        ((["bob"],), "not an e-mail"),
        ((["b@example.com "],), "not an e-mail"),
        ((["bób@example.com"],), "not an e-mail"),
        ((["a@b@example.com"],), "not an e-mail"),
        (([f"p{n}@example.com" for n in range(101)],), "at most 100"),
        ((["bob@example.com"], [], "BOB@example.com"), "a recipient already"),
        ((["bob@example.com", "al@example.com"], [], None, [card("bob@example.com")]), "no passkey of al@"),
        ((["bob@example.com"], [], None, [card("bob@example.com"), card("al@example.com")]), "nobody whom this is for"),
    ],
)
def test_recipients_that_can_not_be_meant_are_refused(arguments, words):
    with pytest.raises(BadInput, match=words):
        recipients_of(*arguments)


async def test_the_user_decides_by_whom_authenticators_are_recognised_not_the_site(served, site):
    encoded = share_instructions(site, served.trust, recipients_of(["Bob@Example.com"]))
    parsed = parse_instructions(encoded)
    assert [one.policy for one in parsed.authenticators] == [msgspec.msgpack.encode(served.trust.authenticator)]
    assert '"bob@example.com"' in parsed.rules
    assert "collect" not in parsed.rules.split("depositor")[0].split("permit")[-1]
