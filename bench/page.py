"""`python -m bench page [MB]`: what the page promises, in Chromium on loopback, in one run.

Everything is real: servers as processes, the built page, files on a disk. Client and servers share the cores, so speeds
are far below those of two machines; what counts is the ratio. Encrypting is compared with plain bytes that the same
browser sends to the same host by the same rule: pieces as large as the page's, and read ahead of time as it does.

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
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, sync_playwright

from bench.calibration import slowness
from bench.renderers import Renderers
from bench.visitor import Visitor
from strongroom.client.share.access import recipients_of, share_instructions
from strongroom.client.share.blobs import grant_header
from strongroom.client.share.site import parse_site
from strongroom.client.vault import AsyncVault
from strongroom.protocol.messages import ById, Terms
from tests.browser.behind import As, parts
from tests.browser.conftest import ARGUMENTS
from tests.browser.people import OWN_PICKERS
from tests.support.site import DIST, NAMESPACE, Site, apart, page_missing
from tools.chromium import find

MB: Final = 1_000_000
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
VISITS: Final = 5
BOB: Final = "bob@example.com"

# When things happened, by the page's own clock: milliseconds since the navigation began.
WATCH = """
globalThis.bench = {};
new PerformanceObserver((list) => {
  for (const { name, startTime } of list.getEntries()) if (name === "first-contentful-paint") bench.painted = startTime;
}).observe({ type: "paint", buffered: true });
new MutationObserver(() => {
  if (document.querySelector(".badge[data-state=verified]") !== null) bench.verified ??= performance.now();
  if (document.querySelector(".sending-stage")?.textContent === "Finishing") bench.uploaded ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
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
# Pieces grow and shrink as the page's do (web/sdk/src/share/blobs.ts), and the next 16 MiB are read while these travel.
SEND_PLAIN = """(async (blob, grant) => {
  const [file] = document.querySelector("#plain").files, CHUNK = 16 << 20;
  const tus = { "tus-resumable": "1.0.0", "strongroom-grant": grant };
  const options = { cache: "no-store", credentials: "omit" };
  const read = (at) => file.slice(at, at + CHUNK).arrayBuffer();
  const began = performance.now();
  const made = await fetch("/blobs/", { ...options, method: "POST", headers: { ...tus, "upload-length": file.size } });
  if (made.status !== 201) throw new Error(`status ${made.status}`);
  let size = 1 << 20, next = read(0);
  for (let start = 0; start < file.size; start += CHUNK) {
    const chunk = new Uint8Array(await next);
    next = read(start + CHUNK);
    for (let at = 0; at < chunk.length; ) {
      const body = chunk.subarray(at, at + size), sent = performance.now();
      const headers = { ...tus, "upload-offset": start + at, "content-type": "application/offset+octet-stream" };
      const answer = await fetch(`/blobs/${blob}`, { ...options, method: "PATCH", headers, body });
      if (answer.status !== 204) throw new Error(`status ${answer.status}`);
      at += body.length;
      const seconds = (performance.now() - sent) / 1000;
      if (seconds < 1) size = Math.min(2 * size, CHUNK);
      else if (seconds > 4) size = Math.max(size / 2, 256 << 10);
    }
  }
  return performance.now() - began;
})"""
OPEN_AND_SAVE = """new Promise((resolve, reject) => {
  bench.firstByte = undefined;
  const began = performance.now();
  if (!bench.press("Open as %s")) reject(new Error("nobody is signed in"));
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
    """One share: its link, seconds of the upload, and by how much the renderer grew."""

    link: str
    seconds: float
    grown: int


class Bench:
    """A site, a browser, a file."""

    def __init__(self, browser: Browser, site: Site, file: Path, renderers: Renderers) -> None:
        self.browser, self.site, self.file, self.renderers = browser, site, file, renderers
        self.size = file.stat().st_size

    def visitor(self, user: str) -> Visitor:
        return Visitor(self.browser, self.site.origin, user, OWN_PICKERS + WATCH)

    def visits(self) -> tuple[float, float]:
        """Seconds to the first paint and to the verified badge, in a fresh profile; medians."""
        found = []
        for _ in range(VISITS):
            visitor = self.visitor("carol")
            visitor.go("")
            visitor.wait("bench.painted !== undefined && bench.verified !== undefined")
            found.append(visitor.evaluate("[bench.painted, bench.verified]"))
            visitor.close()
        painted, verified = zip(*found, strict=True)
        return statistics.median(painted) / 1e3, statistics.median(verified) / 1e3

    def send(self, file: Path) -> Sending:
        """Somebody in a fresh browser profile sends a file. The time is from the start of the worker that encrypts to
        its last word.
        """
        alice = self.visitor("alice")
        alice.go("#/")
        self.renderers.begin()
        alice.choose("input[type=file]:not([webkitdirectory])", file)
        alice.write("To", f"{BOB} ")
        alice.press("Encrypt and send")
        alice.sign_in()
        alice.wait("document.querySelector('.sent input') !== null")
        link, ended = alice.evaluate("[document.querySelector('.sent input').value, bench.uploaded]")
        scripts = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/worker-'))"
        began = alice.evaluate(f"{scripts}.map(({{ startTime }}) => startTime).at(-1)")
        sent = Sending(link, (ended - began) / 1e3, self.renderers.grown())
        alice.close()
        return sent

    def send_plain(self) -> float:
        """MB/s of the file's own bytes."""
        blob, grant = apart(lambda: asyncio.run(self._granted()))
        alice = self.visitor("alice")
        alice.go("#/verify")
        alice.evaluate(
            "document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'plain'}))"
        )
        alice.choose("#plain", self.file)
        milliseconds = alice.evaluate(f"{SEND_PLAIN}('{blob.hex()}', '{grant}')")
        alice.close()
        return float(self.size / milliseconds * 1e3 / MB)

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

    def opened(self, link: str) -> Visitor:
        """Somebody who has signed in and opened a share, in a fresh browser profile."""
        bob = self.visitor("bob")
        bob.go(link)
        bob.press("Sign in to open")
        bob.sign_in()
        bob.wait("document.querySelector('.parcel') !== null")
        return bob

    def receive(self, link: str) -> tuple[float, int]:
        """MB/s from the click to the closed file, and by how much the renderer grew."""
        bob = self.opened(link)
        self.renderers.begin()
        began = bob.evaluate("performance.now()")
        bob.press("Download")
        bob.wait("bench.saved !== undefined")
        milliseconds = bob.evaluate("bench.saved") - began
        grown = self.renderers.grown()
        bob.close()
        return self.size / milliseconds * 1e3 / MB, grown

    def first_byte(self, link: str) -> float:
        """Seconds from the click, signed in, to the first decrypted byte of a file; median."""
        bob = self.opened(link)
        found = []
        for _ in range(VISITS):
            bob.evaluate("location.hash = '#/verify'")
            bob.wait("document.querySelector('#keep-title') !== null")
            bob.evaluate(f"location.hash = '#{link.partition('#')[2]}'")
            bob.wait("document.querySelector('.open-door') !== null")
            found.append(bob.evaluate(OPEN_AND_SAVE % BOB))
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
        plain.append(bench.send_plain())
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
