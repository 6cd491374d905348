"""Sign-in with user name and password at Active Directory or another LDAP server."""

from __future__ import annotations

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import DirectoryMethod


def verify_directory(method: DirectoryMethod, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    raise Misuse(Number.METHOD_INVALID, "not supported yet")


class Directories:
    """Directories that people sign in with."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock

    async def sign_in(self, digest: bytes, method: DirectoryMethod, user: str, password: str) -> Fact:
        """Who the directory says it is. Raises `Refused` SIGN_IN_REFUSED, `Unavailable`."""
        raise Misuse(Number.UNSUPPORTED)
