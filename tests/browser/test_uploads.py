"""Uploads over networks and hosts that fail, large files in little memory, and no room left."""

import os
import re
import signal
import time

import httpx
import pytest
from playwright.sync_api import expect

from bench.page import Bench
from bench.renderers import Renderers
from tests.browser.fronts import Front
from tests.browser.people import PATIENCE
from tests.support.site import apart

BOB = "bob@example.com"
MIB = 1 << 20
LARGE = 300 * MIB
MOST_MEMORY = 200 * MIB
LONG = 300_000
"""Milliseconds for what moves many bytes, on a machine with much else to do."""


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.bin"
    path.write_bytes(os.urandom(6 * MIB))
    return path


def begin(alice, files, *, title="Report"):
    """Up to where files are on their way."""
    alice.go("#/")
    alice.write(files, [BOB], title=title)
    with alice.signing_in():
        alice.click("Encrypt and send")


def arrived(alice):
    """The link, when everything has arrived."""
    expect(alice.page.get_by_role("heading", name="Ready to pass on")).to_be_visible(timeout=LONG)
    return alice.link()


def received(person, link, title="Report", **where):
    bob = person("bob", **where)
    bob.open(link)
    bob.opened(title)
    return bob.download("Download")


# --- connections and hosts that fail --------------------------------------------------------------------------


def test_an_upload_goes_on_where_dropped_connections_left_it(person, report):
    alice = person("alice")
    front = Front(alice)
    drops = ["before", "after", "before", "after"]

    def drop(route):
        if route.request.method != "PATCH" or not drops:
            route.continue_()
            return
        if drops.pop() == "after":
            route.fetch()  # all of it has arrived, and nobody hears of that
        route.abort("connectionreset")

    front.handle("/blobs/*", drop)
    begin(alice, [report])
    link = arrived(alice)
    assert drops == []
    assert [asked for asked in front.asked if asked.startswith("HEAD /blobs/")]
    assert received(person, link) == report.read_bytes()


