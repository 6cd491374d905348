"""Records as syslog messages: RFC 5424 by its letter, over UDP (RFC 5426), TCP (RFC 6587, octets counted) or a Unix
socket. The standard library's handler writes the older format."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from importlib.metadata import version as installed_version
from typing import Final
from urllib.parse import urlsplit

from strongroom.client.audit.export import Record
from strongroom.client.errors import BadInput, Unreachable

_FACILITY: Final = 13
"""Log audit."""
_NOTICE: Final = 5
_INFORMATIONAL: Final = 6
_SECONDS: Final = 10.0
_PORT: Final = {"udp": 514, "tcp": 601}
_HINT: Final = "write it as udp://HOST:514, tcp://HOST:601 or unix:/dev/log"


class Untaken(Unreachable):
    """A collector did not take a message."""


def message_of(record: Record, host: str) -> bytes:
    """One message: facts in JSON behind a head that every collector reads.

    A start of a Vault is a notice, and so is what happened to the key ring; all else informational. `sequenceId` is the
    leaf's index + 1, as far as the RFC lets it count.
    """
    severity = _NOTICE if record.get("start") or record["leaf"] == "life" else _INFORMATIONAL
    name = host if re.fullmatch("[!-~]{1,255}", host) else "-"
    origin = f'[origin software="strongroom" swVersion="{installed_version("strongroom")}"]'
    meta = f'[meta sequenceId="{record["index"] % (2**31 - 1) + 1}"]'
    head = f"<{_FACILITY * 8 + severity}>1 {record['time']} {name} strongroom - {record['leaf']} {origin}{meta}"
    return f"{head} {json.dumps(record, ensure_ascii=True)}".encode()


class Syslog:
    """A collector. UDP and Unix datagrams are sent into the dark; TCP says when a connection breaks, not whether all
    arrived before."""

    def __init__(self, to: str) -> None:
        """`to`: udp://HOST[:PORT], tcp://HOST[:PORT] or unix:PATH. Raises `BadInput`, and `Untaken`."""
        self._to = to
        self._counted = to.startswith("tcp:")
        self._host = socket.gethostname()
        try:
            self._socket = _connected(to)
        except OSError as error:
            raise self._unreachable(error) from None

    def send(self, record: Record) -> None:
        """Raises `Untaken`."""
        message = message_of(record, self._host)
        try:
            self._socket.sendall(b"%d %b" % (len(message), message) if self._counted else message)
        except OSError as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.close()

    def _unreachable(self, error: OSError) -> Untaken:
        return Untaken(
            f"the collector {self._to} can't be reached ({error.strerror or type(error).__name__})",
            "check that it listens there; then go on from the leaf that is named",
            broken=True,
        )


def _connected(to: str) -> socket.socket:
    if to.startswith("unix:") and len(to) > 5:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.settimeout(_SECONDS)
        try:
            one.connect(to.removeprefix("unix:"))
        except OSError:
            one.close()
            raise
        return one
    try:
        parts = urlsplit(to)
        port, usual = parts.port, _PORT[parts.scheme]
    except (ValueError, KeyError):
        raise BadInput(f"{to[:200]!r} is not an address of a syslog collector", _HINT) from None
    if not parts.hostname or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise BadInput(f"{to[:200]!r} is not an address of a syslog collector", _HINT)
    where = (parts.hostname, port or usual)
    if parts.scheme == "tcp":
        return socket.create_connection(where, _SECONDS)
    family, _, _, _, address = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(_SECONDS)
    one.connect(address)
    return one
