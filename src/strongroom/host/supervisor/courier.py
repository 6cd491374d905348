"""Carries opaque bytes to other enclaves' fronts by HTTP/1.1, over connections that stay open.

The addresses come out of depositors' instructions, so they are an attacker's: only four paths of a front are
called, destinations are checked after name resolution, answers are limited in size and time, redirects are never
followed (RULES 18). What is carried is sealed or is evidence; TLS here is privacy from bystanders only.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from strongroom.host.lookups import look_up
from strongroom.host.supervisor.exchange import Answer, Connection, ConnectionLost
from strongroom.protocol.errors import Number, StrongroomError, Unavailable, from_number

CALL_SECONDS: Final = 5.0
"""For one call in all, connecting included."""
IDLE_SECONDS: Final = 30.0
"""After which an unused connection is not used again: less than fronts keep theirs."""
MAX_CONNECTIONS: Final = 64
"""To one destination: what one depositor's slow Authenticator can take of this host."""
MAX_IDLE: Final = 256
"""Unused connections to all destinations together."""

Egress = Sequence[IPv4Network | IPv6Network]
LOOPBACK: Final[Egress] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

# What `ipaddress` calls global (by version of Python) although it leads inwards: multicast, the address by which
# Azure's hosts answer their guests, NAT64, Teredo and its like, 6to4.
_NOT_PUBLIC: Final = tuple(
    ip_network(network)
    for network in (
        "224.0.0.0/3", "168.63.129.16/32", "ff00::/8", "64:ff9b::/32", "2001::/23", "2002::/16",
    )
)  # fmt: skip

_PATHS: Final = ("/v1/evidence", "/v1/session", "/v1/frame", "/v1/log/checkpoint")
_URL: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_SIZED: Final = b"content-type: application/octet-stream\r\ncontent-length: "


class _Origin(NamedTuple):
    tls: bool
    host: str
    port: int


class _Target(NamedTuple):
    origin: _Origin
    head: bytes
    """What comes after the method, to the end of the header `host`."""


class _Pool:
    """Connections to one origin."""

    def __init__(self, origin: _Origin) -> None:
        self.origin = origin
        self.places = asyncio.Semaphore(MAX_CONNECTIONS)
        self.calls = 0
        self.idle: list[Connection] = []


class Courier:
    """Calls public addresses, and those within `egress`."""

    def __init__(self, egress: Egress, *, seconds: float = CALL_SECONDS, header: bytes = b"") -> None:
        """`seconds`: for one call in all, connecting included. `header`: a line that each request has besides."""
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._egress = egress
        self._header = header
        self._tls = ssl.create_default_context()
        self._pools: dict[_Origin, _Pool] = {}
        self._idle: OrderedDict[Connection, _Pool] = OrderedDict()

    async def carry(self, url: str, body: bytes | None) -> bytes:
        """Answer of `POST url` (GET when `body` is None).

        Raises `Unavailable` AUTHENTICATOR_UNAVAILABLE, or the error whose number the other front gave.
        """
        target = _parse(url)
        if body is None:
            request = b"GET%b%b\r\n" % (target.head, self._header)
        else:
            request = b"POST%b%b%b%d\r\n\r\n%b" % (target.head, self._header, _SIZED, len(body), body)
        pool = self._pools.get(target.origin)
        if pool is None:
            pool = self._pools[target.origin] = _Pool(target.origin)
        pool.calls += 1
        try:
            async with asyncio.timeout(self._seconds), pool.places:
                answer = await self._exchange(pool, request)
        except (OSError, TimeoutError, ConnectionLost) as error:
            raise _unreachable(type(error).__name__) from None
        finally:
            pool.calls -= 1
            self._sweep(pool)
        if answer.status == 200:
            return answer.body
        if len(answer.body) == 2 and answer.number == str(int.from_bytes(answer.body, "big")).encode():
            raise from_number(int(answer.number))
        raise _unreachable(f"HTTP status {answer.status}")

    def close(self) -> None:
        """Close all that is idle."""
        for connection in list(self._idle):
            connection.abort()

    async def _exchange(self, pool: _Pool, request: bytes) -> Answer:
        while pool.idle:
            connection = pool.idle[-1]
            self._forget(connection)
            if self._loop.time() - connection.idle_since > IDLE_SECONDS:
                connection.abort()
                continue
            try:
                return await self._ask(pool, connection, request)
            except ConnectionLost as error:
                if error.answer_begun:
                    raise
                # Closed by the other side while it lay idle. A frame that did arrive is refused as replayed.
        return await self._ask(pool, await self._connect(pool.origin), request)

    async def _ask(self, pool: _Pool, connection: Connection, request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.abort()  # also when cancelled: a late answer must not meet the next request
            raise
        if connection.reusable:
            self._keep(pool, connection)
        else:
            connection.abort()
        return answer

    async def _connect(self, origin: _Origin) -> Connection:
        addresses = await look_up(origin.host, origin.port)
        if not all(self._permitted(address) for address in addresses):
            raise _unreachable("destination not permitted")
        failure = OSError()
        for address in addresses:  # the checked ones themselves: a second resolution could answer differently
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._forget),
                    address,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
                return connection
            except OSError as error:
                failure = error
        raise failure

    def _permitted(self, text: str) -> bool:
        address = ip_address(text)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        public = address.is_global and not any(address in network for network in _NOT_PUBLIC)
        return public or any(address in network for network in self._egress)

    # --- the pools ----------------------------------------------------------------------------------------------

    def _keep(self, pool: _Pool, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        pool.idle.append(connection)
        self._idle[connection] = pool
        if len(self._idle) > MAX_IDLE:
            next(iter(self._idle)).abort()

    def _forget(self, connection: Connection) -> None:
        """It is in use again, or lost."""
        pool = self._idle.pop(connection, None)
        if pool is not None:
            pool.idle.remove(connection)
            self._sweep(pool)

    def _sweep(self, pool: _Pool) -> None:
        """Hostile instructions may name any number of origins: remember none that is not in use."""
        if not pool.calls and not pool.idle:
            self._pools.pop(pool.origin, None)


@lru_cache(maxsize=1024)
def _parse(url: str) -> _Target:
    """Raises `Unavailable` AUTHENTICATOR_UNAVAILABLE for anything but a plain address of a front's path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unreachable("not a URL") from None
    if (
        not _URL.fullmatch(url)  # no blanks, no line ends: nothing that could become a second request
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or "?" in url
        or "#" in url
        or not parts.path.endswith(_PATHS)
    ):
        raise _unreachable("not a front's URL")
    tls = parts.scheme == "https"
    origin = _Origin(tls, parts.hostname, port or (443 if tls else 80))
    head = f" {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode()
    return _Target(origin, head)


def _unreachable(reason: str) -> StrongroomError:
    return Unavailable(Number.AUTHENTICATOR_UNAVAILABLE, reason)
