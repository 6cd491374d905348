"""What a user's programs keep between their runs: below one folder of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.client.errors import BadInput


def state_folder() -> Path:
    """`strongroom` in `XDG_STATE_HOME` (XDG Base Directory Specification 0.8, which says to ignore a relative one), or
    in `~/.local/state`. It may not exist. Raises `BadInput` for a user without a home."""
    named = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):
        return Path(named) / "strongroom"
    try:
        return Path.home() / ".local" / "state" / "strongroom"
    except RuntimeError:
        raise BadInput("there is no home directory to keep anything in", "set HOME, or XDG_STATE_HOME") from None
