"""Makes sure that there is a Chromium for tests/browser: Debian's, installed where this is root and it is missing."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-dejavu-core", "fonts-liberation2")


def find() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def main() -> None:
    if find() is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(
            f"chromium: there is none; tests/browser is skipped (as root: apt-get install {' '.join(PACKAGES)})",
            file=sys.stderr,
        )
        return
    print("chromium: installing Debian's (about a minute)", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    if subprocess.run(install, check=False, **quiet).returncode != 0 or find() is None:  # type: ignore[call-overload]
        raise SystemExit("error: Debian's chromium could not be installed\nhint: see the lines above")


if __name__ == "__main__":
    main()
