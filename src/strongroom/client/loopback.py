"""The redirect of a native sign-in, caught on 127.0.0.1 (RFC 8252 §7.3).

Every page and program of this machine may call this address. What arrives counts only if it carries the random
`state` of this sign-in; then its `iss` must be the provider that was asked (RFC 9207), or another provider that the
user also deals with could have this one's code handed to it (mix-up). Calls without the state change nothing.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl

from strongroom.protocol.errors import Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.primitives import equal

HOST: Final = "127.0.0.1"
MAX_HEAD: Final = 16 * 1024
REQUEST_SECONDS: Final = 5.0
MAX_CODE: Final = 4096
"""Characters."""

_ERROR: Final = re.compile(r"[a-z_]{1,64}")

_SECURITY: Final = (
    "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"  # the address holds the code
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)
_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Strongroom</title></head>\n'
    "<body><h1>{}</h1><p>{}</p></body></html>\n"
)
_DONE: Final = ("Thank you", "You can close this window and go back to the program that opened it.")
_FAILED: Final = ("That did not work", "The program that opened this window says why. You can close it.")
_NOT_OURS: Final = ("Nothing to see here", "This address belongs to a sign-in that is under way.")


class NotOurs(Exception):
    """A call that is no part of this sign-in. It is answered, and otherwise ignored."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The redirect that this sign-in waits for."""

    path: str
    state: str
    issuer: str
    iss_required: bool


def verify_redirect(untrusted_target: str, expected: Expected) -> str:
    """The authorization code in a request's target.

    Raises `NotOurs`; once the state is right, `Untrusted` TOKEN_UNTRUSTED for another issuer, and `Refused`
    SIGN_IN_REFUSED for what the provider calls an error.
    """
    path, _, text = untrusted_target.partition("?")
    if path != expected.path or not text.isascii():
        raise NotOurs
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=32)
    except ValueError:
        raise NotOurs from None
    query = dict(pairs)
    if len(query) != len(pairs) or not equal(query.get("state", "").encode(), expected.state.encode()):
        raise NotOurs
    issuer = query.get("iss")
    if issuer is None and expected.iss_required:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "the redirect does not name the provider that it is from")
    if issuer is not None and issuer != expected.issuer:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "the redirect is from another provider than the one asked")
    if "error" in query:
        word = query["error"]
        raise Refused(Number.SIGN_IN_REFUSED, word if _ERROR.fullmatch(word) else "an error of its own")
    code = query.get("code", "")
    if not 1 <= len(code) <= MAX_CODE:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "the redirect has no code")
    return code


class RedirectListener:
    """Listens on a free port while it is entered; `code` waits for the redirect."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._authority = ""

    @property
    def redirect_uri(self) -> str:
        return f"http://{self._authority}{self._expected.path}"

    async def code(self) -> str:
        """The authorization code. Raises as `verify_redirect`, without `NotOurs`."""
        return await self._code

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=MAX_HEAD)
        self._authority = f"{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._code.cancel()
        if self._calls:  # the page that says "thank you" may still be on its way
            await asyncio.wait(self._calls, timeout=1)
        for call in list(self._calls):
            call.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass  # it was no browser, or it left
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        try:
            code = verify_redirect(self._target(head), self._expected)
        except NotOurs:
            return _page(HTTPStatus.NOT_FOUND, _NOT_OURS)
        except StrongroomError as error:
            if not self._code.done():
                self._code.set_exception(error)
            return _page(HTTPStatus.BAD_REQUEST, _FAILED)
        if not self._code.done():
            self._code.set_result(code)
        return _page(HTTPStatus.OK, _DONE)

    def _target(self, head: bytes) -> str:
        """The target of a GET to exactly this address. Raises `NotOurs`: also for a name that was made to resolve to
        127.0.0.1 (DNS rebinding)."""
        try:
            first, *headers = head.decode("ascii").split("\r\n")
        except UnicodeDecodeError:
            raise NotOurs from None
        words = first.split(" ")
        hosts = [line.partition(":")[2].strip() for line in headers if line.lower().startswith("host:")]
        if len(words) != 3 or words[0] != "GET" or not words[2].startswith("HTTP/1.") or hosts != [self._authority]:
            raise NotOurs
        return words[1]


def _page(status: HTTPStatus, text: tuple[str, str]) -> bytes:
    body = _PAGE.format(*text).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n{_SECURITY}Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
