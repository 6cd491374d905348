"""The commands of a page of docs/howto, so that what a page says is what a test runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from tests.support.command import ROOT


def commands(page: str, beginning: str, places: Mapping[str, str]) -> list[list[str]]:
    """Arguments of each `strongroom BEGINNING …` of the page, after BEGINNING, with real places for documented ones."""
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    prefix = f"$ strongroom {beginning} "
    found = [line.removeprefix(prefix) for block in blocks for line in block.splitlines() if line.startswith(prefix)]
    assert found, beginning
    for documented, real in places.items():
        assert any(documented in line for line in found), documented
        found = [line.replace(documented, real) for line in found]
    return [shlex.split(line) for line in found]
