"""Asks several sources in turn, leaves those alone that fail, and takes no answer of any size, pace or place but ours.

Redirects are not followed and the environment's proxies are not used: a source is what the operator named, nothing that
an answer or a variable names instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import certifi
import httpx

from strongroom.host.collateral.intel import plain_base
from strongroom.host.collateral.items import MAX_ANSWER, MAX_CHAIN, Answer, Item, Unusable, Wanted
from strongroom.protocol.errors import Number, Unavailable

REQUEST_SECONDS: Final = 10.0
"""For one request in all, connecting included."""
FIRST_REST: Final = 1.0
"""Seconds for which something is left alone after its first failure, at most; doubled at each further one."""
MAX_REST: Final = 900.0
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds: what a source may ask for at most. (Else one answer of "in a year" outlasts the fault by that.)"""
_MAX_RESTS: Final = 256
"""Items remembered as missing at one source."""

_URL: Final = re.compile(r"[!-~]{1,2048}")

_log = logging.getLogger("strongroom.host.collateral")


class BadSource(ValueError):
    """The address of a source is not one that may be used; the text says why and what to do."""


class _Down(Exception):
    """The source failed, whatever it was asked for; `retry_after` seconds if it said so."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class Rest:
    """How long to leave something alone. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def left(self, now: float) -> float:
        """Seconds; 0 when it may be asked. A clock that was set back must not make the rest a long one."""
        left = self._until - now
        return left if 0 < left <= MAX_RETRY_AFTER else 0.0

    def failed(self, now: float, at_least: float = 0.0) -> None:
        # Several requests that fail together are one failure.
        if not self.left(now):
            self._failures += 1
            # Jitter, or all machines of a centre come back in the same second.
            longest = min(FIRST_REST * 2.0 ** min(self._failures - 1, 20), MAX_REST)
            self._until = now + longest * random.uniform(0.5, 1.0)  # noqa: S311
        self._until = max(self._until, now + min(at_least, MAX_RETRY_AFTER))

    def succeeded(self, now: float) -> None:
        if not self.left(now):
            self._failures = 0


class Source:
    """One address that speaks Intel's or AMD's interface. Raises `BadSource`."""

    def __init__(self, address: str) -> None:
        self.base: Final = _checked(address)
        self.rest: Final = Rest()
        self._missing: OrderedDict[str, Rest] = OrderedDict()

    def missing(self, name: str) -> Rest:
        """For one item: that a source lacks it says nothing about its others."""
        rest = self._missing.setdefault(name, Rest())
        self._missing.move_to_end(name)
        if len(self._missing) > _MAX_RESTS:
            self._missing.popitem(last=False)
        return rest


class Sources:
    """In the order in which they are asked."""

    def __init__(self, addresses: Sequence[str], now: Callable[[], float]) -> None:
        self._sources = [Source(address) for address in addresses]
        self._now = now
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=certifi.where()),
            timeout=REQUEST_SECONDS,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=15),
            # A compressed answer could be any size before it is one byte too long.
            headers={"accept-encoding": "identity", "user-agent": "strongroom"},
        )

    async def get(self, wanted: Wanted, accept: Callable[[Answer], Item]) -> tuple[Answer, Item]:
        """The first answer that `accept` takes (it raises `Unusable`). Raises `Unavailable` COLLATERAL_UNAVAILABLE."""
        reasons = []
        for source in self._sources:
            missing = source.missing(wanted.name)
            if left := max(source.rest.left(self._now()), missing.left(self._now())):
                reasons.append(f"{source.base} is left alone for {left:.0f} s after a failure")
                continue
            try:
                answer = await self._ask(wanted, source.base)
                source.rest.succeeded(self._now())
                item = accept(answer)
            except Unusable as error:
                missing.failed(self._now())
                reasons.append(f"{source.base}: {error}")
                _log.warning("collateral item=%s source=%s unusable: %s", wanted.name, source.base, error)
            except _Down as error:
                source.rest.failed(self._now(), error.retry_after)
                reasons.append(f"{source.base}: {error}")
                _log.warning("collateral item=%s source=%s failed: %s", wanted.name, source.base, error)
            else:
                missing.succeeded(self._now())
                _log.info("collateral item=%s source=%s fetched expires=%d", wanted.name, source.base, item.expires)
                return answer, item
        raise Unavailable(Number.COLLATERAL_UNAVAILABLE, f"{wanted.name}: {'; '.join(reasons)}")

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def _ask(self, wanted: Wanted, base: str) -> Answer:
        body = bytearray()
        try:
            # The client's own time-outs are for each read: a source that drips could take for ever.
            async with asyncio.timeout(REQUEST_SECONDS), self._client.stream("GET", wanted.url(base)) as response:
                self._check(response)
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise Unusable(f"the answer is longer than {MAX_ANSWER} bytes")
                return Answer(bytes(body), _chain(response, wanted.chain_headers))
        except TimeoutError:
            raise _Down(f"no complete answer within {REQUEST_SECONDS:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Down(type(error).__name__) from None

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Unusable("the answer is compressed, which was not asked for")
        elif 300 <= status < 400:
            raise _Down("it redirects, which is not followed")
        elif 400 <= status < 500 and status not in (401, 403, 407, 408, 429):
            raise Unusable(f"HTTP status {status}")  # it answers, but has no such item
        else:
            wait = _retry_after(response.headers.get("retry-after", ""), self._now()) if status in (429, 503) else 0.0
            raise _Down(f"HTTP status {status}", wait)


def _chain(response: httpx.Response, names: Sequence[str]) -> str:
    """PEM out of the first of these headers that is there. Raises `Unusable`."""
    if not names:
        return ""
    chain = next((unquote(response.headers[name]) for name in names if name in response.headers), "")
    if not chain.isascii() or not 0 < len(chain) <= MAX_CHAIN:
        raise Unusable("the answer has no usable issuer chain in its headers")
    return chain


def _retry_after(text: str, now: float) -> float:
    """Seconds from now (RFC 9110, 10.2.3): a number or a date; 0 where it is neither."""
    try:
        if text.isdecimal():
            return float(min(int(text), MAX_RETRY_AFTER))
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), MAX_RETRY_AFTER)
    except (ValueError, OverflowError):
        return 0.0


def _checked(address: str) -> str:
    """Raises `BadSource`."""
    if "@" in address:  # its text would end up in logs
        raise BadSource("the address of a source has no user or password in it")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadSource(f"{address!r} is not a URL") from None
    if (
        not _URL.fullmatch(address)
        or "?" in address
        or "#" in address
        or parts.scheme not in ("http", "https")
        or not host
        or port == 0
    ):
        raise BadSource(f"{address!r} is not an address like https://HOST:PORT")
    if parts.scheme == "http" and not _loopback(host):
        raise BadSource(f"{address} is not encrypted: use https; http is for a cache on this machine (127.0.0.1)")
    base = plain_base(address.rstrip("/"))
    if "/certification/" in base or "/vcek" in base:
        raise BadSource(f"{address}: name the host only; the interface is Intel's of version 4, or AMD's of version 1")
    return base


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
