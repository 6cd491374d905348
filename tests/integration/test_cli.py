"""The command line as people and scripts meet it: texts, exit statuses, files, and the whole round through servers."""

import json
import os
import pty
import re
import shutil
import socket
import stat

import pytest

from strongroom.cli.demo.stage import Stage
from strongroom.cli.main import run
from strongroom.protocol.limits import MAX_SECRET
from tests.support.command import strongroom
from tests.support.people import ssh_key

ADDRESS = "0" * 32
INSTRUCTIONS = """
[[authenticator]]
url = "{authenticator}"
[[method]]
type = "oidc"
issuer = "{issuer}"
client_id = "strongroom-demo"
client_secret = "any"
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("cli") / "stage") as stage:
        stage.start()
        stage.wait()
        yield stage


@pytest.fixture(scope="module")
def home(stage):
    """A client's directory: pinned by the command, settings written, a namespace opened by the owner."""
    home = stage.client
    servers = ("--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"])
    pinned = strongroom("trust", "pin", *servers, "--insecure", "--yes", cwd=home)
    assert pinned.status == 0, pinned.err
    instructions = INSTRUCTIONS.format(authenticator=stage.authenticator["url"], issuer=stage.issuer)
    (home / "instructions.toml").write_text(instructions)
    (home / "strongroom.toml").write_text(
        f'vault = "{stage.vault["url"]}"\ntrust = "trust.toml"\n'
        'instructions = "instructions.toml"\nnamespace = "team"\n'
    )
    owner = stage.servers / "vault" / "owner.key"
    created = strongroom("namespace", "create", "team", "--anyone", "--max-bytes", "5G", "--owner-key", owner, cwd=home)
    assert created.status == 0, created.err
    return home


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- mistakes that need no server -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "error", "hint"),
    [
        (["colect"], 2, "no such command 'colect'", "strongroom --help"),
        (["collect", ADDRESS, "--no-such"], 2, "no such option", "strongroom collect --help"),
        (["collect", "not-an-address", "-o", "f"], 2, "is not an address", "32 hex digits"),
        (["collect", ADDRESS, "-o", "f"], 2, "--vault is missing", "strongroom.toml"),
        (["collect", ADDRESS, "-o", "there"], 2, "exists already", "another file"),
        (["collect", ADDRESS, "-o", "no/where"], 2, "can't create", "a directory that you may write"),
        (["collect", ADDRESS, "--json"], 2, "--json would mix", "--output FILE"),
        (["collect", ADDRESS, "-o", "f", "--print"], 2, "exclude each other", "choose one"),
        (["collect", ADDRESS, "-o", "f", "--vault", "http://127.0.0.1:1"], 2, "--trust is missing", "give --trust"),
        (["delete", ADDRESS], 2, "no terminal to confirm", "--yes"),
        (["update", ADDRESS, "--trust", "there"], 2, "nothing to update", "--for"),
        (["namespace", "create", "n", "--owner-key", "k"], 2, "who may create", "--anyone"),
        (
            ["namespace", "create", "n", "--anyone", "--owner-key", "k", "--max-bytes", "5X"],
            2,
            "--max-bytes: '5X'",
            "10G",
        ),
        (["namespace", "create", "a/b", "--anyone", "--owner-key", "k"], 2, "can't be a namespace", "slash"),
        (["serve", "vault", "--data", "d", "--listen", "here"], 2, "not an address to listen on", "127.0.0.1:8400"),
        (["trust", "show", "there"], 2, "trust policy", "docs/howto/policy.md"),
        (["trust", "show"], 2, "can't read trust.toml", "strongroom trust pin"),
        (["verify", "ftp://x"], 2, "not the URL of a server", "http"),
        (["verify", "http://127.0.0.1:1"], 12, "can't be reached", "check the address"),
        (["demo", "--data", "."], 2, "is not empty", "new directory"),
        (["store", "-", "--replaces", "3"], 2, "goes with --name only", "deleted record"),
        (["collect", "demo/"], 2, "'demo/' is a namespace", "demo/NAME"),
        (["describe", "demo"], 2, "'demo' is not an address", "demo/"),
        (["serve", "vault", "--data", "d", "--listen", "127.0.0.1:0", "--platform", "there"], 2, "not a dir", "absent"),
    ],
)
def test_a_mistake_is_two_lines_and_a_status(here, capsys, arguments, status, error, hint):
    (here / "there").write_text("this is no trust policy")
    assert run(arguments) == status
    captured = capsys.readouterr()
    first, second = captured.err.strip().splitlines()[-2:]
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
    assert hint in second
    assert captured.out == ""
    assert sorted(path.name for path in here.iterdir()) == ["there"]


