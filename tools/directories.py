"""Makes sure that there are directories for the tests, Samba as Active Directory and OpenLDAP's slapd: Debian's,
installed where this is root and they are missing. They are started by tests only, never by the system."""

import os
import shutil

from tools.debian import ensure

SAMBA = ("samba", "samba-tool", "ldbadd", "ldbmodify")
SLAPD = ("slapd", "slapadd", "slappasswd")
PACKAGES = (
    *("samba", "samba-ad-dc", "samba-ad-provision", "samba-dsdb-modules", "samba-vfs-modules", "winbind", "ldb-tools"),
    "slapd",
)


def missing(programs: tuple[str, ...]) -> list[str]:
    """Which of these programs are not here; those of the system's administrators are often not on PATH."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in programs if shutil.which(name, path=places) is None]


def main() -> None:
    def lacking() -> str | None:
        gone = missing(SAMBA + SLAPD)
        return f"no {gone[0]}" if gone else None

    ensure(
        "directories",
        PACKAGES,
        lacking,
        otherwise="tests with directories are skipped",
        named="Samba and slapd (about half a minute)",
    )


if __name__ == "__main__":
    main()
