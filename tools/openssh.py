"""Makes sure that there are ssh-keygen and ssh-agent for the tests: Debian's, installed where this is root and they are
missing."""

import os
import shutil
import subprocess
import sys

PROGRAMS = ("ssh-keygen", "ssh-agent", "ssh-add")
PACKAGE = "openssh-client"


def missing() -> list[str]:
    """Which of the programs are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def main() -> None:
    if not missing():
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(
            f"openssh: no {missing()[0]}; tests with ssh keys are skipped (as root: apt-get install {PACKAGE})",
            file=sys.stderr,
        )
        return
    print("openssh: installing Debian's ssh-keygen and ssh-agent (seconds)", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGE]
    if subprocess.run(install, check=False, **quiet).returncode != 0 or missing():  # type: ignore[call-overload]
        raise SystemExit(f"error: Debian's {PACKAGE} could not be installed\nhint: see the lines above")


if __name__ == "__main__":
    main()