@pytest.mark.parametrize("group", [[], ["trust"], ["serve"], ["namespace"]])
def test_a_group_alone_shows_its_help(capsys, group):
    assert run(group) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(" ".join(["Usage: strongroom", *group]))
    assert len(shown.splitlines()) > 8
    assert "error:" not in shown


def test_a_stray_argument_is_not_repeated(capsys):
    assert run(["store", "-", "hunter2", "(a) b\nc"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: got unexpected extra argument(s)"


def test_a_port_in_use_is_found_before_anything_is_made(here, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "vault", "--data", "d", "--platform", "p", "--listen", f"127.0.0.1:{port}"]) == 12
    assert f"port {port}: address already in use\n" in capsys.readouterr().err
    assert not list(here.iterdir())


def test_the_version_is_shown(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("strongroom 0.")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ('vualt = "http://x"', "unknown setting 'vualt'"),
        ("vault = 3", "must be a text"),
        ("vault = ", "is not TOML"),
    ],
)
def test_wrong_settings_are_refused(here, capsys, settings, error):
    (here / "strongroom.toml").write_text(settings)
    assert run(["describe", ADDRESS]) == 2
    assert error in capsys.readouterr().err


def test_settings_that_others_may_write_are_refused(here, capsys):
    (here / "strongroom.toml").write_text('vault = "http://attacker.example"')
    (here / "strongroom.toml").chmod(0o666)
    assert run(["describe", ADDRESS]) == 2
    assert "others may write" in capsys.readouterr().err


def test_a_servers_text_can_not_steer_the_terminal(capsys):
    assert run(["collect", "\x1b[2J\x1b]0;owned\x07", "-o", "f"]) == 2
    assert "\x1b" not in capsys.readouterr().err


# --- secrets in and out ---------------------------------------------------------------------------------------


def on_terminal(*arguments, cwd, stream):
    ours, theirs = pty.openpty()
    try:
        return strongroom(*arguments, cwd=cwd, terminal=(stream, theirs))
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_secret_is_not_typed_into_a_terminal(home):
    ran = on_terminal("store", "-", "--for", "bob@example.com", cwd=home, stream="stdin")
    assert ran.status == 2
    assert "would be read from this terminal" in ran.err


def test_a_secret_is_not_shown_on_a_terminal_unasked(home):
    ran = on_terminal("collect", ADDRESS, cwd=home, stream="stdout")
    assert ran.status == 2
    assert "shown on this terminal" in ran.err
    assert "--output FILE" in ran.err


@pytest.mark.parametrize(("secret", "error"), [(b"", "is empty"), (bytes(MAX_SECRET + 1), "larger than 65,536 bytes")])
def test_a_secret_of_a_wrong_size_is_refused_before_anybody_signs_in(home, secret, error):
    ran = strongroom("store", "-", "--for", "bob@example.com", cwd=home, stdin=secret)
    assert ran.status == 2
    assert error in ran.err


def test_a_secret_with_nobody_to_collect_it_is_refused(home):
    ran = strongroom("store", "-", cwd=home, stdin=b"key")
    assert ran.status == 2
    assert "nobody may collect it" in ran.err


# --- trust ----------------------------------------------------------------------------------------------------


def test_software_evidence_is_pinned_only_by_its_name(stage, here):
    servers = ("--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"])
    ran = strongroom("trust", "pin", *servers, "--yes", "--milan", cwd=here)
    assert ran.status == 10
    assert "say --insecure" in ran.err
    assert not (here / "trust.toml").exists()


def test_pinning_asks_and_does_not_overwrite(stage, home, here):
    servers = ("--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"])
    unasked = strongroom("trust", "pin", *servers, "--insecure", cwd=here)
    assert unasked.status == 2
    assert "no terminal to confirm" in unasked.err
    assert not (here / "trust.toml").exists()
    before = (home / "trust.toml").read_bytes()
    again = strongroom("trust", "pin", *servers, "--insecure", "--yes", cwd=home)
    assert again.status == 2
    assert "--force" in again.err
    assert strongroom("trust", "pin", *servers, "--insecure", "--yes", "--force", cwd=home).status == 0
    assert (home / "trust.toml").read_bytes() == before


