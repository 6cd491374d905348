"""ID tokens (OpenID Connect Core 3.1.3.7): what must hold before a token says who somebody is.

Attacks stopped here: `alg: none` and algorithm confusion (the algorithm comes from the method, the key is filed
under it); a token for another client, issuer or session (aud, azp, iss, nonce); an old or future one; an address
that nobody verified (RULES 13); group memberships that the provider left out and a `forbid` would miss.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from strongroom.enclave.authenticator.jwks import Algorithm, KeySet
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Channel
from strongroom.protocol.primitives import equal

SKEW: Final = 60
"""Seconds by which a provider's clock may differ."""
MAX_ISSUED_AGO: Final = 600
"""Seconds: an interactive sign-in redeems its code at once."""
MAX_TOKEN: Final = 64 * 1024

_EMAIL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_PART: Final = re.compile(rb"[A-Za-z0-9_-]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say, from the method's definition and the session."""

    method: bytes
    issuer: str
    client_id: str
    channel: Channel
    algorithms: Sequence[Algorithm]
    email_domains: Sequence[str]
    nonce: str | None
    """None in the device flow only: there no client can set one."""


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = None


class _Claims(msgspec.Struct):
    """Claims that decide are typed strictly; those that merely describe are looked at one by one."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nbf: int | float = 0
    azp: str | None = None
    nonce: str | None = None
    email: Any = None
    email_verified: Any = None
    groups: str | list[str] = []
    hd: str = ""
    tid: str = ""
    oid: str = ""
    acr: str = ""
    amr: str | list[str] = []
    auth_time: int | float | None = None
    claim_names: dict[str, Any] = msgspec.field(default_factory=dict, name="_claim_names")


def verify_id_token(untrusted_token: str, keys: KeySet, expected: Expected, now: int) -> Fact:
    """Who the token names. Raises `Untrusted` TOKEN_UNTRUSTED with the reason; `UnknownKey` (one of those) when
    fetching the keys again may help."""
    claims = _verify_signature(untrusted_token, keys, expected)
    _verify_addressee(claims, expected)
    _verify_times(claims, now)
    if not (0 < len(claims.sub) <= 255 and claims.sub.isascii() and claims.sub.isprintable()):
        raise _untrusted("sub is not 1 to 255 printable ASCII characters")
    if "groups" in claims.claim_names:
        raise _untrusted("the provider left groups out (too many); let it send only groups of this application")
    email = _verified_email(claims, expected.email_domains)
    return Fact(
        method=expected.method,
        kind="oidc",
        issuer=claims.iss,
        subject=claims.sub,
        email=email,
        groups=_texts(claims.groups, "groups"),
        claims=[],
        hd=_text(claims.hd, "hd"),
        tid=_text(claims.tid, "tid"),
        oid=_text(claims.oid, "oid"),
        acr=_text(claims.acr, "acr"),
        amr=_texts(claims.amr, "amr"),
        auth_time=None if claims.auth_time is None else max(0, min(int(claims.auth_time), now + SKEW)),
        channel=expected.channel,
        phishable=expected.channel == "device",
        mark=None,
    )


def _untrusted(reason: str) -> Untrusted:
    return Untrusted(Number.TOKEN_UNTRUSTED, reason)


def _verify_signature(untrusted_token: str, keys: KeySet, expected: Expected) -> _Claims:
    if len(untrusted_token) > MAX_TOKEN:
        raise _untrusted("larger than any ID token")
    parts = untrusted_token.encode("utf-8", "replace").split(b".")
    if len(parts) != 3:
        raise _untrusted("not a signed token of three parts")
    header = _decode(parts[0], _Header, "header")
    algorithm = next((name for name in expected.algorithms if name == header.alg), None)
    if algorithm is None:
        raise _untrusted("signed with an algorithm that the method does not list")
    if header.crit is not None:
        raise _untrusted("has critical extensions")
    key = keys.find(header.kid, algorithm)
    # The model itself, not `jws.deserialize_compact`: that reads extensions (`b64`) and warns about EdDSA by name.
    model = JWSRegistry.algorithms[algorithm]
    try:
        model.check_key(key)
        genuine = model.verify(parts[0] + b"." + parts[1], _unbase64(parts[2]), key)
    except (JoseError, ValueError):
        genuine = False
    if not genuine:
        raise _untrusted("bad signature")
    return _decode(parts[1], _Claims, "claims")


def _verify_addressee(claims: _Claims, expected: Expected) -> None:
    if claims.iss != expected.issuer:
        raise _untrusted("iss is another issuer")
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if expected.client_id not in audiences:
        raise _untrusted("aud is another client")
    if claims.azp != expected.client_id and (claims.azp is not None or len(audiences) > 1):
        raise _untrusted("azp is not this client")
    if expected.nonce is not None and not equal(
        (claims.nonce or "").encode("utf-8", "replace"), expected.nonce.encode("ascii")
    ):
        raise _untrusted("nonce is another session's")


def _verify_times(claims: _Claims, now: int) -> None:
    if not claims.exp > now - SKEW:
        raise _untrusted("expired")
    if not claims.nbf <= now + SKEW:
        raise _untrusted("not valid yet")
    if not now - MAX_ISSUED_AGO - SKEW <= claims.iat <= now + SKEW:
        raise _untrusted("not issued just now")


def _verified_email(claims: _Claims, email_domains: Sequence[str]) -> str:
    """Lower-case ASCII, or empty. Non-ASCII addresses have look-alikes and differ by normal form: no fact."""
    email = claims.email
    if not isinstance(email, str) or not email.isascii() or len(email) > 254:
        return ""
    email = email.lower()
    if not _EMAIL.fullmatch(email) or claims.email_verified is False:
        return ""
    is_authoritative = email.rpartition("@")[2] in email_domains
    return email if claims.email_verified is True or is_authoritative else ""


def _text(value: str, name: str) -> str:
    if len(value) > 255:
        raise _untrusted(f"{name} is too long")
    return value


def _texts(value: str | list[str], name: str) -> list[str]:
    """AD FS writes one group as a string. Sorted, each once."""
    values = [value] if isinstance(value, str) else value
    return sorted({_text(text, name) for text in values})


def _decode(part: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(_unbase64(part), type=kind)
    except (ValueError, RecursionError):
        raise _untrusted(f"the {name} can't be read") from None


def _unbase64(part: bytes) -> bytes:
    """Base64url without padding, strictly. Raises ValueError."""
    if not _PART.fullmatch(part):
        raise ValueError("not base64url")
    try:
        return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
