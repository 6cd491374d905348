"""Draws docs/screens: the page as people see it, each view on a phone and on a desk.

    python -m tools.screens

A whole site runs on this machine, and people go through it in Chromium as those of tests/browser do. A picture should
change only if the page does. So what differs from run to run is replaced before it is drawn: ids, digests, ports and
speeds by fixed ones, and moments are shown as if the run had been on `SHOWN_DAY` (the enclaves' own clocks stay right).
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright

from strongroom.cli.demo.pdf import write_pdf
from tests.browser.conftest import ARGUMENTS
from tests.browser.fronts import Front
from tests.browser.people import OWN_PICKERS, Person
from tests.support.site import Site, page_missing
from tools.chromium import find
from tools.palette import smaller

ROOT = Path(__file__).resolve().parent.parent
INTO = ROOT / "docs" / "screens"
PHONE, DESK = (390, 844), (1280, 860)
MIB = 1 << 20
SHOWN_DAY = "2027-03-03T09:41:00Z"
LIST = """\
# The page, as it looks

Drawn by `python -m tools.screens` from a site that runs on one machine: a demonstration set-up, as the page says
itself. Ids, digests, ports, speeds and dates are fixed ones. Numbers are widths of the window in pixels.

| view | pictures |
|---|---|
"""
TITLE = "Penetration test, March 2027"
MESSAGE = "Hello Bob,\nF-01 needs your attention this week. Call me before you change anything.\nAlice"

# Moments are shown to the day: those of the run as SHOWN_DAY, those before and after it as many days apart.
FIX_DATES = """
const began = %d, shown = Date.parse("%s"), day = 86400000;
const { get } = Object.getOwnPropertyDescriptor(Intl.DateTimeFormat.prototype, "format");
Object.defineProperty(Intl.DateTimeFormat.prototype, "format", {
  get() { const format = get.call(this); return (at) => format(shown + Math.round((at - began) / day) * day); },
});
"""
FIX_TEXT = """() => {
  let seed = 7;
  const digit = () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 16 & 15).toString(16);
  const fixed = (text) => text
    .replace(/[0-9a-f]{4}(?: [0-9a-f]{4}){7,}|\\b[0-9a-f]{32,}\\b/g, (found) => found.replace(/[0-9a-f]/g, digit))
    .replace(/(localhost|127\\.0\\.0\\.1):\\d+/g, "$1:8480")
    .replace(/("(?:credential_id|public_key)": ?")[^"]+/g, (_, name) => name + "q2VyZW1vbnkgb2YgdGhlIGtleXM")
    .replace(/[\\d.,]+ .?B\\/s/g, "8.4 MB/s")
    .replace(/\\d+ (?:s|min)( left)/g, "2 s$1");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (fixed(node.data) !== node.data) node.data = fixed(node.data);
  }
  for (const field of document.querySelectorAll("input:not([type=file]), textarea"))
    if (fixed(field.value) !== field.value) field.value = fixed(field.value);
}"""


class Camera:
    """Takes pictures and remembers what they show, for the list beside them."""

    def __init__(self, browser: Browser, into: Path) -> None:
        self.into, self.desk = into, browser.new_page()
        self.shown: dict[str, list[str]] = {}
        self.old = set(into.glob("*.png"))

    def take(self, page: Page, name: str, words: str, *, window: bool = False, dark: tuple[int, ...] = ()) -> None:
        """On both widths; of the whole page, or of the window; in dark also on the widths named."""
        links = self.shown.setdefault(words, [])
        page.mouse.move(0, 0)
        for width, height in (PHONE, DESK):
            resize(page, width, height)
            page.evaluate(FIX_TEXT)
            if not window:  # a window as high as the page: what clings to its lower edge lies there in the picture too
                resize(page, width, max(height, page.evaluate("document.documentElement.scrollHeight")))
            for scheme in ("light", "dark") if width in dark else ("light",):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                suffix = "-dark" if scheme == "dark" else ""
                drawn = page.screenshot(animations="disabled", caret="hide")
                path = self.into / f"{name}-{width}{suffix}.png"
                path.write_bytes(smaller(self.desk, drawn))
                self.old.discard(path)
                links.append(f"[{width}{suffix.replace('-', ' ')}]({path.name})")
            page.emulate_media(color_scheme="light")

    def finish(self) -> None:
        """Writes the list, and removes pictures that are taken no more."""
        for path in self.old:
            path.unlink()
        rows = [f"| {words} | {', '.join(links)} |" for words, links in self.shown.items()]
        (self.into / "README.md").write_text(LIST + "\n".join(rows) + "\n")


# --- what is sent ---------------------------------------------------------------------------------------------


def report_pdf() -> bytes:
    """One page of a report, with a heading, bars for findings and some text."""
    text = [
        ("F2", 24, 60, 760, "Penetration test"),
        ("F1", 12, 60, 736, "Example Security, March 2027. Confidential."),
        ("F2", 14, 60, 690, "Findings by severity"),
        ("F1", 11, 60, 664, "Critical"),
        ("F1", 11, 60, 640, "High"),
        ("F1", 11, 60, 616, "Medium"),
        ("F2", 14, 60, 570, "F-01  Administrator session without second factor"),
        ("F1", 11, 60, 548, "The console at /admin accepts a session cookie from any address."),
        ("F1", 11, 60, 532, "Steps, evidence and a proposed change are on the following pages."),
    ]
    bars = [("0.70 0.18 0.12", 60, 661), ("0.85 0.47 0.13", 150, 637), ("0.45 0.52 0.48", 230, 613)]
    paint = "".join(f"{colour} rg 130 {y} {width} 12 re f\n" for colour, width, y in bars) + "0 g\n"
    paint += "".join(f"BT /{font} {size} Tf {x} {y} Td ({words}) Tj ET\n" for font, size, x, y, words in text)
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R/F2 6 0 R>>>>>>",
        f"<</Length {len(paint)}>>stream\n{paint}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>",
    ]
    return write_pdf(objects)


def parcel(folder: Path) -> list[Path]:
    files = {
        "Report.pdf": report_pdf(),
        "findings.csv": b"id,severity,title\nF-01,critical,Administrator session without second factor\n" * 40,
        "Retest plan.txt": b"Retest on 17 March, from 9 o'clock.\n",
        "capture.pcap": bytes(5 * MIB),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


# --- the pictures ---------------------------------------------------------------------------------------------


class Tour:
    """Alice sends to Bob, Mallory tries, Bob is asked for files."""

    def __init__(self, browser: Browser, site: Site, camera: Camera, files: list[Path]) -> None:
        self.browser, self.site, self.camera, self.files = browser, site, camera, files
        self.dates = FIX_DATES % (int(time.time() * 1000), SHOWN_DAY)

    def person(self, user: str, **context: str) -> Person:
        made = Person(self.browser, self.site, user, pickers=OWN_PICKERS + self.dates, timezone_id="UTC", **context)
        made.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        return made

    def run(self) -> None:
        alice = self.person("alice")
        link = self.send(alice)
        self.receive(link)
        self.refuse(link)
        self.request(alice)
        self.manage(alice)
        self.explain()

    def send(self, alice: Person) -> str:
        take, page = self.camera.take, alice.page
        alice.go("#/")
        page.locator(".badge[data-state=verified]").wait_for()
        take(page, "send-empty", "The first view: nothing to install, nothing chosen yet", dark=(1280,))
        recipients = ["bob@example.com", "carol@example.com"]
        alice.write(self.files, recipients, title=TITLE, message=MESSAGE)
        take(page, "send", "Files and recipients chosen", dark=(390,))
        page.get_by_text("More protection").click()
        page.get_by_text("Require a second person").click()
        take(page, "send-options", "More protection: openings, a passkey, a second person")
        page.get_by_text("Require a second person").click()
        upload = HeldUpload(page)
        with alice.signing_in():
            alice.click("Encrypt and send")
        wait_until(page, lambda: upload.held is not None)
        page.wait_for_function("() => parseInt(document.querySelector('.percent').textContent) >= 50")
        take(page, "sending", "Under way: it can be paused, and survives a dropped connection", dark=(390,))
        upload.go_on()
        link = str(alice.link())
        take(page, "sent", "Done: the link holds a number, never a key")
        return link

    def receive(self, link: str) -> None:
        take = self.camera.take
        bob = self.person("bob")
        bob.go(link)
        bob.page.get_by_text("What exactly was checked").click()
        take(bob.page, "receive", "A link opened: what was verified, before any sign-in", dark=(1280,))
        with bob.signing_in():
            bob.click("Sign in to open")
        bob.opened(TITLE)
        take(bob.page, "opened", "Opened: who it is from, how long, and the files", dark=(390, 1280))
        bob.click("Look at Report.pdf")
        bob.page.locator(".preview-shown").wait_for()
        take(bob.page, "preview", "A PDF drawn after decryption, in a frame that can reach nothing", window=True)
        bob.click("Close")
        bob.click("Download findings.csv")
        bob.sees("findings.csv: saved")
        take(bob.page, "saved", "A file decrypted, checked and saved")
        bob.close()
        bo = self.person("bob", locale="sv-SE")
        bo.go(link)
        bo.page.locator(".badge[data-state=verified]").wait_for()
        take(bo.page, "receive-sv", "The same link in Swedish")
        bo.close()

    def refuse(self, link: str) -> None:
        mallory = self.person("mallory")
        mallory.open(link)
        mallory.told("This account can't open it")
        self.camera.take(mallory.page, "refused", "Another account than the ones the sender named")
        front = Front(mallory)
        front.change("/vault/v1/evidence", lambda body: body[:-1] + bytes([body[-1] ^ 1]))
        mallory.go(link)
        mallory.page.locator(".halt").wait_for()
        words = "A host that alters the Vault's evidence: nothing was sent, nobody signs in"
        self.camera.take(mallory.page, "not-verified", words, dark=(390,))
        mallory.close()

    def request(self, alice: Person) -> None:
        take, page = self.camera.take, alice.page
        alice.turn_to("#/request")
        page.get_by_label("From whom").fill("bob@example.com")
        page.keyboard.press("Enter")
        page.get_by_label("What do you need?").fill("Server logs of 3 March")
        page.get_by_label("Message").fill("Only the gateway's, please.")
        take(page, "request", "Asking somebody outside for files")
        alice.click("Make the link")
        link = alice.link()
        bob = self.person("bob")
        bob.go(link)
        with bob.signing_in():
            bob.click("Sign in to open")
        bob.page.set_input_files("input[type=file]:not([webkitdirectory])", self.files[1])
        take(bob.page, "answer", "Answering: who asks, what for, and an upload that only they can open")
        bob.click("Encrypt and send to alice@example.com")
        bob.sees("can open your files now")
        take(bob.page, "answered", "Delivered")
        bob.close()

    def manage(self, alice: Person) -> None:
        take, page = self.camera.take, alice.page
        alice.turn_to("#/")
        alice.write(self.files[2:3], ["carol@example.com"], title="Access for the retest")
        alice.click("Encrypt and send")
        alice.link()
        page.get_by_role("link", name="See who opens it").click()
        alice.click("Revoke")
        alice.page.get_by_role("dialog").wait_for()
        take(page, "revoke", "Before it is taken back for good", window=True)
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        page.locator(".state-revoked").wait_for()
        alice.turn_to("#/shares")
        page.locator("table").wait_for()
        take(page, "shares", "What was sent and asked for, and how it stands", dark=(1280,))
        page.get_by_role("link", name=TITLE).click()
        page.locator(".visits").wait_for()
        take(page, "share", "One share: who opened it and when, from the Vault's log", dark=(390,))
        alice.close()
        carol = self.person("carol")
        carol.go("#/shares")
        with carol.signing_in():
            carol.click("Sign in")
        carol.sees("You have not sent anything yet.")
        take(carol.page, "shares-empty", "Nothing sent yet")
        carol.close()

    def explain(self) -> None:
        take = self.camera.take
        bob = self.person("bob")
        devtools = bob.context.new_cdp_session(bob.page)
        devtools.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
        options |= {"hasUserVerification": True, "isUserVerified": True}
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        bob.go("#/passkey")
        bob.page.get_by_label("Your e-mail address").fill("bob@example.com")
        take(bob.page, "passkey", "A passkey for strict senders")
        bob.click("Make a passkey")
        bob.page.get_by_role("textbox", name="Your card").wait_for()
        take(bob.page, "passkey-card", "Its card, which is no secret")
        bob.turn_to("#/verify")
        bob.page.locator(".proof").wait_for()
        take(bob.page, "trust", "What is trusted, in words and in figures, and how to check it", dark=(1280,))
        bob.turn_to("#/s/broken")
        bob.sees("The address is not complete")
        take(bob.page, "lost", "A link that a mail program broke")
        bob.close()


class HeldUpload:
    """Lets 3 MiB of an upload pass and holds the next piece until told to go on."""

    def __init__(self, page: Page) -> None:
        self.held: Route | None = None
        page.route("**/blobs/*", self._piece)

    def _piece(self, route: Route) -> None:
        if self.held is None and int(route.request.headers.get("upload-offset", 0)) >= 3 * MIB:
            self.held = route
        else:
            route.continue_()

    def go_on(self) -> None:
        if self.held is not None:
            self.held.continue_()


def resize(page: Page, width: int, height: int) -> None:
    """Returns when the page has been laid out for it."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height", arg=[width, height])
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def wait_until(page: Page, done: Callable[[], bool]) -> None:
    """Until the browser's events have made it so, for a minute at most."""
    for _ in range(600):
        if done():
            return
        page.wait_for_timeout(100)
    raise TimeoutError


def main() -> None:
    if (missing := page_missing()) is not None:
        raise SystemExit(f"error: {missing}")
    if (chromium := find()) is None:
        raise SystemExit("error: there is no Chromium here\nhint: `python -m tools.chromium` installs one")
    INTO.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        camera = Camera(browser, INTO)
        with Site(Path(folder) / "site") as site:
            Tour(browser, site, camera, parcel(Path(folder))).run()
        browser.close()
    camera.finish()
    size = sum(path.stat().st_size for path in INTO.glob("*.png"))
    print(
        f"{len(list(INTO.glob('*.png')))} pictures, {size / 1e6:.1f} MB, in {INTO.relative_to(ROOT)}", file=sys.stderr
    )


if __name__ == "__main__":
    main()
