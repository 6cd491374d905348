"""A Vault as people run it, whose operator restores an older database: the command and the SDK report an attack."""

import json
import re
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from strongroom import Vault, load_trust
from strongroom.cli.demo.sign_in import SignInByItself
from strongroom.cli.demo.stage import Stage
from strongroom.client.attacks import verify_evidence
from strongroom.client.checkpoints import KeptCheckpoints
from strongroom.protocol.errors import Number, Untrusted
from tests.support.command import STATE, strongroom

INSTRUCTIONS = """
[[authenticator]]
url = "{authenticator}"
[[method]]
type = "oidc"
issuer = "{issuer}"
client_id = "strongroom-demo"
client_secret = "any"
"""


class Restoring(Stage):
    """Whose operator puts a copy of the Vault's database back."""

    def _serve(self, role, port):
        child = super()._serve(role, port)
        if role == "vault":
            self._vault = child
        return child

    @contextmanager
    def vault_stopped(self):
        self._vault.stop()
        self._children.remove(self._vault)
        yield self.servers / "vault"
        self._serve("vault", urlsplit(self.vault["url"]).port).ready()


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Restoring(tmp_path_factory.mktemp("freshness") / "stage") as stage:
        stage.start()
        stage.wait()
        servers = ("--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"])
        assert strongroom("trust", "pin", *servers, "--insecure", "--yes", cwd=stage.client).status == 0
        instructions = INSTRUCTIONS.format(authenticator=stage.authenticator["url"], issuer=stage.issuer)
        (stage.client / "instructions.toml").write_text(instructions)
        (stage.client / "strongroom.toml").write_text(
            f'vault = "{stage.vault["url"]}"\ntrust = "trust.toml"\n'
            'instructions = "instructions.toml"\nnamespace = "team"\n'
        )
        owner = stage.servers / "vault" / "owner.key"
        created = strongroom("namespace", "create", "team", "--anyone", "--owner-key", owner, cwd=stage.client)
        assert created.status == 0, created.err
        yield stage


@pytest.fixture(scope="module")
def address(stage):
    stored = strongroom("store", "-", "--for", "bob@example.com", cwd=stage.client, user="alice", stdin=b"a secret")
    assert stored.status == 0, stored.err
    return stored.out.decode().split()[0]


def databases(folder):
    return sorted(folder.glob("strongroom.sqlite3*"))


def test_the_log_says_who_asked(stage, address):
    assert strongroom("collect", address, cwd=stage.client, user="bob").out == b"a secret"
    assert strongroom("collect", address, cwd=stage.client, user="mallory").status == 10
    shown = strongroom("history", address, cwd=stage.client, user="alice")
    assert shown.status == 0, shown.err
    lines = shown.out.decode().splitlines()
    assert lines[0].split() == ["WHEN", "(UTC)", "WHO", "DID", "ANSWER", "VERSION", "LEAF"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  ", lines[1])
    assert [re.split(r" {2,}", line)[2] for line in lines[1:]] == ["audit", "collect", "collect", "create"]
    assert "refused, or there is no such record" in lines[2]
    assert "mallory" in lines[2]
    assert re.search(r"all 4 entries, none left out; each is proven to be in the log, which has \d+ leaves", shown.err)
    few = strongroom("history", address, "--limit", "2", "--json", cwd=stage.client, user="alice")
    found = json.loads(few.out)
    assert [entry["number"] for entry in found["entries"]] == [5, 4]
    assert (found["address"], found["total"], found["version"]) == (address, 5, 1)
    assert found["log_size"] > found["entries"][0]["leaf"]
    everything = strongroom("history", address, "--all", cwd=stage.client, user="alice")
    assert "all 6 entries" in everything.err
    refused = strongroom("history", address, cwd=stage.client, user="bob")
    assert (refused.status, "whoever stored it may audit" in refused.err) == (10, True)
    both = strongroom("history", address, "--all", "--limit", "2", cwd=stage.client)
    assert (both.status, "exclude each other" in both.err) == (2, True)


def test_an_older_database_is_reported_as_an_attack(stage, address, monkeypatch, tmp_path):
    with stage.vault_stopped() as data:
        (stage.servers / "copy").mkdir()
        for file in databases(data):
            shutil.copy2(file, stage.servers / "copy")
    assert strongroom("collect", address, cwd=stage.client, user="bob").status == 0, "a restart is no attack"
    with stage.vault_stopped() as data:
        for file in databases(data):
            file.unlink()
        for file in (stage.servers / "copy").iterdir():
            shutil.copy2(file, data)
    ran = strongroom("collect", address, cwd=stage.client, user="bob")
    assert ran.status == 11
    assert ran.out == b""
    first, second = ran.err.strip().splitlines()[-2:]
    assert first.startswith("error: an older state is shown than one that is known")
    assert second.startswith("hint: store nothing more here")
    path = first.rpartition("the evidence is in ")[2]
    assert path.startswith(STATE.name)
    attack = verify_evidence(path)
    assert attack.url == stage.vault["url"]
    assert f"{attack.known.checkpoint.size:,} entries; now: {attack.shown.checkpoint.size:,}" in first
    monkeypatch.setenv("XDG_STATE_HOME", STATE.name)
    trust = load_trust(stage.client / "trust.toml")
    with pytest.raises(Untrusted) as caught, Vault(stage.vault["url"], trust, sign_in=SignInByItself("bob")) as vault:
        vault.collect(address)
    assert caught.value.number is Number.ROLLED_BACK
    # Who was never here can't know, without witnesses: the documents say so.
    elsewhere = KeptCheckpoints(tmp_path)
    with Vault(stage.vault["url"], trust, sign_in=SignInByItself("bob"), checkpoints=elsewhere) as vault:
        assert vault.collect(address).secret == b"a secret"
