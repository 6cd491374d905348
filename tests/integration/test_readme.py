"""The README tells the truth: its commands and its Python run against a demo, its quotations are the demo's words."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from strongroom.attestation.policy import sections_of
from strongroom.attestation.trust_file import format_trust_policy, parse_trust_policy
from strongroom.client.instructions_file import parse_instructions_file
from tests.support import policies
from tests.support.command import ROOT, environment, marked

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PLACEHOLDER = "http://127.0.0.1:8400"
ISSUER_PLACEHOLDER = "http://127.0.0.1:8402"


class Demo:
    """`strongroom demo`, up and waiting."""

    def __init__(self, data):
        self.client = data / "client"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "strongroom.cli", "demo", "--data", str(data)],
            env=environment(**marked()),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        while "Ctrl-C ends everything" not in self.said:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        self.issuer = self._find(r"sign-in +(http://\S+)")
        self.vault = self._find(r"strongroom verify (http://\S+)")

    def _find(self, pattern):
        found = re.search(pattern, self.said)
        assert found, pattern
        return found[1]

    def run(self, arguments, user, **more):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        browser = f"{sys.executable} -m tests.support.browse {user} %s"
        return subprocess.run(
            arguments, cwd=self.client, env=environment(BROWSER=browser, PATH=path), capture_output=True, **more
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("readme") / "data")
    yield demo
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(20) == 0


def flat(text):
    return " ".join(text.split())


def test_the_first_25_lines_say_what_who_and_how():
    head = "\n".join(README.splitlines()[:25])
    for said in ("who can read your keys?", "make demo", "make test", "the operator can"):
        assert said in head.lower().replace("*", "")


def test_what_it_quotes_of_the_demo_the_demo_says(demo):
    block = next(body for language, body in BLOCKS if "make demo" in body and language == "console")
    block = block[: block.index("$ make test")]
    quoted = [line for line in block.splitlines() if line and not line.startswith("$")]
    assert len(quoted) > 6
    for line in quoted:
        assert flat(line) in flat(demo.said)


def test_its_commands_run(demo):
    block = next(body for _, body in BLOCKS if "strongroom describe" in body)
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) == 7
    for command in commands:
        user = re.search(r"sign in as (\w+)", command)
        done = demo.run(command.replace(PLACEHOLDER, demo.vault), user[1] if user else "nobody", shell=True)
        assert done.returncode == 0, done.stderr.decode()
    assert len((demo.client / "first.key").read_bytes()) == 32


def test_its_python_runs(demo):
    (code,) = [body for language, body in BLOCKS if language == "python"]
    assert PLACEHOLDER in code
    assert ISSUER_PLACEHOLDER in code
    code = code.replace(PLACEHOLDER, demo.vault).replace(ISSUER_PLACEHOLDER, demo.issuer)
    done = demo.run([sys.executable, "-c", code], "alice")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip() == b"b'secret'"


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_policy_of_the_policy_page_parses_and_has_every_field():
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "howto" / "policy.md").read_text(), re.DOTALL)
    policy = parse_trust_policy(text)
    assert list(sections_of(policy.vault)) == ["sgx", "tdx", "snp", "nitro"]
    assert parse_trust_policy(format_trust_policy(policy)) == policy


def test_the_files_of_the_serve_page_parse():
    page = (ROOT / "docs" / "howto" / "serve.md").read_text()
    instructions_toml, strongroom_toml = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert parse_instructions_file(instructions_toml, authenticator=policies.role())
    assert set(tomllib.loads(strongroom_toml)) == {"vault", "trust", "instructions", "namespace"}
