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
from strongroom.protocol.evidence import Bytes32, Count, ShortText
from strongroom.protocol.limits import (
    MAX_AUTHENTICATORS,
    MAX_INSTRUCTIONS,
    MAX_METHOD,
    MAX_METHODS,
    MAX_RULES,
)
from strongroom.protocol.primitives import Domain, digest

Url = Annotated[str, Meta(max_length=512)]
Action = Literal[
    "create", "describe", "collect", "update", "delete", "fill", "audit", "ask", "approve", "set-quota", "admin"
]
"""ask: ask others to approve a further action; approve: answer such a question."""
Channel = Literal["native", "web", "device"]
"""native: loopback redirect (RFC 8252); web: a page's https redirect; device: RFC 8628, phishable."""
Kind = Literal["oidc", "passkey", "workload", "directory", "keys", "enclave", "email-code"]
Algorithm = Literal["RS256", "ES256", "EdDSA"]
Certificates = Annotated[bytes, Meta(max_length=8 * 1024)]
"""PEM of the authorities whose certificates a server may show; empty: the public ones (of `certifi`)."""


EmailDomains = Annotated[list[ShortText], Meta(max_length=64)]
"""Lower-case ASCII domains."""


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
    algorithms: Annotated[list[Algorithm], Meta(min_length=1, max_length=3)]
    email_domains: EmailDomains
    """Domains for which this issuer is authoritative: their addresses need no `email_verified` (RULES 13)."""
    acr_values: Annotated[list[ShortText], Meta(max_length=8)]
    """Authentication contexts to ask for; when there are any, the token's `acr` must be one of them."""
    max_age: Count
    """Seconds since the user last typed something at the provider, proven by `auth_time`; 0: any."""
    pushed: bool
    """True: authorization requests are pushed (RFC 9126), never carried by the browser."""


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


class WorkloadPublic(Message):
    """What `describe` shows of a method for workloads."""

    issuer: Url
    """Byte for byte as in the `iss` claim."""
    audience: ShortText
    """Empty: the workload chooses it, and it names the binding key (`workload_audience`). Otherwise exactly this one:
    then whoever holds the token is taken for the workload, once (RULES 12)."""


class WorkloadMethod(Message, tag="workload", tag_field="type"):
    """Sign-in of a program by the token that its platform gives it: GitHub Actions, GitLab, Kubernetes, SPIFFE."""

    kind: ClassVar[Literal["workload"]] = "workload"
    public: WorkloadPublic
    algorithms: Annotated[list[Algorithm], Meta(min_length=1, max_length=3)]
    keys: Annotated[bytes, Meta(max_length=8 * 1024)]
    """A JWKS, for issuers that can't be reached; empty: by discovery at the issuer."""
    claims: Annotated[list[ShortText], Meta(max_length=16)]
    """Names of claims that rules may ask for, in a path of dots: `repository`, `kubernetes.io.namespace`."""


class DirectoryPublic(Message):
    """What `describe` shows of a directory, and what is shown to whoever is to type a password for it."""

    name: ShortText
    """As its people call it: `ad.example.com`."""


class DirectoryMethod(Message, tag="directory", tag_field="type"):
    """Sign-in with user name and password at Active Directory or another LDAP server, over TLS only."""

    kind: ClassVar[Literal["directory"]] = "directory"
    public: DirectoryPublic
    flavour: Literal["active-directory", "ldap"]
    servers: Annotated[list[Url], Meta(min_length=1, max_length=4)]
    """`ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]` with StartTLS: asked in this order until one answers."""
    certificates: Certificates
    base: ShortText
    """DN under which people and groups are."""
    user_dn: ShortText
    """ldap: DN of a person with `{}` for the user name, `uid={},ou=people,dc=example,dc=com`; people may type a whole
    DN, too. Empty for Active Directory, which takes `user@domain`, `DOMAIN\\user` and DNs."""
    groups: Annotated[list[ShortText], Meta(max_length=32)]
    """DNs of the groups that rules ask for; of others nothing is said. Membership may be through other groups."""
    email_domains: EmailDomains
    """Domains for which the directory's `mail` is believed."""


