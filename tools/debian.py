"""Debian's packages for the tests: installed where this is root and they are missing; services stay stopped."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
"""What a package asks before it starts a service (invoke-rc.d): 101 means no."""


def ensure(
    what: str, packages: Sequence[str], lacking: Callable[[], str | None], *, otherwise: str, named: str
) -> None:
    """Have `packages` installed unless `lacking` says that nothing is. Where that can't be, says what is skipped.

    `what` begins each line, `otherwise` is what happens without, `named` the packages in words. Raises SystemExit when
    the installation fails.
    """
    gap = lacking()
    if gap is None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        hint = f"as root: apt-get install {' '.join(packages)}"
        print(f"{what}: {gap}; {otherwise} ({hint})", file=sys.stderr)
        return
    print(f"{what}: installing Debian's {named}", file=sys.stderr, flush=True)
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        _apt_get("update")
        status = _apt_get("install", "-y", "--no-install-recommends", *packages)
    finally:
        if ours:
            POLICY.unlink()
    if status != 0 or lacking() is not None:
        raise SystemExit(f"error: Debian's {named} could not be installed\nhint: see the lines above")


def _apt_get(*arguments: str) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", arguments[0], "-qq", *arguments[1:]]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment).returncode
