"""People in front of Chromium: each with a browser profile of their own, an account at the provider, and a page."""

from contextlib import contextmanager, suppress

from playwright.sync_api import Error, expect

PATIENCE = 20_000
"""Milliseconds: two cores, shared."""


class Person:
    """One user in one browser context. `page` is their page; what the console and the network said is kept."""

    def __init__(self, browser, site, user, **context):
        self.site = site
        self.user = user
        self.context = browser.new_context(
            accept_downloads=True, locale="en-GB", base_url=site.origin, **{"service_workers": "allow"} | context
        )
        self.context.set_default_timeout(PATIENCE)
        self.requests = []
        self.said = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"exception: {error}"))

    def close(self):
        self.context.close()

    def go(self, place):
        """Open `#/…` as a fresh visit."""
        self.page.goto("about:blank")
        self.page.goto(f"/{place}")

    @contextmanager
    def signing_in(self, user=None):
        """Around a click that opens the provider's window: signs in there."""
        with self.page.expect_popup(timeout=PATIENCE) as opened:
            yield
        sign_in(opened.value, user or self.user)

    def send(self, files, to, *, title="", message="", more=lambda page: None):
        """Send from the first view; the link."""
        page = self.page
        self.go("#/")
        page.set_input_files("input[type=file]:not([webkitdirectory])", files)
        for address in to:
            page.get_by_label("To", exact=True).fill(address)
            page.keyboard.press("Enter")
        if title:
            page.get_by_label("Title").fill(title)
        if message:
            page.get_by_label("Message").fill(message)
        more(page)
        with self.signing_in():
            page.get_by_role("button", name="Encrypt and send").click()
        return self.link()

    def link(self):
        """The link shown after sending or asking."""
        expect(self.page.get_by_role("heading", name="Ready to pass on")).to_be_visible(timeout=PATIENCE)
        return self.page.get_by_label("Link", exact=True).input_value()


def sign_in(window, user):
    """At the provider: login, consent, and back."""
    window.set_default_timeout(PATIENCE)
    window.locator("input[name=user]").fill(user)
    window.locator("input[name=password]").fill(f"pw-{user}")
    window.get_by_role("button", name="Go").click()
    with suppress(Error):  # it closed already: what was allowed once is not asked again
        window.get_by_role("button", name="Yes").click()
