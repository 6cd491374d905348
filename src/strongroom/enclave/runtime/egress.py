"""Outbound calls of the Authenticator: TLS ends inside the enclave, and only public addresses are called, or those
that the measured list names (RULES 18).

Directories and mail servers are called by `dial` and `start_tls`, providers by HTTP: one request a connection, spoken
with `h11`. By construction there are no redirects, no proxies from the environment, no cookies, no decompression and
no connection that one tenant's definition opened for another's.

Attacks stopped here:

1. A depositor names an issuer inside the operator's network (metadata service, database): every address is checked
   after resolution. What the list opens beyond the public ones is a claim that whoever relies on it must expect.
2. DNS rebinding: what is connected to is the numeric address that was checked; nothing is resolved twice.
3. A host that speaks before TLS begins: whatever came in clear ends the call.
4. A provider that drips bytes or never ends: one time-out over the whole exchange, and limits while streaming, of what
   is said, of what it is wrapped in, and of the pieces that it comes in.
5. A provider, or a name server, that holds up others: a definition has few calls (`turns`) and lookups (`lookups`)
   under way at once, so every call names the definition that it is for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import certifi
import h11
import msgspec

from strongroom.enclave.platform.port import Connection, Platform
from strongroom.enclave.runtime.destinations import verify_listed, verify_loopback, verify_public
from strongroom.enclave.runtime.lookups import Lookups
from strongroom.enclave.runtime.turns import Turns
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.limits import MAX_PROVIDER_ANSWER, PROVIDER_TIMEOUT
from strongroom.protocol.reach import Reach

MAX_WRAPPING: Final = 64 * 1024
"""Bytes of an HTTP answer that are not its content: headers, sizes of chunks."""
MAX_PIECES: Final = 1024
"""Interim answers, chunks and reads of one HTTP answer, each of which costs the same however small it is."""

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SERVER: Final = re.compile(r"([a-z]{1,8})://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_JSON: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_READ: Final = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads, as its text says."""

    tls: bool
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a URL of a server that speaks no HTTP leads."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said. Nothing here is trusted."""

    status: int
    body: bytes

    def parse(self, kind: type[T]) -> T:
        """The JSON body as a `kind`. Raises `Unavailable` PROVIDER_UNAVAILABLE."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (ValueError, RecursionError):
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the answer is not the JSON expected") from None


@asynccontextmanager
async def provider_deadline() -> AsyncIterator[None]:
    """Everything inside takes at most PROVIDER_TIMEOUT seconds. Raises `Unavailable` PROVIDER_SLOW."""
    try:
        async with asyncio.timeout(PROVIDER_TIMEOUT):
            yield
    except TimeoutError:
        raise Unavailable(Number.PROVIDER_SLOW) from None


def public_roots() -> ssl.SSLContext:
    """TLS with the roots of `certifi`, which are measured with the rest; never the machine's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    return context


def roots_of(certificates: bytes) -> ssl.SSLContext | None:
    """TLS with these roots (PEM) and no others; None, for the public ones, when there are none.

    Raises `Misuse` METHOD_INVALID when they are not certificates.
    """
    if not certificates:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        text = certificates.decode("ascii")
        if set(_PEM.findall(text)) != {"CERTIFICATE"}:  # a private key pasted in with them is nobody's here
            raise ValueError
        context.load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError):
        raise Misuse(Number.METHOD_INVALID, "the certificates are not PEM") from None
    return context


def verify_server(url: str, ports: Mapping[str, int]) -> Server:
    """Where `SCHEME://HOST[:PORT]` leads, and nothing after it; `ports` has the schemes that may be and what port each
    means. Raises `Refused` DESTINATION_REFUSED."""
    found = _SERVER.fullmatch(url)
    if found is None or found[1] not in ports:
        raise Refused(Number.DESTINATION_REFUSED, f"not {' or '.join(f'{scheme}://HOST[:PORT]' for scheme in ports)}")
    host, port = found[2], int(found[3] or ports[found[1]])
    try:
        if host.startswith("["):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif not _HOST.fullmatch(host):
            raise ValueError
        if port > 65535:
            raise ValueError
    except ValueError:
        raise Refused(Number.DESTINATION_REFUSED, "not a host and a port") from None
    return Server(found[1], host.lower(), port)


