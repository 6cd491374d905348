"""People whom no provider knows: they sign in by a code that comes by e-mail, or with a directory's password."""

import asyncio

import pytest
from playwright.sync_api import expect

from strongroom.client.methods import directory_method, workload_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef
from tests.browser.behind import As
from tests.browser.looks import faults
from tests.browser.people import PATIENCE
from tests.idp.slapd import BASE, PASSWORD, USER_DN, Slapd
from tests.support.mailbox import Mailbox
from tests.support.site import NAMESPACE, Site, apart

pytestmark = pytest.mark.needs("slapd")
BOB, ALICE = "bob@example.com", "alice@example.test"
METHODS = """
[[method]]
type = "directory"
name = "directory.example.test"
flavour = "ldap"
servers = ["{ldap}"]
base = "{base}"
user_dn = "{user_dn}"
email_domains = ["example.test"]
ca = '''
{ldap_ca}'''
[[method]]
type = "email-code"
sender = "codes@example.org"
server = "{smtp}"
domains = ["example.com"]
ca = '''
{smtp_ca}'''
"""
BY_CODE = "A code by e-mail, from codes@example.org"
BY_PASSWORD = "User name and password of directory.example.test"
# Whatever a page can keep, as text.
KEPT = """async () => {
  const kept = [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie, document.body.innerHTML];
  for (const input of document.querySelectorAll("input")) kept.push(input.value);
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve) => (indexedDB.open(name).onsuccess = (e) => resolve(e.target.result)));
    for (const store of database.objectStoreNames) {
      const all = database.transaction(store).objectStore(store).getAll();
      kept.push(JSON.stringify(await new Promise((resolve) => (all.onsuccess = () => resolve(all.result)))));
    }
    database.close();
  }
  return kept.join("\\n");
}"""
# The clipboard of a headless browser holds nothing, but what a paste does can be done.
PASTE = """(field, text) => {
  field.focus();
  field.select();
  document.execCommand("insertText", false, text);
}"""


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def site(tmp_path_factory, mailbox):
    with Slapd() as slapd:
        words = {"ldap": slapd.ldaps, "base": BASE, "user_dn": USER_DN, "ldap_ca": slapd.ca.decode()}
        more = METHODS.format(**words, smtp=mailbox.url, smtp_ca=mailbox.certificates.decode())
        with Site(tmp_path_factory.mktemp("typed") / "site", more_methods=more) as site:
            yield site


@pytest.fixture
def link(person, tmp_path):
    """A share of alice's, for Bob and for the directory's Alice."""
    path = tmp_path / "report.txt"
    path.write_bytes(b"F-01 critical\n")
    sender = person("alice")
    sender.go("#/")
    sender.write([path], [BOB, ALICE], title="Report")
    sender.click("Encrypt and send")
    with sender.signing_in():
        choose(sender, "Continue with")
    return sender.link()


def choose(somebody, way):
    """One of the ways to sign in that are offered."""
    somebody.page.get_by_role("dialog").get_by_role("button", name=way).click()


def begin(somebody, link, way):
    somebody.go(link)
    somebody.click("Sign in to open")
    choose(somebody, way)


def field(somebody, label):
    return somebody.page.get_by_role("dialog").get_by_label(label, exact=True)


def ask_for_code(somebody, link, address=BOB):
    begin(somebody, link, BY_CODE)
    field(somebody, "Your e-mail address").fill(address)
    somebody.click("Send me a code")
    expect(field(somebody, "Code")).to_be_focused()


# --- codes ----------------------------------------------------------------------------------------------------


def test_who_has_no_account_opens_with_a_code_that_came_by_mail(person, link, mailbox):
    bob, before = person("bob"), mailbox.count(BOB)
    ask_for_code(bob, link)
    code = field(bob, "Code")
    assert (code.get_attribute("autocomplete"), code.get_attribute("inputmode")) == ("one-time-code", "numeric")
    digits = mailbox.code(BOB, before + 1)
    code.evaluate(PASTE, f" {digits[:4]} {digits[4:]} ")
    bob.page.keyboard.press("Enter")
    bob.opened("Report")
    assert bob.download("Download") == b"F-01 critical\n"
    assert not any("/callback" in url for url in bob.requests), "a provider was asked"
    assert not [line for line in bob.said if "Content Security Policy" in line], "a form was sent somewhere"


def test_a_wrong_code_is_told_with_the_tries_left_and_the_right_one_opens(person, link, mailbox):
    bob, before = person("bob"), mailbox.count(BOB)
    ask_for_code(bob, link)
    bob.sees("You have 5 tries.")
    right = mailbox.code(BOB, before + 1)
    field(bob, "Code").fill("12")
    bob.page.get_by_role("dialog").get_by_role("button", name="Sign in", exact=True).click()
    bob.sees("A code has eight digits.")
    field(bob, "Code").fill("00000000" if right != "00000000" else "00000001")
    bob.page.keyboard.press("Enter")
    bob.sees("You have 4 tries.")
    bob.told("That code is not right")
    expect(field(bob, "Code")).to_have_value("")
    field(bob, "Code").fill(right)
    bob.page.keyboard.press("Enter")
    bob.opened("Report")


def test_after_five_tries_and_after_a_pause_another_code_is_sent(person, link, mailbox):
    bob, before = person("bob"), mailbox.count(BOB)
    bob.page.clock.install()
    ask_for_code(bob, link)
    again = bob.page.get_by_role("button", name="Send another code")
    expect(again).to_have_count(0)
    bob.page.clock.fast_forward(31_000)
    again.click()
    right = mailbox.code(BOB, before + 2)
    wrong = next(f"0000000{at}" for at in range(2) if right != f"0000000{at}")
    for left in (5, 4, 3, 2, 1):
        bob.sees(f"You have {left} tr")
        field(bob, "Code").fill(wrong)
        bob.page.keyboard.press("Enter")
    bob.sees("This code has been tried too often.")
    again.click()
    field(bob, "Code").fill(mailbox.code(BOB, before + 3))
    bob.page.keyboard.press("Enter")
    bob.opened("Report")


