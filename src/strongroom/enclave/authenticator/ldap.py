"""The few LDAP messages of a sign-in (RFC 4511), and nothing else of ASN.1 (docs/decisions/0024).

Written to what RFC 4511 §5.1 leaves of BER: definite lengths, primitive strings, tags of one byte. Active Directory
writes lengths in more bytes than they need, so that alone is read, too. Nothing here recurses: each level of a message
is split by the one function that knows what stands there, so no server chooses how deep to go.

Values stand in requests with their length before them: no name that somebody types can become a part of a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from strongroom.protocol.errors import Number, Unavailable

MAX_ELEMENTS: Final = 4096
"""Elements beside each other."""

BASE: Final = 0
SUBTREE: Final = 2
"""Scopes of a search."""

SUCCESS: Final = 0
INVALID_CREDENTIALS: Final = 49
"""Result codes (RFC 4511 §4.1.9)."""

BIND_RESPONSE: Final = 0x61
SEARCH_ENTRY: Final = 0x64
SEARCH_DONE: Final = 0x65
SEARCH_REFERENCE: Final = 0x73
EXTENDED_RESPONSE: Final = 0x78

_INTEGER, _OCTETS, _ENUMERATED, _SEQUENCE, _SET, _BOOLEAN = 0x02, 0x04, 0x0A, 0x30, 0x31, 0x01
_BIND, _UNBIND, _SEARCH, _EXTENDED = 0x60, 0x42, 0x63, 0x77
_SIMPLE = 0x80
_CONTROLS = 0xA0
_AND, _OR, _EQUAL, _PRESENT, _EXTENSIBLE = 0xA0, 0xA1, 0xA3, 0x87, 0xA9
_RULE, _TYPE, _VALUE = 0x81, 0x82, 0x83
_REQUEST_NAME, _RESPONSE_NAME, _RESPONSE_VALUE = 0x80, 0x8A, 0x8B

_START_TLS = b"1.3.6.1.4.1.1466.20037"
_WHO_AM_I = b"1.3.6.1.4.1.4203.1.11.3"
_IN_CHAIN = b"1.2.840.113556.1.4.1941"


def nonsense(what: str) -> Unavailable:
    """The error for an answer that is not one of LDAP's."""
    return Unavailable(Number.PROVIDER_UNAVAILABLE, f"the directory's answer: {what}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of a server; nothing in it is trusted."""

    message_id: int
    operation: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What ends an operation."""

    code: int
    text: str = field(repr=False)
    """Diagnostics: whatever the server likes to say."""
    value: bytes | None = field(repr=False)
    """Of an extended response."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a search found."""

    name: str
    attributes: dict[str, list[bytes]] = field(repr=False)
    """By lower-case type."""

    def single(self, kind: str) -> bytes | None:
        """The one value of this attribute; None when there is none, or when there are more."""
        values = self.attributes.get(kind, [])
        return values[0] if len(values) == 1 else None


# Requests


def bind(name: str, password: str) -> bytes:
    """A simple bind (RFC 4513 §5.1.3). Only ever sent over TLS."""
    return _element(_BIND, _integer(3), _element(_OCTETS, name.encode()), _element(_SIMPLE, password.encode()))


def unbind() -> bytes:
    return _element(_UNBIND)


def start_tls() -> bytes:
    return _element(_EXTENDED, _element(_REQUEST_NAME, _START_TLS))


def who_am_i() -> bytes:
    """Ask as whom the server takes us (RFC 4532)."""
    return _element(_EXTENDED, _element(_REQUEST_NAME, _WHO_AM_I))


def search(base: str, scope: int, condition: bytes, attributes: Sequence[str], *, limit: int) -> bytes:
    """Entries below `base` that fit `condition`, with these attributes. Aliases are not followed."""
    return _element(
        _SEARCH,
        _element(_OCTETS, base.encode()),
        _element(_ENUMERATED, bytes([scope])),
        _element(_ENUMERATED, b"\0"),
        _integer(limit),
        _integer(0),  # seconds: the deadline is ours
        _element(_BOOLEAN, b"\0"),
        condition,
        _element(_SEQUENCE, *(_element(_OCTETS, name.encode()) for name in attributes or ("1.1",))),
    )


def present(kind: str) -> bytes:
    return _element(_PRESENT, kind.encode())


def equal(kind: str, value: str) -> bytes:
    return _element(_EQUAL, _element(_OCTETS, kind.encode()), _element(_OCTETS, value.encode()))


def in_chain(kind: str, name: str) -> bytes:
    """LDAP_MATCHING_RULE_IN_CHAIN of Active Directory: through any number of groups."""
    return _element(
        _EXTENSIBLE, _element(_RULE, _IN_CHAIN), _element(_TYPE, kind.encode()), _element(_VALUE, name.encode())
    )


def every(*conditions: bytes) -> bytes:
    return _element(_AND, *conditions)


def some(*conditions: bytes) -> bytes:
    return _element(_OR, *conditions)


def message(message_id: int, operation: bytes) -> bytes:
    return _element(_SEQUENCE, _integer(message_id), operation)


# Answers


def length_size(first: int) -> int:
    """How many bytes of length follow the first one. Raises `Unavailable`."""
    if first < 0x80:
        return 0
    if not 0x81 <= first <= 0x84:
        raise nonsense("a length that is indefinite or of more than four bytes")
    return first - 0x80


def parse_answer(untrusted: bytes) -> Answer:
    """A message without its own tag and length. Raises `Unavailable`."""
    elements = _split(untrusted)
    if len(elements) not in (2, 3) or (len(elements) == 3 and elements[2][0] != _CONTROLS):
        raise nonsense("not a message")
    return Answer(_parse_integer(elements[0], _INTEGER), *elements[1])


def parse_result(answer: Answer) -> Result:
    """The end of a bind, a search or an extended operation. Raises `Unavailable`."""
    elements = _split(answer.content)
    if len(elements) < 3 or elements[1][0] != _OCTETS:
        raise nonsense("not a result")
    values = [content for tag, content in elements[3:] if tag == _RESPONSE_VALUE]
    if len(values) > 1:
        raise nonsense("two values")
    text = _parse_octets(elements[2]).decode("utf-8", "replace")
    return Result(_parse_integer(elements[0], _ENUMERATED), text, values[0] if values else None)


def parse_entry(answer: Answer) -> Entry:
    """What a search found. Raises `Unavailable`."""
    elements = _split(answer.content)
    if len(elements) != 2 or elements[1][0] != _SEQUENCE:
        raise nonsense("not an entry")
    attributes: dict[str, list[bytes]] = {}
    for tag, content in _split(elements[1][1]):
        parts = _split(content)
        if tag != _SEQUENCE or len(parts) != 2 or parts[1][0] != _SET:
            raise nonsense("not an attribute")
        kind = _text(_parse_octets(parts[0])).lower()
        if kind in attributes:
            raise nonsense("an attribute comes twice")
        attributes[kind] = [_parse_octets(value) for value in _split(parts[1][1])]
    return Entry(_text(_parse_octets(elements[0])), attributes)


def _split(untrusted: bytes) -> list[tuple[int, bytes]]:
    """The elements that stand beside each other: tag and content of each."""
    elements: list[tuple[int, bytes]] = []
    at, end = 0, len(untrusted)
    while at < end:
        if end - at < 2 or len(elements) == MAX_ELEMENTS:
            raise nonsense("an element that is cut off, or too many")
        tag, first = untrusted[at], untrusted[at + 1]
        if tag & 0x1F == 0x1F:
            raise nonsense("a tag of more than one byte")
        size = length_size(first)
        at += 2 + size
        length = int.from_bytes(untrusted[at - size : at], "big") if size else first
        if length > end - at:
            raise nonsense("an element longer than what holds it")
        elements.append((tag, untrusted[at : at + length]))
        at += length
    return elements


def _parse_integer(element: tuple[int, bytes], tag: int) -> int:
    found, content = element
    if found != tag or not 1 <= len(content) <= 4 or content[0] & 0x80:
        raise nonsense("not a number from 0 to 2147483647")
    return int.from_bytes(content, "big")


def _parse_octets(element: tuple[int, bytes]) -> bytes:
    tag, content = element
    if tag != _OCTETS:
        raise nonsense("not a string")
    return content


def _text(untrusted: bytes) -> str:
    try:
        return untrusted.decode()
    except UnicodeDecodeError:
        raise nonsense("a name that is not UTF-8") from None


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(value: int) -> bytes:
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))
