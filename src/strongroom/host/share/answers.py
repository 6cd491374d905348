"""What goes out: a status, headers, and bytes or a stream of known length. A no is an answer with a sentence in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from strongroom.protocol.errors import Number

PLAIN: Final = "text/plain; charset=utf-8"
HARDENED: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
"""For everything that is no part of the page: were it ever shown as a document, it could do nothing."""


class Stream(Protocol):
    """Pieces of a body. `aclose` gives back what it holds, also of one that was never begun."""

    def __aiter__(self) -> AsyncIterator[memoryview]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Header names are lower-case; content-length is added from `body`, or is `length` for a stream."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = b""
    """A stream is closed by who sends it, however far it got."""
    length: int | None = None
    """Bytes of a stream, or of what HEAD leaves out; None: as long as `body`."""

    def head(self, *more: str) -> bytes:
        """Status line and headers, with these lines added."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        length = self.length if self.length is not None or not isinstance(self.body, bytes) else len(self.body)
        if length is not None and self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            lines.append(f"content-length: {length}")
        return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


class Problem(Exception):
    """The answer is no: a status for machines, a number of the protocol for clients, a sentence for people."""

    def __init__(self, status: int, number: Number, text: str, **headers: str) -> None:
        self.status = status
        self.number = number
        self.text = text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(text)

    def answer(self) -> Answer:
        return text(
            self.status,
            f"{self.text}\n",
            {"cache-control": "no-store", "strongroom-error": str(int(self.number)), **self.headers},
        )


def text(status: int, words: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Plain words."""
    return Answer(status, {"content-type": PLAIN, **HARDENED, **(headers or {})}, words.encode())


def nothing(status: int = 204, headers: Mapping[str, str] | None = None) -> Answer:
    """No body."""
    return Answer(status, {**HARDENED, **(headers or {})})
