"""`strongroom serve authenticator --reach`: what is typed becomes a claim; what is no destination is refused."""

import json
import subprocess
import sys

import httpx
import pytest

from strongroom.protocol.evidence import ConfigValue, parse_evidence
from tests.support.command import environment, strongroom


@pytest.mark.parametrize(
    "reach",
    ["10.0.0.0/8", "10.0.0.1/8:636", "ldaps://dc1.corp.example", "dc1.corp.example:0", "*.corp:636", "\x1b[2J:1"],
)
def test_a_destination_that_is_none_is_refused_with_what_to_write(tmp_path, reach):
    ran = strongroom("serve", "authenticator", "--data", "d", "--platform", "p", "--reach", reach, cwd=tmp_path)
    assert ran.status == 2
    assert "error: --reach" in ran.err
    assert "hint: name one port of a host or network" in ran.err
    assert "\x1b" not in ran.err
    assert list(tmp_path.iterdir()) == []


def test_what_may_be_reached_is_a_claim(tmp_path):
    reach = ["--reach", "dc1.corp.example:636", "--reach", "10.20.0.0/16:636", "--reach", "dc1.corp.example:636"]
    serving = subprocess.Popen(
        [
            *(sys.executable, "-m", "strongroom.cli", "serve", "authenticator", "--data", "d", "--platform", "p"),
            *("--listen", "127.0.0.1:0", "--until-eof", "--json", *reach),
        ],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with serving:
        assert serving.stdout is not None
        lines = list(iter(serving.stdout.readline, b"}\n"))
        said = json.loads(b"".join(lines) + b"}")
        evidence = httpx.get(f"{said['url']}/v1/evidence", trust_env=False).content
        assert serving.stdin is not None
        serving.stdin.close()
    claims = parse_evidence(evidence)[1]
    assert claims.config == [ConfigValue(name="egress", value="10.20.0.0/16:636,dc1.corp.example:636")]
    assert serving.returncode == 0
