"""How tests run commands (`tests/support/command.py`): a forked one is a process like any other."""

import os
import subprocess
import time
from contextlib import suppress

import pytest

from tests.support import command
from tests.support.command import strongroom

SECONDS = 10


def test_streams_directory_and_status_are_the_command_s_own(tmp_path):
    ran = strongroom("trust", "show", cwd=tmp_path)
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err.startswith("error: can't read trust.toml")
    (tmp_path / "trust.toml").write_text("this is no trust policy")
    assert strongroom("trust", "show", cwd=tmp_path).err.startswith("error: trust.toml: trust policy: ")
    shown = strongroom("--version", cwd=tmp_path)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith(b"strongroom ")


def test_a_command_that_nobody_waits_for_any_more_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "SECONDS", 3)
    os.mkfifo(tmp_path / "trust.toml")  # it waits for somebody to write
    with pytest.raises(subprocess.TimeoutExpired):
        strongroom("trust", "show", cwd=tmp_path)
    with suppress(OSError):  # ENXIO, EPIPE: nobody reads
        with open(os.open(tmp_path / "trust.toml", os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as writer:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                writer.write(b"#")
                time.sleep(0.05)
        pytest.fail("it goes on reading")
