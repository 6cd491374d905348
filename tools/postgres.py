"""Makes sure that there is a PostgreSQL server for the tests: Debian's, installed where this is root and it is missing.

Tests start it themselves, as servers of their own; the system's stays stopped.
"""

import os
import shutil
from pathlib import Path

from tools.debian import ensure

PROGRAMS = ("initdb", "postgres", "pg_basebackup", "pg_isready", "psql")


def programs() -> Path | None:
    """The directory of the newest server's programs, which Debian does not put on PATH."""
    debians = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(debians, key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    places = [*newest_first, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((place for place in places if all(os.access(place / name, os.X_OK) for name in PROGRAMS)), None)


def main() -> None:
    ensure(
        "postgres",
        ("postgresql",),
        lambda: None if programs() else "no PostgreSQL server",
        otherwise="tests with it are skipped",
        named="PostgreSQL",
    )


if __name__ == "__main__":
    main()
