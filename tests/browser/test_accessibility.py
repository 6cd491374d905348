"""Every view and state: clean by axe-core, usable by keyboard alone, on a phone, and without motion."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.fronts import Front
from tests.browser.looks import faults
from tests.browser.people import PATIENCE

BOB = "bob@example.com"
NOWHERE = "#/s/" + "0" * 32
PLAIN = {
    "#/": "Send files that only they can open",
    "#/request": "Ask somebody for files",
    "#/shares": "What you have sent",
    "#/passkey": "A passkey for strict senders",
    "#/verify": "What you trust, and how to check it",
    "#/r/" + "0" * 32: "Somebody asks you for files",
    NOWHERE: "Somebody sent you files",
    "#/nothing": "There is nothing here",
}


def file(tmp_path, name="report.txt", data=b"F-01 critical\n"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def verified(somebody):
    expect(somebody.page.locator(".badge")).to_have_attribute("data-state", "verified", timeout=PATIENCE)


def go_on(route):
    route.continue_()


def clean(somebody):
    assert faults(somebody.page) == []


# --- axe, width and touch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLAIN, ids=lambda place: place[:6])
def test_a_view_as_one_comes_to_it_is_clean(person, place):
    alice = person("alice")
    alice.go(place)
    verified(alice)
    alice.sees(PLAIN[place])
    clean(alice)


def test_what_is_folded_away_is_clean(person):
    alice = person("alice")
    alice.go("#/verify")
    verified(alice)
    alice.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    clean(alice)


def test_a_form_with_faults_and_all_its_options_is_clean(person, tmp_path):
    alice = person("alice")
    alice.go("#/")
    verified(alice)
    alice.click("Encrypt and send")
    alice.sees("Add at least one file.")
    clean(alice)
    alice.write([file(tmp_path), file(tmp_path, "a name that is as long as names are on some desks " * 4)], [BOB])
    alice.page.get_by_text("More protection").click()
    for option in ("Also require a passkey", "Require a second person"):
        alice.page.get_by_label(option).check()
    clean(alice)


def test_the_statement_that_stops_the_page_and_the_connection_that_is_none_are_clean(person, site):
    bob = person("bob")
    front = Front(bob)
    front.give("/vault/v1/evidence", b"garbage")
    bob.go(NOWHERE)
    bob.sees("Do not continue")
    clean(bob)
    front.stop()
    bob.go(NOWHERE)
    verified(bob)
    front.give("/trust.json", site.statement(name="Another Security"))
    bob.go(NOWHERE)
    bob.sees("This site's trust statement has changed")
    clean(bob)
    front.handle("/trust.json", lambda route: route.abort())
    bob.go(NOWHERE)
    bob.told("The server can't be reached")
    clean(bob)


def test_all_that_a_sender_and_a_recipient_come_through_is_clean(person, tmp_path):
    alice, bob = person("alice"), person("bob")
    front = Front(alice)
    held: list[Any] = []
    front.handle("/blobs/*", lambda route: (held.append if route.request.method == "PATCH" else go_on)(route))
    alice.go("#/")
    alice.write([file(tmp_path), file(tmp_path, "annex.txt")], [BOB], title="Report", message="Hello Bob")
    with alice.signing_in():
        alice.click("Encrypt and send")
    expect(alice.page.get_by_role("progressbar")).to_be_visible(timeout=PATIENCE)
    clean(alice)
    for route in held:
        route.continue_()
    front.stop()
    link = alice.link()
    clean(alice)
    bob.go(link)
    verified(bob)
    with bob.page.expect_popup(timeout=PATIENCE) as window:
        bob.click("Sign in to open")
    bob.sees("Go on in the other window")
    clean(bob)
    window.value.close()
    bob.click("Cancel")
    bob.told("You are not signed in")
    clean(bob)
    bob.open(link)
    bob.opened("Report")
    clean(bob)
    bob.click("Look at report.txt")
    expect(bob.page.locator(".preview-shown")).to_be_visible(timeout=PATIENCE)
    clean(bob)
    bob.click("Close")
    bob.download("Download all")
    bob.sees("All files: saved")
    bob.page.locator(".account summary").click()
    clean(bob)
    bob.click("Report abuse")
    clean(bob)


def test_what_a_refused_guest_sees_and_what_the_sender_manages_is_clean(person, tmp_path):
    alice, mallory = person("alice"), person("mallory")
    link = alice.send([file(tmp_path)], [BOB], title="Report")
    mallory.open(link)
    mallory.told("This account can't open it")
    clean(mallory)
    alice.turn_to("#/shares")
    expect(alice.page.get_by_role("table")).to_be_visible(timeout=PATIENCE)
    clean(alice)
    alice.turn_to(f"#/shares/{link.rpartition('/')[2]}")
    alice.sees("Who opened it, and when")
    clean(alice)
    for button in ("Add a recipient", "Change the limits", "Revoke"):
        alice.click(button)
        expect(alice.page.get_by_role("dialog")).to_be_visible()
        clean(alice)
        alice.page.keyboard.press("Escape")
        expect(alice.page.get_by_role("dialog")).to_have_count(0)


def test_what_is_asked_and_answered_is_clean(person, tmp_path):
    alice, bob = person("alice"), person("bob")
    alice.go("#/request")
    verified(alice)
    alice.page.get_by_label("From whom").fill(BOB)
    alice.page.keyboard.press("Enter")
    alice.page.get_by_label("What do you need?").fill("Server logs")
    with alice.signing_in():
        alice.click("Make the link")
    link = alice.link()
    clean(alice)
    bob.open(link)
    bob.sees("asks you for files")
    clean(bob)
    bob.page.set_input_files("input[type=file]:not([webkitdirectory])", file(tmp_path))
    bob.click("Encrypt and send to alice@example.com")
    bob.sees("They are sealed")
    clean(bob)


def test_it_is_clean_in_swedish(person):
    alice = person("alice", locale="sv-SE")
    for place in ("#/", "#/verify"):
        alice.go(place)
        verified(alice)
        clean(alice)


# --- keyboard -------------------------------------------------------------------------------------------------

FOCUSED = """() => { const at = document.activeElement;
  return at === null ? "" : at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent; }"""


def tab_to(somebody, name, *, most=40):
    """Go on by Tab until this has the focus."""
    for _ in range(most):
        somebody.page.keyboard.press("Tab")
        if somebody.page.evaluate(FOCUSED).strip().startswith(name):
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_sending_and_receiving_go_by_keyboard_alone(person, tmp_path):
    alice = person("alice")
    alice.page.on("filechooser", lambda chooser: None)  # from now on: asked for later, Enter may come first
    keys = alice.page.keyboard
    alice.go("#/")
    verified(alice)
    tab_to(alice, "Skip to content")
    keys.press("Enter")
    tab_to(alice, "Choose files")
    with alice.page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files(file(tmp_path))
    tab_to(alice, "To")
    keys.type("bob@example.com,")
    tab_to(alice, "Title")
    keys.type("By keyboard")
    tab_to(alice, "More protection")
    keys.press("Enter")
    tab_to(alice, "As often")
    keys.press("ArrowRight")
    expect(alice.page.get_by_label("Once", exact=True)).to_be_checked()
    tab_to(alice, "Encrypt and send")
    with alice.signing_in():
        keys.press("Enter")
    link = alice.link()
    expect(alice.page.get_by_role("heading", name="Ready to pass on")).to_be_focused()
    tab_to(alice, "Link")
    bob = person("bob")
    bob.go(link)
    verified(bob)
    tab_to(bob, "Sign in to open")
    with bob.signing_in():
        bob.page.keyboard.press("Enter")
    expect(bob.page.get_by_role("heading", name="By keyboard")).to_be_focused(timeout=PATIENCE)
    tab_to(bob, "Look at report.txt")
    bob.page.keyboard.press("Enter")
    expect(bob.page.get_by_role("dialog")).to_be_visible()
    bob.page.keyboard.press("Escape")
    expect(bob.page.get_by_role("dialog")).to_have_count(0)
    assert bob.page.evaluate(FOCUSED) == "Look at report.txt"
    tab_to(bob, "Download report.txt")
    with bob.page.expect_download(timeout=PATIENCE):
        bob.page.keyboard.press("Enter")
    bob.sees("report.txt: saved")


def test_the_focus_follows_to_each_view(person):
    alice = person("alice")
    alice.go("#/")
    verified(alice)
    for name, heading in (("Request", PLAIN["#/request"]), ("Sent", PLAIN["#/shares"]), ("Send", PLAIN["#/"])):
        alice.page.get_by_role("navigation", name="Main").get_by_role("link", name=name).press("Enter")
        expect(alice.page.get_by_role("heading", name=heading)).to_be_focused()


def test_a_form_that_is_not_complete_leads_to_what_is_missing(person, tmp_path):
    alice = person("alice")
    alice.go("#/")
    verified(alice)
    alice.click("Encrypt and send")
    expect(alice.page.get_by_role("button", name="Choose files")).to_be_focused()
    alice.page.set_input_files("input[type=file]:not([webkitdirectory])", file(tmp_path))
    alice.click("Encrypt and send")
    expect(alice.page.get_by_label("To", exact=True)).to_be_focused()


# --- motion ---------------------------------------------------------------------------------------------------

MOVING = """() => document.getAnimations().map((each) => each.effect.getComputedTiming())
  .filter(({ activeDuration }) => activeDuration > 50).length"""


def test_nothing_moves_for_those_who_want_no_motion(person):
    alice = person("alice")
    front = Front(alice)
    front.handle("/vault/v1/evidence", lambda route: None)  # for ever checking
    for wish, moving in (("no-preference", True), ("reduce", False)):
        alice.page.emulate_media(reduced_motion=wish)
        alice.go("#/verify")
        expect(alice.page.locator(".badge .spinner")).to_be_visible()
        assert (alice.page.evaluate(MOVING) > 0) is moving
