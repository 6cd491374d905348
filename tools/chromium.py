"""Makes sure that there is a Chromium for tests/browser: Debian's, installed where this is root and it is missing.

Best without the windows that nobody sees here: its tests take two thirds of the time.
"""

import shutil
import sys

from tools.debian import ensure

SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = (SHELL, "fonts-dejavu-core", "fonts-liberation2")


def find() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def main() -> None:
    found = find()
    try:
        ensure(
            "chromium",
            PACKAGES,
            lambda: None if shutil.which(SHELL) else "there is no headless one",
            otherwise="tests/browser is skipped" if found is None else f"tests/browser drives {found}, more slowly",
            named="headless chromium (about a minute)",
        )
    except SystemExit as failed:
        if found is None:
            raise
        print(f"{failed}\nchromium: tests/browser drives {found}, more slowly", file=sys.stderr)


if __name__ == "__main__":
    main()
