"""Where a share lives: links, origins, and the site statement `/trust.json` (`spec/share.md`). No network.

Whoever writes a site statement decides who "bob@example.com" is: with a method of an issuer of his own he signs in as
anybody. So a statement counts for nothing until its user has approved its digest, and the trust policy in it never
counts here: this side has a policy of its own.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.share.errors import Unreadable
from strongroom.client.share.format import Json, Number, decode_json, encode_json
from strongroom.client.urls import is_loopback, verify_url
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse
from strongroom.protocol.instructions import CodeMethod, DirectoryMethod, OidcMethod, parse_method
from strongroom.protocol.limits import MAX_AUTHENTICATORS, MAX_METHODS

MAX_STATEMENT: Final = 256 * 1024
SiteMethod = OidcMethod | DirectoryMethod | CodeMethod
"""How a site's people sign in: by definitions that hold no secret, as the whole world reads them."""
_LINK: Final = re.compile(r"(https?://[^/#?]+)/#/([sr])/([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Link:
    """Which record, and at which site its blob lies. Never a key."""

    origin: str
    kind: Literal["share", "request"]
    id: bytes

    def __str__(self) -> str:
        return f"{self.origin}/#/{'s' if self.kind == 'share' else 'r'}/{self.id.hex()}"


def parse_link(text: str) -> Link:
    """Raises `BadInput` for what is not exactly a link."""
    found = _LINK.fullmatch(text)
    if found is None:
        raise BadInput(
            f"{text[:120]!r} is not the link of a share",
            "it looks like https://share.example.com/#/s/ and 32 hex digits",
        )
    return Link(verify_origin(found[1]), "share" if found[2] == "s" else "request", bytes.fromhex(found[3]))


def verify_origin(url: str) -> str:
    """Scheme, host and port of a site. Raises `BadInput`: https, or http on this machine, and nothing behind it."""
    origin = verify_url(url)
    parts = urlsplit(origin)
    if parts.path or not (parts.scheme == "https" or is_loopback(origin)):
        raise BadInput(
            f"{url[:120]!r} is not the address of a site", "write it as https://share.example.com, without a path"
        )
    return origin


class Server(Json):
    """A Vault or an Authenticator, by the address that instructions name."""

    url: Annotated[str, Meta(max_length=512)]


class ExpiryDays(Json):
    """How long shares last."""

    default: Annotated[int, Meta(ge=1, le=3650)]
    max: Annotated[int, Meta(ge=1, le=3650)]


class Statement(Json):
    """`/trust.json` as it is written."""

    format: Literal["strongroom site 1"]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    policy: dict[str, Any]
    vault: Server
    authenticators: Annotated[list[Server], Meta(min_length=1, max_length=MAX_AUTHENTICATORS)]
    namespace: Annotated[str, Meta(min_length=1, max_length=256)]
    methods: Annotated[list[Annotated[str, Meta(max_length=24 * 1024)]], Meta(min_length=1, max_length=MAX_METHODS - 1)]
    max_bytes: Number
    expiry_days: ExpiryDays
    contact: Annotated[str, Meta(pattern=r"^(mailto:|https://)[!-~]{1,300}\Z")]


@dataclass(frozen=True, slots=True)
class Site:
    """What a site says of itself, parsed; and SHA-256 of how it said so."""

    origin: str
    digest: bytes
    name: str
    vault: str
    authenticators: tuple[str, ...]
    namespace: str
    methods: tuple[SiteMethod, ...]
    max_bytes: int
    default_days: int
    max_days: int
    contact: str

    def link(self, kind: Literal["share", "request"], record_id: bytes) -> Link:
        """The link of a share or a request at this site."""
        return Link(self.origin, kind, record_id)


def parse_site(origin: str, untrusted: bytes) -> Site:
    """The statement of the site at `origin`; approved by nobody yet. Raises `Unreadable`."""
    what = "the site's statement"
    try:
        statement = decode_json(untrusted, Statement, limit=MAX_STATEMENT, what=what)
        days = statement.expiry_days
        if days.default > days.max or not statement.name.isprintable() or not statement.namespace.isprintable():
            raise Unreadable(f"{what} contradicts itself")
        return Site(
            origin=verify_origin(origin),
            digest=sha256(untrusted).digest(),
            name=statement.name,
            vault=verify_url(statement.vault.url),
            authenticators=tuple(verify_url(one.url) for one in statement.authenticators),
            namespace=statement.namespace,
            methods=tuple(_method(text) for text in statement.methods),
            max_bytes=statement.max_bytes,
            default_days=days.default,
            max_days=days.max,
            contact=statement.contact,
        )
    except Misuse as error:
        raise Unreadable(f"{what}: {error.error}") from None


def has_secret(method: SiteMethod) -> bool:
    """Whether its definition holds what nobody but an Authenticator may read."""
    match method:
        case OidcMethod(secret=secret):
            return bool(secret.client_secret)
        case CodeMethod(secret=mail):
            return bool(mail.user or mail.password)
    return False


def _method(text: str) -> SiteMethod:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
        raise Unreadable("the site's statement: a sign-in method is not base64url")
    method = parse_method(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(method, SiteMethod) or has_secret(method):
        raise Unreadable("the site's statement: a sign-in method has a secret, or is none for people in general")
    return method


def site_statement(
    *,
    name: str,
    policy: TrustPolicy,
    vault: str,
    authenticators: Sequence[str],
    namespace: str,
    methods: Sequence[SiteMethod],
    max_bytes: int,
    default_days: int,
    max_days: int,
    contact: str,
) -> bytes:
    """A statement for `/trust.json`, on lines that people can compare. Raises `BadInput`."""
    if not contact.startswith(("mailto:", "https://")):
        raise BadInput(
            f"{contact[:80]!r} is not how to reach you", "write it as mailto:abuse@example.com, or https://…"
        )
    if any(has_secret(method) for method in methods):
        raise BadInput(
            "a sign-in method has a secret, which the whole world would read here",
            "register the site with the provider as a public client (PKCE, no secret); for codes by e-mail, name a "
            "mail server that takes the Authenticator's mail without a password",
        )
    statement = encode_json(
        Statement(
            format="strongroom site 1",
            name=name,
            policy=_plain(msgspec.to_builtins(policy, builtin_types=(bytes,))),
            vault=Server(url=vault),
            authenticators=[Server(url=url) for url in authenticators],
            namespace=namespace,
            methods=[urlsafe_b64encode(encode(method)).rstrip(b"=").decode() for method in methods],
            max_bytes=max_bytes,
            expiry_days=ExpiryDays(default=default_days, max=max_days),
            contact=contact,
        )
    )
    try:
        parse_site("https://site.invalid", statement)
    except Unreadable as error:
        raise BadInput(f"this makes no site statement: {error.reason}", "strongroom share site --help") from None
    return msgspec.json.format(statement, indent=2) + b"\n"


def _plain(value: Any) -> Any:
    """Bytes as hex, as people compare them."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value
