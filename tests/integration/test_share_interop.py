"""Shares between a page and Python, both ways, at the same Vault and the same share server."""

import asyncio
import os
import time
import zipfile
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

import pytest

from strongroom import Untrusted
from strongroom.client.share.access import box_instructions, desk_instructions, recipients_of, share_instructions
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.desk import Desk
from strongroom.client.share.folders import find_sources
from strongroom.client.share.format import Card
from strongroom.client.share.shares import Draft, Receiver, Shares
from strongroom.client.share.site import parse_link, parse_site
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from tests.support.browse import walk
from tests.support.page import Page
from tests.support.passkeys import SoftwarePasskey, method_of
from tests.support.share_host import built_page
from tests.support.site import Site

pytestmark = [pytest.mark.needs("web"), pytest.mark.needs("oidc")]
MIB = 1 << 20
# Nobody signs in by these here, but whoever builds the rules of a share builds them for all.
MORE_METHODS = """
[[method]]
type = "directory"
name = "ad.example.com"
flavour = "active-directory"
servers = ["ldaps://ad.example.com"]
base = "dc=example,dc=com"
groups = ["cn=admins,dc=example,dc=com"]
email_domains = ["example.com"]
[[method]]
type = "email-code"
sender = "codes@example.com"
server = "smtps://mail.example.com"
domains = ["example.com"]
"""
DAY = 86_400


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interop")
    with Site(folder / "site", page=built_page(folder / "page"), max_bytes=64 * MIB, more_methods=MORE_METHODS) as site:
        yield site


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "audit"
    (folder / "annex").mkdir(parents=True)
    (folder / "report.pdf").write_bytes(os.urandom(3 * MIB + 17))
    (folder / "annex" / "empty.txt").write_bytes(b"")
    (folder / "annex" / "Ünïcode☂.csv").write_bytes(b"a,b\n")
    return folder


def contents(folder):
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def on_disk(folder):
    return [{"path": name, "place": str(folder.parent / name)} for name in contents(folder)]


def letter(*recipients, **changes):
    fields = {"title": "Audit", "message": "Handle with care ☂", "recipients": recipients}
    return {**fields, "expiresAt": int(time.time()) + 3 * DAY, **changes}


class OpenPage:
    """A page of the site, in which `user` signs in."""

    def __init__(self, site, user):
        async def authorize(event):
            end = await asyncio.to_thread(site.provider.sign_in, event["url"], user)
            return {"untrustedQuery": urlsplit(end).query}

        self._site = site
        self._open = Page.open(site.vault, site.trust, {"authorize": authorize})

    async def __aenter__(self):
        page = await self._open.__aenter__()
        await page.call("loadSite", self._site.statement(), self._site.origin)
        return page

    async def __aexit__(self, *how):
        await self._open.__aexit__(*how)


class AtBrowser:
    def __init__(self, user):
        self._user = user

    async def authorize(self, url):
        await asyncio.to_thread(walk, self._user, url)


def python(site, user):
    return AsyncVault(site.vault, site.trust, sign_in=AtBrowser(user))


def shares(site, vault):
    return Shares(vault, site.trust, parse_site(site.origin, site.statement()))


def draft(*recipients, **changes):
    fields = {"title": "Audit", "message": "Handle with care ☂", "expires_at": int(time.time()) + 3 * DAY}
    return Draft(**{**fields, "recipients": recipients_of(recipients), **changes})


async def received(site, link, user):
    """What Python's receiver gets: the share, and its files."""
    async with python(site, user) as vault, BlobHost(site.origin) as host:
        receiver = Receiver(vault)
        share = await receiver.open(parse_link(link), host)
        got = {}
        for entry in share.manifest.files:
            got[entry.path] = b"".join([piece async for piece in receiver.read(share, entry, host)])
        return share, got


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


def record_id(link):
    return link.rpartition("/")[2]


# --- both ways ------------------------------------------------------------------------------------------------


async def test_what_a_page_sends_python_receives(site, files):
    async with OpenPage(site, "alice") as alice:
        sent = await alice.call("send", on_disk(files), letter("Bob@example.com"))
        assert sent["stages"] == ["preparing", "uploading", "finishing"]
        share, got = await received(site, sent["link"], "bob")
        assert got == contents(files)
        assert (share.title, share.message, share.sender.email) == ("Audit", "Handle with care ☂", "alice@example.com")
        (entry,) = [one for one in await alice.call("listShares") if one["id"] == sent["id"]]
        assert (entry["state"], entry["files"], entry["recipients"]) == ("sent", 3, ["bob@example.com"])
        journal = await alice.call("shareHistory", sent["id"])
        assert ("collect", "bob@example.com") in [(one["action"], one["person"]["email"]) for one in journal["visits"]]
    async with python(site, "alice") as vault:
        assert sent["id"] in [one.id for one in await shares(site, vault).desk.entries()]


