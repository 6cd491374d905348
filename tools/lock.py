"""Writes uv.lock and every package-lock.json anew: newest versions, and no address of any package registry.

A lock records where each file was found, which ties it to one registry or mirror. Here only names, exact versions and
hashes are kept; every machine fetches from the registry that it is set up for. tools/bootstrap.py installs from it.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.node import commands

ROOT = Path(__file__).resolve().parent.parent
HOST = re.compile(r'"[a-z+]+://[^"]*"')


def without_hosts(lock: str) -> str:
    lock = re.sub(r'url = "[a-z+]+://[^"]*/([^"/]+)"', r'path = "\1"', lock)
    lock = re.sub(r'registry = "[^"]*"', 'registry = "pypi"', lock)
    if left := HOST.search(lock):
        raise SystemExit(
            f"error: uv.lock would name a host: {left.group()}\nhint: depend on a release, not on an address"
        )
    return lock


def lock_python() -> None:
    uv = Path(sys.executable).parent / "uv"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        subprocess.run([uv, "lock", "--directory", folder], check=True)
        (ROOT / "uv.lock").write_text(without_hosts((folder / "uv.lock").read_text()))


def lock_node(folder: Path) -> None:
    found = commands()
    if found is None:
        raise SystemExit("error: no Node.js with npm\nhint: `make ready` installs one")
    with tempfile.TemporaryDirectory() as name:
        # Apart from node_modules, from which npm would take what this machine needs and leave out the others' parts.
        apart = Path(name)
        workspaces = json.loads((folder / "package.json").read_text()).get("workspaces", [])
        for part in [".npmrc", "package.json", *(f"{workspace}/package.json" for workspace in workspaces)]:
            (apart / part).parent.mkdir(exist_ok=True)
            shutil.copy(folder / part, apart / part)
        subprocess.run([*found[1], "install", "--package-lock-only", "--silent"], cwd=apart, check=True)
        content = json.loads((apart / "package-lock.json").read_text())
    for package in content["packages"].values():
        if not package.get("link"):  # a workspace is linked to its folder, which names no host
            package.pop("resolved", None)
        package.pop("funding", None)
    (folder / "package-lock.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    lock_python()
    lock_node(ROOT / "tests" / "idp")
    lock_node(ROOT / "web")
