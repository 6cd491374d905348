"""The server that delivers the page does harm: it swaps evidence, answers, statements, scripts and files."""

import json
import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.behind import Held
from tests.browser.fronts import Front, evidence, flipped, served
from tests.browser.people import PATIENCE

BOB = "bob@example.com"
NOWHERE = "#/s/" + "0" * 32
LATER = "{ const now = Date.now; Date.now = () => now() + 3 * 3600 * 1000; }"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A Vault and an Authenticator that are genuine, and not this site's."""
    root = tmp_path_factory.mktemp("strangers")
    with served("vault", root) as vault, served("authenticator", root) as authenticator:
        yield {"vault": vault, "authenticator": authenticator}


@pytest.fixture
def fronted(person):
    """`fronted("bob")`: somebody, and the front that they are at the mercy of."""

    def make(user):
        one = person(user)
        return one, Front(one)

    return make


def small(tmp_path, data=b"F-01 critical\n"):
    path = tmp_path / "report.txt"
    path.write_bytes(data)
    return path


def halted(somebody):
    """The page says that it stopped, why, and offers nothing that goes on."""
    halt = somebody.page.get_by_role("alert").filter(has_text="Do not continue")
    expect(halt).to_be_visible(timeout=PATIENCE)
    expect(halt.locator(".halt-reason")).to_have_text(re.compile(r"\w{3}"))
    expect(halt.get_by_role("button")).to_have_count(0)
    expect(somebody.page.get_by_text("Not verified")).to_be_visible()
    return halt


