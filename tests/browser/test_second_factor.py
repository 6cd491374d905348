"""More than an account: a passkey of the recipient's, or a second person."""

import json

import pytest
from playwright.sync_api import expect

BOB, CAROL = "bob@example.com", "carol@example.com"


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.txt"
    path.write_bytes(b"F-01 critical\n")
    return path


class SecurityKey:
    """One that knows its owner by their finger, as Chromium's DevTools simulate it."""

    def __init__(self, owner):
        self._devtools = owner.context.new_cdp_session(owner.page)
        self._devtools.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
        options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
        self._which = self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})

    def take_over(self, other):
        """Everything that another one holds."""
        for credential in other._devtools.send("WebAuthn.getCredentials", other._which)["credentials"]:
            self._devtools.send("WebAuthn.addCredential", {**self._which, "credential": credential})


def card_of(somebody):
    """The card that they make and give to senders."""
    somebody.go("#/passkey")
    somebody.page.get_by_label("Your e-mail address").fill(f"{somebody.user}@example.com")
    somebody.click("Make a passkey")
    card = somebody.page.get_by_label("Your card", exact=True).get_by_role("textbox")
    expect(card).to_be_visible()
    return card.input_value()


def with_cards(*cards):
    def more(page):
        page.get_by_text("More protection").click()
        page.get_by_role("switch", name="Also require a passkey").check()
        page.get_by_label("The recipients' cards").fill("\n".join(cards))

    return more


def with_second(address):
    def more(page):
        page.get_by_text("More protection").click()
        page.get_by_role("switch", name="Require a second person").check()
        page.get_by_label("Their e-mail address").fill(address)

    return more


# --- passkeys -------------------------------------------------------------------------------------------------


def test_a_share_that_asks_for_a_passkey_opens_with_it_and_not_without(person, site, report):
    bob, thief = person("bob"), person("bob")
    SecurityKey(bob)
    SecurityKey(thief)  # bob's account, but a key of the thief's own
    card = card_of(bob)
    assert json.loads(card)["name"] == BOB
    card_of(thief)
    link = person("alice").send([report], [BOB], title="Strict", more=with_cards(card))

    thief.open(link)
    dialog = thief.page.get_by_role("dialog")
    expect(dialog).to_contain_text("The sender asks for a passkey beside your account")
    dialog.get_by_role("button", name="Use the passkey of localhost").click()
    thief.told("The sign-in did not work")
    dialog.get_by_role("button", name="Cancel").click()
    expect(thief.page.get_by_text("report.txt")).to_have_count(0)

    bob.open(link)
    bob.click("Use the passkey of localhost")
    bob.opened("Strict")
    assert bob.download("Download") == b"F-01 critical\n"


def test_a_stolen_security_key_opens_nothing_with_another_account(person, report):
    carol, mallory = person("carol"), person("mallory")
    carols = SecurityKey(carol)
    card = card_of(carol)
    link = person("alice").send([report], [CAROL], title="Strict", more=with_cards(card))
    SecurityKey(mallory).take_over(carols)
    mallory.open(link)
    mallory.click("Use the passkey of localhost")
    mallory.told("This account can't open it")
    expect(mallory.page.get_by_text("report.txt")).to_have_count(0)
    carol.open(link)
    carol.click("Use the passkey of localhost")
    carol.opened("Strict")


def test_a_sender_is_told_of_a_card_that_is_missing_or_none(person, report):
    bob, alice = person("bob"), person("alice")
    SecurityKey(bob)
    card = card_of(bob)
    alice.go("#/")
    alice.write([report], [BOB, CAROL], more=with_cards(card))
    alice.click("Encrypt and send")
    alice.sees(f"There is no card for {CAROL}.")
    alice.page.get_by_label("The recipients' cards").fill(card[:-2])
    alice.sees("That is not a passkey card.")


def test_who_is_added_to_a_share_that_asks_for_passkeys_comes_with_a_card(person, report):
    alice, bob, carol = (person(name) for name in ("alice", "bob", "carol"))
    SecurityKey(bob)
    SecurityKey(carol)
    card = card_of(carol)
    link = alice.send([report], [BOB], title="Strict", more=with_cards(card_of(bob)))
    alice.page.get_by_role("link", name="See who opens it").click()
    alice.click("Add a recipient")
    dialog = alice.page.get_by_role("dialog")
    dialog.get_by_label("To", exact=True).fill(CAROL)
    alice.page.keyboard.press("Enter")
    add = dialog.get_by_role("button", name="Add", exact=True)
    expect(add).to_be_disabled()
    dialog.get_by_label("The recipients' cards").fill(card)
    add.click()
    expect(dialog).to_have_count(0)
    carol.open(link)
    carol.click("Use the passkey of localhost")
    carol.opened("Strict")


# --- a second person ------------------------------------------------------------------------------------------


def test_two_people_open_together_what_neither_opens_alone(person, report):
    link = person("alice").send([report], [BOB], title="Four eyes", more=with_second(CAROL))
    bob, carol = person("bob"), person("carol")
    carol.open(link)
    carol.told("This account can't open it")  # the second person is no recipient
    bob.open(link)
    expect(bob.page.get_by_role("button", name="Let a second person sign in")).to_be_visible()
    bob.click("Let a second person sign in")
    dialog = bob.page.get_by_role("dialog")
    expect(dialog).to_contain_text("The sender asks for two people")
    with bob.signing_in("carol"):
        dialog.get_by_role("button", name="Continue with").click()
    bob.opened("Four eyes")
    assert bob.download("Download") == b"F-01 critical\n"


def test_a_second_person_whom_the_sender_did_not_name_does_not_help(person, report):
    link = person("alice").send([report], [BOB], title="Four eyes", more=with_second(CAROL))
    bob = person("bob")
    bob.open(link)
    bob.click("Let a second person sign in")
    with bob.signing_in("mallory"):
        bob.page.get_by_role("dialog").get_by_role("button", name="Continue with").click()
    bob.told("This account can't open it")
    expect(bob.page.get_by_text("report.txt")).to_have_count(0)
