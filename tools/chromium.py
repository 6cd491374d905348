"""Makes sure that there is a Chromium for tests/browser: Debian's, installed where this is root and it is missing."""

import shutil

from tools.debian import ensure

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-dejavu-core", "fonts-liberation2")


def find() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def main() -> None:
    ensure(
        "chromium",
        PACKAGES,
        lambda: None if find() else "there is none",
        otherwise="tests/browser is skipped",
        named="chromium (about a minute)",
    )


if __name__ == "__main__":
    main()
