"""Scripts that no tag of the page names: workers, and what loads later."""

import pytest
from playwright.sync_api import expect

from tests.browser.fronts import Front


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.txt"
    path.write_text("F-01 critical")
    return path


def test_an_altered_worker_encrypts_and_sends_nothing(person, report):
    alice = person("alice")
    front = Front(alice)
    front.change("/assets/worker-*", lambda script: script + b"\n;postMessage('mine')")
    alice.go("#/")
    alice.page.set_input_files("input[type=file]:not([webkitdirectory])", report)
    alice.page.get_by_label("To", exact=True).fill("bob@example.com")
    alice.page.keyboard.press("Enter")
    alice.page.get_by_role("button", name="Encrypt and send").click()
    expect(alice.page.get_by_role("alert").first).to_be_visible()
    assert not [asked for asked in front.asked if "/blobs" in asked]
    assert any("integrity" in line for line in alice.said), alice.said


def test_an_altered_service_worker_is_not_registered(person):
    bob = person("bob")
    Front(bob).change("/sw.js", lambda script: script + b"\n;")
    bob.go("#/verify")
    bob.page.get_by_role("button", name="Keep this page").click()
    expect(bob.page.get_by_role("alert").first).to_be_visible()
    assert bob.page.evaluate("navigator.serviceWorker.getRegistration('/').then((found) => found === undefined)")
