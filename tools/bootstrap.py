"""Makes .venv with every locked package; needs only Python >= 3.11 with venv. The standard library alone is used here.

Nothing is installed whose hash does not stand in uv.lock, uv itself included.
"""

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NoReturn

from tools.node import on_path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".strongroom-stamp"


def main() -> None:
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits and finds the work done
        wanted = [home(), contents()]
        found = STAMP.read_text().splitlines() if STAMP.exists() else ["", ""]
        if found == wanted:
            return
        STAMP.unlink(missing_ok=True)
        if found[0] != wanted[0]:
            create()
        install()
        STAMP.write_text("\n".join(wanted))


def home() -> str:
    """A venv is good only for the place and the Python that it was made with."""
    return f"{ROOT} {sys.executable} {platform.python_version()}"


def contents() -> str:
    digest = hashlib.sha256(" ".join(groups()).encode())
    for name in ("uv.lock", "pyproject.toml", "tools/bootstrap.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def groups() -> list[str]:
    """The locked groups this machine needs: Node comes from PyPI where there is none."""
    wanted = ["--all-extras", "--group=dev", "--group=fuzz", "--group=bootstrap"]
    return wanted if on_path() else [*wanted, "--group=node"]


def create() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    say("making .venv")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "could not make .venv")


def install_ensurepip() -> None:
    """Debian ships Python without ensurepip, so `python3 -m venv` fails there."""
    package = f"python3.{sys.version_info.minor}-venv"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        fail("this Python has no ensurepip, so no .venv can be made", f"as root: apt-get install {package}")
    say(f"installing Debian's {package}")
    run(["apt-get", "update", "-qq"], "apt-get update failed")
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], f"could not install {package}")


def install() -> None:
    say("installing the locked packages (about a minute the first time)")
    uv = str(VENV / "bin" / "uv")
    into_venv = ["--quiet", "--python", str(PYTHON)]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text(locked("uv"))
        pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
        run([*pip, "-r", str(pins)], "could not install uv")
        export = ["export", "--frozen", "--no-emit-project", "--no-default-groups", "--quiet", *groups()]
        run([uv, *export, "--output-file", str(pins)], "uv.lock cannot be read: run `make lock`")
        run([uv, "pip", "sync", *into_venv, "--require-hashes", str(pins)], "could not install the locked packages")
        here = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
        run([uv, "pip", "install", *into_venv, *here], "could not install strongroom itself")


def locked(name: str) -> str:
    """One package of uv.lock as a pip requirement: exact version, every known hash."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    package = next(p for p in packages if p["name"] == name)
    hashes = [f"--hash={wheel['hash']}" for wheel in package["wheels"]]
    return " ".join([f"{name}=={package['version']}", *hashes])


def run(command: list[str], problem: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        fail(problem, "see the lines above; the command was: " + " ".join(command))


def say(text: str) -> None:
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def fail(problem: str, hint: str) -> NoReturn:
    print(f"error: {problem}\nhint: {hint}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
