"""The key that commands keep for each Vault: whoever owns an account is known when they come again."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from strongroom.cli import connection
from strongroom.cli.kept_key import kept_file, kept_key
from strongroom.cli.settings import Settings
from strongroom.client.errors import BadInput
from strongroom.client.keys import load_or_make_key

VAULT = "https://vault.example.com"
UNNAMED = Settings(trust=Path("trust.toml"))


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def opened_with(monkeypatch):
    """The binding keys of the Vaults that commands open."""
    keys = []

    class Opened:
        def __init__(self, url, trust, *, binding_key, **options):
            keys.append(binding_key.public)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

    async def nothing(vault):
        return None

    def run(vault=VAULT, key=None, settings=UNNAMED):
        connection.run_with_vault(nothing, settings=settings, vault=vault, trust=None, key=key)
        return keys[-1]

    monkeypatch.setattr(connection, "AsyncVault", Opened)
    monkeypatch.setattr(connection, "load_trust", lambda path: SimpleNamespace())
    return run


def test_the_owner_is_no_stranger_when_they_come_again(opened_with):
    assert opened_with() == opened_with() == kept_key(VAULT).public


def test_a_named_key_comes_before_the_kept_one(opened_with, tmp_path, state):
    bob = load_or_make_key(tmp_path / "bob.key").public
    assert opened_with(key=tmp_path / "bob.key") == bob
    assert opened_with(settings=Settings(trust=Path("trust.toml"), key=tmp_path / "bob.key")) == bob
    assert not state.exists()


def test_two_vaults_do_not_learn_that_they_have_the_same_user():
    others = ["http://vault.example.com", f"{VAULT}:8400", "https://vault.example.org", "http://127.0.0.1:443"]
    assert len({kept_key(url).public for url in [VAULT, *others]}) == 5


@pytest.mark.parametrize("url", [f"{VAULT}/", f"{VAULT}:443", "https://VAULT.example.com", f"{VAULT}/vault"])
def test_one_server_has_one_key_however_it_is_written(url):
    assert kept_file(url) == kept_file(VAULT)


def test_the_kept_key_is_its_owners_alone():
    before = os.umask(0)
    try:
        kept_key(VAULT)
    finally:
        os.umask(before)
    path = kept_file(VAULT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_commands_that_begin_at_once_keep_one_key():
    with ThreadPoolExecutor(16) as pool:
        assert len({key.public for key in pool.map(lambda _: kept_key(VAULT), range(64))}) == 1
    assert list(kept_file(VAULT).parent.iterdir()) == [kept_file(VAULT)]


def test_a_spoiled_key_is_told_of_and_left_as_it_is(opened_with):
    path = kept_file(VAULT)
    path.parent.mkdir(parents=True)
    path.write_text("0" * 64)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="not a Strongroom key") as caught:
        opened_with()
    assert f"move {path} away" in caught.value.hint
    assert path.read_text() == "0" * 64


def test_a_key_that_others_may_read_is_not_used(opened_with):
    kept_key(VAULT)
    kept_file(VAULT).chmod(0o644)
    with pytest.raises(BadInput, match="others can read"):
        opened_with()


def test_without_a_place_to_keep_a_key_one_signs_in_all_the_same(opened_with, state, capsys):
    state.write_text("no directory")
    assert opened_with() != opened_with()
    assert "no key is kept" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["", "relative"])
def test_the_state_folder_is_the_users(monkeypatch, tmp_path, named):
    monkeypatch.setenv("XDG_STATE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".local" / "state" / "strongroom" in kept_file(VAULT).parents
