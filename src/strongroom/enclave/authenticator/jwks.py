"""What an issuer says of itself, and its verification keys: each serves one algorithm, none for longer than an hour.

Attacks stopped here:

1. HS256 with the public key as secret, or a token signed by one algorithm's key under another's name: a key is
   filed under the one algorithm that its type fits; symmetric keys are never read.
2. Tokens with random key ids that make the Authenticator hammer the provider: one refetch in 30 seconds.
3. A host that winds its clock back to keep a withdrawn key: an age below zero counts as too old.
4. A discovery document that speaks for another issuer: it names the issuer that was asked for, byte for byte.
"""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Answer, Calls, Egress
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable, Untrusted

MAX_AGE: Final = 3600
REFETCH_INTERVAL: Final = 30
MAX_KEYS: Final = 32

_TEMPLATES: Final = ("common", "organizations")
_USES: Final = ("sig", "jwt-svid")
"""The second in bundles of SPIFFE (SPIFFE Trust Domain and Bundle §4.2.2); their x509-svid keys sign no tokens."""
_RSA_BITS: Final = range(2048, 8192 + 1)
_RSA_EXPONENTS: Final = range(3, 2**32, 2)

Algorithm = Literal["RS256", "ES256", "EdDSA"]

T = TypeVar("T")


class Metadata(msgspec.Struct):
    """Discovery (OpenID Connect Discovery 1.0 §3), as far as every issuer has it; what is not listed is not used."""

    issuer: str
    jwks_uri: str


M = TypeVar("M", bound=Metadata)


class UnknownKey(Untrusted):
    """No key of the set fits the token: perhaps the provider has turned its keys."""

    default = Number.TOKEN_UNTRUSTED


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


class _Jwk(msgspec.Struct):
    """The public members that are used; a private key published by mistake is not read."""

    kty: str
    kid: str = ""
    use: str = "sig"
    key_ops: list[str] = msgspec.field(default_factory=lambda: ["verify"])
    alg: str = ""
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by (key id, algorithm)."""

    keys: dict[tuple[str, Algorithm], Key]

    def find(self, kid: str, algorithm: Algorithm) -> Key:
        """The key a token names; a token without a key id needs a set with one key of its algorithm. Raises
        `UnknownKey`."""
        if kid:
            key = self.keys.get((kid, algorithm))
        else:
            fitting = [key for (_, alg), key in self.keys.items() if alg == algorithm]
            key = fitting[0] if len(fitting) == 1 else None
        if key is None:
            raise UnknownKey(reason="the provider has no such key for this algorithm")
        return key


def parse_keys(data: bytes) -> KeySet:
    """The usable keys of a JWKS (RFC 7517). Keys of other kinds are skipped, as the RFC asks.

    Raises `Unavailable` PROVIDER_UNAVAILABLE for what is no JWKS, too many keys, or two of one id and algorithm.
    """
    document = Answer(200, data).parse(_Document)
    keys: dict[tuple[str, Algorithm], Key] = {}
    for raw in document.keys[: MAX_KEYS + 1]:
        try:
            jwk = msgspec.json.decode(raw, type=_Jwk)
            algorithm, key = _import(jwk)
        except (JoseError, ValueError, RecursionError):
            continue
        if (jwk.kid, algorithm) in keys:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "two keys of the provider have one id")
        keys[jwk.kid, algorithm] = key
    if len(document.keys) > MAX_KEYS:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"the provider has more than {MAX_KEYS} keys")
    return KeySet(keys)


def _import(jwk: _Jwk) -> tuple[Algorithm, Key]:
    """Raises ValueError or `JoseError` for a key that is not to be used."""
    algorithm, members = _members(jwk)
    if jwk.use not in _USES or "verify" not in jwk.key_ops or jwk.alg not in ("", algorithm):
        raise ValueError("not for this use")
    key: Key
    match algorithm:
        case "RS256":
            key = RSAKey.import_key(members)
            bits = key.public_key.public_numbers().n.bit_length()
            if bits not in _RSA_BITS or int.from_bytes(urlsafe_b64decode(jwk.e + "==")) not in _RSA_EXPONENTS:
                raise ValueError("an RSA key that is weak, or slow to verify")
        case "ES256":
            key = ECKey.import_key(members)
        case "EdDSA":
            key = OKPKey.import_key(members)
    return algorithm, key


def _members(jwk: _Jwk) -> tuple[Algorithm, dict[str, Any]]:
    match jwk.kty, jwk.crv:
        case "RSA", "":
            # Bounded before anything computes with it.
            if len(jwk.n) > max(_RSA_BITS) // 6 + 1 or len(jwk.e) > 8:
                raise ValueError("an RSA key out of bounds")
            return "RS256", {"kty": "RSA", "n": jwk.n, "e": jwk.e}
        case "EC", "P-256":
            return "ES256", {"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y}
        case "OKP", "Ed25519":
            return "EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": jwk.x}
    raise ValueError("another kind of key")


def verify_issuer(issuer: str, egress: Egress) -> None:
    """That it may be asked, and stands for one tenant only (RULES 13). Raises `Misuse` METHOD_INVALID."""
    try:
        endpoint = egress.verify_url(issuer)
        if "?" in issuer:
            raise Refused(reason="has a query")
        # Entra's issuers for any tenant stand first in the path; a Keycloak realm of such a name stands second.
        if endpoint.target.split("/")[1] in _TEMPLATES or re.search("[{}]|%7b", issuer, re.IGNORECASE):
            raise Refused(reason="stands for any tenant; name one")
    except Refused as error:
        raise Misuse(Number.METHOD_INVALID, f"issuer: {error.reason}") from None


@contextmanager
def calling(part: str) -> Iterator[None]:
    """Errors of a call inside say which of the provider's endpoints they are about."""
    try:
        yield
    except (Refused, Unavailable) as error:
        raise type(error)(error.number, f"{part}: {error.reason}" if error.reason else part) from None


