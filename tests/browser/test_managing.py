"""What a sender still has in hand: who opened it, revoke, extend, one more recipient; on any device of theirs."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.behind import Held, status

BOB, CAROL = "bob@example.com", "carol@example.com"


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.txt"
    path.write_bytes(b"F-01 critical\n")
    return path


def once(page):
    page.get_by_text("More protection").click()
    page.get_by_label("Once", exact=True).check()


def look_after(sender):
    """From the link that was just made to what became of it."""
    sender.page.get_by_role("link", name="See who opens it").click()
    expect(sender.page.get_by_role("heading", name="Who opened it, and when")).to_be_visible()


def visits(sender):
    """Who did what, newest first, as a fresh look shows it."""
    here = sender.page.url.partition("#")[2]
    sender.turn_to("#/verify")
    expect(sender.page.locator("#trust-title")).to_be_visible()  # else the page sees both turns as none
    sender.turn_to(f"#{here}")
    expect(sender.page.locator(".visit").first).to_be_visible()
    return sender.page.locator(".visit-words").all_inner_texts()


def test_a_revoked_share_opens_for_nobody_and_its_files_are_gone_from_the_host(person, site, report):
    held = Held(site)
    alice, bob = person("alice"), person("bob")
    link = alice.send([report], [BOB], title="Taken back")
    blob = held.blob
    assert status(site, blob) == 200
    bob.open(link)
    bob.opened("Taken back")
    look_after(alice)
    alice.click("Revoke")
    dialog = alice.page.get_by_role("dialog")
    expect(dialog).to_contain_text("It does not reach copies that somebody has already downloaded")
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(alice.page.locator(".entry-heading .state")).to_have_text("Revoked")
    expect(alice.page.get_by_role("button", name="Revoke", exact=True)).to_have_count(0)
    assert status(site, blob) == 410
    assert held.parts == []
    bob.open_again(link)
    expect(bob.told("The sender has taken it back")).to_contain_text("ask the sender")
    outsider = person("mallory")
    outsider.open(link)
    outsider.told("This account can't open it")  # that it was revoked is no outsider's business


def test_files_on_an_open_page_can_not_be_had_after_they_were_revoked(person, site, report):
    alice, bob = person("alice"), person("bob")
    link = alice.send([report], [BOB], title="Taken back")
    bob.open(link)
    bob.opened("Taken back")
    look_after(alice)
    alice.click("Revoke")
    alice.page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(alice.page.locator(".entry-heading .state")).to_have_text("Revoked")
    bob.click("Download")
    bob.told("The files are no longer here")


def test_the_sender_sees_who_opened_it_who_came_too_late_and_who_was_refused(person, report):
    alice, bob, carol, mallory = (person(name) for name in ("alice", "bob", "carol", "mallory"))
    link = alice.send([report], [BOB, CAROL], title="Watched", more=once)
    look_after(alice)
    assert visits(alice) == ["alice@example.com finished uploading", "alice@example.com sent it"]
    mallory.open(link)
    mallory.told("This account can't open it")
    bob.open(link)
    bob.opened("Watched")
    carol.open(link)
    carol.told("It was opened as often as allowed")
    said = visits(alice)
    assert said[:3] == [f"{CAROL} came too late", f"{BOB} opened it", "mallory@example.com was refused"]
    alice.sees("1 of 1")
    times = alice.page.locator(".visit time").evaluate_all("all => all.map((each) => each.dateTime)")
    assert times == sorted(times, reverse=True)


def test_one_more_opening_and_one_more_recipient_by_the_same_link(person, report):
    alice, bob, carol = (person(name) for name in ("alice", "bob", "carol"))
    link = alice.send([report], [BOB], title="Extended", more=once)
    bob.open(link)
    bob.opened("Extended")
    carol.open(link)
    carol.told("This account can't open it")
    look_after(alice)
    alice.click("Add a recipient")
    dialog = alice.page.get_by_role("dialog")
    dialog.get_by_label("To", exact=True).fill(CAROL)
    alice.page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(alice.page.locator(".facts")).to_contain_text(CAROL)
    carol.open_again(link)
    carol.told("It was opened as often as allowed")
    alice.click("Change the limits")
    dialog.get_by_label("3 times", exact=True).check()
    dialog.get_by_label("30 days", exact=True).check()
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(dialog).to_have_count(0)
    alice.sees("1 of 3")
    carol.open_again(link)
    carol.opened("Extended")
    carol.sees("1 more opening")
    carol.sees(re.compile(r"30 days|29 days"))
    assert carol.download("Download") == b"F-01 critical\n"


def test_what_was_sent_stands_on_every_device_of_the_sender_and_on_no_one_elses(person, report):
    link = person("alice").send([report], [BOB], title="On my phone, too")
    phone = person("alice", viewport={"width": 390, "height": 844})
    phone.go("#/shares")
    with phone.signing_in():
        phone.page.locator("main").get_by_role("button", name="Sign in", exact=True).click()
    row = phone.page.get_by_role("row", name="On my phone, too").first
    expect(row).to_contain_text(BOB)
    expect(row).to_contain_text("Open")
    row.get_by_role("link").click()
    expect(phone.page.get_by_label("Link", exact=True)).to_have_value(link)
    mallory = person("mallory")
    mallory.go("#/shares")
    with mallory.signing_in():
        mallory.page.locator("main").get_by_role("button", name="Sign in", exact=True).click()
    mallory.sees("You have not sent anything yet.")
    mallory.turn_to(f"#/shares/{link.rpartition('/')[2]}")
    mallory.told("There is no such share of yours")


def test_while_files_are_still_on_their_way_the_recipient_is_told_so(person, report):
    """The sender's upload stands still; the link is known from their other device."""
    alice, laptop, bob = person("alice"), person("alice"), person("bob")
    held_back, standing = [], True
    alice.context.route("**/blobs/*", lambda route: held_back.append(route) if standing else route.continue_())
    alice.go("#/")
    alice.write([report], [BOB], title="On its way")
    with alice.signing_in():
        alice.click("Encrypt and send")
    while not held_back:
        alice.page.wait_for_timeout(50)
    laptop.go("#/shares")
    with laptop.signing_in():
        laptop.page.locator("main").get_by_role("button", name="Sign in", exact=True).click()
    laptop.page.get_by_role("row", name="On its way").get_by_role("link").click()
    laptop.told("The upload did not finish")
    link = laptop.page.get_by_label("Link", exact=True).input_value()
    bob.open(link)
    expect(bob.told("The sender is still uploading")).to_contain_text("Try again in a little while")
    standing = False
    for route in held_back:
        route.continue_()
    assert alice.link() == link
    bob.click("Try again")
    bob.opened("On its way")
    assert bob.download("Download") == b"F-01 critical\n"
