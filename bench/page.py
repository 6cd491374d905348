"""`python -m bench page [MB]`: what the page promises, in Chromium on loopback, in one run.

Everything is real: servers as processes, the built page, files on a disk. Client and servers share the cores, so speeds
are far below those of two machines; what counts is the ratio. Encrypting is compared with plain bytes that the same
browser sends to the same host in pieces of the same size, read ahead of time as the page does.

The Vault here is ordinary software: the badge's time holds everything but the verification of a hardware quote, which
`python -m bench.appraisal` measures for the Python side.
"""

import asyncio
import gzip
import os
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, Request, sync_playwright

from bench.calibration import slowness
from bench.renderers import Renderers
from strongroom.client.share.access import recipients_of, share_instructions
from strongroom.client.share.blobs import grant_header
from strongroom.client.share.site import parse_site
from strongroom.client.vault import AsyncVault
from strongroom.protocol.messages import ById, Terms
from tests.browser.behind import As, parts
from tests.browser.conftest import ARGUMENTS
from tests.browser.people import OWN_PICKERS, Person
from tests.support.site import DIST, NAMESPACE, Site, apart, page_missing
from tools.chromium import find

MB: Final = 1_000_000
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
VISITS: Final = 5
LONG: Final = 1_800_000
"""Milliseconds that anything may take."""
BOB: Final = "bob@example.com"

# When things happened, by the page's own clock: milliseconds since the navigation began.
WATCH = """
globalThis.bench = {};
new PerformanceObserver((list) => {
  for (const { name, startTime } of list.getEntries()) if (name === "first-contentful-paint") bench.painted = startTime;
}).observe({ type: "paint", buffered: true });
new MutationObserver((_, observer) => {
  if (document.querySelector(".badge[data-state=verified]") === null) return;
  bench.verified = performance.now();
  observer.disconnect();
}).observe(document, { subtree: true, childList: true, attributes: true });
if (globalThis.FileSystemWritableFileStream !== undefined) {
  const { write, close } = FileSystemWritableFileStream.prototype;
  FileSystemWritableFileStream.prototype.write = function (data) {
    bench.firstByte ??= performance.now();
    return write.call(this, data);
  };
  FileSystemWritableFileStream.prototype.close = async function () {
    await close.call(this);
    bench.saved = performance.now();
  };
}
bench.press = (words) => {
  const button = [...document.querySelectorAll("main button")].find((each) => each.textContent.trim() === words);
  button?.click();
  return button !== undefined;
};
"""
SEND_PLAIN = """async ([blob, grant, sizes]) => {
  const [file] = document.querySelector("#plain").files;
  const tus = { "tus-resumable": "1.0.0", "strongroom-grant": grant };
  const options = { cache: "no-store", credentials: "omit" };
  const read = (at, size) => file.slice(at, at + size).arrayBuffer();
  const began = performance.now();
  const headers = { ...tus, "upload-length": String(file.size) };
  const made = await fetch("/blobs/", { ...options, method: "POST", headers });
  if (made.status !== 201) throw new Error(`status ${made.status}`);
  let at = 0, next = read(0, sizes[0]);
  for (const [place, size] of sizes.entries()) {
    const body = await next;
    next = read(at + size, sizes[place + 1] ?? 0);
    const headers = { ...tus, "upload-offset": String(at), "content-type": "application/offset+octet-stream" };
    const answer = await fetch(`/blobs/${blob}`, { ...options, method: "PATCH", headers, body });
    if (answer.status !== 204) throw new Error(`status ${answer.status}`);
    at += size;
  }
  return performance.now() - began;
}"""
OPEN_AND_SAVE = """(name) => new Promise((resolve) => {
  bench.firstByte = undefined;
  const began = performance.now();
  if (!bench.press(name)) throw new Error("nobody is signed in");
  const pressed = new MutationObserver(() => { if (bench.press("Download")) pressed.disconnect(); });
  pressed.observe(document, { subtree: true, childList: true });
  const ticking = setInterval(() => {
    if (bench.firstByte === undefined) return;
    clearInterval(ticking);
    resolve(bench.firstByte - began);
  }, 5);
})"""


@dataclass(frozen=True)
class Row:
    """One figure: what was found, what is promised, and whether that is kept."""

    what: str
    found: str
    target: str = ""
    kept: bool | None = None


@dataclass(frozen=True)
class Sending:
    """One share: its link, the bytes of each piece of the upload, how long they took from the first request to the last
    answer, and by how much the renderer grew.
    """

    link: str
    sizes: list[int]
    seconds: float
    grown: int


