"""ID tokens (OpenID Connect Core 3.1.3.7): what must hold before a token says who somebody is.

Attacks stopped here: `alg: none` and algorithm confusion (the algorithm comes from the method, the key is filed
under it); a token for another client, issuer or session (aud, azp, iss, nonce); an old or future one; a sign-in that
was weaker or longer ago than the method asks for, whatever the browser asked the provider for; an address that nobody
verified (RULES 13); group memberships that the provider left out and a `forbid` would miss.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from strongroom.enclave.authenticator.jwks import Algorithm, KeySet
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Channel
from strongroom.protocol.primitives import equal
from strongroom.protocol.subjects import is_subject

SKEW: Final = 60
"""Seconds by which a provider's clock may differ."""
MAX_ISSUED_AGO: Final = 600
"""Seconds: an interactive sign-in redeems its code at once."""
MAX_TOKEN: Final = 64 * 1024
MAX_TIME: Final = 2**63
"""JSON numbers have no end, and Python's integers neither: of those no difference with a fraction can be told."""

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
    acr_values: Sequence[str]
    max_age: int
    nonce: str
    """On channel `device` a token may be without: not every provider takes one there."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a token says, and the key that signed it."""

    claims: bytes
    """JSON."""
    key: Key


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = None


class Registered(msgspec.Struct):
    """Claims that decide about any token (RFC 7519 §4.1): typed strictly, and none may be missing."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nbf: int | float = 0

    @property
    def audiences(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud


class _Claims(Registered):
    """Those that merely describe are looked at one by one."""

    azp: str | None = None
    nonce: str | None = None
    email: Any = None
    email_verified: Any = None
    email_domain_verified: Any = msgspec.field(default=None, name="xms_edov")
    groups: str | list[str] = []
    roles: str | list[str] = []
    group: str | list[str] = []
    strongroom_groups: str | list[str] = []
    has_groups: Any = msgspec.field(default=None, name="hasgroups")
    hd: str = ""
    tid: str = ""
    oid: str = ""
    acr: str = ""
    amr: str | list[str] = []
    auth_time: Any = None
    claim_names: dict[str, Any] = msgspec.field(default_factory=dict, name="_claim_names")


def verify_id_token(untrusted_token: str, keys: KeySet, expected: Expected, now: int) -> Fact:
    """Who the token names. Raises `Untrusted` TOKEN_UNTRUSTED with the reason; `UnknownKey` (one of those) when
    fetching the keys again may help."""
    claims = read_claims(verify_signature(untrusted_token, keys, expected.algorithms).claims, _Claims)
    _verify_addressee(claims, expected)
    verify_times(claims, now)
    if not now - MAX_ISSUED_AGO - SKEW <= claims.iat:
        raise token_untrusted("not issued just now")
    auth_time = _auth_time(claims, now)
    _verify_strength(claims, auth_time, expected, now)
    return Fact(
        method=expected.method,
        kind="oidc",
        issuer=claims.iss,
        subject=subject_of(claims),
        email=_verified_email(claims, expected.email_domains),
        groups=_groups(claims),
        claims=[],
        hd=_text(claims.hd, "hd"),
        tid=_text(claims.tid, "tid"),
        oid=_text(claims.oid, "oid"),
        acr=_text(claims.acr, "acr"),
        amr=_texts(claims.amr, "amr"),
        auth_time=auth_time,
        channel=expected.channel,
        phishable=expected.channel == "device",
        mark=None,
        marked_as="",
    )


def token_untrusted(reason: str) -> Untrusted:
    return Untrusted(Number.TOKEN_UNTRUSTED, reason)


def verify_signature(untrusted_token: str, keys: KeySet, algorithms: Sequence[Algorithm]) -> Signed:
    """The claims that one of the keys signed (RFC 7515, compact). Raises as `verify_id_token` does."""
    if len(untrusted_token) > MAX_TOKEN:
        raise token_untrusted("larger than any token")
    parts = untrusted_token.encode("utf-8", "replace").split(b".")
    if len(parts) != 3:
        raise token_untrusted("not a signed token of three parts")
    header = _decode(_unbase64(parts[0], "header"), _Header, "header")
    algorithm = next((name for name in algorithms if name == header.alg), None)
    if algorithm is None:
        raise token_untrusted("signed with an algorithm that the method does not list")
    if header.crit is not None:
        raise token_untrusted("has critical extensions")
    key = keys.find(header.kid, algorithm)
    # The model itself, not `jws.deserialize_compact`: that reads extensions (`b64`) and warns about EdDSA by name.
    model = JWSRegistry.algorithms[algorithm]
    signature = _unbase64(parts[2], "signature")
    try:
        model.check_key(key)
        genuine = model.verify(parts[0] + b"." + parts[1], signature, key)
    except (JoseError, ValueError):
        genuine = False
    if not genuine:
        raise token_untrusted("bad signature")
    return Signed(_unbase64(parts[1], "claims"), key)


def read_claims(claims: bytes, kind: type[T]) -> T:
    """Claims as a `kind`. Raises `Untrusted` TOKEN_UNTRUSTED."""
    return _decode(claims, kind, "claims")


def verify_times(claims: Registered, now: int) -> None:
    """Raises `Untrusted` TOKEN_UNTRUSTED unless it is a token's time."""
    if not all(0 <= time < MAX_TIME for time in (claims.exp, claims.iat, claims.nbf)):
        raise token_untrusted("a time that is none")
    if not claims.exp > now - SKEW:
        raise token_untrusted("expired")
    if not claims.nbf <= now + SKEW:
        raise token_untrusted("not valid yet")
    if not claims.iat <= now + SKEW:
        raise token_untrusted("issued in the future")