class Egress:
    """The way out to external authenticators.

    On the platform whose kind says `insecure-software`, loopback counts as public and may be called without TLS.
    """

    def __init__(self, platform: Platform, roots: ssl.SSLContext | None = None, *, reach: Sequence[Reach] = ()) -> None:
        self.turns: Final = Turns()
        self._platform = platform
        self._lookups = Lookups(platform)
        self._reach = reach
        self._tls = roots or public_roots()

    def of(self, definition: bytes) -> Calls:
        """Calls for the complete method definition of this digest."""
        return Calls(self, definition)

    def verify_url(self, url: str) -> Endpoint:
        """Where `url` leads. Raises `Refused` DESTINATION_REFUSED unless it is an https URL (on the insecure
        platform also http, for loopback) in the plainest form: no user, no fragment, no odd character."""
        try:
            if not re.fullmatch(r"[!-~]+", url) or set(url) & set('\\"<>^`{|}#'):
                raise ValueError
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            if "@" in parts.netloc or port == 0:
                raise ValueError
            if ":" in host:
                ipaddress.IPv6Address(host)
            elif not _HOST.fullmatch(host):
                raise ValueError
        except ValueError:
            raise Refused(Number.DESTINATION_REFUSED, "not a plain URL") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self._is_insecure):
            raise Refused(Number.DESTINATION_REFUSED, "not an https URL")
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Endpoint(tls, host, port or (443 if tls else 80), target)

    async def dial(self, definition: bytes, host: str, port: int, *, tls: bool) -> Connection:
        """As `Calls.dial`."""
        failure: OSError = OSError("no address")
        for address in await self._addresses(definition, host, port, tls=tls):
            try:
                return await self._platform.connect(address, port)
            except OSError as error:
                failure = error
        raise failure

    async def start_tls(self, connection: Connection, host: str, roots: ssl.SSLContext | None = None) -> None:
        """As `Calls.start_tls`."""
        reader, writer = connection
        _verify_silence(reader)
        await writer.start_tls(roots or self._tls, server_hostname=host)

    @property
    def _is_insecure(self) -> bool:
        return self._platform.kind == "insecure-software"

    async def _addresses(self, definition: bytes, host: str, port: int, *, tls: bool) -> list[str]:
        """Those addresses that may be called. Without TLS only loopback may, and only on the insecure platform."""
        accepted: list[str] = []
        refusal = Refused(Number.DESTINATION_REFUSED, "the name has no address")
        for untrusted_address in await self._lookups.addresses(definition, host, port):
            try:
                accepted.append(self._verify_destination(untrusted_address, host, port, tls=tls))
            except Refused as error:
                refusal = error
        if not accepted:
            raise refusal
        return accepted

    def _verify_destination(self, untrusted_address: str, host: str, port: int, *, tls: bool) -> str:
        if self._is_insecure:
            with suppress(Refused):
                return verify_loopback(untrusted_address)
        if not tls:
            raise Refused(Number.DESTINATION_REFUSED, "not a loopback address, and no TLS")
        with suppress(Refused):
            return verify_public(untrusted_address)
        return verify_listed(untrusted_address, host, port, self._reach)


