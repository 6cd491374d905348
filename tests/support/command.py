"""Runs the command line as people do: a process, its files, its standard streams, its browser."""

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "STRONGROOM_TEST_MARK"
SECONDS = 60
FORK_ME = Path(__file__).with_name("fork_me.py")
STATE = tempfile.TemporaryDirectory(prefix="strongroom-state-")
"""Where commands keep keys: never in the home of whoever runs the tests."""


@dataclass
class Ran:
    status: int
    out: bytes
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, self.err


def environment(**more):
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "NO_COLOR": "1", "XDG_STATE_HOME": STATE.name, **more}


@cache
def _forks():
    """Where tests/support/forked.py listens: it runs as long as this process does."""
    folder = tempfile.TemporaryDirectory(prefix="strongroom-forks-")
    where = f"{folder.name}/commands"
    with socket.create_server(where, family=socket.AF_UNIX) as listening:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(listening.fileno())],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listening.fileno()],
        )
    assert server.stdout is not None
    assert server.stdout.readline(), "tests/support/forked.py did not start"
    return where, folder, server


def strongroom(*arguments, cwd, user=None, stdin=b"", terminal=None):
    """Run `strongroom ARGUMENTS`; a sign-in is done by `user`. `terminal`: (stream, descriptor) to connect to one."""
    browser = f"{sys.executable} -m tests.support.browse {user} %s" if user else "false %s"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "input": stdin}
    if terminal is not None:
        streams |= dict([terminal])
        if terminal[0] == "stdin":
            del streams["input"]
    done = subprocess.run(
        [sys.executable, "-IS", str(FORK_ME), _forks()[0], *map(str, arguments)],
        cwd=cwd,
        env=environment(BROWSER=browser),
        timeout=SECONDS,
        **streams,
    )
    return Ran(done.returncode, done.stdout or b"", done.stderr.decode())


def marked():
    """A mark that a process hands down to all that it starts."""
    return {MARK: uuid.uuid4().hex}


def alive(mark):
    """Command lines of the processes that carry this mark."""
    wanted = f"{MARK}={mark[MARK]}".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return [line for line in found if line]
