"""A clock that is wrong for one process and its children, and can be turned while they run.

Python imports `sitecustomize` by itself from where PYTHONPATH leads, so no part of the product knows of it. A Vault on
the insecure software platform has no other clock; on hardware a host does the same with its hypervisor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_HOOK: Final = Path(__file__).with_name("turned_clock")


class Clock:
    """Right, until it is turned."""

    def __init__(self, directory: Path, offset: float = 0.0) -> None:
        self._file = directory / "clock"
        self.turn(offset)

    @property
    def environment(self) -> Mapping[str, str]:
        """For the process whose clock this is to be."""
        path = [str(_HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path), "STRONGROOM_ATTACK_CLOCK": str(self._file)}

    def turn(self, offset: float) -> None:
        """Seconds by which it is ahead of the true time."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(offset))
        draft.replace(self._file)