def test_pinning_again_never_lowers_a_floor(stage, home, here, capsys):
    servers = ["--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"]]
    pin = ["trust", "pin", *servers, "--insecure", "--yes", "--force"]
    text = (home / "trust.toml").read_text()
    seen = max(int(found) for found in re.findall(r"min_tcb_evaluation = (\d+)", text))
    raised = text.replace(f"min_tcb_evaluation = {seen}", f"min_tcb_evaluation = {seen + 1}")
    (here / "trust.toml").write_text(raised)
    assert run(pin) == 10
    assert f"TCB evaluation {seen}, below the floor {seen + 1} of trust.toml" in capsys.readouterr().err
    assert (here / "trust.toml").read_text() == raised
    (here / "trust.toml").write_text(text.replace(f"min_tcb_evaluation = {seen}", f"min_tcb_evaluation = {seen - 1}"))
    assert run(pin) == 0
    assert f"vault: the floor of TCB evaluation rises from {seen - 1} to {seen}" in capsys.readouterr().err
    assert (here / "trust.toml").read_text() == text
    (here / "trust.toml").write_text("no policy at all")
    assert run(pin) == 2
    assert "its floors would be lost" in capsys.readouterr().err
    assert (here / "trust.toml").read_text() == "no policy at all"


def test_machines_are_pinned_only_if_asked(stage, home, here):
    servers = ["--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"]]
    assert 'platform_ids = "any"' in (home / "trust.toml").read_text()
    assert run(["trust", "pin", *servers, "--insecure", "--yes", "--machines"]) == 0
    assert 'platform_ids = "any"' not in (here / "trust.toml").read_text()
    assert run(["verify", stage.vault["url"], "--trust", "trust.toml"]) == 0


def test_pinning_shows_what_it_pins(stage, here, capsys):
    servers = ["--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"]]
    assert run(["trust", "pin", *servers, "--insecure", "--yes"]) == 0
    shown = capsys.readouterr().err
    for role in (stage.vault, stage.authenticator):
        assert f"  {role['measurement']}\n" in shown
        assert f"  {role['cluster_id']}\n" in shown
    assert "NO HARDWARE" in shown
    assert "a DEVELOPMENT cluster" in shown


def test_an_authenticator_is_not_pinned_as_a_vault(stage, here):
    url = stage.authenticator["url"]
    ran = strongroom("trust", "pin", "--vault", url, "--authenticator", url, "--insecure", "--yes", cwd=here)
    assert ran.status == 11
    assert "vault was expected" in ran.err


def test_a_policy_is_shown(stage, home):
    shown = strongroom("trust", "show", cwd=home)
    assert shown.status == 0
    text = shown.out.decode()
    assert "insecure-pinned" in text
    assert "NO HARDWARE" in text
    assert stage.vault["measurement"] in text
    assert stage.authenticator["cluster_id"] in text


def test_evidence_is_verified_step_by_step(stage, home):
    ran = strongroom("verify", stage.vault["url"], cwd=home)
    assert ran.status == 0
    assert "trusted: by trust.toml" in ran.out.decode()
    assert "NO HARDWARE" in ran.out.decode()
    assert stage.vault["measurement"] in ran.out.decode()
    assert not [line for line in ran.out.decode().splitlines() if line != line.rstrip() or len(line) > 100]
    assert ran.err == "settings from strongroom.toml\n"
    found = json.loads(strongroom("verify", stage.vault["url"], "--json", cwd=home).out)
    assert found["verdict"] == "trusted"
    steps = {step["name"]: step["value"] for step in found["steps"]}
    assert steps["MRENCLAVE"] == stage.vault["measurement"]
    assert steps["accepted program"] == "by measurement"
    assert found["report"]["registers"] == {"MRENCLAVE": stage.vault["measurement"]}
    assert steps["accepted cluster"] == stage.vault["cluster_id"]


def test_evidence_without_a_policy_is_never_called_trusted(stage, here):
    ran = strongroom("verify", stage.vault["url"], cwd=here)
    assert ran.status == 11
    assert "not appraised" in ran.out.decode()
    assert "not judged: whose cluster this is" in ran.out.decode()


def test_a_refusal_shows_what_was_found(stage, home, here, capsys):
    text = (home / "trust.toml").read_text().replace(stage.vault["measurement"], "00" * 32)
    (here / "trust.toml").write_text(text)
    assert run(["verify", stage.vault["url"], "--trust", "trust.toml"]) == 10
    shown = capsys.readouterr()
    assert f"  {stage.vault['measurement']}\n" in shown.out
    assert "\nrefused: " in shown.out
    assert "error: genuine, but refused by the trust policy insecure-pinned: " in shown.err
    assert run(["verify", stage.vault["url"], "--trust", "trust.toml", "--json"]) == 10
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["number"]) == ("refused", 306)


