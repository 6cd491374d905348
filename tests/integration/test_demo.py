"""The demo keeps its promises, and leaves nothing behind however it ends."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.command import alive, environment, marked

SECONDS = 30
STAYS_UP = b"Ctrl-C ends everything"


def start(mark, *arguments, tmp):
    return subprocess.Popen(
        [sys.executable, "-m", "strongroom.cli", "demo", *arguments],
        env=environment(**mark, TMPDIR=str(tmp)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def tmp():
    # Short: what the servers are told stays readable in a failure.
    path = Path(tempfile.mkdtemp(prefix="srd-"))
    yield path
    shutil.rmtree(path)


def gone(mark):
    """Whether all processes end within a few seconds."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        if not alive(mark):
            return True
        time.sleep(0.1)
    return False


def read_until(process, text):
    seen = b""
    while text not in seen:
        line = process.stdout.readline()
        assert line, seen.decode()
        seen += line
    return seen.decode()


def test_once_tells_the_whole_story_and_ends(tmp):
    mark = marked()
    process = start(mark, "--once", tmp=tmp)
    out = process.communicate(timeout=SECONDS)[0].decode()
    assert process.returncode == 0, out
    assert "error: refused, or there is no such record" in out
    assert re.search(r"exit status +10", out)
    assert "byte for byte what Alice wrote" in out
    assert re.search(r"0000  (?:[0-9a-f]{4} ){8}", out)
    assert len(re.findall(r"(?m)^ +(?:the key|bob@\S+|alice@\S+|the name letter-key) +nowhere$", out)) == 4
    assert re.search(r"first 32 bytes +in vault/strongroom\.sqlite3", out)
    assert alive(mark) == []
    assert list(tmp.iterdir()) == []


def test_what_is_kept_is_kept_where_it_was_asked_for(tmp):
    data = tmp / "kept"
    process = start(marked(), "--once", "--data", str(data), tmp=tmp)
    out = process.communicate(timeout=SECONDS)[0].decode()
    assert process.returncode == 0, out
    key = (data / "client" / "bob.key").read_bytes().strip()
    assert key.startswith(b"AGE-SECRET-KEY-1")
    held = [path for path in (data / "servers").rglob("*") if path.is_file()]
    assert held
    assert [path for path in held if key in path.read_bytes()] == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything(tmp, number, status):
    mark = marked()
    process = start(mark, tmp=tmp)
    out = read_until(process, STAYS_UP)
    assert "collect demo/letter-key" in out
    assert len(alive(mark)) >= 6
    process.send_signal(number)
    rest = process.communicate(timeout=SECONDS)[0].decode()
    assert process.returncode == status, rest
    assert "Traceback" not in rest
    assert alive(mark) == []
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize("moment", [b"Three servers", b"$ strongroom collect", STAYS_UP])
def test_nothing_runs_on_after_sigkill(tmp, moment):
    mark = marked()
    process = start(mark, tmp=tmp)
    read_until(process, moment)
    process.kill()
    process.wait()
    assert gone(mark), alive(mark)
    process.stdout.close()


def test_a_server_that_ends_ends_the_demo(tmp):
    mark = marked()
    process = start(mark, tmp=tmp)
    read_until(process, STAYS_UP)
    subprocess.run(["pkill", "-KILL", "-P", str(process.pid), "-f", "demo.provider"], check=True)
    rest = process.communicate(timeout=SECONDS)[0].decode()
    assert process.returncode == 1, rest
    assert "error: the demo's sign-in provider ended by itself" in rest
    assert alive(mark) == []
