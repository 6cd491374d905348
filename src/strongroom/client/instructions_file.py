"""`instructions.toml`: who decides, by which sign-ins, under which rules, as a person writes it.

    rules = '''permit (principal, action == Action::"collect", resource) when { … };'''   # optional
    quorum = 1            # optional: how many of the Authenticators must agree
    permanent = false     # optional: true if really nobody shall update or delete

    [[authenticator]]
    url = "https://authenticator.example.com"

    [[method]]
    type = "oidc"
    issuer = "https://login.example.com"
    client_id = "strongroom-native"
    # redirect_uri, web_client_id, web_redirect_uri, device_client_id, client_secret, scopes, algorithms, email_domains

    [[method]]
    type = "passkey"
    rp_id = "share.example.com"
    origins = ["https://share.example.com"]

    [[method.passkey]]
    person = "bob@example.com"
    credential_id = "…"   # base64url, as the card of the passkey has them
    public_key = "…"

Text in, bytes out; no files. How the Vault recognises the Authenticators comes from the trust policy.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Annotated

import msgspec
from msgspec import Meta

from strongroom.attestation.policy import RolePolicy
from strongroom.attestation.toml_text import parse_toml
from strongroom.client.errors import BadInput
from strongroom.client.methods import NATIVE_REDIRECT, oidc_method, passkey_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.transport import verify_url
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Algorithm,
    AuthenticatorRef,
    Instructions,
    Method,
    OidcMethod,
    Passkey,
    PasskeyMethod,
    parse_instructions,
)
from strongroom.protocol.limits import MAX_AUTHENTICATORS, MAX_INSTRUCTIONS, MAX_METHODS

_HINT = "docs/howto/instructions.md shows a file with everything that it may hold"


class _Authenticator(msgspec.Struct, forbid_unknown_fields=True):
    url: str


class _Oidc(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="oidc"):
    issuer: str
    client_id: str = ""
    redirect_uri: str = NATIVE_REDIRECT
    web_client_id: str = ""
    web_redirect_uri: str = ""
    device_client_id: str = ""
    client_secret: str = ""
    scopes: tuple[str, ...] = ("openid", "email")
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    email_domains: tuple[str, ...] = ()

    def build(self) -> OidcMethod:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "issuer"}
        return oidc_method(self.issuer, **fields)


class _Passkey(msgspec.Struct, forbid_unknown_fields=True):
    person: str
    credential_id: str
    public_key: str


class _Passkeys(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="passkey"):
    rp_id: str
    origins: list[str]
    passkey: list[_Passkey]

    def build(self) -> PasskeyMethod:
        passkeys = [
            Passkey(
                person=one.person,
                credential_id=_unbase64(one.credential_id, "credential_id"),
                public_key=_unbase64(one.public_key, "public_key"),
            )
            for one in self.passkey
        ]
        return passkey_method(self.rp_id, self.origins, passkeys)


_Method = _Oidc | _Passkeys


class _File(msgspec.Struct, forbid_unknown_fields=True):
    authenticator: Annotated[list[_Authenticator], Meta(min_length=1, max_length=MAX_AUTHENTICATORS)]
    method: Annotated[list[_Method], Meta(min_length=1, max_length=MAX_METHODS)]
    quorum: Annotated[int, Meta(ge=1, le=MAX_AUTHENTICATORS)] = 1
    permanent: bool = False
    rules: str | None = None


def parse_instructions_file(text: str, *, authenticator: RolePolicy, rules: Policy | None = None) -> bytes:
    """Encoded instructions of an `instructions.toml`; `authenticator` is the trust policy's for that role.

    `rules` stand in place of the file's own. If neither has any, the field is left empty for the caller to fill:
    no Authenticator accepts it so. Raises `BadInput` with the place, and what `policy.instructions` raises.
    """
    if len(text.encode("utf-8", "replace")) > MAX_INSTRUCTIONS:
        raise BadInput("the instructions are too long", _HINT)
    file = _parse(text)
    references = [AuthenticatorRef(url=verify_url(one.url), policy=encode(authenticator)) for one in file.authenticator]
    methods = [_build(method, at) for at, method in enumerate(file.method)]
    chosen = rules or (Policy(file.rules) if file.rules is not None else None)
    if chosen is not None:
        return instructions(
            authenticators=references, methods=methods, rules=chosen, permanent=file.permanent, quorum=file.quorum
        )
    unruled = encode(
        Instructions(
            schema_version=1,
            authenticators=references,
            quorum=file.quorum,
            methods=[encode(method) for method in methods],
            rules="",
            permanent=file.permanent,
        )
    )
    parse_instructions(unruled)
    return unruled


def _parse(text: str) -> _File:
    try:
        untyped = parse_toml(text)
    except ValueError as error:
        raise BadInput(f"the instructions are not TOML: {error}", _HINT) from None
    try:
        return msgspec.convert(untyped, _File)
    except msgspec.ValidationError as error:
        # msgspec ends its text with "at `$.method[0].issuer`".
        words = re.sub(r"`\$\.?(.*?)`$", lambda found: found[1] or "the top level", str(error))
        raise BadInput(f"the instructions are not right: {words}", _HINT) from None


def _unbase64(text: str, name: str) -> bytes:
    """Base64url without padding. Raises `Misuse` METHOD_INVALID."""
    try:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
            raise ValueError
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Misuse(Number.METHOD_INVALID, f"{name} is not base64url") from None


def _build(method: _Method, at: int) -> Method:
    try:
        return method.build()
    except Misuse as error:
        raise BadInput(f"the instructions are not right: {error.reason} - at method[{at}]", _HINT) from None
