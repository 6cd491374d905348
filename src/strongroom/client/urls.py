"""URLs of servers, as people and files name them. No connections: what only looks at a URL needs no HTTP client."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from strongroom.client.errors import BadInput

_PORTS: Final = {"http": 80, "https": 443}


def verify_url(url: str) -> str:
    """The URL of a server without a slash at its end. Raises `BadInput`."""
    hint = "name scheme, host and port alone: https://vault.example.com, or http://127.0.0.1:8400 on this machine"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput(f"{url[:200]!r} is not the URL of a server", hint) from None
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}')
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise BadInput(f"{url[:200]!r} is not the URL of a server", hint)
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise BadInput("the URL of a server has no user name, query or fragment", hint)
    return url.rstrip("/")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, each written in one way only; empty for what is none."""
    try:
        parts = urlsplit(url)
        host, port, usual = parts.hostname, parts.port, _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return ""
    if not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" if port in (None, usual) else f"{parts.scheme}://{shown}:{port}"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
