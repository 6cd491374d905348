"""docs/howto/custodians.md, as an owner and custodians follow it: founded, pinned, another council, a new epoch."""

import json
import re
import shlex
import subprocess
import sys
import time

import pytest

from strongroom.client.custodians import parse_identities
from strongroom.client.share.age import Opener, generate_identity, parse_identity
from strongroom.protocol.shares import WORDS
from tests.support.command import ROOT, environment, strongroom
from tests.support.share_words import SOURCE, words_told
from tests.support.ssh_keys import SshKey

PAGE = (ROOT / "docs" / "howto" / "custodians.md").read_text()
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
STATUS = (ROOT / "docs" / "howto" / "status.md").read_text()
SECONDS = 60


class Running:
    """A command that goes on, its output in files."""

    def __init__(self, folder, name, *arguments):
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "strongroom.cli", *arguments],
                cwd=folder,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )

    def says(self, pattern):
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.out.read_text() + self.err.read_text())):
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, self.out.read_text() + self.err.read_text()
            time.sleep(0.1)
        return found[1] if found.groups() else found[0]

    def stop(self):
        if self.process.stdin:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def run(tmp_path):
    started = []

    def start(name, *arguments):
        started.append(Running(tmp_path, name, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def keygen(folder, name):
    """What `age-keygen` does: an identity, and its recipient."""
    identity = generate_identity()
    (folder / f"{name}.key").write_text(f"# created: today\n# public key: age1pq1…\n{identity}\n")
    (folder / f"{name}.pub").write_text(f"{parse_identity(identity).recipient.text}\n")


def opened(folder, name):
    """The page in a custodian's file, as `age -d` writes it."""
    [identity] = parse_identities((folder / f"{name}.key").read_text())
    opener = Opener(identity)
    return (opener.open((folder / "shares" / f"{name}.share.age").read_bytes()) + opener.finish()).decode()


def words_of(page):
    words = re.findall("[a-z]+", page.partition("\nWords\n")[2].partition("\n\n")[0])
    assert len(words) == WORDS
    return " ".join(words)


def ready(server):
    return server.says(r"url +(http://\S+)")


def commands(beginning, places):
    found = [line for line in COMMANDS if line.startswith(beginning)]
    assert found, beginning
    for documented, real in places.items():
        found = [line.replace(documented, real) for line in found]
    return [shlex.split(line)[1:] for line in found]


def test_the_page_works_as_it_stands(run, tmp_path):
    for name in ("alice", "bob", "carol", "dora"):
        keygen(tmp_path, name)
        assert name == "dora" or f"age-keygen -pq -o {name}.key" in COMMANDS
    [serve] = commands("strongroom serve vault", {"127.0.0.1:8400": "127.0.0.1:0"})
    vault = run("vault", *serve, "--until-eof")
    vault.says("vault founding")
    authenticator = run(
        "authenticator",
        "serve",
        "authenticator",
        *("--data", "authenticator", "--platform", "machine", "--listen", "127.0.0.1:0", "--until-eof"),
    )
    places = {"http://127.0.0.1:8400": ready(vault), "http://127.0.0.1:8401": ready(authenticator)}

    def told(arguments, status=0):
        ran = strongroom(*arguments, "--yes", cwd=tmp_path)
        assert ran.status == status, ran.err
        return ran

    [init] = commands("strongroom cluster init", places)
    (tmp_path / "stranger.key").write_text(f"{'0' * 63}1\n")
    (tmp_path / "stranger.key").chmod(0o600)
    strange = [{"vault/owner.key": "stranger.key", "shares": "others"}.get(word, word) for word in init]
    assert "another owner" in told(strange, status=10).err
    approver = SshKey()
    (tmp_path / "approver.pub").write_text(f"{approver.line}\n")
    founding = run("init", *init, "--approver", "approver.pub", "--yes")
    founding.says("waiting for them")
    founding.says("FEWER APPROVERS")
    accepting = commands("strongroom cluster accept", places)
    assert "another key" in told([word.replace("bob.key", "carol.key") for word in accepting[1]], status=2).err
    page = opened(tmp_path, "bob")
    for recipient, status in (([], 2), (["--recipient", (tmp_path / "carol.pub").read_text().strip()], 11)):
        by_hand = ["cluster", "accept", accepting[1][2], "-", *recipient, "--insecure", "--yes"]
        ran = strongroom(*by_hand, cwd=tmp_path, stdin=page.encode())
        assert ran.status == status, ran.err
        assert not words_told(words_of(page), ran.err)
    for number, one in enumerate(accepting[:3], 1):
        # The page says so of Bob's: on standard output there is the page for paper, and nothing else.
        ran = told([*one, "--print"] if number == 2 else one)
        assert ran.out.decode() == (page if number == 2 else "")
        assert ("you were the last" in ran.err) == (number == 3)
        if number == 1:
            founding.says("alice has accepted")  # who looks now and then does not see all that is told in between
    cluster = founding.says(r"the cluster is founded: ([0-9a-f]{64})")
    assert founding.process.wait(SECONDS) == 0
    assert vault.says(r"cluster +([0-9a-f]{64})") == cluster
    assert not (tmp_path / "shares" / "alice.share.age").stat().st_mode & 0o77
    # Over a cluster nothing is founded, and nothing is written for it.
    again = [word if word != "shares" else "others" for word in init]
    assert "a member of cluster" in told(again, status=10).err
    assert not (tmp_path / "others").exists()

    [pin] = commands("strongroom trust pin", places)
    told(pin)
    says_how_it_stands(tmp_path, places["http://127.0.0.1:8400"])
    [charter] = commands("strongroom cluster charter", places)

    def governed():
        ran = strongroom(*charter, "--json", cwd=tmp_path)
        assert ran.status == 0, ran.err
        return json.loads(ran.out)

    first = governed()
    assert (first["cluster"], first["council"], first["development"]) == (cluster, 0, False)
    [reshare] = commands("strongroom cluster reshare", places)
    changes = told([*reshare, "--no-wait"]).err
    for shown in ("= approver", "= approvals +1 of 1", "- custodian +bob", r"\+ custodian +dora", "= custodian +alice"):
        assert re.search(f"^{shown}", changes, re.MULTILINE), changes
    present = told([word.replace("next/", "shares/") for word in accepting[3]], status=2).err
    assert "it is of council 0, which is in office: keep it" in present
    # Of another cluster: said by the share's page, where nobody named a policy that could be to blame.
    strange = page.replace(cluster, "ab" * 32).encode()
    endorsed = ["cluster", "endorse", accepting[3][2], "-", "--insecure", "--yes"]
    ran = strongroom(*endorsed, cwd=tmp_path, stdin=strange)
    assert (ran.status, "this share is of another cluster" in ran.err) == (2, True), ran.err
    for one in accepting[3:]:
        told(one)
    assert governed()["council"] == 0
    first, second = commands("strongroom cluster endorse", places)
    assert "signed; 1 more signature is wanted" in told(first).err
    assert "you had signed already; 1 more signature is wanted" in told(first).err
    assert "council 1 is in office" in told(second).err
    then = governed()
    assert (then["cluster"], then["council"], then["pending"]) == (cluster, 1, "")
    assert [one["name"] for one in then["custodians"]] == ["alice", "dora"]
    # The page's reshare names no approvers: those who were go on to be.
    assert then["approvers"] == [approver.public_key.hex()]
    words = strongroom(*charter, cwd=tmp_path)
    assert "council 0" in words.out.decode()
    assert "signatures verified" in words.err
    [rotate] = commands("strongroom cluster rotate", places)
    rotated = strongroom(*rotate, cwd=tmp_path)
    assert rotated.status == 0, rotated.err
    assert "epoch 3 has begun" in rotated.err  # the second one began with the council


def says_how_it_stands(folder, url):
    """docs/howto/status.md: its commands, at a Vault that serves."""
    shown = re.search(r"```console\n\$ (.+)\n((?:.*\n)+?)```", STATUS)
    assert shown is not None
    others = re.findall(r"^`(strongroom status [^`]+)`", STATUS, re.MULTILINE)
    assert [line.split()[3:] for line in others] == [["--host"], ["--quiet"]]
    asked = [line.replace("https://vault.example.com", url).replace("URL", url) for line in (shown[1], *others)]
    proven, host, quiet = (strongroom(*shlex.split(line)[1:], cwd=folder) for line in asked)
    assert (proven.status, host.status, quiet.status) == (0, 0, 0), proven.err + host.err + quiet.err
    said = proven.out.decode() + proven.err
    for line in shown[2].splitlines():
        assert line == "…" or line in said, said
    assert "the host's word" in host.out.decode() + host.err
    assert (quiet.out, quiet.err) == (b"", "")


def test_errors_that_the_page_quotes_are_the_programs():
    for quoted in re.findall(r'^\| "([^"]+)" \|', PAGE, re.MULTILINE):
        assert quoted in SOURCE, quoted
