"""Asking somebody outside for files: their upload is sealed to who asks."""

import json

import pytest
from playwright.sync_api import expect

CAROL = "carol@example.com"


@pytest.fixture
def logs(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(b"3 March, 12:00: somebody was here\n")
    return path


def ask(person, title, of):
    alice = person("alice")
    alice.go("#/request")
    page = alice.page
    page.get_by_label("From whom").fill(of)
    page.keyboard.press("Enter")
    page.get_by_label("What do you need?").fill(title)
    page.get_by_label("Message").fill("All of that day, please")
    with alice.signing_in():
        alice.click("Make the link")
    return alice, alice.link()


def answer(sender, files):
    """Pick files on an open request, and send them."""
    sender.page.set_input_files("input[type=file]:not([webkitdirectory])", files)
    sender.click("Encrypt and send to alice@example.com")


def delivered(sender):
    expect(sender.page.get_by_role("heading", name="Delivered")).to_be_visible()


def to_the_answer(asker, title):
    """From the list of what was sent and asked for to the files that came."""
    asker.turn_to("#/shares")
    row = asker.page.get_by_role("row", name=title)
    expect(row).to_contain_text("Answered")
    row.get_by_role("link").click()
    asker.told("Files have arrived")
    asker.page.get_by_role("link", name="Open them").click()
    asker.click("Open as alice@example.com")
    asker.opened(title)


def test_files_that_were_asked_for_reach_who_asked(person, logs):
    alice, link = ask(person, "Logs of 3 March", CAROL)
    assert "/#/r/" in link
    carol = person("carol")
    carol.open(link)
    carol.opened("Logs of 3 March")
    carol.sees("alice@example.com")
    carol.sees("All of that day, please")
    answer(carol, [logs])
    delivered(carol)
    to_the_answer(alice, "Logs of 3 March")
    alice.sees(CAROL)
    assert alice.download("Download") == logs.read_bytes()


def test_only_who_was_asked_may_answer_and_only_who_asked_may_open(person, logs):
    alice, link = ask(person, "For one pair of eyes", CAROL)
    mallory = person("mallory")
    mallory.open(link)
    mallory.told("This account can't open it")
    expect(mallory.page.get_by_text("For one pair of eyes")).to_have_count(0)
    with mallory.signing_in("carol"):
        mallory.click("Sign in as somebody else")
    mallory.opened("For one pair of eyes")
    answer(mallory, [logs])
    delivered(mallory)
    to_the_answer(alice, "For one pair of eyes")
    box = alice.page.url
    for user in ("carol", "mallory"):
        other = person(user)
        other.open(box)
        other.told("This account can't open it")


def test_a_second_answer_is_refused_and_the_first_one_stays(person, site, logs, tmp_path):
    alice, link = ask(person, "Once only", CAROL)
    first, second = person("carol"), person("carol")
    for carol in (first, second):
        carol.open(link)
        carol.opened("Once only")
    answer(first, [logs])
    delivered(first)
    forged = tmp_path / "other.log"
    forged.write_bytes(b"nobody was here\n")
    answer(second, [forged])
    second.told("It has been answered already")
    expect(second.page.get_by_role("heading", name="Delivered")).to_have_count(0)
    to_the_answer(alice, "Once only")
    assert alice.download("Download") == logs.read_bytes()


def test_the_command_line_answers_what_the_page_asked(person, site, logs):
    alice, link = ask(person, "By hand", "bob@example.com")
    ran = site.strongroom("share", "answer", link, logs, "--yes", "--json", user="bob")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)
    to_the_answer(alice, "By hand")
    assert alice.download("Download") == logs.read_bytes()
