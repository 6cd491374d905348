"""What is wrong with rules, for whoever wrote them: at which line, and how it is written."""

from __future__ import annotations

import re
from typing import Final

from strongroom.client.errors import InOwnWords
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.rules import verify_rules

_OPTIONAL: Final = re.compile(r"access to optional attribute `(\w+)\.(\w+)`")
_PARTS: Final = re.compile(r'\s+|//[^\r\n]*|"(?:\\.|[^"\\])*"|[^\s"/;]+|.', re.DOTALL)
_HINT: Final = "docs/howto/rules.md shows rules, and `strongroom policy check` tries them"


class BadRules(InOwnWords, Misuse):
    """Rules that no Authenticator takes."""

    def __init__(self, error: str, hint: str, place: int) -> None:
        super().__init__(Number.RULES_INVALID, error, hint)
        self.place = place


def verify_written_rules(rules: str) -> None:
    """Raises `BadRules`, and `Misuse` TOO_LARGE."""
    try:
        verify_rules(rules)
    except Misuse as error:
        raise explained(error, rules) from None


def explained(error: Misuse, rules: str) -> Misuse:
    """The same error with line and hint, if it is about one of the policies in this text."""
    if error.number is not Number.RULES_INVALID or not error.reason.startswith(f"policy {error.place}: "):
        return error
    what = error.reason.partition(": ")[2]
    hint = _HINT
    if found := _OPTIONAL.search(what):
        hint = f'write "context.{found[1]} has {found[2]} && …" for optional attributes'
    line = _line_of(error.place, rules)
    return BadRules(f"the rules are not right: policy {error.place}, from line {line}: {what}", hint, error.place)


def _line_of(index: int, rules: str) -> int:
    """Where a policy begins, after what is before it: policies end in semicolons."""
    ended = 0
    for part in _PARTS.finditer(rules):
        text = part.group()
        if ended == index and not text.isspace() and not text.startswith("//"):
            return rules.count("\n", 0, part.start()) + 1
        ended += text == ";"
    return rules.count("\n") + 1
