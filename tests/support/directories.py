"""What tests with directories share: definitions, an Authenticator's part that speaks to them, and what it refused."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from strongroom.enclave.authenticator.directory import Directories
from strongroom.enclave.authenticator.throttle import PASSWORDS, Throttle
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Number, Refused, Unavailable
from strongroom.protocol.instructions import DirectoryMethod, DirectoryPublic
from tests.idp import samba, slapd
from tests.support.world import Platform

DIGEST = bytes(range(32))


class Named(Platform):
    """Resolves the names that a test says, and counts what is connected to."""

    def __init__(self, state):
        super().__init__("authenticator", state)
        self.names: dict[str, str] = {}
        self.connected: list[tuple[str, int]] = []

    async def resolve(self, host, port):
        return [self.names[host]] if host in self.names else await super().resolve(host, port)

    async def connect(self, host, port):
        self.connected.append((host, port))
        return await super().connect(host, port)


class AtDirectories(Directories):
    """`Directories` with the platform that they reach the world by."""

    def __init__(self, state):
        self.platform = Named(state)
        super().__init__(Egress(self.platform), Clock(self.platform))

    def anew(self):
        """For another test: what a platform costs to make is paid once."""
        self.platform.names, self.platform.connected = {}, []
        return self

    async def enter(self, method, user, password):
        """One attempt of a stranger, as if it were the first: counting has tests of its own."""
        self._throttle = Throttle(Clock(self.platform), PASSWORDS)
        return await self.sign_in(DIGEST, method, user, password, b"stranger")

    async def refused(self, method, user, password):
        """Why the sign-in is refused, which strangers are not told: for them it is one number."""
        with pytest.raises(Refused) as caught:
            await self.enter(method, user, password)
        assert caught.value.number is Number.SIGN_IN_REFUSED
        return caught.value.reason

    async def unavailable(self, method, user, password):
        """Why no server answered."""
        with pytest.raises(Unavailable) as caught:
            await self.enter(method, user, password)
        return caught.value.number, caught.value.reason


def directory(**changes):
    """A definition: by default Samba's domain, without servers."""
    fields: dict[str, Any] = {
        "public": DirectoryPublic(name="ad.test"),
        "flavour": "active-directory",
        "servers": ["ldaps://dc1.ad.test"],
        "certificates": b"",
        "base": samba.BASE,
        "user_dn": "",
        "groups": [],
        "email_domains": [],
    }
    return DirectoryMethod(**(fields | changes))


def openldap(**changes):
    """A definition: by default slapd's tree, without servers."""
    fields: dict[str, Any] = {
        "flavour": "ldap",
        "base": slapd.BASE,
        "user_dn": slapd.USER_DN,
        "servers": ["ldaps://ldap.test"],
    }
    return directory(**(fields | changes))


@asynccontextmanager
async def silent_server():
    """Takes connections and never says a word; yields its port and the list of them."""
    connected: list[asyncio.StreamWriter] = []

    async def serve(reader, writer):
        connected.append(writer)
        await reader.read()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], connected
    finally:
        listening.close()
        for writer in connected:
            writer.transport.abort()
