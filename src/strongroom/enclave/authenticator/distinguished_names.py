"""Distinguished names (RFC 4514): read strictly, compared as directories compare them, and made from what people type.

Two names are one when they differ in case or in white space only. A directory with an attribute that is exact about
case would tell such names apart; none that people sign in with is.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 2048
"""Characters of one name."""

_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+")
# A value is pairs of backslash and something, or characters that need none; or `#` and hexadecimal digits.
_PAIR: Final = re.compile(r"\\([0-9A-Fa-f]{2}|[ \"#+,;<=>\\])")
_PLAIN: Final = re.compile(r"[^\"+,;<>\\\0]")
_HEX: Final = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_SPECIAL: Final = frozenset('"+,;<=>#\\')

Name = tuple[frozenset[tuple[str, str]], ...]
"""Of each level, innermost first, the pairs of type and value in the form that is compared."""


def parse_name(text: str) -> Name:
    """Raises ValueError unless `text` is a name of at least one level."""
    if not 0 < len(text) <= MAX_NAME:
        raise ValueError("an empty or a very long name")
    levels: list[frozenset[tuple[str, str]]] = []
    level: set[tuple[str, str]] = set()
    at = 0
    while True:
        pair, at = _parse_pair(text, at)
        level.add(pair)
        end = text[at : at + 1]
        if end != "+":
            levels.append(frozenset(level))
            level = set()
        if not end:
            return tuple(levels)
        at += 1


def is_below(name: Name, base: Name) -> bool:
    """True when `name` is `base` or lies under it."""
    return len(name) >= len(base) and name[len(name) - len(base) :] == base


def escape_value(value: str) -> str:
    """`value` as a value inside a name, so that it can't end there. Raises ValueError for one that is blank or holds
    control characters."""
    if not value.strip() or not value.isprintable():
        raise ValueError("not a value")
    last = len(value) - 1
    return "".join(
        f"\\{ord(character):02x}" if character in _SPECIAL or (character == " " and at in (0, last)) else character
        for at, character in enumerate(value)
    )


def _parse_pair(text: str, at: int) -> tuple[tuple[str, str], int]:
    """One `type=value` from `at`, and where it ends."""
    while text[at : at + 1] == " ":
        at += 1
    kind = _TYPE.match(text, at)
    if kind is None:
        raise ValueError("not a type")
    at = kind.end()
    while text[at : at + 1] == " ":
        at += 1
    if text[at : at + 1] != "=":
        raise ValueError("no =")
    value, at = _parse_value(text, at + 1)
    if text[at : at + 1] not in ("", ",", "+"):
        raise ValueError("not a value")
    return (kind[0].lower(), value), at


def _parse_value(text: str, at: int) -> tuple[str, int]:
    while text[at : at + 1] == " ":
        at += 1
    if text[at : at + 1] == "#":
        found = _HEX.match(text, at)
        if found is None:
            raise ValueError("not hexadecimal digits")
        return f"\0{found[0].lower()}", found.end()  # never the same as a text that reads like it
    octets = bytearray()
    while at < len(text) and text[at] not in ",+":
        if pair := _PAIR.match(text, at):
            octets += bytes.fromhex(pair[1]) if len(pair[1]) == 2 else pair[1].encode()
            at = pair.end()
        elif _PLAIN.match(text, at):
            octets += text[at].encode()
            at += 1
        else:
            raise ValueError("a character that must be escaped")
    value = " ".join(octets.decode().casefold().split())  # a UnicodeDecodeError is a ValueError
    if not value or "\0" in value:
        raise ValueError("an empty value")
    return value, at
