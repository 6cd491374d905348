"""HTTP answers: sealed bytes, or an error number; and what operators look at. Heads of what is asked for often are made
once, not per request."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Final

from strongroom.protocol.errors import Number

_OWN_STATUS: Final = {
    Number.TOO_LARGE: "413 Content Too Large",
    Number.UNKNOWN_SESSION: "409 Conflict",
}
_FAMILY_STATUS: Final = {
    1: "400 Bad Request",
    2: "403 Forbidden",
    3: "502 Bad Gateway",
    4: "503 Service Unavailable",
}

# Any page may call: what goes in and out is sealed, and no cookie or address is trusted (spec/http.md).
_ANY_PAGE: Final = (
    "access-control-allow-origin: *\r\n"
    "access-control-expose-headers: strongroom-error\r\n"
    "x-content-type-options: nosniff\r\n"
)
_HEADERS: Final = f"{_ANY_PAGE}cache-control: no-store\r\n"


class After(Enum):
    """What becomes of the connection after an answer."""

    KEEP = ""
    CLOSE = "connection: close\r\n"


@cache
def _sealed_head(after: After) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{_HEADERS}{after.value}content-type: application/octet-stream\r\ncontent-length: "
    return head.encode()


def sealed(body: bytes, after: After) -> bytes:
    """200 with opaque bytes."""
    return b"%b%d\r\n\r\n%b" % (_sealed_head(after), len(body), body)


@cache
def _checkpoint_head(after: After) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{_ANY_PAGE}cache-control: no-cache\r\n{after.value}"
    return f"{head}content-type: text/plain; charset=utf-8\r\ncontent-length: ".encode()


def checkpoint(body: bytes, after: After) -> bytes:
    """200 with a signed checkpoint (C2SP tlog-tiles): the newest, so that nobody may keep it."""
    return b"%b%d\r\n\r\n%b" % (_checkpoint_head(after), len(body), body)


@cache
def _tile_head(after: After) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{_ANY_PAGE}cache-control: public, max-age=31536000, immutable\r\n{after.value}"
    return f"{head}content-type: application/octet-stream\r\ncontent-length: ".encode()


def tile(body: bytes, after: After) -> bytes:
    """200 with a tile of the log, which never changes: a partial one has its width in its path."""
    return b"%b%d\r\n\r\n%b" % (_tile_head(after), len(body), body)


@cache
def failed(number: int, after: After, status: str | None = None) -> bytes:
    """An error: its number in two bytes and in a header; the status is by family unless given."""
    if status is None:
        known = number in Number.__members__.values()
        own = _OWN_STATUS.get(Number(number)) if known else None
        status = own or _FAMILY_STATUS.get(number // 100, _FAMILY_STATUS[4])
    head = (
        f"HTTP/1.1 {status}\r\n{_HEADERS}{after.value}content-type: application/octet-stream\r\n"
        f"strongroom-error: {number}\r\ncontent-length: 2\r\n\r\n"
    )
    return head.encode() + number.to_bytes(2, "big")


@cache
def healthy(after: After) -> bytes:
    """The host answers. Whether the enclave is genuine, only its evidence can say."""
    return f"HTTP/1.1 200 OK\r\n{_HEADERS}{after.value}content-type: text/plain\r\ncontent-length: 2\r\n\r\nok".encode()


def document(status: str, kind: str, body: bytes, after: After, content_policy: str) -> bytes:
    """What people and their tools look at, of type `kind`. For this origin only: no other page may read it."""
    head = (
        f"HTTP/1.1 {status}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
        f"referrer-policy: no-referrer\r\ncross-origin-resource-policy: same-origin\r\n"
        f"cross-origin-opener-policy: same-origin\r\ncontent-security-policy: {content_policy}\r\n{after.value}"
        f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@cache
def preflight(after: After) -> bytes:
    """To OPTIONS: browsers ask before they post octets."""
    return (
        f"HTTP/1.1 204 No Content\r\n{_HEADERS}{after.value}access-control-allow-methods: GET, POST\r\n"
        "access-control-allow-headers: content-type\r\naccess-control-max-age: 86400\r\n\r\n"
    ).encode()
