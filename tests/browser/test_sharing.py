"""Sending and receiving as people do it, in Chromium."""

from playwright.sync_api import expect


def test_what_alice_sends_bob_opens(person, tmp_path):
    report = tmp_path / "report.txt"
    report.write_text("F-01 critical")
    link = person("alice").send([report], ["bob@example.com"], title="Report", message="Hello Bob")
    bob = person("bob")
    bob.page.goto(link)
    with bob.signing_in():
        bob.page.get_by_role("button", name="Sign in to open").click()
    expect(bob.page.get_by_role("heading", name="Report")).to_be_visible()
    expect(bob.page.get_by_text("alice@example.com")).to_be_visible()
    expect(bob.page.get_by_text("Hello Bob")).to_be_visible()