def test_software_evidence_is_never_a_release(stage, home, here, capsys):
    measurement = stage.vault["measurement"]
    release = here / f"{measurement}.toml"
    release.write_text(
        f'version = "0.1.0"\nrole = "vault"\nkind = "sgx"\ntcb = "{"00" * 32}"\nbuilt = "{"00" * 20}"\n'
        f'[registers]\nMRENCLAVE = "{measurement}"\n'
    )
    for trust in ([], ["--trust", str(home / "trust.toml")]):
        assert run(["verify", stage.vault["url"], "--release", str(release), *trust]) == 10
        assert "this is insecure-software evidence, and the release is for sgx" in capsys.readouterr().err
    release.rename(here / "renamed.toml")
    assert run(["verify", stage.vault["url"], "--release", "renamed.toml"]) == 2
    assert f"should be named {measurement}.toml" in capsys.readouterr().err
    assert run(["verify", stage.vault["url"], "--release", "none.toml"]) == 2


def test_evidence_in_another_role_is_refused(stage, home):
    ran = strongroom("verify", stage.authenticator["url"], "--role", "vault", "--json", cwd=home)
    assert ran.status == 11
    assert (json.loads(ran.out)["number"], json.loads(ran.out)["verdict"]) == (301, "untrusted")
    assert "vault was expected" in ran.err


def test_another_cluster_is_refused_before_anything_is_sent(stage, home, here):
    text = (home / "trust.toml").read_text().replace(stage.vault["cluster_id"], "00" * 32)
    (here / "trust.toml").write_text(text)
    ran = strongroom("collect", ADDRESS, "--vault", stage.vault["url"], "--trust", "trust.toml", cwd=here)
    assert ran.status == 10
    assert f"cluster {stage.vault['cluster_id']} is not one that the policy names" in ran.err


# --- the whole round ------------------------------------------------------------------------------------------


def test_a_secret_goes_round(home):
    secret = os.urandom(48)
    (home / "in.key").write_bytes(secret)
    stored = strongroom("store", "in.key", "--for", "bob@example.com", "--json", cwd=home, user="alice")
    assert stored.status == 0, stored.err
    receipt = json.loads(stored.out)
    address = receipt["address"]
    assert receipt == {"address": address, "version": 1}
    assert "signed in as alice@example.com" in stored.err

    piped = strongroom("collect", address, cwd=home, user="bob")
    assert (piped.status, piped.out) == (0, secret), piped.err
    written = strongroom("collect", address, "-o", "out.key", "--json", cwd=home, user="bob")
    assert written.status == 0, written.err
    found = json.loads(written.out)
    assert (found["size"], found["version"], found["metadata"]) == (48, 1, {"filename": "in.key"})
    assert (home / "out.key").read_bytes() == secret
    assert stat.S_IMODE((home / "out.key").stat().st_mode) == 0o600

    refused = strongroom("collect", address, "-o", "stolen.key", cwd=home, user="mallory")
    assert refused.status == 10
    assert "error: refused, or there is no such record" in refused.err
    assert not (home / "stolen.key").exists()
    missing = strongroom("collect", ADDRESS, "-o", "stolen.key", cwd=home, user="mallory")
    assert (missing.status, missing.err.splitlines()[-2:]) == (10, refused.err.splitlines()[-2:])

    described = json.loads(strongroom("describe", address, "--json", cwd=home).out)
    assert described["methods"][0]["channels"] == ["native"]
    assert "bob@example.com" not in json.dumps(described)

    updated = strongroom("update", address, "-", "--for", "mallory@example.com", cwd=home, user="alice", stdin=b"new")
    assert updated.status == 0, updated.err
    assert strongroom("collect", address, cwd=home, user="mallory").out == b"new"
    assert strongroom("collect", address, cwd=home, user="bob").status == 10

    stale = strongroom("delete", address, "--yes", "--version", "1", cwd=home, user="alice")
    assert stale.status == 2
    assert "another version" in stale.err
    assert "repeat with --version 2" in stale.err
    assert strongroom("delete", address, "--yes", cwd=home, user="mallory").status == 10
    deleted = strongroom("delete", address, "--yes", "--json", cwd=home, user="alice")
    assert deleted.status == 0, deleted.err
    assert json.loads(deleted.out)["version"] == 3
    assert strongroom("collect", address, cwd=home, user="mallory").status == 10


def test_a_record_has_a_name(home):
    named = ("store", "-", "--name", "tls/key", "--for", "bob@example.com")
    stored = strongroom(*named, cwd=home, user="alice", stdin=b"k")
    assert (stored.status, stored.out) == (0, b"team/tls/key\n"), stored.err
    assert strongroom("collect", "team/tls/key", cwd=home, user="bob").out == b"k"
    again = strongroom(*named, cwd=home, user="alice", stdin=b"k")
    assert again.status == 2
    assert "error: team/tls/key exists already, or was deleted" in again.err
    assert "strongroom update team/tls/key FILE" in again.err


