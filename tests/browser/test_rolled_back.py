"""The host puts an old copy of the Vault's database back, or runs two: who was here before is warned, with evidence."""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from strongroom.client.attacks import verify_evidence
from tests.browser.fronts import Front
from tests.browser.looks import faults
from tests.browser.people import PATIENCE
from tests.support.site import Site, apart

BOB = "bob@example.com"
OLDER = "The server shows an older state than this browser has seen"


class KeptSite(Site):
    """Whose host keeps a copy of the Vault's database, and puts it back."""

    def _serve(self, role, *more):
        child = super()._serve(role, *more)
        if role == "vault":
            self._vault = child
        return child

    def keep(self):
        """A copy of the database as it is now."""
        with self._vault_stopped():
            for file in self._files():
                shutil.copy2(file, self._copies / file.name)

    def put_back(self):
        """The copy, in the place of the database."""
        with self._vault_stopped():
            for file in self._files():
                file.unlink()
            for copy in self._copies.iterdir():
                shutil.copy2(copy, self.servers / "vault" / copy.name)

    @property
    def _copies(self):
        folder = self.servers / "copies"
        folder.mkdir(exist_ok=True)
        return folder

    def _files(self):
        return list((self.servers / "vault").glob("strongroom.sqlite3*"))

    @contextmanager
    def _vault_stopped(self):
        self._vault.stop()
        yield
        # the last of two addresses counts: the share server knows the first one
        apart(lambda: self._serve("vault", "--page", self.page_digest, "--listen", urlsplit(self.vault).netloc).ready())


@pytest.fixture
def kept_site(tmp_path):
    with KeptSite(tmp_path / "site") as site:
        yield site


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.txt"
    path.write_bytes(b"F-01 critical\n")
    return path


def alarmed(somebody):
    """The page stops in this view, says why, and what to do."""
    alarm = somebody.page.locator(".halt", has_text=OLDER)
    expect(alarm).to_be_visible(timeout=PATIENCE)
    expect(alarm).to_have_attribute("role", "alert")
    expect(alarm).to_contain_text("Send nothing here")
    expect(somebody.page.locator(".badge")).to_have_attribute("data-state", "refused")
    return alarm


def saved(somebody, tmp_path, within):
    """What the link in an alarm saves, as the command line reads it."""
    with somebody.page.expect_download() as coming:
        within.get_by_role("link", name="Save the evidence").click()
    assert coming.value.suggested_filename.startswith("strongroom-attack-")
    path = tmp_path / coming.value.suggested_filename
    coming.value.save_as(path)
    return verify_evidence(path)


def test_an_old_database_is_noticed_by_who_saw_a_newer_one(person, kept_site, report, tmp_path):
    alice = person("alice", at=kept_site)
    alice.send([report], [BOB], title="Before the copy was made")
    kept_site.keep()
    link = alice.send([report], [BOB], title="After it")
    alice.go("#/")
    alice.write([report], [BOB])
    expect(alice.page.locator(".badge")).to_have_attribute("data-state", "verified")

    kept_site.put_back()
    front = Front(alice)

    # A page that is open all along learns of it by what it asks next: nothing is asked of the reader before.
    alice.click("Encrypt and send")
    alarm = alarmed(alice)
    expect(alice.page.get_by_role("button", name="Encrypt and send")).to_be_disabled()
    assert len(alice.context.pages) == 1  # no window of the provider
    attack = saved(alice, tmp_path, alarm)
    assert attack.finding == "shorter"
    assert attack.known.checkpoint.size > attack.shown.checkpoint.size
    assert attack.url == f"{kept_site.origin}/vault/"
    assert not [asked for asked in front.sent() if "/blobs" in asked or "/authenticator" in asked]
    assert faults(alice.page) == []

    # One that is opened anew says so before anything is typed, whichever view it is opened in.
    for place in ("#/", "#/shares", "#/verify", "#/request", "#/passkey", link):
        alice.go(place)
        alarmed(alice)
    assert saved(alice, tmp_path, alarmed(alice)).finding == "shorter"
    assert faults(alice.page) == []
    assert not [line for line in alice.said if line.startswith("exception")]

    # Whoever was never here has nothing to compare with, and there are no witnesses here (docs/limits.md).
    bob = person("bob", at=kept_site)
    bob.go("#/verify")
    expect(bob.page.locator(".badge")).to_have_attribute("data-state", "verified")
    bob.sees("Nobody else watches its history")


def test_a_vault_that_only_starts_again_alarms_nobody(person, kept_site, report):
    alice = person("alice", at=kept_site)
    alice.send([report], [BOB], title="Before")
    kept_site.keep()
    alice.send([report], [BOB], title="After")
    alice.turn_to("#/shares")
    alice.sees("Before")
    assert alice.page.locator(".halt").count() == 0


def test_a_sender_is_stopped_in_the_middle_of_their_work(person, kept_site, report, tmp_path):
    alice = person("alice", at=kept_site)
    kept_site.keep()
    alice.send([report], [BOB], title="Taken back soon")
    alice.turn_to("#/shares")
    alice.sees("Taken back soon")
    kept_site.put_back()
    alice.page.get_by_text("Taken back soon").click()
    assert saved(alice, tmp_path, alarmed(alice)).finding == "shorter"