def subject_of(claims: Registered) -> str:
    """Raises `Untrusted` TOKEN_UNTRUSTED."""
    if not is_subject(claims.sub):
        raise token_untrusted("sub is not 1 to 255 printable ASCII characters")
    return claims.sub


def _verify_addressee(claims: _Claims, expected: Expected) -> None:
    if claims.iss != expected.issuer:
        raise token_untrusted("iss is another issuer")
    if expected.client_id not in claims.audiences:
        raise token_untrusted("aud is another client")
    if claims.azp != expected.client_id and (claims.azp is not None or len(claims.audiences) > 1):
        raise token_untrusted("azp is not this client")
    if claims.nonce is None and expected.channel == "device":
        return
    if not equal((claims.nonce or "").encode("utf-8", "replace"), expected.nonce.encode("ascii")):
        raise token_untrusted("nonce is another session's")


def _verify_strength(claims: _Claims, auth_time: int | None, expected: Expected, now: int) -> None:
    """The browser carries `acr_values` and `max_age` to the provider, and whoever holds the browser may leave them
    out. So what counts is what the token says."""
    if expected.acr_values and claims.acr not in expected.acr_values:
        raise token_untrusted("acr is none of those that the method asks for")
    if expected.max_age:
        if auth_time is None:
            raise token_untrusted("no auth_time, which the method's max_age needs")
        if now - auth_time > expected.max_age + SKEW:
            raise token_untrusted("auth_time is longer ago than the method's max_age")


def _auth_time(claims: _Claims, now: int) -> int | None:
    """When the user last signed in at the provider; None when it says so in no number: AD FS has a date as text."""
    if isinstance(claims.auth_time, bool) or not isinstance(claims.auth_time, int | float):
        return None
    if not claims.auth_time <= now + SKEW:
        raise token_untrusted("auth_time lies in the future")
    return max(0, int(claims.auth_time))


def _groups(claims: _Claims) -> list[str]:
    """Groups, by the names that providers have for them: Entra's app roles are `roles`, AD FS says `group`, and Auth0
    keeps the usual names to itself, so an Action writes `strongroom_groups`.

    Raises `Untrusted` when the provider left some out: then a rule that forbids a group would not fire.
    """
    if {"groups", "roles"} & claims.claim_names.keys() or claims.has_groups not in (None, False):
        raise token_untrusted("the provider left groups out (too many); let it send only groups of this application")
    named = (claims.groups, claims.roles, claims.group, claims.strongroom_groups)
    return sorted({text for group in named for text in _texts(group, "groups")})


def _verified_email(claims: _Claims, email_domains: Sequence[str]) -> str:
    """Lower-case ASCII, or empty. Non-ASCII addresses have look-alikes and differ by normal form: no fact."""
    email = claims.email
    if not isinstance(email, str) or not email.isascii() or len(email) > 254:
        return ""
    email = email.lower()
    if not _EMAIL.fullmatch(email) or claims.email_verified is False:
        return ""
    if claims.email_domain_verified in (False, "0", "false"):
        return ""  # Entra: anybody's tenant may have claimed it for a guest
    is_authoritative = email.rpartition("@")[2] in email_domains
    return email if claims.email_verified is True or is_authoritative else ""


def _text(value: str, name: str) -> str:
    if len(value) > 255:
        raise token_untrusted(f"{name} is too long")
    return value


def _texts(value: str | list[str], name: str) -> list[str]:
    """AD FS writes one group as a string. Sorted, each once."""
    values = [value] if isinstance(value, str) else value
    return sorted({_text(text, name) for text in values})


def _decode(data: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        raise token_untrusted(f"the {name} can't be read") from None


def _unbase64(part: bytes, name: str) -> bytes:
    """Base64url without padding, strictly."""
    try:
        if not _PART.fullmatch(part):
            raise ValueError
        return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        raise token_untrusted(f"the {name} can't be read") from None
