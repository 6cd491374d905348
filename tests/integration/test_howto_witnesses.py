"""docs/howto/witnesses.md, as somebody follows it: three witnesses, a Vault that waits for them, and what each says."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from strongroom.host.witness.courier import Trouble
from strongroom.host.witness.policy import parse_policy
from strongroom.protocol.errors import WORDS, Number
from strongroom.protocol.notes import ED25519, Verifier
from tests.support.command import ROOT, environment, strongroom

PAGE = (ROOT / "docs" / "howto" / "witnesses.md").read_text()
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
SECONDS = 60


class Started:
    """A command of the page, with ports of its own; its output in files."""

    def __init__(self, command, folder, ports, name, **changes):
        for port, free in ports.items():
            command = command.replace(f":{port}", f":{free}")
        for old, new in changes.items():
            command = command.replace(old, new)
        program, *arguments = command.split()
        assert program == "strongroom"
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "strongroom.cli", *arguments, "--until-eof"],
                cwd=folder,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )

    def says(self, pattern):
        """The first group of what it comes to say."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.out.read_text() + self.err.read_text())):
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, self.out.read_text() + self.err.read_text()
            time.sleep(0.1)
        return found[1] if found.groups() else found[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


@pytest.fixture
def ports():
    """A free one for each of the page."""
    sockets = {port: socket.create_server(("127.0.0.1", 0)) for port in (8400, 8611, 8612, 8613)}
    free = {port: each.getsockname()[1] for port, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return free


@pytest.fixture
def run(tmp_path, ports):
    started: list[Started] = []

    def start(command, name, **changes):
        started.append(Started(command, tmp_path, ports, name, **changes))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_the_page_works_as_it_stands(run, ports, tmp_path):
    first, vault_command, named = COMMANDS[:3], COMMANDS[3], COMMANDS[4:]
    witnesses = [run(command, f"w{n}") for n, command in enumerate(first)]
    policy = TEXTS[1]
    for letter, witness in zip("ABC", witnesses, strict=True):
        vkey = witness.says(r"verifier key (\S+)")
        policy = re.sub(rf"witness {letter} \S+", f"witness {letter} {vkey}", policy)
    for port, free in ports.items():
        policy = policy.replace(f":{port}", f":{free}")
    (tmp_path / "witnesses.policy").write_text(policy)

    vault = run(vault_command, "vault")
    log = vault.says(r"the log's verifier key is (\S+)")
    quoted = TEXTS[2].splitlines()[2]
    assert vault.says(re.escape(quoted)) == quoted
    assert vault.err.read_text().count("waiting for 2 of 3 witnesses") == 1
    assert "vault ready" not in vault.out.read_text()
    for n in (0, 1):
        witnesses[n].stop()
        assert run(named[n], f"again{n}", LOG=log).says(r"witness ready\n(?:.*\n)*  log key +(\S+)") == log
    vault.says(r"witnesses +2 of 3")
    assert vault.says(r"  log key +(\S+)") == log
    pinned = strongroom("trust", "pin", "--vault", vault.says(r"url +(\S+)"), "--insecure", "--json", cwd=tmp_path)
    assert pinned.status in (0, 2), pinned.err
    note = urllib.request.urlopen(vault.says(r"url +(\S+)") + "/v1/log/checkpoint").read().decode()
    assert note.count("— witness-") >= 2
    vault.stop()

    other = policy.replace("group watchers 2 A", "group watchers 3 A")
    (tmp_path / "other.policy").write_text(other)
    for options, hint in (
        ((), "hint: name their file with --witnesses"),
        (
            ("--witnesses", "other.policy"),
            "hint: name the file with those in office; if they are gone for good, only custodians",
        ),
    ):
        status, said = ended("vault", tmp_path, *options)
        assert status == 2
        assert "error: this cluster has 3 witnesses of whom 2 must cosign" in said
        assert hint in said

    shutil.copytree(tmp_path / "vault", tmp_path / "old")
    again = run(vault_command, "later")
    again.says("vault ready")
    again.stop()
    status, said = ended("old", tmp_path, "--witnesses", "witnesses.policy")
    assert status == 11
    assert Trouble.LATER.value in said


def ended(data, folder, *options):
    """Of a Vault that does not start."""
    start = ("serve", "vault", "--data", data, "--platform", "machine", "--listen", "127.0.0.1:0", *options)
    ran = strongroom(*start, cwd=folder)
    return ran.status, " ".join(ran.err.split())


def test_the_policy_of_the_page_parses():
    assert parse_policy(TEXTS[1].encode()).cosignatures == 2


def test_what_it_says_of_troubles_is_what_is_said():
    said = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    known = {trouble.value for trouble in Trouble} - {Trouble.NO_PROOF.value} | {"cosigns again", "witness … "}
    assert set(said) == known
    for number in (Number.WITNESSES_UNAVAILABLE, Number.LEASE_ENDED):
        words = re.search(rf"`([^`]+)` \({int(number)}\)", PAGE)
        assert words
        assert words[1] in WORDS[number][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log", "hello"], "a verifier key is NAME+HASH+KEY"),
        (["--log", "\udcff" + str(Verifier("", ED25519, bytes(32)))], "a verifier key is NAME+HASH+KEY"),
        (["--name", "\udcff"], "is text"),
        (["--log", "example.com/log+00000000+AQAA"], "is not a log's"),
        (["--name", "https://w.example"], "without its scheme"),
        (["--name", "w example"], "a name has no spaces and no +"),
        (["--name", "w+example"], "a name has no spaces and no +"),
        ([], "needs a name"),
    ],
)
def test_what_a_witness_can_not_be_told_is_an_error_with_a_hint(tmp_path, arguments, words):
    done = strongroom("serve", "witness", "--data", "w", "--listen", "127.0.0.1:0", *arguments, cwd=tmp_path)
    assert done.status == 2
    assert words in done.err
    assert "hint:" in done.err
    assert not (tmp_path / "w" / "witness.key").exists()


def test_a_witness_that_lost_its_memory_or_is_another_does_not_start(tmp_path):
    def refusal(*arguments):
        done = strongroom("serve", "witness", "--data", "w", "--listen", "127.0.0.1:0", *arguments, cwd=tmp_path)
        assert done.status == 2 or "can't be opened" in done.err
        return " ".join(done.err.split())

    data = tmp_path / "w"
    done = strongroom(
        "serve", "witness", "--data", "w", "--listen", "127.0.0.1:0", "--name", "w.example", "--json", "--until-eof",
        cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.out)["verifier_key"].startswith("w.example+")
    assert (data / "witness.key").stat().st_mode & 0o777 == 0o600
    assert "is named w.example, for ever" in refusal("--name", "another.example")
    (data / "witness.key").chmod(0o640)
    assert "others can read the key" in refusal()
    (data / "witness.key").chmod(0o600)
    key = (data / "witness.key").read_text()
    (data / "witness.key").write_text(key[:-10] + "000000000\n")
    assert "the key of another witness" in refusal()
    (data / "witness.key").unlink()
    assert "can't read the key" in refusal()
    (data / "witness.key").write_text(key)
    (data / "witness.key").chmod(0o600)
    (data / "witness.sqlite3").rename(tmp_path / "lost")
    assert "nothing that says what it has cosigned" in refusal("--name", "w.example")
    assert "nothing that says what it has cosigned" in refusal()
    (data / "witness.sqlite3").write_bytes(b"not a database" * 100)
    assert "can't be opened" in refusal()