# --- another machine in the Vault's place ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["of another cluster", "of another role", "garbage", "nothing", "changed", "endless"])
def test_other_evidence_halts_the_page_before_anything_is_sent(fronted, site, strangers, what):
    bob, front = fronted("bob")
    true = evidence(site.vault)
    wrong = {
        "of another cluster": lambda: evidence(strangers["vault"]),
        "of another role": lambda: evidence(site.authenticator),
        "garbage": lambda: b"\xc1" * 500,
        "nothing": lambda: b"",
        "changed": lambda: flipped(true, len(true) // 2),
        "endless": lambda: bytes(1 << 21),
    }
    front.give("/vault/v1/evidence", wrong[what]())
    bob.go(NOWHERE)
    halted(bob)
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_have_count(0)
    bob.turn_to("#/")
    halted(bob)
    expect(bob.page.get_by_role("button", name="Encrypt and send")).to_be_disabled()
    assert "GET /vault/v1/evidence" in front.asked
    assert front.sent() == []


def test_evidence_of_three_hours_ago_halts_the_page(fronted):
    bob, front = fronted("bob")
    bob.context.add_init_script(LATER)
    bob.go(NOWHERE)
    halted(bob)
    assert front.sent() == []


def test_evidence_swapped_after_the_page_was_verified_gets_no_hello(fronted, strangers):
    bob, front = fronted("bob")
    bob.go(NOWHERE)
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_be_visible(timeout=PATIENCE)
    before = front.sent()
    front.give("/vault/v1/evidence", evidence(strangers["vault"]))
    bob.click("Sign in to open")
    bob.told("Stopped for your safety")
    assert front.sent() == before == []


# --- answers altered on the way -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["session", "frame"])
def test_an_altered_answer_of_the_vault_is_refused(fronted, path):
    bob, front = fronted("bob")
    front.change(f"/vault/v1/{path}", lambda body: flipped(body, -1))
    bob.go(NOWHERE)
    bob.click("Sign in to open")
    notice = bob.told("Stopped for your safety")
    expect(notice.get_by_role("button")).to_have_count(0)


def test_an_answer_given_twice_is_refused(fronted):
    bob, front = fronted("bob")
    first = []

    def repeat(body):
        first.append(body)
        return first[0]

    front.change("/vault/v1/frame", repeat)
    bob.go(NOWHERE)
    bob.click("Sign in to open")
    bob.told("Stopped for your safety")
    assert len(first) > 1


def test_a_front_cant_invent_a_refusal(fronted):
    bob, front = fronted("bob")
    refused = 201
    front.handle(
        "/vault/v1/frame",
        lambda route: route.fulfill(status=400, body=refused.to_bytes(2), headers={"strongroom-error": str(refused)}),
    )
    bob.go(NOWHERE)
    bob.click("Sign in to open")
    bob.told("The service is busy")
    expect(bob.page.get_by_text("This account can't open it")).to_have_count(0)


def test_another_authenticator_gets_no_sign_in(fronted, site, strangers, person, tmp_path):
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    bob, front = fronted("bob")
    front.pass_to("/authenticator/0/", strangers["authenticator"])
    bob.go(link)
    bob.click("Sign in to open")
    bob.told("Stopped for your safety")
    assert [asked for asked in front.sent() if "/authenticator/" in asked] == []
    assert [url for url in bob.requests if url.startswith(site.provider.issuer)] == []


# --- the site's statement -------------------------------------------------------------------------------------


def test_a_statement_that_changed_since_the_first_visit_stops_the_page_until_it_is_accepted(fronted, site):
    bob, front = fronted("bob")
    bob.go(NOWHERE)
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_be_visible(timeout=PATIENCE)
    front.give("/trust.json", site.statement(name="Another Security"))
    bob.go(NOWHERE)
    halt = bob.page.get_by_role("alert").filter(has_text="This site's trust statement has changed")
    expect(halt.locator(".digest")).to_have_count(2)
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_have_count(0)
    bob.turn_to("#/")
    expect(bob.page.get_by_role("button", name="Encrypt and send")).to_be_disabled()
    assert front.sent() == []
    bob.go(NOWHERE)  # another visit is no assent
    bob.click("I have compared it: accept")
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_be_visible(timeout=PATIENCE)
    expect(bob.page.get_by_text("Another Security")).to_be_visible()
    front.stop()
    bob.go(NOWHERE)  # and the old one is now the other one
    expect(halt).to_be_visible(timeout=PATIENCE)


def test_a_statement_that_is_none_is_called_so_and_sends_nothing(fronted):
    bob, front = fronted("bob")
    front.give("/trust.json", b'{"format":"strongroom site 1"}')
    bob.go(NOWHERE)
    expect(bob.page.locator(".badge")).not_to_have_attribute("data-state", "checking", timeout=PATIENCE)
    expect(bob.page.locator(".badge")).not_to_have_attribute("data-state", "verified")
    expect(bob.page.get_by_role("button", name="Sign in to open")).to_have_count(0)
    assert front.sent() == []


# --- scripts --------------------------------------------------------------------------------------------------

OWN = b'\n;globalThis.owned = true; document.title = "owned";'


def scripts(site):
    """What the page runs or loads at once."""
    document = httpx.get(f"{site.origin}/", trust_env=False).text
    return re.findall(r'(?:src|href)="(/assets/[^"]+\.js)"', document)


def test_an_altered_script_does_not_run_and_the_page_stays_as_it_was_written(fronted, site):
    """The document is the site's: its digests refuse whatever a cache or a network between gives for a script."""
    names = scripts(site)
    assert names
    for name in names:
        bob, front = fronted("bob")
        front.change(name, lambda body: body + OWN)
        with bob.page.expect_console_message(lambda message: "integrity" in message.text, timeout=PATIENCE):
            bob.go("#/")
        bob.sees("Files that only the people you name can open")
        expect(bob.page.get_by_role("button")).to_have_count(0)
        assert bob.page.evaluate("globalThis.owned") is None
        assert front.sent() == []
        bob.close()


def test_a_changed_list_of_files_is_no_longer_the_page_that_the_vault_knows(fronted, site):
    bob, front = fronted("bob")
    bob.go("#/verify")
    bob.sees("The vault knows this page")
    listed = httpx.get(f"{site.origin}/page.json", trust_env=False).json()
    listed["files"]["index.html"] = "0" * 64
    front.give("/page.json", json.dumps(listed).encode())
    bob.go("#/verify")
    bob.sees("The connection ends inside it")
    expect(bob.page.get_by_text("The vault knows this page")).to_have_count(0)
    bob.click("Keep this page")
    expect(bob.page.locator(".notice")).to_contain_text("index.html is not the file that the server's list names")
    assert bob.page.evaluate("caches.match('/')") is None


# --- files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def long(tmp_path):
    """Three segments."""
    path = tmp_path / "log.txt"
    path.write_bytes(b"0123456789abcde\n" * (150 * 1024))
    return path


def opened(bob, link, title="Report"):
    bob.open(link)
    bob.opened(title)


def test_a_file_swapped_for_that_of_another_share_reaches_neither_disk_nor_preview(person, site, fronted, long):
    alice, held = person("alice"), Held(site)
    link = alice.send([long], [BOB], title="Report")
    blob, other = held.blob, Held(site)
    alice.send([long], [BOB], title="Another")
    bob, front = fronted("bob")
    opened(bob, link)

    def swap(route):
        answer = route.fetch(url=route.request.url.replace(blob, other.blob))
        route.fulfill(response=answer)

    front.handle(f"/blobs/{blob}", swap)
    bob.click("Look at log.txt")
    bob.told("The file was changed on the way")
    assert bob.page.frame_locator("iframe.preview-frame").locator("main").inner_text() == ""
    bob.click("Close")
    bob.click("Download")
    bob.told("The file was changed on the way")
    assert [download for download in bob.downloads if download.failure() is None] == []


@pytest.mark.parametrize("how", ["changed", "longer", "shorter"])
def test_no_byte_of_a_bad_segment_is_shown_or_saved(person, fronted, site, long, how):
    link = person("alice").send([long], [BOB], title="Report")
    bob, front = fronted("bob")
    opened(bob, link)

    def change(route):
        answer = route.fetch()
        body = answer.body()
        altered = {"changed": flipped(body, 1_500_000), "longer": body + b"more", "shorter": body[:-5000]}[how]
        headers = answer.headers | {"content-length": str(len(altered))}
        if how == "shorter":
            headers["content-range"] = f"bytes 0-{len(altered) - 1}/{len(altered)}"
        route.fulfill(status=206, body=altered, headers=headers)

    front.handle("/blobs/*", change)
    bob.click("Look at log.txt")
    notice = bob.page.get_by_role("dialog").locator(".notice")
    expect(notice).to_be_visible(timeout=PATIENCE)
    assert bob.page.frame_locator("iframe.preview-frame").locator("main").inner_text() == ""
    bob.click("Close")
    bob.click("Download")
    expect(bob.page.locator(".parcel .notice")).to_be_visible(timeout=PATIENCE)
    expect(bob.page.get_by_text("log.txt: saved")).to_have_count(0)
    assert [download for download in bob.downloads if download.failure() is None] == []


# --- redirects ------------------------------------------------------------------------------------------------


def test_a_redirect_that_nobody_waits_for_goes_nowhere(fronted):
    bob, front = fronted("bob")
    bob.page.goto("/callback?code=stolen&state=invented&iss=https%3A%2F%2Fidp.example")
    bob.sees("This sign-in is not known here")
    assert bob.page.evaluate("location.search") == ""
    assert front.sent() == []


def test_a_code_of_somebody_else_signs_nobody_in(person):
    """Mallory has Alice's window come back with his code: she would send in his name, and he could read along."""
    codes = []
    mallory, alice = person("mallory"), person("alice")
    mallory.context.on("console", lambda message: codes.append(message.text) if message.type == "debug" else None)
    mallory.context.add_init_script("""if (location.pathname === "/callback") {
      console.debug(new URLSearchParams(location.search).get("code"));
      history.replaceState(null, "", "/callback");
    }""")
    mallory.go("#/shares")
    with mallory.signing_in():
        mallory.click("Sign in")
    while not codes:
        mallory.page.wait_for_timeout(50)
    alice.context.add_init_script(f"""if (location.pathname === "/callback") {{
      const query = new URLSearchParams(location.search);
      query.set("code", {json.dumps(codes[0])});
      history.replaceState(null, "", `/callback?${{query}}`);
    }}""")
    alice.go("#/shares")
    with alice.signing_in():
        alice.click("Sign in")
    alice.told("The sign-in did not work")
    expect(alice.page.locator(".account")).to_have_count(0)


def test_a_link_at_another_origin_of_the_host_leads_nobody_away(person, site, tmp_path):
    """Sign-ins come back to the one origin that the methods name: elsewhere there is nobody to hand them to."""
    link = person("alice").send([small(tmp_path)], [BOB], title="Report")
    bob = person("bob")
    bob.go(link.replace("//localhost:", "//127.0.0.1:"))
    bob.click("Sign in to open")
    notice = bob.told("That can't be done as written")
    expect(notice).to_contain_text("this sign-in returns to another page than this one")
    assert [url for url in bob.requests if url.startswith(site.provider.issuer)] == []