class Discovery(Generic[M]):
    """The discovery document of one complete method definition (RULES 5)."""

    def __init__(self, calls: Calls, clock: Clock, issuer: str, kind: type[M]) -> None:
        self._calls = calls
        self._clock = clock
        self._issuer = issuer
        self._kind = kind
        self._lock = asyncio.Lock()
        self._metadata: M | None = None
        self._learnt_at = 0

    async def current(self) -> M:
        """At most an hour old. Raises `Unavailable`, or `Refused` DESTINATION_REFUSED."""
        async with self._lock:
            age = self._clock.now() - self._learnt_at
            if self._metadata is None or not 0 <= age < MAX_AGE:
                self._metadata = None
                with calling("discovery"):
                    self._metadata = await self._fetch()
                self._learnt_at = self._clock.now()
            return self._metadata

    async def _fetch(self) -> M:
        answer = await self._calls.get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if answer.status != 200:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"status {answer.status}")
        metadata = answer.parse(self._kind)
        if metadata.issuer != self._issuer:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the document is another issuer's")
        return metadata


class KeyCache:
    """The keys of one complete method definition (RULES 5)."""

    def __init__(self, calls: Calls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._fetched_at = 0
        self._refetched_at = -REFETCH_INTERVAL

    async def verified(self, jwks_uri: str, verify: Callable[[KeySet], T]) -> T:
        """What `verify` makes of the keys; they are fetched anew once when it raises `UnknownKey`."""
        keys = await self._current(jwks_uri)
        try:
            return verify(keys)
        except UnknownKey:
            newer = await self._refetched(jwks_uri, keys)
            if newer is keys:
                raise
            return verify(newer)

    async def _current(self, jwks_uri: str) -> KeySet:
        """At most an hour old. Raises `Unavailable` or `Refused` when they have to be fetched and can't be."""
        async with self._lock:
            age = self._clock.now() - self._fetched_at
            if self._keys is None or not 0 <= age < MAX_AGE:
                self._keys = None
                self._keys = await self._fetch(jwks_uri)
            return self._keys

    async def _refetched(self, jwks_uri: str, known: KeySet) -> KeySet:
        """Newer than `known`, if the rate limit lets them be fetched; otherwise what there is."""
        async with self._lock:
            now = self._clock.now()
            if self._keys is known and not 0 <= now - self._refetched_at < REFETCH_INTERVAL:
                self._refetched_at = now
                self._keys = await self._fetch(jwks_uri)
            return self._keys or known

    async def _fetch(self, jwks_uri: str) -> KeySet:
        with calling("JWKS"):
            answer = await self._calls.get(jwks_uri)
            if answer.status != 200:
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"status {answer.status}")
            keys = parse_keys(answer.body)
        self._fetched_at = self._clock.now()
        return keys
