"""The page's way to Vault and Authenticators: three paths of each, on this origin, so that the page calls nobody else.

What is carried is sealed or is evidence (`spec/http.md`); this adds and reads nothing. No header goes through but the
type, no redirect is followed, and the answer's size is bounded by what the protocol allows.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import certifi
import httpx

from strongroom.host.share.answers import HARDENED, Answer, Problem
from strongroom.host.share.connection import Request
from strongroom.protocol.errors import Number
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_FRAME, MAX_HELLO

CALL_SECONDS: Final = 35.0
"""For one call in all: a little more than a front gives its enclave."""
MAX_CALLS: Final = 512
"""At once, from the first byte of their bodies."""
MAX_HELD: Final = 256 * 1024 * 1024
"""Bytes of all their bodies together, by their stated lengths."""
MAX_CALLS_EACH: Final = 64
MAX_HELD_EACH: Final = 32 * 1024 * 1024
"""The same for one address: else one that sends slowly keeps everybody else from the Vault."""
_ROUTE: Final = re.compile(r"/(?:vault|authenticator/(0|[1-9][0-9]?))(/v1/(?:evidence|session|frame))")


class _Path(NamedTuple):
    method: str
    request: int
    """Bytes of the body at most."""
    answer: int


_PATHS: Final = {
    "/v1/evidence": _Path("GET", 0, MAX_EVIDENCE),
    "/v1/session": _Path("POST", MAX_HELLO, MAX_HELLO),
    "/v1/frame": _Path("POST", MAX_FRAME, MAX_FRAME),
}


class Unreachable(Exception):
    """No usable answer; the text says why."""


class Proxy:
    """To one Vault and the Authenticators, by number. URLs are the operator's; `address` tells whom a request counts
    against."""

    def __init__(self, vault: str, authenticators: Sequence[str], address: Callable[[Request], str]) -> None:
        self._vault = vault.rstrip("/")
        self._authenticators = [url.rstrip("/") for url in authenticators]
        self._address = address
        self._calls: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        encrypted = any(url.startswith("https:") for url in (vault, *authenticators))
        self._client = httpx.AsyncClient(
            verify=_authorities() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=CALL_SECONDS,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=MAX_CALLS, max_keepalive_connections=32, keepalive_expiry=30),
            headers={"accept-encoding": "identity", "user-agent": "strongroom"},
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def evidence(self) -> bytes:
        """The Vault's. Raises `Unreachable`."""
        status, _, body = await self._call(f"{self._vault}/v1/evidence", _PATHS["/v1/evidence"], b"")
        if status != 200:
            raise Unreachable(f"HTTP status {status}")
        return body

    async def handle(self, request: Request) -> Answer:
        """Raises `Problem`."""
        found = _ROUTE.fullmatch(request.path)
        number = int(found[1]) if found and found[1] else None
        if found is None or (number is not None and number >= len(self._authenticators)):
            raise Problem(404, Number.MALFORMED, "there is no such path on the way to Vault or Authenticator")
        path = _PATHS[found[2]]
        if request.body.length > path.request:
            raise Problem(413, Number.TOO_LARGE, f"at most {path.request} bytes may be sent here")
        if request.method != path.method:
            raise Problem(405, Number.MALFORMED, "this method means nothing here", allow=path.method)
        whose = self._address(request)
        if not self._has_room(whose, request.body.length):
            return _failed(Number.BUSY)
        self._calls[whose] += 1
        self._held[whose] += request.body.length
        try:
            body = await request.body.read(path.request)
            base = self._vault if number is None else self._authenticators[number]
            status, said, answer = await self._call(base + found[2], path, body)
        except Unreachable:
            return _failed(Number.BUSY if number is None else Number.AUTHENTICATOR_UNAVAILABLE)
        finally:
            self._calls[whose] -= 1
            self._held[whose] -= request.body.length
            if not self._calls[whose]:
                del self._calls[whose], self._held[whose]
        if status == 200:
            return _carried(200, answer)
        if len(answer) == 2 and said == str(int.from_bytes(answer, "big")) and 400 <= status < 600:
            return _carried(status, answer, said)
        return _failed(Number.INTERNAL)

    def _has_room(self, whose: str, size: int) -> bool:
        return (
            self._calls[whose] < MAX_CALLS_EACH
            and self._held[whose] + size <= MAX_HELD_EACH
            and self._calls.total() < MAX_CALLS
            and self._held.total() + size <= MAX_HELD
        )

    async def _call(self, url: str, path: _Path, body: bytes) -> tuple[int, str, bytes]:
        """Status, the error number that the header gives, body. Raises `Unreachable`."""
        answer = bytearray()
        headers = {"content-type": "application/octet-stream"} if body else {}
        try:
            # The client's own time-outs are for each read: a server that drips could take for ever.
            async with (
                asyncio.timeout(CALL_SECONDS),
                self._client.stream(path.method, url, content=body or None, headers=headers) as response,
            ):
                async for piece in response.aiter_raw():
                    answer += piece
                    if len(answer) > path.answer:
                        raise Unreachable("the answer is longer than the protocol allows")
                return response.status_code, response.headers.get("strongroom-error", ""), bytes(answer)
        except TimeoutError:
            raise Unreachable(f"no answer within {CALL_SECONDS:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(str(error) or type(error).__name__) from None


def _authorities() -> ssl.SSLContext:
    """Takes longer to read than all else at the start, and most name a neighbour on this machine."""
    return ssl.create_default_context(cafile=certifi.where())


def _carried(status: int, body: bytes, number: str = "") -> Answer:
    more = {"strongroom-error": number} if number else {}
    return Answer(
        status, {**HARDENED, "content-type": "application/octet-stream", "cache-control": "no-store", **more}, body
    )


def _failed(number: Number) -> Answer:
    """As a front says it: two bytes, and the same in the header."""
    return _carried(503, int(number).to_bytes(2, "big"), str(int(number)))
