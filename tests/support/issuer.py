"""An OpenID Connect issuer on loopback that tests can make misbehave in any one place, and a desk to sign in at.

`Issuer` speaks HTTP over real sockets; a test bends `claims`, `header`, `sign`, `metadata` or a whole route.
`Desk` is a real `AuthenticatorService` and a client of it with its own binding key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from strongroom.attestation.appraisal import Genuine
from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator.service import AuthenticatorService
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Method, bound_nonce, method_digest
from strongroom.protocol.link import Put, Row
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Begin, Redeem, SignedIn
from tests.support.world import Platform

CLIENT_ID = "strongroom"
REDIRECT = "http://127.0.0.1:49152/callback"
VAULT = b"V" * 32
AUTHENTICATOR = b"A" * 32
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
Route = Callable[[asyncio.StreamWriter, dict[str, str]], Awaitable[None]]


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key: Key, **members: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **members}


def sign(header: dict[str, Any], claims: dict[str, Any], key: Key | bytes) -> str:
    """A compact JWS. `key` as bytes is an HMAC secret: the library itself won't take a public key for one."""
    signed = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    if isinstance(key, bytes):
        return f"{signed}.{base64url(hmac.digest(key, signed.encode(), 'sha256'))}"
    model = JWSRegistry.algorithms[header["alg"]]
    return f"{signed}.{base64url(model.sign(signed.encode(), key))}"


async def answer(writer: asyncio.StreamWriter, body: Any, status: int = 200, *headers: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(content)}", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await writer.drain()


class Issuer:
    """Honest until bent."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.keys: list[dict[str, Any]] = [public(RSA, kid="rsa"), public(EC, kid="ec"), public(ED, kid="ed")]
        self.key: Key = RSA
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
        self.claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.nonce = ""
        self.make_token: Callable[[], str] = self.token
        self.calls: Counter[str] = Counter()
        self.forms: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.routes: dict[str, Route] = {
            "/.well-known/openid-configuration": self._discovery,
            "/jwks": self._jwks,
            "/token": self._token,
        }

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Issuer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    def token(self) -> str:
        now = self.clock.now()
        claims = {
            "iss": self.url,
            "sub": "bob",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "email": "Bob@Example.com",
            "email_verified": True,
            **self.claims,
        }
        return sign(self.header, {k: v for k, v in claims.items() if v is not None}, self.key)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.headers.append(headers)
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            self.calls[path] += 1
            self.forms.append(body)
            await self.routes[path](writer, headers)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the Authenticator hangs up on what it does not like
        finally:
            writer.close()

    async def _discovery(self, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            **self.metadata,
        }
        await answer(writer, document)

    async def _jwks(self, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        await answer(writer, {"keys": self.keys})

    async def _token(self, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        await answer(writer, {"access_token": "x", "token_type": "Bearer", "id_token": self.make_token()})


async def refusal(action: Awaitable[Any], family: type[StrongroomError], number: Number) -> str:
    """The reason for which `action` is refused."""
    with pytest.raises(family) as caught:
        await action
    assert caught.value.number is number
    return caught.value.reason


@asynccontextmanager
async def desk_at_issuer(platform: Platform) -> AsyncIterator[tuple[Desk, Issuer]]:
    async with Issuer(Clock(platform)).serving() as issuer:
        yield Desk(platform, issuer), issuer


class NoDatabase:
    """An Authenticator keeps nothing after its start."""

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        raise AssertionError("an Authenticator read something")

    async def commit(self, puts: Sequence[Put], size: int, leaves: Sequence[bytes]) -> None:
        raise AssertionError("an Authenticator wrote something")


class SmallRing:
    """What an Authenticator's service asks of its ring, of a cluster whose id tests know beforehand."""

    cluster_id = AUTHENTICATOR
    epoch = 1
    epochs: Mapping[int, bytes] = {1: b"e" * 32}


class Desk:
    """An Authenticator and one client of it."""

    def __init__(self, platform: Platform, issuer: Issuer | None = None) -> None:
        self.platform = platform
        self.issuer = issuer
        self.clock = Clock(platform)
        ring = SmallRing()
        egress, database = Egress(platform), NoDatabase()
        self.service = AuthenticatorService(platform, self.clock, cast("Ring", ring), {}, egress, database)
        self.ticket_key = self.service._ticket_key()
        self.sealer = Sealer(platform, AUTHENTICATOR, lambda: self.ticket_key)
        self.binding_key = SigningKey.generate().public
        self.salt = b"s" * 32
        self.method = oidc_method(issuer.url, CLIENT_ID) if issuer else oidc_method("https://login.test", CLIENT_ID)

    def caller(self, peer: Genuine | None = None) -> Caller:
        return Caller(binding_key=self.binding_key, peer=peer)

    def capsule(self, *methods: Method, vault: bytes = VAULT) -> bytes:
        """What an appraised Vault of cluster `vault` gets for these methods."""
        return self.sealer.seal_capsule([encode(m) for m in methods or (self.method,)], vault, self.clock.now())

    @property
    def digest(self) -> bytes:
        return method_digest(encode(self.method))

    async def begin(self, **changes: Any) -> Any:
        request = {"vault_cluster": VAULT, "capsule": self.capsule(), "method": self.digest, "channel": "native"}
        return await self.service.handle(self.caller(), Begin(**{**request, **changes}))

    async def sign_in(self, **changes: Any) -> SignedIn:
        assert self.issuer is not None
        self.issuer.nonce = bound_nonce(self.digest, self.binding_key, self.salt)
        request: dict[str, Any] = {
            "vault_cluster": VAULT,
            "capsule": self.capsule(),
            "method": self.digest,
            "channel": "native",
            "redirect_uri": REDIRECT,
            "code": "code",
            "code_verifier": "v" * 43,
            "salt": self.salt,
            "with_ticket": None,
        }
        reply = await self.service.handle(self.caller(), Redeem(**{**request, **changes}))
        assert isinstance(reply, SignedIn)
        return reply

    def fact(self, signed_in: SignedIn) -> Fact:
        """What a ticket of one sign-in says."""
        (fact,) = self.sealer.verify_ticket(
            signed_in.ticket, binding_key=self.binding_key, vault_cluster=VAULT, now=self.clock.now()
        )
        return fact
