"""A kept page's policy is its own, whatever the server said of the files that it was kept with."""

from playwright.sync_api import expect

from strongroom.client.page import CSP
from tests.browser.fronts import Front
from tests.browser.people import PATIENCE


def without_policy(route):
    route.fulfill(
        response=route.fetch(), headers={"content-type": "text/html", "link": "<//evil.example>; rel=preload"}
    )


def test_a_server_that_leaves_the_policy_out_while_its_page_is_kept_gains_nothing(person, site):
    bob = person("bob")
    bob.go("#/verify")
    expect(bob.page.locator(".badge")).to_have_attribute("data-state", "verified", timeout=PATIENCE)
    front = Front(bob)
    front.handle("/", without_policy)
    bob.click("Keep this page")
    bob.sees("This page is kept. Its digest:")
    assert "GET /" in front.asked
    front.stop()
    answer = bob.page.goto("/")
    assert answer.from_service_worker
    assert answer.headers["content-security-policy"] == CSP
    assert "link" not in answer.headers
    expect(bob.page.locator(".badge")).to_have_attribute("data-state", "verified", timeout=PATIENCE)
