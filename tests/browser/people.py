"""People in front of Chromium: each with a browser profile of their own, an account at the provider, and a page."""

import io
import zipfile
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, expect

PATIENCE = 20_000
"""Milliseconds: two cores, shared."""
expect.set_options(timeout=PATIENCE)

# What Chromium's pages have and those of other browsers have not: there, files come as downloads.
NO_PICKERS = "delete window.showSaveFilePicker; delete window.showDirectoryPicker"
# Nobody is there to use the browser's own dialogues: everything is put into the origin's private file system.
OWN_PICKERS = """
window.showDirectoryPicker = () => navigator.storage.getDirectory();
window.showSaveFilePicker = async ({ suggestedName }) =>
  (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });
"""
READ_PICKED = """async () => {
  const found = {};
  const walk = async (folder, path) => {
    for await (const [name, handle] of folder.entries()) {
      if (handle.kind === "directory") { await walk(handle, `${path}${name}/`); continue; }
      const file = await handle.getFile();
      found[path + name] = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
        reader.readAsDataURL(file);
      });
    }
  };
  await walk(await navigator.storage.getDirectory(), "");
  return found;
}"""


class Person:
    """One user in one browser context. `page` is their page; what the console and the network said is kept."""

    def __init__(self, browser, site, user, *, pickers=NO_PICKERS, **context):
        self.site = site
        self.user = user
        self.context = browser.new_context(
            accept_downloads=True, base_url=site.origin, **{"locale": "en-GB", "service_workers": "allow"} | context
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(pickers)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.downloads: list[Any] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"exception: {error}"))
        self.page.on("download", lambda download: self.downloads.append(download))

    def close(self):
        self.context.close()

    def go(self, place):
        """Open `#/…` or a link as a fresh visit: nobody is signed in any more."""
        self.page.goto("about:blank")
        self.page.goto(place if place.startswith("http") else f"/{place}")

    def turn_to(self, place):
        """Go on to `#/…` without a new visit, signed in as before."""
        self.page.goto(f"/{place}")

    def click(self, name):
        """Press the one button of this name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def sees(self, words):
        """Wait until the page says so."""
        expect(self.page.get_by_text(words).first).to_be_visible()

    def told(self, title):
        """Wait for the notice with this title, and look that it says more than the title."""
        notice = self.page.locator(".notice", has=self.page.get_by_text(title, exact=True))
        expect(notice).to_be_visible()
        expect(notice).to_contain_text(".")
        return notice

    @contextmanager
    def signing_in(self, user=None):
        """Around a click that opens the provider's window: signs in there."""
        with self.page.expect_popup(timeout=PATIENCE) as opened:
            yield
        sign_in(opened.value, user or self.user)

    # --- sending ----------------------------------------------------------------------------------------------

    def write(self, files, to, *, title="", message="", more=lambda page: None):
        """Fill in the first view."""
        page = self.page
        page.set_input_files("input[type=file]:not([webkitdirectory])", files)
        for address in to:
            page.get_by_label("To", exact=True).fill(address)
            page.keyboard.press("Enter")
        if title:
            page.get_by_label("Title").fill(title)
        if message:
            page.get_by_label("Message").fill(message)
        more(page)

    def send(self, files, to, **rest):
        """Send from the first view; the link."""
        self.go("#/")
        self.write(files, to, **rest)
        with self.signing_in():
            self.click("Encrypt and send")
        return self.link()

    def link(self):
        """The link shown after sending or asking."""
        expect(self.page.get_by_role("heading", name="Ready to pass on")).to_be_visible()
        return self.page.get_by_label("Link", exact=True).input_value()

    # --- receiving --------------------------------------------------------------------------------------------

    def open(self, link, user=None):
        """Follow a link and sign in. What comes of it is the caller's to expect."""
        self.go(link)
        with self.signing_in(user):
            self.click("Sign in to open")

    def open_again(self, link):
        """The same, signed in as before."""
        self.turn_to("#/verify")
        expect(self.page.locator("#trust-title")).to_be_visible()  # else the page sees both turns as none
        self.page.goto(link)
        self.click(f"Open as {self.user}@example.com")

    def opened(self, title):
        """Wait until a share of this title is open."""
        expect(self.page.get_by_role("heading", name=title, exact=True)).to_be_visible()

    def download(self, button):
        """Press a button; the bytes that the browser saved."""
        with self.page.expect_download() as coming:
            self.click(button)
        return Path(coming.value.path()).read_bytes()

    def download_archive(self):
        """All files as they stand in the one ZIP archive, by their paths."""
        with zipfile.ZipFile(io.BytesIO(self.download("Download all"))) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}

    def picked(self):
        """What lies where `OWN_PICKERS` put it, by path."""
        return {path: b64decode(data) for path, data in self.page.evaluate(READ_PICKED).items()}


def sign_in(window, user):
    """At the provider: login, consent, and back. Its window closes as soon as it has nothing more to ask."""
    window.set_default_timeout(PATIENCE)
    try:
        window.locator("input[name=user]").fill(user)
        window.locator("input[name=password]").fill(f"pw-{user}")
        window.get_by_role("button", name="Go").click()
        window.get_by_role("button", name="Yes").click()
    except Error:
        if not window.is_closed():
            raise