async def test_what_python_sends_a_page_opens(site, files, tmp_path):
    async with python(site, "alice") as vault:
        sent = await shares(site, vault).send(find_sources([files]), draft("bob@example.com"))
    async with OpenPage(site, "bob") as bob:
        share = await bob.call("openShare", sent.link.id.hex())
        assert (share["title"], share["author"]["email"], share["opens"]) == ("Audit", "alice@example.com", 1)
        for name, data in contents(files).items():
            await bob.call("readFile", name, str(tmp_path / "got"))
            assert (tmp_path / "got").read_bytes() == data
        await bob.call("readAll", str(tmp_path / "all.zip"))
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(files)
    async with OpenPage(site, "alice") as alice:
        assert sent.link.id.hex() in [one["id"] for one in await alice.call("listShares")]


async def test_python_asks_and_a_page_answers(site, files):
    async with python(site, "alice") as vault:
        asked = await shares(site, vault).request(draft("bob@example.com"), 8 * MIB)
        entry = await shares(site, vault).desk.find(asked.link.id.hex())
    async with OpenPage(site, "bob") as bob:
        invitation = await bob.call("openInvitation", asked.link.id.hex())
        assert (invitation["author"]["email"], invitation["maxBytes"]) == ("alice@example.com", 8 * MIB)
        await bob.call("answerRequest", on_disk(files))
        assert await number_of(bob.call("answerRequest", on_disk(files))) in (Number.CONFLICT, Number.REFUSED)
    share, got = await received(site, f"{site.origin}/#/s/{entry.box}", "alice")
    assert got == contents(files)
    assert (share.sender.email, share.message) == ("bob@example.com", "here")


async def test_a_page_asks_and_python_answers(site, files):
    async with OpenPage(site, "alice") as alice:
        asked = await alice.call("requestFiles", letter("bob@example.com"), 8 * MIB)
        (entry,) = [one for one in await alice.call("listShares") if one["id"] == asked["id"]]
        with pytest.raises(Unavailable, match="nobody has answered"):
            await alice.call("openShare", entry["box"])
        async with python(site, "bob") as vault:
            receiver = Receiver(vault)
            await receiver.answer(await receiver.invitation(parse_link(asked["link"])), find_sources([files]), "here")
        share = await alice.call("openShare", entry["box"])
        assert (share["author"]["email"], len(share["files"])) == ("bob@example.com", 3)
        journal = await alice.call("shareHistory", asked["id"])
        assert ("fill", "bob@example.com") in [(one["action"], one["person"]["email"]) for one in journal["visits"]]


async def test_both_build_the_same_instructions(site):
    card = Card(
        format="strongroom passkey 1",
        name="Bob@example.com",
        rp_id="localhost",
        origin="http://localhost:4173",
        credential_id="AAEC",
        public_key=cose_key(),
    )
    parsed = parse_site(site.origin, site.statement())
    people = [
        recipients_of(["bob@example.com", "Al@example.com"]),
        recipients_of([], ["Über-Admins", 'a "quoted" one']),
        recipients_of([], ["cn=admins,dc=example,dc=com", "Admins"]),
        recipients_of(["bob@example.com"], ["Admins"], "carol@example.com"),
        recipients_of(["bob@example.com"], [], None, [card]),
        recipients_of(["bob@example.com"], ["Admins"], "carol@example.com", [card]),
    ]
    async with OpenPage(site, "alice") as alice:
        for one in people:
            cards = [{name: getattr(each, name) for name in each.__struct_fields__} for each in one.cards]
            given = {"emails": one.emails, "groups": one.groups, "second": one.second, "cards": cards}
            built = await alice.call("accessRules", given)
            assert built[0] == share_instructions(parsed, site.trust, one)
            assert built[1] == box_instructions(parsed, site.trust, one)
            assert built[2] == desk_instructions(parsed, site.trust)


def cose_key():
    """A COSE key of some passkey, in base64url."""
    (passkey,) = method_of(SoftwarePasskey("bob@example.com")).passkeys
    return urlsafe_b64encode(passkey.public_key).rstrip(b"=").decode()


# --- kept in hand ---------------------------------------------------------------------------------------------


