"""Makes sure that there are directories for the tests, Samba as Active Directory and OpenLDAP's slapd: Debian's,
installed where this is root and they are missing. They are started by tests only, never by the system."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SAMBA = ("samba", "samba-tool", "ldbadd", "ldbmodify")
SLAPD = ("slapd", "slapadd", "slappasswd")
PACKAGES = (
    *("samba", "samba-ad-dc", "samba-ad-provision", "samba-dsdb-modules", "samba-vfs-modules", "winbind", "ldb-tools"),
    "slapd",
)
POLICY = Path("/usr/sbin/policy-rc.d")
"""What a package asks before it starts a service (invoke-rc.d): 101 means no."""


def missing(programs: tuple[str, ...]) -> list[str]:
    """Which of these programs are not here; those of the system's administrators are often not on PATH."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in programs if shutil.which(name, path=places) is None]


def main() -> None:
    lacking = missing(SAMBA + SLAPD)
    if not lacking:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(
            f"directories: no {lacking[0]}; tests with directories are skipped (as root: apt-get install "
            f"{' '.join(PACKAGES)})",
            file=sys.stderr,
        )
        return
    print("directories: installing Debian's Samba and slapd (about half a minute)", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"stdout": subprocess.DEVNULL, "env": environment}
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        done = subprocess.run(install, check=False, **quiet)  # type: ignore[call-overload]
    finally:
        if ours:
            POLICY.unlink()
    if done.returncode != 0 or missing(SAMBA + SLAPD):
        raise SystemExit("error: Debian's Samba and slapd could not be installed\nhint: see the lines above")


if __name__ == "__main__":
    main()