def test_another_mailbox_of_the_same_domain_opens_nothing(person, link, mailbox):
    mallory = person("mallory")
    ask_for_code(mallory, link, "mallory@example.com")
    field(mallory, "Code").fill(mailbox.code("mallory@example.com"))
    mallory.page.keyboard.press("Enter")
    mallory.told("This account can't open it")
    expect(mallory.page.get_by_text("report.txt")).to_have_count(0)


def test_an_address_that_may_not_sign_in_is_answered_alike_and_gets_no_mail(person, link, mailbox):
    eve = person("eve")
    ask_for_code(eve, link, "eve@elsewhere.example")
    eve.sees("If eve@elsewhere.example may sign in here, a code from codes@example.org is on its way.")
    assert mailbox.count("eve@elsewhere.example") == 0


def test_who_sends_is_offered_no_code_since_nobody_takes_back_by_one(person):
    alice = person("alice")
    alice.go("#/shares")
    alice.click("Sign in")
    dialog = alice.page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Continue with")).to_be_visible()
    expect(dialog.get_by_role("button", name=BY_PASSWORD)).to_be_visible()
    expect(dialog.get_by_role("button", name=BY_CODE)).to_have_count(0)


def test_another_way_can_be_chosen_at_any_time_and_giving_up_is_no_sign_in(person, link):
    bob = person("bob")
    begin(bob, link, BY_CODE)
    bob.click("Another way")
    choose(bob, BY_PASSWORD)
    bob.click("Another way")
    choose(bob, BY_CODE)
    field(bob, "Your e-mail address").fill("nobody@elsewhere.example")
    bob.click("Send me a code")
    bob.click("Another way")  # before it is answered
    choose(bob, BY_PASSWORD)
    expect(field(bob, "Password")).to_be_visible()
    bob.click("Cancel")
    bob.told("You are not signed in")


# --- passwords ------------------------------------------------------------------------------------------------


def test_a_directory_lets_people_in_and_says_who_sees_the_password(person, link):
    alice = person("alice")
    begin(alice, link, BY_PASSWORD)
    dialog = alice.page.get_by_role("dialog")
    expect(dialog).to_contain_text("directory.example.test")
    expect(dialog).to_contain_text("whoever runs it can read your password")  # no hardware protects this one
    expect(dialog).not_to_contain_text("Your password goes to your provider only")
    expect(field(alice, "User name in directory.example.test")).to_be_focused()
    field(alice, "User name in directory.example.test").fill("alice")
    field(alice, "Password").fill("wrong horse")
    alice.page.keyboard.press("Enter")
    alice.told("That did not work")
    expect(field(alice, "Password")).to_have_value("")
    field(alice, "User name in directory.example.test").fill("alice")
    field(alice, "Password").fill(PASSWORD)
    alice.page.keyboard.press("Enter")
    alice.opened("Report")
    kept = alice.page.evaluate(KEPT)
    assert PASSWORD not in kept
    assert "wrong horse" not in kept


def link_to(site, method):
    """A record that asks for this method alone, by a sender of the same site."""

    async def store():
        rules = Policy.anyone_signed_in(method=method).may("collect", "update", "delete")
        place = AuthenticatorRef(url=site.authenticator, policy=encode(site.trust.authenticator))
        async with AsyncVault(site.vault, site.trust, sign_in=As("alice")) as vault:
            asked = instructions(authenticators=[place], methods=[method], rules=rules)
            return await vault.store(b"secret", namespace=NAMESPACE, instructions=asked)

    return f"{site.origin}/#/s/{apart(lambda: asyncio.run(store())).address.id.hex()}"


def test_no_password_is_asked_for_a_directory_that_only_the_sender_names(person, site):
    """Not even one of the same name: the site answers for definitions, not for names (RULES 14)."""
    method = directory_method("directory.example.test", ["ldaps://ldap.mallory.example"], base=BASE)
    alice = person("alice")
    alice.go(link_to(site, method))
    alice.click("Sign in to open")
    notice = alice.told("Stopped for your safety")
    expect(notice).to_contain_text("directory.example.test, which this site does not know")
    expect(alice.page.locator("input[type=password]")).to_have_count(0)


def test_what_is_for_programs_says_so(person, site):
    bob = person("bob")
    bob.go(link_to(site, workload_method("https://token.actions.example.com")))
    bob.click("Sign in to open")
    expect(bob.told("This is for programs")).to_contain_text("command line")


# --- looks ----------------------------------------------------------------------------------------------------


def test_what_is_typed_to_sign_in_is_clean_on_phone_and_desk(person, link):
    bob = person("bob")
    bob.go(link)
    bob.click("Sign in to open")
    bob.sees("Choose how to show who you are.")
    assert faults(bob.page) == []
    choose(bob, BY_PASSWORD)
    expect(field(bob, "Password")).to_be_visible()
    assert faults(bob.page) == []
    bob.click("Another way")
    choose(bob, BY_CODE)
    field(bob, "Your e-mail address").fill("bob")
    bob.click("Send me a code")
    expect(bob.page.get_by_role("dialog").locator(".error-text")).to_be_visible(timeout=PATIENCE)
    assert faults(bob.page) == []
    field(bob, "Your e-mail address").fill(BOB)
    bob.click("Send me a code")
    expect(field(bob, "Code")).to_be_visible()
    assert faults(bob.page) == []