async def test_a_page_revokes_and_the_blob_is_gone(site, files):
    async with OpenPage(site, "alice") as alice:
        sent = await alice.call("send", on_disk(files), letter("bob@example.com"))
        share, _ = await received(site, sent["link"], "bob")
        await alice.call("revoke", sent["id"])
        assert await number_of(received(site, sent["link"], "bob")) == Number.CLOSED
        async with BlobHost(site.origin) as host:
            with pytest.raises(Unavailable):
                _ = [piece async for piece in host.read(share.blob, 0, 10)]
        await alice.call("revoke", sent["id"])
        with pytest.raises(StrongroomError, match="revoked, for good"):
            await alice.call("extend", sent["id"], {"maxOpens": 5})


async def test_a_page_allows_more_opens_and_adds_a_recipient(site, files):
    async with OpenPage(site, "alice") as alice:
        sent = await alice.call("send", on_disk(files), letter("bob@example.com", maxOpens=1))
        await received(site, sent["link"], "bob")
        assert await number_of(received(site, sent["link"], "bob")) == Number.OPENED_OUT
        assert await number_of(received(site, sent["link"], "carol")) == Number.REFUSED
        later = int(time.time()) + 9 * DAY
        entry = await alice.call("extend", sent["id"], {"maxOpens": 3, "expiresAt": later})
        assert (entry["max_opens"], entry["expires_at"]) == (3, later)
        share, _ = await received(site, sent["link"], "bob")
        assert (share.terms.max_opens, share.terms.expires_at) == (3, later)
        await alice.call("addRecipients", sent["id"], ["Carol@example.com"])
        assert (await received(site, sent["link"], "carol"))[1] == contents(files)
        assert (await alice.call("shareHistory", sent["id"]))["opens"] == 3


async def test_what_was_cancelled_is_revoked(site, files):
    async with OpenPage(site, "alice") as alice:
        with pytest.raises(Unavailable, match="cancelled"):
            await alice.call("send", on_disk(files), letter("bob@example.com", title="Cancelled", cancelAt=MIB))
        (entry,) = [one for one in await alice.call("listShares") if one["title"] == "Cancelled"]
        assert entry["state"] == "revoked"
        assert await number_of(received(site, f"{site.origin}/#/s/{entry['id']}", "bob")) == Number.CLOSED


async def test_two_devices_write_the_desk_at_once_and_nothing_is_lost(site):
    async with OpenPage(site, "mallory") as one, OpenPage(site, "mallory") as other:
        entries = [entry_of(number, "é" * 4000) for number in range(12)]
        await asyncio.gather(one.call("listShares"), other.call("listShares"))
        for first, second in zip(entries[::2], entries[1::2], strict=True):
            await asyncio.gather(one.call("putEntry", first), other.call("putEntry", second))
        listed = {entry["id"]: entry for entry in await one.call("listShares")}
        assert listed == {entry["id"]: entry for entry in entries}
    async with python(site, "mallory") as vault:
        parsed = parse_site(site.origin, site.statement())
        found = await Desk(vault, parsed, site.trust).entries()
        assert {entry.id for entry in found} == set(listed)


def entry_of(number, group):
    identifier = f"{number:032x}"
    words = {"id": identifier, "kind": "share", "title": f"Share {number}", "state": "sent", "blob": identifier}
    people = {"recipients": [], "groups": [group], "second": None, "passkeys": [], "box": None}
    return {**words, **people, "expires_at": 1, "max_opens": 0, "sent_at": number, "size": 1, "files": 1}


# --- a host that can't be trusted -----------------------------------------------------------------------------


async def test_a_byte_altered_at_the_host_is_seen_before_a_byte_comes_out(site, files, tmp_path):
    async with OpenPage(site, "alice") as alice, OpenPage(site, "bob") as bob:
        before = set(kept(site))
        sent = await alice.call("send", on_disk(files), letter("bob@example.com"))
        await bob.call("openShare", sent["id"])
        for path in set(kept(site)) - before:
            data = bytearray(path.read_bytes())
            data[2000] ^= 1
            path.write_bytes(data)
        outcomes = [await number_or_none(bob.call("readFile", name, str(tmp_path / "got"))) for name in contents(files)]
        assert sorted(outcomes, key=str) == [Number.INTEGRITY, None, None]


async def number_or_none(work):
    try:
        await work
    except Untrusted as error:
        return error.number
    return None


def kept(site):
    """The objects that the share server keeps."""
    found = (path for path in (site.servers / "share").rglob("*") if path.is_file())
    return [path for path in found if path.stat().st_size > 4000 and "index" not in path.name]
