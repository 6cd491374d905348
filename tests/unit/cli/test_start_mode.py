"""How `serve` is told to begin."""

import json
from pathlib import Path

import pytest

from strongroom.cli.start_mode import StartMode, start_mode, tell_waiting
from strongroom.cli.terminal import Failure

FILE = Path("invitation")


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ((False, None, False, None), StartMode("open", "", b"")),
        ((True, None, False, None), StartMode("found", "", b"")),
        ((False, None, True, None), StartMode("recover", "", b"")),
        ((False, "http://a.test:8400/", False, None), StartMode("join", "http://a.test:8400", b"")),
        ((False, "http://a.test", False, "ab" * 32), StartMode("join", "http://a.test", b"\xab" * 32)),
        ((False, "http://a.test", False, None, FILE), StartMode("join", "http://a.test", b"", FILE)),
    ],
)
def test_each_way_to_begin(options, mode):
    assert start_mode(*options) == mode


def test_a_drill_is_a_way_of_its_own():
    assert start_mode(False, None, False, None, drill=True) == StartMode("drill", "", b"")
    with pytest.raises(Failure, match="four ways"):
        start_mode(False, None, True, None, drill=True)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((True, None, True, None), "four ways"),
        ((True, "http://a.test", False, None), "four ways"),
        ((False, None, False, "ab" * 32), "goes with --join"),
        ((False, None, False, None, FILE), "goes with --join"),
        ((False, "http://a.test", False, "AB" * 32), "is not the id"),
    ],
)
def test_what_does_not_go_together_is_said(options, text):
    with pytest.raises(Failure, match=text):
        start_mode(*options)


def test_the_command_that_comes_next_is_printed(capsys):
    tell_waiting("vault", "founding", "http://127.0.0.1:8400", "data/owner.key", True)
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["url"]) == ("founding", "http://127.0.0.1:8400")
    assert said["next"].startswith(
        "strongroom cluster init http://127.0.0.1:8400 --role vault --owner-key data/owner.key"
    )
    tell_waiting("authenticator", "recovering", "http://127.0.0.1:8401", "x", True)
    assert json.loads(capsys.readouterr().out)["next"] == (
        "strongroom recover status http://127.0.0.1:8401 --role authenticator"
    )
    tell_waiting("vault", "recovering", "http://127.0.0.1:8400", "x", True, "--insecure")
    assert json.loads(capsys.readouterr().out)["next"].endswith("--role vault --insecure")
    tell_waiting("vault", "standing-by", "http://127.0.0.1:8400", "x", True, "--insecure")
    assert json.loads(capsys.readouterr().out)["next"] == ""
