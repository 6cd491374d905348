"""Which addresses may be called: public ones, those of the measured list, and loopback where it counts as public."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.reach import Address, Reach

# Our own table: what `ipaddress` calls global changes with the version of Python, and is wrong here for multicast,
# NAT64 and 6to4. IPv6 is refused outside 2000::/3, which also refuses every form of mapped IPv4.
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3", "168.63.129.16/32",  # the last: a public address by which Azure's hosts answer their guests
    )
)  # fmt: skip
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

# What no list opens: this machine itself, the metadata services of clouds, and what is no single destination.
_NEVER_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "168.63.129.16/32")
)
_LISTED_V6: Final = (ipaddress.IPv6Network("fc00::/7"), _PUBLIC_V6)
_NEVER_V6: Final = (*_NOT_PUBLIC_V6, ipaddress.IPv6Network("fd00:ec2::/32"))


def verify_public(address: str) -> str:
    """The normal form of a numeric address on the public Internet. Raises `Refused` DESTINATION_REFUSED."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        public = not any(parsed in network for network in _NOT_PUBLIC_V4)
    else:
        public = parsed in _PUBLIC_V6 and not any(parsed in network for network in _NOT_PUBLIC_V6)
    if not public:
        raise Refused(Number.DESTINATION_REFUSED, "not a public address")
    return str(parsed)


def verify_listed(address: str, host: str, port: int, reach: Sequence[Reach]) -> str:
    """The normal form of an address that the measured list names, by itself or by the name that led to it. Raises
    `Refused` DESTINATION_REFUSED."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        possible = not any(parsed in network for network in _NEVER_V4)
    else:
        possible = any(parsed in network for network in _LISTED_V6)
        possible = possible and not any(parsed in network for network in _NEVER_V6)
    if not possible or not any(entry.covers(host, parsed, port) for entry in reach):
        raise Refused(Number.DESTINATION_REFUSED, "neither a public address nor one that this Authenticator's list has")
    return str(parsed)


def verify_loopback(address: str) -> str:
    """The normal form of an address of this machine. Raises `Refused` DESTINATION_REFUSED."""
    parsed = _parse(address)
    if not parsed.is_loopback or (parsed.version == 6 and parsed != ipaddress.IPv6Address("::1")):
        raise Refused(Number.DESTINATION_REFUSED, "not a loopback address")
    return str(parsed)


def _parse(address: str) -> Address:
    try:
        if "%" in address:  # a zone of this machine's
            raise ValueError
        return ipaddress.ip_address(address)
    except ValueError:
        raise Refused(Number.DESTINATION_REFUSED, "not a numeric address") from None