class Uploads:
    """Notes a page's upload, by the browser's own clock."""

    def __init__(self, page: Page) -> None:
        self._answered: list[Request] = []
        page.on("response", lambda response: self._answered.append(response.request))

    def found(self) -> tuple[list[int], float]:
        """The pieces' sizes, and seconds from the first request to the head of the last answer."""
        (made,) = (one for one in self._answered if one.method == "POST" and one.url.endswith("/blobs/"))
        pieces = [one for one in self._answered if one.method == "PATCH"]
        offsets = sorted(int(one.headers["upload-offset"]) for one in pieces)
        ended = max(one.timing["startTime"] + one.timing["responseStart"] for one in pieces)
        sizes = [after - at for at, after in pairwise([*offsets, int(made.headers["upload-length"])])]
        return sizes, (ended - made.timing["startTime"]) / 1e3


class Bench:
    """A site, a browser, a file."""

    def __init__(self, browser: Browser, site: Site, file: Path, renderers: Renderers) -> None:
        self.browser, self.site, self.file, self.renderers = browser, site, file, renderers
        self.size = file.stat().st_size

    def person(self, user: str) -> Person:
        made = Person(self.browser, self.site, user, pickers=OWN_PICKERS + WATCH)
        made.page.set_default_timeout(LONG)
        return made

    # --- first visits ---------------------------------------------------------------------------------------------

    def visits(self) -> tuple[float, float]:
        """Seconds to the first paint and to the verified badge, in a fresh profile; medians."""
        found = []
        for _ in range(VISITS):
            visitor = self.person("carol")
            visitor.page.goto("/")
            visitor.page.wait_for_function("() => bench.painted !== undefined && bench.verified !== undefined")
            found.append(visitor.page.evaluate("() => [bench.painted, bench.verified]"))
            visitor.close()
        painted, verified = zip(*found, strict=True)
        return statistics.median(painted) / 1e3, statistics.median(verified) / 1e3

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, file: Path) -> Sending:
        """Somebody in a fresh browser profile sends a file."""
        alice = self.person("alice")
        alice.go("#/")
        alice.page.locator(".badge[data-state=verified]").wait_for()
        uploads = Uploads(alice.page)
        self.renderers.begin()
        alice.write([file], [BOB], title=file.name)
        with alice.signing_in():
            alice.click("Encrypt and send")
        alice.page.get_by_role("heading", name="Ready to pass on").wait_for(timeout=LONG)
        sent = Sending(str(alice.link()), *uploads.found(), self.renderers.grown())
        alice.close()
        return sent

    def send_plain(self, sizes: list[int]) -> float:
        """MB/s of the file's own bytes, in pieces like these."""
        sizes = list(sizes)
        while (over := sum(sizes) - self.size) > 0:  # the pack is a little larger
            last = sizes.pop()
            sizes += [last - over] if last > over else []
        blob, grant = apart(lambda: asyncio.run(self._granted()))
        page = self.person("alice").page
        page.goto("/")
        page.locator(".badge[data-state=verified]").wait_for()
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'plain'}))"
        )
        page.set_input_files("#plain", self.file)
        milliseconds = page.evaluate(SEND_PLAIN, [blob.hex(), grant, sizes])
        page.context.close()
        return self.size / milliseconds * 1e3 / MB

    async def _granted(self) -> tuple[bytes, str]:
        """A blob that the host will take, and the Vault's word for it."""
        where, blob = os.urandom(16), os.urandom(16)
        described = parse_site(self.site.origin, self.site.trust_json.read_bytes())
        encoded = share_instructions(described, self.site.trust, recipients_of([BOB]))
        terms = Terms(
            expires_at=int(time.time()) + 86_400,
            max_opens=0,
            closed=False,
            fillable=False,
            blob=blob,
            blob_bytes=self.size,
        )
        async with AsyncVault(self.site.vault, self.site.trust, sign_in=As("alice")) as vault:
            await vault.store(b"", namespace=NAMESPACE, instructions=encoded, record_id=where, terms=terms)
            return blob, grant_header(await vault.grant_blob(ById(id=where)))

    # --- receiving ------------------------------------------------------------------------------------------------

    def receive(self, link: str) -> tuple[float, int]:
        """MB/s from the click to the closed file, and by how much the renderer grew."""
        bob = self.person("bob")
        bob.open(link)
        bob.opened(self.file.name)
        self.renderers.begin()
        bob.page.evaluate(
            "() => { bench.saved = undefined; bench.began = performance.now(); bench.press('Download'); }"
        )
        bob.page.wait_for_function("() => bench.saved !== undefined", timeout=LONG)
        milliseconds = bob.page.evaluate("() => bench.saved - bench.began")
        grown = self.renderers.grown()
        bob.close()
        return self.size / milliseconds * 1e3 / MB, grown

    def first_byte(self, link: str) -> float:
        """Seconds from the click, signed in, to the first decrypted byte of a file; median."""
        bob = self.person("bob")
        bob.open(link)
        bob.page.get_by_role("button", name="Download", exact=True).wait_for()
        found = []
        for _ in range(VISITS):
            bob.turn_to("#/verify")
            bob.turn_to("#" + link.rpartition("/#")[2])
            bob.page.get_by_role("button", name=f"Open as {BOB}").wait_for()
            found.append(bob.page.evaluate(OPEN_AND_SAVE, f"Open as {BOB}"))
        bob.close()
        return statistics.median(found) / 1e3


