"""A page that its reader keeps goes on as it was, whatever the server offers by then."""

import base64
import hashlib
import json
import shutil

import pytest
from playwright.sync_api import expect

from strongroom.client.page import parse_page
from tests.browser.people import PATIENCE
from tests.support.site import apart

CHANGED = b"\n;globalThis.changed = true;"


def integrity(data):
    return base64.b64encode(hashlib.sha384(data).digest()).decode()


@pytest.fixture
def other_page(own_site, tmp_path):
    """The page, with its first script changed and everything else in keeping with that."""
    folder = tmp_path / "page"
    shutil.copytree(own_site.page, folder)
    listed = json.loads((folder / "page.json").read_text())
    (name,) = [path for path in listed["files"] if path.startswith("assets/index-") and path.endswith(".js")]
    other = "assets/index-0therPage.js"
    before = (folder / name).read_bytes()
    (folder / name).rename(folder / other).write_bytes(before + CHANGED)
    document = (folder / "index.html").read_text()
    for old, new in ((name, other), (integrity(before), integrity(before + CHANGED))):
        assert document.count(old) == 1
        document = document.replace(old, new)
    (folder / "index.html").write_text(document)
    del listed["files"][name]
    for path in (other, "index.html"):
        listed["files"][path] = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    (folder / "page.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture
def offering(own_site):
    """Have the server offer another page."""
    kept = own_site.page

    def offer(folder):
        own_site.page = folder
        own_site.share.stop()
        apart(own_site.start_share)

    yield offer
    offer(kept)


def digest_of(folder):
    return parse_page((folder / "page.json").read_bytes()).digest.hex()


def visit(somebody):
    somebody.go("#/verify")
    expect(somebody.page.locator(".badge")).to_have_attribute("data-state", "verified", timeout=PATIENCE)


def runs(somebody):
    """Whether what runs there is the changed page."""
    return somebody.page.evaluate("globalThis.changed === true")


def test_a_kept_page_stays_as_it_was_until_its_reader_accepts_another(person, own_site, offering, other_page):
    first, other = digest_of(own_site.page), digest_of(other_page)
    bob = person("bob", at=own_site)
    visit(bob)
    bob.click("Keep this page")
    bob.sees("This page is kept. Its digest:")
    expect(bob.page.locator(".notice .digest")).to_have_text(first)
    offering(other_page)
    banner = bob.page.locator(".banner", has_text="The server offers a different page")
    for _ in range(2):  # to go on with mine is for this visit: the next one says so again
        visit(bob)
        assert not runs(bob)
        expect(banner).to_be_visible(timeout=PATIENCE)
        digests = banner.locator(".digest").all_inner_texts()
        assert ["".join(text.split()) for text in digests] == [first, other]
        bob.click("Go on with mine")
        expect(banner).to_have_count(0)
    bob.page.reload()
    expect(banner).to_be_visible(timeout=PATIENCE)
    with bob.page.expect_navigation():
        bob.click("Accept the new one")
    expect(bob.page.locator(".notice .digest")).to_have_text(other, timeout=PATIENCE)
    assert runs(bob)
    expect(banner).to_have_count(0)


def test_a_page_that_is_kept_no_more_is_the_servers_again(person, own_site, offering, other_page):
    bob = person("bob", at=own_site)
    visit(bob)
    bob.click("Keep this page")
    bob.sees("This page is kept. Its digest:")
    bob.click("Stop keeping it")
    expect(bob.page.get_by_role("button", name="Keep this page")).to_be_visible()
    offering(other_page)
    visit(bob)
    assert runs(bob)


def test_a_page_that_nobody_keeps_is_whatever_the_server_delivers(person, own_site, offering, other_page):
    """What a first visit trusts: told in the page, and the reason for `strongroom verify-page`."""
    offering(other_page)
    bob = person("bob", at=own_site)
    visit(bob)
    assert runs(bob)
    expect(bob.page.get_by_text("The vault knows this page")).to_have_count(0)
