"""A `World` on loopback: its enclaves answer over real HTTP, through networks that tests make lie.

`Line.carry` is the network between one enclave and its clients; replace it. Raise `Cut` to drop the connection instead
of answering. `ServedWorld` adds an OpenID Connect issuer and the SDK of people who sign in there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from strongroom.attack.network import listening
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.results import Receipt
from strongroom.client.sign_in.browser import InBrowser
from strongroom.client.vault import AsyncVault
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.instructions import AuthenticatorRef, OidcMethod
from strongroom.protocol.link import Operation
from tests.support.issuer import CLIENT_ID, Issuer
from tests.support.world import Instance, World

SECRET = b"AGE-SECRET-KEY-1 is not for everybody"
OPERATIONS = {
    ("GET", "/v1/evidence"): Operation.EVIDENCE,
    ("POST", "/v1/session"): Operation.SESSION,
    ("POST", "/v1/frame"): Operation.FRAME,
}


class Cut(Exception):
    """The connection ends here, without an answer."""


class Line:
    """The way from clients to one enclave."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.carry: Callable[[Operation, bytes], Awaitable[bytes]] = self.honestly
        self.calls: list[Operation] = []
        self.url = ""

    async def honestly(self, operation: Operation, body: bytes) -> bytes:
        return await self.instance.enclave.handle(operation, body)

    def count(self, operation: Operation) -> int:
        return self.calls.count(operation)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            operation = OPERATIONS[method, path]
            self.calls.append(operation)
            try:
                status, more, answer = 200, "", await self.carry(operation, body)
            except StrongroomError as error:
                number = int(error.number)
                status, more, answer = 400, f"strongroom-error: {number}\r\n", number.to_bytes(2, "big")
            except Cut:
                return
            writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()


class AtTheIssuer:
    """A user in front of a browser: signs in as `who`, and follows the redirect."""

    def __init__(self, issuer: Issuer, who: str) -> None:
        self.issuer = issuer
        self.who = who
        self.urls: list[str] = []
        self.extra: dict[str, str] = {}

    async def authorize(self, url: str) -> None:
        self.urls.append(url)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT_ID
        self.issuer.nonce = query["nonce"]
        self.issuer.claims |= {"sub": self.who, "email": f"{self.who}@example.com"}
        back = {"code": "a-code", "state": query["state"], "iss": self.issuer.url, **self.extra}
        async with httpx.AsyncClient(trust_env=False) as browser:
            page = await browser.get(f"{query['redirect_uri']}?{urlencode(back)}")
        assert "a-code" not in page.text


class AtBoth:
    """Signs in as `who` at whichever of two issuers is asked."""

    def __init__(self, served: ServedWorld, other: Issuer, who: str) -> None:
        self.users = [AtTheIssuer(other, who), AtTheIssuer(served.issuer, who)]
        self.urls: list[str] = []

    async def authorize(self, url: str) -> None:
        self.urls.append(url)
        await next(user for user in self.users if url.startswith(user.issuer.url + "/")).authorize(url)


class ServedWorld:
    """Everything that a client needs, at `vault.url` and `authenticator.url`; people sign in by `method`."""

    method: OidcMethod

    def __init__(self, world: World, issuer: Issuer) -> None:
        self.world = world
        self.issuer = issuer
        self.vault = Line(world.vault)
        self.authenticator = Line(world.authenticator)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, state: Path, prepare: Callable[[World], None] = lambda world: None
    ) -> AsyncIterator[ServedWorld]:
        world = World(state)
        prepare(world)
        await world.start()
        issuer = Issuer(Clock(world.authenticator.platform))
        served = cls(world, issuer)
        async with (
            issuer.serving(),
            listening(served.vault.serve) as served.vault.url,
            listening(served.authenticator.serve) as served.authenticator.url,
        ):
            world.vault.host.routes[served.authenticator.url] = served.authenticator.honestly
            served.method = oidc_method(issuer.url, CLIENT_ID)
            await served.namespace("team")
            yield served

    @property
    def trust(self) -> TrustPolicy:
        return TrustPolicy(
            version=1,
            name="insecure test",
            vault=self.world.policy("vault"),
            authenticator=self.world.policy(),
            witnesses=self.world.vault.witnesses,
            cosignatures=self.world.vault.cosignatures,
        )

    def now(self) -> float:
        return self.world.vault.platform.now()

    def sdk(self, who: str | None = None, **options: Any) -> AsyncVault:
        """The SDK of somebody who signs in as `who`."""
        if who is not None:
            options.setdefault("sign_in", AtTheIssuer(self.issuer, who))
        return AsyncVault(self.vault.url, options.pop("trust", self.trust), now=self.now, **options)

    def instructions(self, rules: Policy, **changes: Any) -> bytes:
        reference = AuthenticatorRef(url=self.authenticator.url, policy=encode(self.world.policy()))
        fields: dict[str, Any] = {"authenticators": [reference], "methods": [self.method], "rules": rules}
        return instructions(**(fields | changes))

    def for_(self, *people: str, method: Any = None) -> bytes:
        """Instructions: these people may collect, whoever stored may do the rest; by another method it is for ever."""
        for_ever = method not in (None, self.method)
        method = method or self.method
        emails = [f"{person}@example.com" for person in people]
        collectors = Policy.anyone_with_email(*emails, method=method).may("collect")
        rules = collectors | Policy.depositor_may("update", "delete", "audit")
        return self.instructions(rules, methods=[method], permanent=for_ever)

    async def namespace(self, name: str) -> int:
        everybody = Policy.namespace(create=Policy.anyone_signed_in(self.method))
        async with self.sdk(binding_key=self.world.owner) as owner:
            return await owner.create_namespace(
                name,
                instructions=self.instructions(everybody, permanent=True),
                max_records=1000,
                max_bytes=10_000_000,
                max_records_per_identity=1000,
                max_bytes_per_identity=10_000_000,
            )


async def put(served: ServedWorld, *recipients: str, who: str = "alice", **options: Any) -> Receipt:
    """A record of `who` for these people."""
    async with served.sdk(who) as depositor:
        return await depositor.store(SECRET, namespace="team", instructions=served.for_(*recipients), **options)


async def number_of(work: Awaitable[Any]) -> Number:
    """Of the error that it raises."""
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


def urls_of(client: AsyncVault) -> list[str]:
    """Where the only way to sign in of this client was sent."""
    (way,) = client._desk._own_ways
    assert isinstance(way, InBrowser)
    assert isinstance(way._sign_in, AtTheIssuer | AtBoth)
    return way._sign_in.urls