def scripts(folder: Path = DIST) -> dict[str, int]:
    """Bytes of each script that a first use loads, as the host sends it: the entry, all it imports, the worker."""
    assets = folder / "assets"
    html = (folder / "index.html").read_text()
    waiting = re.findall(r'(?:src|href)="/assets/([\w-]+\.js)"', html)
    found: dict[str, int] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        data = (assets / name).read_bytes()
        found[name] = len(gzip.compress(data, mtime=0))
        text = data.decode()
        waiting += re.findall(r'(?:from|import)"\./([\w-]+\.js)"', text)
        waiting += re.findall(r"\b(worker-[\w-]+\.js)\b", text)
    return found


def measure(bench: Bench) -> list[Row]:
    painted, verified = bench.visits()
    small = bench.file.with_name("small.bin")
    small.write_bytes(os.urandom(MB))
    first = bench.first_byte(bench.send(small).link)

    kept, sent, speeds, plain = parts(bench.site), [], [], []
    for _ in range(ROUNDS):
        remove(parts(bench.site) - kept)
        sent.append(bench.send(bench.file))
        speeds.append(bench.size / sent[-1].seconds / MB)
        mine = parts(bench.site)
        plain.append(bench.send_plain(sent[-1].sizes))
        remove(parts(bench.site) - mine)
    ratio = statistics.median(one / other for one, other in zip(speeds, plain, strict=True))
    sending = max(one.grown for one in sent) / MB
    saving, receiving = bench.receive(sent[-1].link)
    total = sum(scripts().values()) / 1e3
    return [
        Row("first contentful paint, fresh profile", f"{painted:.2f} s", "< 1 s", painted < 1),
        Row("verified badge, fresh profile", f"{verified:.2f} s", "< 2 s", verified < 2),
        Row("click to first decrypted byte, signed in", f"{first:.2f} s", "< 1 s", first < 1),
        Row("encrypt and upload", f"{statistics.median(speeds):.0f} MB/s"),
        Row("upload of plain bytes, same pieces", f"{statistics.median(plain):.0f} MB/s"),
        Row("ratio of the two", f"{ratio:.0%}", "≥ 60 %", ratio >= 0.6),
        Row("decrypt and save", f"{saving:.0f} MB/s"),
        Row("renderer over idle while sending", f"{sending:.0f} MB", "< 200 MB", sending < 200),
        Row("renderer over idle while receiving", f"{receiving / MB:.0f} MB", "< 200 MB", receiving < 200 * MB),
        Row("scripts of a first use, gzip", f"{total:.0f} kB", "< 350 kB", total < 350),
    ]


def remove(paths: set[Path]) -> None:
    """So that the disk does not fill up."""
    for path in paths:
        path.unlink()


def write_table(rows: list[Row]) -> None:
    print(f"{'':<44}{'found':>12}{'target':>12}")
    for row in rows:
        verdict = {None: "", True: "reached", False: "NOT REACHED"}[row.kept]
        print(f"{row.what:<44}{row.found:>12}{row.target:>12}  {verdict}", flush=True)


def main(megabytes: int = 512) -> int:
    """Status 1 when a promise is not reached."""
    missing = page_missing() or (None if find() else "there is no Chromium here (`python -m tools.chromium`)")
    if missing is not None:
        print(f"page: not measured, {missing}")
        return 0
    before = slowness()[0]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, Renderers() as renderers:
        file = Path(folder) / "large.bin"
        with file.open("wb") as out:
            for _ in range(megabytes):
                out.write(os.urandom(MB))
        browser: Any = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        with Site(Path(folder) / "site", max_bytes=2 * megabytes * MB) as site:
            rows = measure(Bench(browser, site, file, renderers))
        browser.close()
    write_table(rows)
    slow = (before + slowness()[0]) / 2
    print(f"{megabytes} MB, {ROUNDS} rounds, medians; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f},", end=" ")
    print(f"{slow:.1f} × the reference")
    return 1 if any(row.kept is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
