"""Where an Authenticator may call beyond the public Internet (RULES 18): its measured list, as text and as a claim.

Whoever deposits names the servers that the Authenticator calls, so a network that lists more lends depositors a door
into itself. The list is therefore a claim, `egress`: whoever relies on an Authenticator sees it and must expect it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strongroom.protocol.errors import Misuse, Number

EGRESS: Final = "egress"
"""Name of the configuration value."""
MAX_REACH: Final = 64
"""Entries of one list."""

_ENTRY: Final = re.compile(
    r"(?:\[([0-9a-f:.]+(?:/[0-9]{1,3})?)\]|([a-z0-9.-]{1,253}(?:/[0-9]{1,2})?)):([1-9][0-9]{0,4})"
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Reach:
    """One entry: a name as definitions write it, or a network; and the one port there."""

    name: str
    """Lower case; empty for a network."""
    network: Network | None
    port: int

    def covers(self, host: str, address: Address, port: int) -> bool:
        """True when `address`, which `host` led to, is in this entry."""
        if port != self.port:
            return False
        return address in self.network if self.network is not None else host.lower() == self.name

    def __str__(self) -> str:
        if self.network is None:
            return f"{self.name}:{self.port}"
        whole = self.network.num_addresses == 1
        text = str(self.network.network_address if whole else self.network)
        return f"[{text}]:{self.port}" if self.network.version == 6 else f"{text}:{self.port}"


def parse_reach(text: str) -> Reach:
    """`NAME:PORT`, `ADDRESS:PORT` or `NETWORK/BITS:PORT`, IPv6 in brackets. Raises `Misuse` MALFORMED."""
    found = _ENTRY.fullmatch(text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise _invalid("not HOST:PORT or NETWORK/BITS:PORT, in lower case, IPv6 in brackets")
    inner, port = found[1] or found[2], int(found[3])
    is_name = found[1] is None and re.search("[a-z]", inner) is not None
    if is_name:
        labels = inner.split(".")
        if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
            raise _invalid("not a host name")
        return Reach(inner, None, port)
    try:
        network = ipaddress.ip_network(inner)
    except ValueError:
        raise _invalid("not a network: no bit beyond BITS may be set") from None
    if network.version != (4 if found[1] is None else 6):
        raise _invalid("IPv6 stands in brackets, IPv4 without")
    return Reach("", network, port)


def format_egress(entries: Iterable[str]) -> str:
    """The claim for these entries: sorted, each once, separated by commas. Raises `Misuse` MALFORMED."""
    texts = sorted({str(parse_reach(entry)) for entry in entries})
    if len(texts) > MAX_REACH:
        raise _invalid(f"more than {MAX_REACH} destinations")
    return ",".join(texts)


def parse_egress(value: str) -> tuple[Reach, ...]:
    """The inverse of `format_egress`; empty: none. Raises `Misuse` MALFORMED for any other way to write the same list,
    so that equal lists are equal claims."""
    entries = value.split(",") if value else []
    if format_egress(entries) != value:
        raise _invalid("not in the canonical form")
    return tuple(parse_reach(entry) for entry in entries)


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.MALFORMED, reason)