def test_a_name_that_recipients_by_another_method_can_not_find_is_warned_of(home):
    keys = f'[[method]]\ntype = "keys"\n[[method.key]]\nperson = "bob@example.com"\npublic_key = "{ssh_key("bob")}"\n'
    (home / "more.toml").write_text(f"{(home / 'instructions.toml').read_text()}\n{keys}")
    store = ("store", "-", "--for", "bob@example.com")
    more = (*store, "--instructions", "more.toml")
    for command, warned in ((more, False), ((*more, "--name", "lost"), True), ((*store, "--name", "found"), False)):
        stored = strongroom(*command, cwd=home, user="alice", stdin=b"k")
        assert stored.status == 0, stored.err
        assert (
            "nobody finds this name who signs in by method 1 (keys) alone" in " ".join(stored.err.split())
        ) is warned


def test_a_deleted_name_is_taken_again(home):
    named = ("store", "-", "--name", "again", "--for", "bob@example.com")
    assert strongroom(*named, cwd=home, user="alice", stdin=b"old").status == 0
    deleted = strongroom("delete", "team/again", "--yes", "--json", cwd=home, user="alice")
    version = json.loads(deleted.out)["version"]
    refused = strongroom(*named, cwd=home, user="alice", stdin=b"new")
    assert refused.status == 2
    assert "store --replaces VERSION" in refused.err
    stored = strongroom(*named, "--replaces", version, cwd=home, user="alice", stdin=b"new")
    assert stored.status == 0, stored.err
    assert strongroom("collect", "team/again", cwd=home, user="bob").out == b"new"


def test_a_namespace_is_replaced_only_by_its_version_and_its_owner(stage, home):
    owner = stage.servers / "vault" / "owner.key"
    create = ("namespace", "create", "team", "--anyone", "--owner-key")
    again = strongroom(*create, owner, cwd=home)
    assert again.status == 2
    assert "error: namespace team exists already" in again.err
    assert "hint: --replaces 1 replaces it" in again.err
    stranger = strongroom(*create, stage.servers / "authenticator" / "owner.key", cwd=home)
    assert stranger.status == 10
    assert "is --owner-key the key" in stranger.err


def test_a_description_keeps_digests_whole(stage, home):
    described = strongroom("describe", "team/", cwd=home)
    assert described.status == 0, described.err
    lines = described.out.decode().splitlines()
    assert f"  cluster      {stage.authenticator['cluster_id']}" in lines
    assert not [line for line in lines if line != line.rstrip() or len(line) > 80]


def test_own_rules_are_checked_before_anything_is_sent(home):
    (home / "rules.cedar").write_text(
        'permit (principal, action == Action::"collect", resource) when { context.nope };'
    )
    ran = strongroom("store", "-", "--rules", "rules.cedar", cwd=home, stdin=b"k")
    assert ran.status == 2
    assert "the rules are not right: policy 0, from line 1: unknown attribute" in ran.err


def test_the_data_directory_serves_one_instance(stage, here):
    data = stage.servers / "vault"
    ran = strongroom("serve", "vault", "--data", data, "--platform", here / "p", "--listen", "127.0.0.1:0", cwd=here)
    assert ran.status == 12
    assert "INSECURE" in ran.err
    assert "another instance runs on the data directory" in ran.err


def test_a_recipient_who_may_not_create_finds_what_is_his_by_name(stage, home):
    owner = stage.servers / "vault" / "owner.key"
    opened = ("namespace", "create", "press", "--for", "alice@example.com", "--owner-key", owner)
    assert strongroom(*opened, cwd=home).status == 0
    named = ("store", "-", "--name", "draft", "--namespace", "press", "--for", "bob@example.com")
    assert strongroom(*named, cwd=home, user="bob", stdin=b"k").status == 10
    assert strongroom(*named, cwd=home, user="alice", stdin=b"k").status == 0
    assert strongroom("collect", "press/draft", cwd=home, user="bob").out == b"k"
    assert strongroom("collect", "press/draft", cwd=home, user="mallory").status == 10


def test_data_of_another_platform_is_named_as_such(stage, here):
    shutil.copytree(stage.servers / "vault", here / "copy", ignore=shutil.ignore_patterns("lock"))
    ran = strongroom("serve", "vault", "--data", "copy", "--platform", "p", "--listen", "127.0.0.1:0", cwd=here)
    assert ran.status == 11  # no later start will open it: nothing for a program that starts servers again and again
    assert "error: the key ring in copy does not open" in ran.err
    assert "is p the platform directory" in ran.err