class Calls:
    """The way out, for one complete method definition: what its calls take is taken from nobody else's."""

    def __init__(self, egress: Egress, definition: bytes) -> None:
        self._egress = egress
        self._definition = definition

    async def get(self, url: str) -> Answer:
        """GET. Raises `Refused` DESTINATION_REFUSED, `Unavailable` PROVIDER_UNAVAILABLE or PROVIDER_SLOW."""
        return await self._call("GET", url, {}, b"")

    async def post(self, url: str, form: Mapping[str, str], authorization: str) -> Answer:
        """POST of a form; `authorization` is left out when empty. Raises as `get` does."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if authorization:
            headers["authorization"] = authorization
        return await self._call("POST", url, headers, urlencode(form).encode())

    def turn(self, host: str, port: int) -> AbstractAsyncContextManager[None]:
        """A place among the calls under way: see `Turns.turn`."""
        return self._egress.turns.turn(self._definition, host, port)

    async def dial(self, host: str, port: int, *, tls: bool) -> Connection:
        """A connection to one of the addresses of `host` that may be called, before TLS; `tls` says whether it will be
        started. Raises OSError, `Refused` DESTINATION_REFUSED, and `Unavailable` PROVIDER_UNAVAILABLE."""
        return await self._egress.dial(self._definition, host, port, tls=tls)

    async def start_tls(self, connection: Connection, host: str, roots: ssl.SSLContext | None = None) -> None:
        """TLS from here on, with a certificate for `host` under `roots`, by default the public ones.

        Raises OSError, and `Unavailable` PROVIDER_UNAVAILABLE when something came in clear that would be read as the
        server's answer.
        """
        await self._egress.start_tls(connection, host, roots)

    async def _call(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        endpoint = self._egress.verify_url(url)
        async with provider_deadline(), self.turn(endpoint.host, endpoint.port):
            try:
                return await self._exchange(endpoint, method, headers, body)
            except (OSError, h11.ProtocolError) as error:
                if isinstance(error, TimeoutError):
                    raise
                # Without the name: a depositor chose it, and the operator's log holds none (`runtime.events`).
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, type(error).__name__) from None

    async def _exchange(self, endpoint: Endpoint, method: str, headers: Mapping[str, str], body: bytes) -> Answer:
        reader, writer = await self.dial(endpoint.host, endpoint.port, tls=endpoint.tls)
        try:
            if endpoint.tls:
                await self.start_tls((reader, writer), endpoint.host)
            connection = h11.Connection(h11.CLIENT)
            request = h11.Request(
                method=method,
                target=endpoint.target,
                headers=[
                    ("host", endpoint.authority),
                    ("accept", "application/json"),
                    ("accept-encoding", "identity"),
                    ("connection", "close"),
                    ("content-length", str(len(body))),
                    *headers.items(),
                ],
            )
            for event in (request, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await _read_answer(connection, reader)
        finally:
            writer.transport.abort()


def _verify_silence(reader: asyncio.StreamReader) -> None:
    """What has come before TLS begins was put in by the host, and would be read as the server's answer. Raises
    `Unavailable` PROVIDER_UNAVAILABLE.

    To be called right before TLS: until the event loop runs again nothing more comes in clear. Afterwards would be too
    late to tell, for a mail server speaks first.
    """
    attempt = reader.read(1)
    try:
        attempt.send(None)  # ends at once when something is there, and waits otherwise
    except StopIteration as ended:
        if ended.value:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "bytes before TLS began") from None
    finally:
        attempt.close()


async def _read_answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    status, body, left = 0, bytearray(), MAX_PROVIDER_ANSWER + MAX_WRAPPING
    for _ in range(MAX_PIECES):
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                received = await reader.read(_READ)
                left -= len(received)
                if left < 0:
                    raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the answer is too large")
                connection.receive_data(received)
            case h11.Response():
                status = event.status_code
                types = [value for name, value in event.headers if name == b"content-type"]
                if 300 <= status < 400:
                    raise Unavailable(Number.PROVIDER_UNAVAILABLE, "redirects are not followed")
                if len(types) != 1 or not _JSON.fullmatch(types[0].decode("latin-1")):
                    raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"status {status}, and the answer is not JSON")
            case h11.Data():
                body += event.data
                if len(body) > MAX_PROVIDER_ANSWER:
                    raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the answer is too large")
            case h11.EndOfMessage():
                return Answer(status, bytes(body))
            case h11.ConnectionClosed() | h11.PAUSED:
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the answer ended early")
            case _:
                continue  # 1xx
    raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the answer comes in too many pieces")
