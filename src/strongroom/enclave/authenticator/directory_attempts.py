"""Whose attempts at a directory are counted as whose: those who guess choose definition, server and spelling freely.

Attacks stopped here:

1. A new definition of the same directory for each few guesses: strangers are counted at the server, whatever the
   definition, and at the domain around it, since the servers of one directory (`dc1.ad.example`, `dc2.ad.example`)
   know the same accounts. Its port doesn't count: global catalogues have ports of their own.
2. A namesake's account: of strangers `STUDENTS\\bob` and `CORP\\bob` are one; a known session is known by the exact
   name that it signed in with, so a success at the one resets nothing at the other.
3. A directory of one's own beside that of others in one definition: a session is known at the server that took its
   password, and at no other.
4. Counting where nobody was asked: an attempt counts once TLS stands and before the password is sent.
"""

from __future__ import annotations

import ipaddress

from strongroom.enclave.authenticator.directory_users import User
from strongroom.enclave.authenticator.shares import Place
from strongroom.enclave.authenticator.throttle import Throttle
from strongroom.enclave.runtime.egress import Server
from strongroom.protocol.primitives import Domain, digest


class Attempt:
    """One sign-in, which may be at several servers, one after the other."""

    def __init__(self, throttle: Throttle, method: bytes, user: User, binding_key: bytes) -> None:
        self._throttle = throttle
        self._method = method
        self._user = user
        self._binding_key = binding_key
        self._counted: set[Place] = set()

    def verify(self, server: Server) -> None:
        """Before the server is called. Raises `Refused` THROTTLED when it would not be told a password anyhow."""
        self._throttle.verify(self._new(server), self._session(server))

    def enter(self, server: Server) -> None:
        """Right before the server is told the password. Raises `Refused` THROTTLED."""
        new, session = self._new(server), self._session(server)
        self._throttle.enter(new, session)
        if not self._throttle.knows(session):
            self._counted.update(new)

    def clear(self, server: Server) -> None:
        """The server took the password."""
        self._throttle.clear(self._counted, self._session(server))

    def _new(self, server: Server) -> list[Place]:
        """Where strangers are counted, without where this attempt was counted before: one sign-in is one attempt."""
        share = _owner(server.host).encode()
        counted = [
            (share, digest(Domain.MARK, place.encode(), self._user.account.encode())) for place in _places(server)
        ]
        return [place for place in counted if place not in self._counted]

    def _session(self, server: Server) -> Place:
        at = f"{server.scheme}://{server.host}:{server.port}".encode()
        name = digest(Domain.MARK, self._method, at, self._user.bind_name.encode(), self._binding_key)
        return _owner(server.host).encode(), name


def _places(server: Server) -> list[str]:
    """The server, and the domain around it unless that is one under which anybody may have a name."""
    around = server.host.partition(".")[2]
    return [server.host, around] if "." in around and not _is_address(server.host) else [server.host]


def _owner(host: str) -> str:
    """Whose share of the table a server has: names cost nothing below what somebody registered, addresses little."""
    if not _is_address(host):
        return ".".join(host.split(".")[-2:])
    address = ipaddress.ip_address(host)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 32), strict=False))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