class KeyOfPerson(Message):
    """One public key of one person or machine."""

    person: ShortText
    """The subject that a signature with it proves: the same for all keys of one person."""
    public_key: Annotated[bytes, Meta(min_length=1, max_length=512)]
    """As OpenSSH writes it, decoded (RFC 4253 §6.6): ssh-ed25519, ecdsa-sha2-nistp256 and their `sk-` types."""


class KeysPublic(Message):
    """What `describe` shows of a method with keys."""

    fingerprints: Annotated[list[Bytes32], Meta(min_length=1, max_length=32)]
    """SHA-256 of each public key, in the order of `keys`: what `ssh-keygen -l` prints."""


class KeysMethod(Message, tag="keys", tag_field="type"):
    """Sign-in with a signature (OpenSSH's SSHSIG) by one of these keys, over a challenge bound to the session."""

    kind: ClassVar[Literal["keys"]] = "keys"
    public: KeysPublic
    keys: Annotated[list[KeyOfPerson], Meta(min_length=1, max_length=32)]
    verified: bool
    """True: security keys (`sk-`) must have verified their user, by PIN or finger; others are refused."""


class Workload(Message):
    """Code that counts as somebody: what it must prove to run, and what it is called."""

    name: ShortText
    """The subject that such evidence proves."""
    policy: Annotated[bytes, Meta(max_length=8 * 1024)]
    """An encoded `attestation.policy.RolePolicy` without clusters and configuration."""


class EnclavePublic(Message):
    """What `describe` shows of a method for enclaves."""

    names: Annotated[list[ShortText], Meta(min_length=1, max_length=16)]
    """Of `workloads`, in their order."""


class EnclaveMethod(Message, tag="enclave", tag_field="type"):
    """Sign-in of an enclave by its quote over a challenge bound to the session."""

    kind: ClassVar[Literal["enclave"]] = "enclave"
    public: EnclavePublic
    workloads: Annotated[list[Workload], Meta(min_length=1, max_length=16)]


class CodePublic(Message):
    """What `describe` shows of a method with codes by e-mail."""

    sender: ShortText
    """The address that codes come from."""


class CodeSecret(Message):
    """What only an appraised Authenticator sees."""

    server: Url
    """`smtps://HOST[:PORT]`, or `smtp://HOST[:PORT]` with STARTTLS."""
    user: ShortText
    """Empty: the server takes mail without a sign-in."""
    password: Annotated[str, Meta(max_length=1024)]


class CodeMethod(Message, tag="email-code", tag_field="type"):
    """Sign-in with a code sent by e-mail: whoever reads the mailbox, or runs a mail server on the way, gets in."""

    kind: ClassVar[Literal["email-code"]] = "email-code"
    public: CodePublic
    secret: CodeSecret
    certificates: Certificates
    addresses: Annotated[list[ShortText], Meta(max_length=64)]
    """Lower-case addresses that codes are sent to."""
    domains: EmailDomains
    """Domains to whose addresses codes are sent. Nobody else gets mail: an empty list denies."""


Method = OidcMethod | PasskeyMethod | WorkloadMethod | DirectoryMethod | KeysMethod | EnclaveMethod | CodeMethod


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


def sign_in_challenge(kind: Kind, method: bytes, binding_key: bytes, salt: bytes) -> bytes:
    """What a passkey, a key or an enclave answers for (RULES 10): H(kind ‖ method digest ‖ binding key ‖ salt).

    Whoever answers computes it with the binding key of their own session. What was made for one session counts in no
    other, and what was made for one kind of sign-in in no other kind.
    """
    return digest(Domain.CHALLENGE, kind.encode(), method, binding_key, salt)


def workload_audience(authenticator_cluster: bytes, binding_key: bytes) -> str:
    """Audience of a token that a workload asks its platform for (RULES 12): a stolen one is of no use to a thief."""
    return f"strongroom:{authenticator_cluster.hex()}:{digest(Domain.WORKLOAD_AUDIENCE, binding_key).hex()}"
