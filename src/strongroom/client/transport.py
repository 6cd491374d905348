"""HTTP that carries opaque bytes to a server's three paths. Nothing it says is believed: it can fail, not lie."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final

import httpx

from strongroom.client.errors import BadInput, Unreachable
from strongroom.client.urls import is_loopback, verify_url
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted, from_number
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_FRAME, MAX_HELLO, MAX_STATUS

CONNECT_SECONDS: Final = 10.0
CALL_SECONDS: Final = 45.0
"""For one exchange in all; a server's front gives up after 30."""
EVIDENCE_SECONDS: Final = 10.0
"""For the evidence, which a server has at hand: one that is silent should not be waited for as for a commit."""
CONNECTIONS: Final = 32

EVIDENCE_PATH: Final = "/v1/evidence"
SESSION_PATH: Final = "/v1/session"
FRAME_PATH: Final = "/v1/frame"
LOG_PREFIX: Final = "/v1/log/"
STATUS_PATH: Final = "/v1/status"

_NETWORK: Final = "said by the network, not by the enclave"

_IN_CLEAR: Final = frozenset(
    {
        Number.MALFORMED,
        Number.TOO_LARGE,
        Number.UNSUPPORTED,
        Number.UNKNOWN_SESSION,
        Number.REPLAYED,
        Number.STALE_KEY,
        Number.INTEGRITY,
        Number.EVIDENCE,
        Number.CLOCK,
        *(number for number in Number if number >= 400),
    }
)
"""What a front or a door may say in clear. Everything else an enclave says inside the session only, so that no network
can invent a refusal, a conflict or a missing ticket."""


class Unsealed(Exception):
    """The answer was an error number in clear. Anybody on the way may have written it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)

    def as_error(self) -> Misuse | Untrusted | Unavailable:
        """What to tell the user; never `Refused`, since only an enclave can refuse."""
        error = from_number(self.number, _NETWORK)
        if self.number in _IN_CLEAR and isinstance(error, Misuse | Untrusted | Unavailable):
            return error
        return Unavailable(Number.INTERNAL, f"error {self.number}, {_NETWORK}")


class Transport:
    """Connections to the server at `url`."""

    def __init__(self, url: str) -> None:
        self.url: Final = verify_url(url)
        self._client = httpx.AsyncClient(
            # Loading certificates takes longer than a whole handshake: not for nothing. This context trusts nobody.
            verify=True if self.url.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A proxy sees what the host sees, sealed bytes; but none can reach this machine's own loopback.
            trust_env=not is_loopback(self.url),
            follow_redirects=False,
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            headers={"accept-encoding": "identity", "user-agent": "strongroom"},
        )

    async def evidence(self) -> bytes:
        """GET evidence."""
        return await self._call("GET", EVIDENCE_PATH, None, MAX_EVIDENCE, seconds=min(EVIDENCE_SECONDS, CALL_SECONDS))

    async def hello(self, hello: bytes) -> bytes:
        """POST a sealed hello; the sealed answer."""
        return await self._call("POST", SESSION_PATH, hello, MAX_HELLO)

    async def frame(self, frame: bytes) -> bytes:
        """POST a frame; the frame that answers it."""
        return await self._call("POST", FRAME_PATH, frame, MAX_FRAME)

    async def log(self, path: str, limit: int) -> bytes | None:
        """GET what stands at `path` of the log (C2SP tlog-tiles); None if it is not there. Public, and no session."""
        try:
            return await self._call("GET", LOG_PREFIX + path, None, limit)
        except Unsealed as error:
            if error.number == Number.MALFORMED:
                return None
            raise error.as_error() from None

    async def status(self) -> bytes:
        """GET how the server says that it stands: JSON, and the host's word."""
        return await self._call("GET", STATUS_PATH, None, 2 * MAX_STATUS)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _call(self, method: str, path: str, body: bytes | None, limit: int, *, seconds: float = 0) -> bytes:
        """Raises `Unsealed`, `Unreachable`, and `Untrusted` INTEGRITY for an answer of more than `limit` bytes."""
        if self._client.is_closed:
            raise BadInput("this Vault is closed", "open a new one")
        headers = {"content-type": "application/octet-stream"} if body is not None else {}
        try:
            async with (
                asyncio.timeout(seconds or CALL_SECONDS),
                self._client.stream(method, self.url + path, content=body, headers=headers) as response,
            ):
                if response.status_code == 200:
                    return await _read(response, limit)
                raise self._failure(response, await _read(response, MAX_EVIDENCE))
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
            raise self._unreachable("did not answer in time", broken=False) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise self._unreachable(f"can't be reached ({_reason(error)})", broken=False, sent=False) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(f"broke the connection off ({_reason(error)})", broken=True) from None

    def _failure(self, response: httpx.Response, body: bytes) -> Exception:
        if len(body) == 2 and response.headers.get("strongroom-error") == str(int.from_bytes(body, "big")):
            return Unsealed(int.from_bytes(body, "big"))
        status = response.status_code
        what = "redirects elsewhere, which is not followed" if response.is_redirect else "is no Strongroom server"
        return self._unreachable(f"{what} (HTTP status {status})", broken=False)

    def _unreachable(self, what: str, *, broken: bool, sent: bool = True) -> Unreachable:
        hint = "check the address, that the server runs, and that the network lets you through"
        return Unreachable(f"{self.url} {what}", hint, broken=broken, sent=sent)


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body as sent: not decompressed, or a kilobyte would become a gigabyte."""
    pieces, size = [], 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > limit:
            raise Untrusted(Number.INTEGRITY, f"an answer of more than {limit:,} bytes, which no enclave gives")
        pieces.append(piece)
    return b"".join(pieces)


def _reason(error: Exception) -> str:
    """The operating system's words, or the kind of error: texts of libraries may be empty or hold a URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio puts the address into the text; negative numbers are the resolver's own.
            return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
