"""Real enclaves under rules that Gramine has: no fork, no locks, no memfd, and no clock but the host's.

There is no Gramine here. The kernel enforces the rules on the software platform's entries, which run on the same loop
as those of SGX; what Gramine itself does is not shown by this.
"""

import asyncio
import math
import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scene import RULES, scene
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item
from tests.support.gramine_rules import sitecustomize as rules

DIRECTORY = Path(rules.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.needs("cc"),
    pytest.mark.skipif(
        platform.machine() != "x86_64" or sys.platform != "linux", reason="the filter is written for Linux on x86-64"
    ),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, DIRECTORY / "clock.c"], check=True)
    return library


@pytest.fixture
def clock(shim, tmp_path, monkeypatch):
    """A function that sets the enclaves' clocks: so many seconds ahead of the true time."""
    control = tmp_path / "ahead"

    def turn(seconds):
        with control.open("r+b" if control.exists() else "wb") as file:
            file.write(struct.pack("<d", seconds))

    turn(0)
    monkeypatch.setenv("STRONGROOM_TEST_CLOCK", str(control))
    monkeypatch.setenv(rules.SHIM, str(shim))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DIRECTORY), str(ROOT / "src"), str(ROOT)]))
    return turn


def under_the_rules(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, rules.MARK],
        env={**os.environ, "PYTHONPATH": str(DIRECTORY), **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def is_under_the_rules(pid):
    assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()
    assert "clock.so" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize(
    "code",
    {
        "fork": "import os; os.fork()",
        "a subprocess": "import subprocess; subprocess.run(['true'])",
        "flock": "import fcntl; fcntl.flock(open('/dev/null'), fcntl.LOCK_SH)",
        "a record lock": "import fcntl; fcntl.lockf(open('/dev/null'), fcntl.LOCK_SH)",
        "memfd": "import os; os.memfd_create('x')",
    }.items(),
    ids=lambda case: case[0],
)
def test_the_filter_kills(code):
    assert under_the_rules(code[1]).returncode == -signal.SIGSYS


def test_the_filter_lets_threads_and_other_fcntl_be():
    code = (
        "import threading, fcntl; threading.Thread(target=print, args=['ran']).start(); fcntl.fcntl(0, fcntl.F_GETFL)"
    )
    ran = under_the_rules(code)
    assert (ran.returncode, ran.stdout) == (0, "ran\n"), ran.stderr


def test_the_clock_really_jumps(clock):
    code = """
import time
steps, last = set(), time.monotonic()
for _ in range(20):
    time.sleep(0.02)
    now = time.monotonic()
    steps.add(round((now - last) / 3600))
    last = now
print(sorted(steps), time.time())
"""
    clock(5000)
    ran = under_the_rules(code)
    steps, wall = ran.stdout.rsplit(" ", 1)
    assert steps == "[-1, 0, 1]", ran.stderr
    assert math.isclose(float(wall), os.stat(os.environ["STRONGROOM_TEST_CLOCK"]).st_mtime + 5000, abs_tol=30)


async def test_a_store_and_a_collect_work_under_the_rules(clock):
    async with scene() as it:
        for server in (it.vault, it.authenticator):
            is_under_the_rules(server.pids[1])
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, names = await it.ticket(binding, wire), [os.urandom(16) for _ in range(4)]
        # Ahead, back, ahead: never behind the time at which the ticket was made, since that would undo it.
        for ahead, name in zip((0, 200, 20, 120), names, strict=True):
            clock(ahead)
            await wire.ask(it.store(ticket, [name], it.instructions(RULES)))
            await asyncio.sleep(0.06)
            reply = await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=name)]))
            assert [type(result) for result in reply.results] == [Item]
