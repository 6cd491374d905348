"""Sending and receiving as people do it, in Chromium."""

import hashlib
import json
import os
import re
import zlib

import pytest
from playwright.sync_api import expect

from strongroom.cli.demo.pdf import write_pdf
from tests.browser.behind import Held, expire
from tests.browser.people import OWN_PICKERS

BOB = "bob@example.com"
MIB = 1 << 20


@pytest.fixture
def audit(tmp_path):
    """A folder as testers deliver them: large, small, empty, nested, with names of this world."""
    folder = tmp_path / "audit"
    (folder / "annex").mkdir(parents=True)
    (folder / "report.bin").write_bytes(os.urandom(2 * MIB + 12_345))
    (folder / "annex" / "empty.txt").write_bytes(b"")
    (folder / "annex" / "Åtgärder ☂.csv").write_bytes(b"a,b\n")
    return folder


def contents(folder):
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def add_folder(folder):
    return lambda page: page.set_input_files("input[webkitdirectory]", folder)


def small(tmp_path, name="report.txt", data=b"F-01 critical\n"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# --- what was sent arrives ------------------------------------------------------------------------------------


def test_what_alice_sends_bob_opens_and_the_link_holds_no_key(person, site, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Report", message="Hello Bob")
    assert re.fullmatch(rf"{site.origin}/#/s/[0-9a-f]{{32}}", link)
    bob = person("bob")
    bob.open(link)
    bob.opened("Report")
    bob.sees("alice@example.com")
    bob.sees("Hello Bob")
    assert bob.download("Download") == b"F-01 critical\n"
    bob.sees("report.txt: saved")


def test_files_and_folders_arrive_byte_for_byte_alone_and_as_one_archive(person, audit, tmp_path):
    summary = small(tmp_path, "summary.md", b"# All\n")
    link = person("alice").send([summary], [BOB], more=add_folder(audit))
    bob = person("bob")
    bob.open(link)
    bob.opened("summary.md and 3 more")
    whole = contents(audit) | {"summary.md": b"# All\n"}
    for path, data in whole.items():
        assert bob.download(f"Download {path}") == data
    assert bob.download_archive() == whole


def test_a_browser_that_can_write_files_puts_them_where_they_are_wanted(person, audit):
    link = person("alice").send([], [BOB], title="Audit/2026", more=add_folder(audit))
    bob = person("bob", pickers=OWN_PICKERS)
    bob.open(link)
    bob.opened("Audit/2026")
    bob.click("Download audit/report.bin")
    bob.sees("audit/report.bin: saved")
    assert bob.picked() == {"report.bin": (audit / "report.bin").read_bytes()}
    bob.click("Download all")
    bob.sees("All files: saved")
    placed = {path: data for path, data in bob.picked().items() if "/" in path}
    assert placed == {f"Audit 2026/{path}": data for path, data in contents(audit).items()}


def png():
    """Four red pixels."""

    def chunk(kind, data):
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = (2).to_bytes(4) + (2).to_bytes(4) + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress((b"\0" + b"\xff\0\0" * 2) * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def pdf():
    """One red page."""
    paint = "1 0 0 rg 0 0 100 100 re f"
    return write_pdf(
        [
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R>>",
            f"<</Length {len(paint)}>>stream\n{paint}\nendstream",
        ]
    )


FIRST_PIXEL = "canvas => [...canvas.getContext('2d').getImageData(1, 1, 1, 1).data]"


def test_text_image_and_pdf_are_shown_after_decryption_and_nothing_else_is_fetched(person, site, tmp_path):
    files = [
        small(tmp_path, "note.txt", b"<b>not markup</b>"),
        small(tmp_path, "red.png", png()),
        small(tmp_path, "red.pdf", pdf()),
        small(tmp_path, "program.exe", b"MZ"),
    ]
    link = person("alice").send(files, [BOB], title="Pictures")
    bob = person("bob")
    bob.open(link)
    bob.opened("Pictures")
    frame = bob.page.frame_locator("iframe.preview-frame")
    bob.click("Look at note.txt")
    expect(frame.locator("pre")).to_have_text("<b>not markup</b>")
    bob.click("Close")
    for name, label in (("red.png", "red.png"), ("red.pdf", "Page 1 of 1")):
        bob.click(f"Look at {name}")
        expect(bob.page.locator(".preview-shown")).to_be_visible()
        assert frame.get_by_role("img", name=label).evaluate(FIRST_PIXEL) == [255, 0, 0, 255]
        bob.click("Close")
    expect(bob.page.get_by_role("button", name="Look at program.exe")).to_have_count(0)
    here = (site.origin, site.provider.issuer, "about:", "blob:null/")  # the last: what a preview frame has in memory
    elsewhere = [url for url in bob.requests if not url.startswith(here)]
    assert elsewhere == []
    assert [line for line in bob.said if line.startswith(("error", "exception"))] == []


# --- who may, and how often -----------------------------------------------------------------------------------


def test_an_outsider_is_refused_in_plain_words_and_may_sign_in_as_somebody_else(person, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    mallory = person("mallory")
    mallory.open(link)
    notice = mallory.told("This account can't open it")
    expect(notice).to_contain_text("Sign in with the account that has the address they wrote to")
    mallory.sees("You are signed in as mallory@example.com.")
    expect(mallory.page.get_by_text("report.txt")).to_have_count(0)
    with mallory.signing_in("bob"):
        mallory.click("Sign in as somebody else")
    mallory.opened("Report")
    assert mallory.download("Download") == b"F-01 critical\n"


def test_what_may_be_opened_once_is_opened_once(person, tmp_path):
    def once(page):
        page.get_by_text("More protection").click()
        page.get_by_label("Once", exact=True).check()

    link = person("alice").send([small(tmp_path)], [BOB, "carol@example.com"], title="Once", more=once)
    bob, carol = person("bob"), person("carol")
    bob.open(link)
    bob.opened("Once")
    bob.sees("This was the last opening")
    assert bob.download("Download") == b"F-01 critical\n"
    carol.open(link)
    expect(carol.told("It was opened as often as allowed")).to_contain_text("tell the sender")


def test_a_share_whose_time_is_over_says_so(person, site, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    expire(site, link, sender="alice")
    bob = person("bob")
    bob.open(link)
    expect(bob.told("The time is over")).to_contain_text("Ask them to send it again")


# --- a host that does harm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [200, 2 * MIB + 5000], ids=["first segment", "last segment"])
def test_an_altered_file_is_called_altered_and_not_saved(person, site, audit, at):
    held = Held(site)
    link = person("alice").send([audit / "report.bin"], [BOB], title="Report")
    held.alter(at)
    bob = person("bob")
    bob.open(link)
    bob.opened("Report")
    bob.click("Download")
    expect(bob.told("The file was changed on the way")).to_contain_text("Tell the sender")
    expect(bob.page.get_by_text("report.bin: saved")).to_have_count(0)
    assert [download for download in bob.downloads if download.failure() is None] == []


def test_an_altered_file_leaves_nothing_where_files_are_written(person, site, audit):
    held = Held(site)
    link = person("alice").send([], [BOB], title="Report", more=add_folder(audit))
    held.alter(200)
    bob = person("bob", pickers=OWN_PICKERS)
    bob.open(link)
    bob.opened("Report")
    bob.click("Download all")
    bob.told("The file was changed on the way")
    assert [path for path, data in bob.picked().items() if data] == []


def test_an_altered_list_of_files_opens_nothing(person, site, tmp_path):
    held = Held(site)
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    held.alter(-20)
    bob = person("bob")
    bob.open(link)
    bob.told("The file was changed on the way")
    expect(bob.page.get_by_text("report.txt")).to_have_count(0)


def test_files_that_the_host_can_not_read_are_not_waited_for_until_nobody_waits_any_more(person, site, tmp_path):
    held = Held(site)
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    held.lose()
    bob = person("bob")
    bob.page.clock.install()
    bob.open(link)
    expect(bob.page.get_by_role("button", name="Open as bob@example.com")).to_be_visible()
    said = bob.page.get_by_text("The service is busy", exact=True)
    for _ in range(20):  # five of its seconds each
        if said.is_visible():
            break
        bob.page.clock.fast_forward(5000)
        bob.page.wait_for_timeout(250)
    expect(bob.told("The service is busy")).to_contain_text("Try again in a minute")


# --- either client, either way --------------------------------------------------------------------------------


def test_the_command_line_opens_what_the_page_sent(person, site, audit, tmp_path):
    link = person("alice").send([], [BOB], title="Audit", message="Hello", more=add_folder(audit))
    got = tmp_path / "got"
    got.mkdir()
    ran = site.strongroom("share", "receive", link, "-o", got, user="bob")
    assert ran.status == 0, ran.err
    assert "alice@example.com" in ran.err
    assert contents(got / "audit") == contents(audit)


def test_the_page_opens_what_the_command_line_sent(person, site, audit):
    digest = hashlib.sha256(site.trust_json.read_bytes()).hexdigest()
    approved = ("--site", site.origin, "--statement", digest, "--json")
    said = ("--for", BOB, "--title", "Audit", "--message", "By hand")
    ran = site.strongroom("share", "send", audit, *said, *approved, user="alice")
    assert ran.status == 0, ran.err
    bob = person("bob")
    bob.open(json.loads(ran.out)["link"])
    bob.opened("Audit")
    bob.sees("By hand")
    assert bob.download_archive() == contents(audit)


# --- other windows, other words -------------------------------------------------------------------------------


def test_where_no_window_opens_the_sign_in_leaves_the_page_and_comes_back(person, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    bob = person("bob")
    bob.context.add_init_script("window.open = () => null")  # what a blocked window looks like to the page
    bob.go(link)
    bob.click("Sign in to open")
    bob.told("The browser opened no window")
    bob.click("Sign in on this page")
    bob.page.locator("input[name=user]").fill("bob")
    bob.page.locator("input[name=password]").fill("pw-bob")
    bob.click("Go")
    bob.click("Yes")
    bob.page.wait_for_url(link)
    bob.click("Open as bob@example.com")
    bob.opened("Report")
    assert bob.download("Download") == b"F-01 critical\n"


def test_a_swede_reads_swedish_and_may_choose_otherwise(person, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Rapport")
    bob = person("bob", locale="sv-SE")
    bob.go(link)
    expect(bob.page.locator("html")).to_have_attribute("lang", "sv")
    with bob.signing_in():
        bob.click("Logga in för att öppna")
    bob.opened("Rapport")
    bob.sees("Avsändarens adress verifierades")
    bob.page.get_by_label("Språk").select_option("en")
    bob.sees("The sender's address was verified")  # and it stays open: to open it again would count again
    bob.go("#/")
    expect(bob.page.locator("html")).to_have_attribute("lang", "en")
