"""TOML that people write, within bounds that the standard library's parser lacks. Text in, values out; no files."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

MOST_PARTS: Final = 32
"""Parts of one dotted key; no file of ours has more than four."""
_ENDLESS_KEY: Final = re.compile(
    r"""(?<![\w\-"'.])(?:(?:[\w\-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}""" % MOST_PARTS  # noqa: UP031
)
"""Possessive throughout, so that looking costs no more than the length of the text."""


def parse_toml(text: str) -> dict[str, Any]:
    """Raises `ValueError` that says why it is none, with line and column for a mistake of syntax."""
    # `tomllib` makes a table for each beginning of a dotted key: 16 KiB of "a.a.a" cost it seconds.
    if _ENDLESS_KEY.search(text):
        raise ValueError(f"more than {MOST_PARTS} names with dots between them in one place")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
