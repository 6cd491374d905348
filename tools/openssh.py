"""Makes sure that there are ssh-keygen and ssh-agent for the tests: Debian's, installed where this is root and they are
missing."""

import shutil

from tools.debian import ensure

PROGRAMS = ("ssh-keygen", "ssh-agent", "ssh-add")
PACKAGE = "openssh-client"


def missing() -> list[str]:
    """Which of the programs are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def main() -> None:
    ensure(
        "openssh",
        [PACKAGE],
        lambda: f"no {missing()[0]}" if missing() else None,
        otherwise="tests with ssh keys are skipped",
        named="ssh-keygen and ssh-agent (seconds)",
    )


if __name__ == "__main__":
    main()
