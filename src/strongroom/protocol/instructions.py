"""Instructions: how later requests for a record are to be authenticated (`spec/instructions.md`).

Whatever is digested is carried as exact bytes (`bytes` fields holding an encoded message), so a digest made today
still fits when a later version knows more fields.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Bytes32, ShortText
from strongroom.protocol.limits import (
    MAX_AUTHENTICATORS,
    MAX_INSTRUCTIONS,
    MAX_METHOD,
    MAX_METHODS,
    MAX_RULES,
)
from strongroom.protocol.primitives import Domain, digest

Url = Annotated[str, Meta(max_length=512)]
Action = Literal["create", "describe", "collect", "update", "delete", "fill", "audit", "set-quota", "admin"]
Channel = Literal["native", "web", "device"]
"""native: loopback redirect (RFC 8252); web: a page's https redirect; device: RFC 8628, phishable."""


class AuthenticatorRef(Message):
    """One Authenticator: where it is, and how the Vault recognises it."""

    url: Url
    policy: Annotated[bytes, Meta(max_length=8 * 1024)]
    """An encoded `attestation.policy.RolePolicy`. Binds the Vault only, never the client (RULES 14)."""


class Audience(Message):
    """One OAuth client registration and the only channel it serves (RULES 11)."""

    channel: Channel
    client_id: ShortText
    redirect_uri: Url
    """web: exact; native: `http://127.0.0.1/PATH`, any port is added; device: empty."""


class OidcPublic(Message):
    """What `describe` shows of an OpenID Connect method."""

    issuer: Url
    """Byte for byte as in the `iss` claim."""
    audiences: Annotated[list[Audience], Meta(min_length=1, max_length=8)]
    scopes: Annotated[list[ShortText], Meta(max_length=16)]


class OidcSecret(Message):
    """What only an appraised Authenticator sees."""

    client_secret: Annotated[str, Meta(max_length=1024)]
    """Empty for a public client."""


class OidcMethod(Message, tag="oidc", tag_field="type"):
    """Sign-in with an OpenID Connect provider: authorization code with PKCE and bound nonce."""

    kind: ClassVar[Literal["oidc"]] = "oidc"
    public: OidcPublic
    secret: OidcSecret
    algorithms: Annotated[list[Literal["RS256", "ES256", "EdDSA"]], Meta(min_length=1, max_length=3)]
    email_domains: Annotated[list[ShortText], Meta(max_length=64)]
    """Domains for which this issuer is authoritative: their addresses need no `email_verified` (RULES 13)."""


class Passkey(Message):
    """One passkey of one person, as an enrolment gave it."""

    person: ShortText
    """The subject that a sign-in with it proves: the same for all passkeys of one person."""
    credential_id: Annotated[bytes, Meta(min_length=1, max_length=1023)]
    public_key: Annotated[bytes, Meta(min_length=1, max_length=1024)]
    """COSE_Key (RFC 9052 §7), as the authenticator data holds it."""


class PasskeyPublic(Message):
    """What `describe` shows of a passkey method: what a browser needs to ask for an assertion."""

    rp_id: ShortText
    origins: Annotated[list[Url], Meta(min_length=1, max_length=8)]
    credential_ids: Annotated[
        list[Annotated[bytes, Meta(min_length=1, max_length=1023)]], Meta(min_length=1, max_length=32)
    ]
    """Of `passkeys`, in their order."""


class PasskeyMethod(Message, tag="passkey", tag_field="type"):
    """Sign-in with a passkey (WebAuthn level 3): an assertion whose challenge is bound to the session (RULES 10)."""

    kind: ClassVar[Literal["passkey"]] = "passkey"
    public: PasskeyPublic
    passkeys: Annotated[list[Passkey], Meta(min_length=1, max_length=32)]


Method = OidcMethod | PasskeyMethod


class Instructions(Message):
    """How requests for one record are authenticated and decided."""

    schema_version: Literal[1]
    """A published schema keeps its exact meaning; any other number is UNSUPPORTED, never guessed at (RULES 16)."""
    authenticators: Annotated[list[AuthenticatorRef], Meta(min_length=1, max_length=MAX_AUTHENTICATORS)]
    quorum: Annotated[int, Meta(ge=1, le=MAX_AUTHENTICATORS)]
    methods: Annotated[list[Annotated[bytes, Meta(max_length=MAX_METHOD)]], Meta(min_length=1, max_length=MAX_METHODS)]
    """Encoded `Method`s."""
    rules: Annotated[str, Meta(max_length=MAX_RULES)]
    """Cedar policies over the actions, see `spec/rules.cedarschema`."""
    permanent: bool
    """Must be true when the rules let nobody `update` or nobody `delete` (RULES 16)."""


class _Versioned(msgspec.Struct):
    schema_version: int


def parse_instructions(data: bytes) -> Instructions:
    """Decode and check what needs no library. Raises `Misuse` INSTRUCTIONS_INVALID, UNSUPPORTED or TOO_LARGE."""
    try:
        _verify_schema_version(data)
        instructions = decode(data, Instructions, limit=MAX_INSTRUCTIONS)
    except Misuse as error:
        if error.number in (Number.TOO_LARGE, Number.UNSUPPORTED):
            raise
        raise Misuse(Number.INSTRUCTIONS_INVALID, error.reason) from None
    if instructions.quorum > len(instructions.authenticators):
        raise Misuse(Number.INSTRUCTIONS_INVALID, "the quorum is larger than the number of authenticators")
    if len(set(instructions.methods)) != len(instructions.methods):
        raise Misuse(Number.INSTRUCTIONS_INVALID, "a method is listed twice")
    for method in instructions.methods:
        parse_method(method)
    return instructions


def _verify_schema_version(data: bytes) -> None:
    """Before the rest is decoded: instructions of another schema have other fields."""
    if len(data) > MAX_INSTRUCTIONS:
        raise Misuse(Number.TOO_LARGE)
    try:
        version = msgspec.msgpack.decode(data, type=_Versioned).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Misuse(Number.MALFORMED) from None
    if version != 1:
        raise Misuse(Number.UNSUPPORTED, f"schema version {version}")


def parse_method(data: bytes) -> Method:
    """Decode one method definition. Raises `Misuse` METHOD_INVALID."""
    try:
        method: Method = decode(data, Method, limit=MAX_METHOD)
    except Misuse as error:
        raise Misuse(Number.METHOD_INVALID, error.reason) from None
    return method


def method_digest(definition: bytes) -> Bytes32:
    """Digest of the complete definition's exact bytes: what facts and principals are filed under (RULES 9)."""
    return digest(Domain.METHOD, definition)


def instructions_digest(instructions: bytes) -> Bytes32:
    return digest(Domain.INSTRUCTIONS, instructions)


def rules_digest(rules: str) -> Bytes32:
    return digest(Domain.RULES, rules.encode())


def bound_nonce(method: bytes, binding_key: bytes, salt: bytes) -> str:
    """OIDC nonce: base64url without padding of H(method digest ‖ binding key ‖ salt) (RULES 10).

    A stolen ID token names somebody else's binding key and is worthless in any other session.
    """
    return urlsafe_b64encode(digest(Domain.NONCE, method, binding_key, salt)).rstrip(b"=").decode("ascii")


def passkey_challenge(method: bytes, binding_key: bytes, salt: bytes) -> Bytes32:
    """WebAuthn challenge: H(method digest ‖ binding key ‖ salt) (RULES 10).

    An assertion that somebody was talked into, or that was overheard, names another binding key than the thief's.
    """
    return digest(Domain.PASSKEY, method, binding_key, salt)
