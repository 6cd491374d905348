"""Whom a request counts against: the network address that it comes from, or, of IPv6, the customer's whole network."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from strongroom.host.share.connection import Request

_IPV6_NEIGHBOURS: Final = 64
"""Bits: one customer has so long a prefix, and any number of addresses below it."""


def direct_address(request: Request) -> str:
    """Where the connection comes from."""
    return customer(request.address)


def forwarded_address(request: Request) -> str:
    """The same behind a proxy: what it added last. All before that is the client's own invention."""
    return customer(request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or request.address)


def customer(address: str) -> str:
    """Whose address this is, as far as it tells; text that is no address stands for itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 6:
        return str(parsed.ipv4_mapped or ip_network((int(parsed), _IPV6_NEIGHBOURS), strict=False))
    return str(parsed)