def test_an_upload_survives_kill_9_of_the_host(person, own_site, report):
    alice = person("alice", at=own_site)
    front = Front(alice)
    patches = []

    def kill(route):
        if route.request.method == "PATCH":
            patches.append(route)
        if len(patches) != 2 or route.request.method != "PATCH":
            route.continue_()
            return
        route.fetch()
        os.kill(own_site.share.pid, signal.SIGKILL)
        own_site.share.stop()
        route.abort("connectionreset")

    front.handle("/blobs/*", kill)
    begin(alice, [report])
    expect(alice.page.get_by_role("progressbar")).to_be_visible(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE / 1000
    while not own_site.share.ended and time.monotonic() < deadline:
        alice.page.wait_for_timeout(50)
    assert own_site.share.ended
    apart(own_site.start_share)
    link = arrived(alice)
    assert received(person, link, at=own_site) == report.read_bytes()


def test_an_upload_is_paused_goes_on_and_shows_how_far_it_is(person, report):
    alice = person("alice")
    front = Front(alice)
    held = []

    def hold(route):
        sent = [asked for asked in front.asked if asked.startswith("PATCH")]
        if route.request.method == "PATCH" and len(sent) > 1:
            held.append(route)
        else:
            route.continue_()

    front.handle("/blobs/*", hold)
    begin(alice, [report])
    bar = alice.page.get_by_role("progressbar")
    alice.sees(re.compile(r"1\.05 MB of 6\.3 MB"))
    value, whole = bar.evaluate("bar => [bar.value, bar.max]")
    assert 0 < value < whole
    alice.click("Pause")
    alice.sees("Paused")
    asked = len([one for one in front.asked if one.startswith("PATCH")])
    front.stop()  # from here on everything would pass
    expect(alice.page.get_by_role("button", name="Continue")).to_be_visible()
    alice.page.wait_for_timeout(1500)  # longer than the first wait before another try
    assert len([one for one in front.asked if one.startswith("PATCH")]) == asked
    alice.click("Continue")
    assert received(person, arrived(alice)) == report.read_bytes()


def test_an_upload_is_not_dropped_by_a_click_on_another_view(person, report):
    alice = person("alice")
    Front(alice).handle("/blobs/*", lambda route: None)
    begin(alice, [report])
    views = alice.page.get_by_role("navigation", name="Main")
    question = alice.page.get_by_role("dialog", name="Stop the upload?")
    views.get_by_role("link", name="Request", exact=True).click()
    expect(question).to_be_visible()
    alice.click("Stay here")
    expect(alice.page.get_by_role("heading", name="Report")).to_be_visible()
    assert alice.page.url.endswith("/#/")
    views.get_by_role("link", name="Sent", exact=True).click()
    expect(question).to_be_visible()
    alice.click("Stop and leave")
    expect(alice.page.get_by_role("heading", name="What you have sent")).to_be_visible()


def test_an_upload_that_is_cancelled_leaves_nothing_with_the_host(person, site, report):
    alice = person("alice")
    front = Front(alice)

    def hold(route):
        if route.request.method != "PATCH" or len([one for one in front.asked if one.startswith("PATCH")]) < 2:
            route.continue_()

    front.handle("/blobs/*", hold)
    begin(alice, [report])
    alice.sees(re.compile(r"1\.05 MB of 6\.3 MB"))
    (blob,) = {asked.removeprefix("PATCH ") for asked in front.asked if asked.startswith("PATCH")}

    def status():
        return httpx.head(f"{site.origin}{blob}", headers={"tus-resumable": "1.0.0"}, trust_env=False).status_code

    assert status() == 200
    alice.click("Cancel")  # while the rest is still on its way
    alice.told("Stopped")
    assert status() in (404, 410)
    alice.turn_to("#/shares")
    expect(alice.page.get_by_role("row").nth(1)).to_contain_text("Revoked", timeout=PATIENCE)
    expect(alice.page.get_by_role("row").nth(1)).to_contain_text("Report")


# --- no room --------------------------------------------------------------------------------------------------


@pytest.fixture
def host_with(own_site):
    """Start its share server with these options."""

    def restart(*options):
        own_site.share_options = options
        own_site.share.stop()
        apart(own_site.start_share)

    yield restart
    restart()


@pytest.mark.parametrize(
    ("option", "title"), [("--max-total", "The server is full"), ("--max-blob", "That is too large")]
)
def test_a_host_without_room_is_told_in_plain_words(person, own_site, host_with, report, option, title):
    host_with(option, "1M")
    alice = person("alice", at=own_site)
    begin(alice, [report])
    alice.told(title)
    expect(alice.page.get_by_role("button", name="Encrypt and send")).to_be_enabled()


def test_a_disk_that_is_full_halfway_is_told_in_plain_words(person, report):
    alice = person("alice")
    front = Front(alice)

    def full(route):
        if route.request.method == "PATCH" and route.request.headers["upload-offset"] != "0":
            route.fulfill(status=507, body="no space left")
        else:
            route.continue_()

    front.handle("/blobs/*", full)
    begin(alice, [report])
    alice.told("The server is full")


def test_more_than_the_site_takes_is_told_before_anything_is_sent(person, own_site, tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(own_site.max_bytes + 1)
    alice = person("alice", at=own_site)
    front = Front(alice)
    alice.go("#/")
    alice.write([path], [BOB])
    alice.sees("This site takes at most 1.07 GB")
    alice.click("Encrypt and send")
    expect(alice.page.get_by_role("button", name="Encrypt and send")).to_be_visible()
    assert front.sent() == []


# --- large files ----------------------------------------------------------------------------------------------


def test_a_large_file_goes_and_comes_in_little_memory(chromium, site, tmp_path):
    """In pages that nobody watches: Playwright keeps what goes over the network of those that it opens."""
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(LARGE)
    with Renderers() as renderers:
        measured = Bench(chromium, site, path, renderers)
        sent = measured.send(path)
        _, receiving = measured.receive(sent.link)
    assert 0 < sent.grown < MOST_MEMORY
    assert 0 < receiving < MOST_MEMORY
