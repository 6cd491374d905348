"""`instructions.toml`: who decides, by which sign-ins, under which rules, as a person writes it.

    rules = '''permit (principal, action == Action::"collect", resource) when { … };'''   # optional
    quorum = 1            # optional: how many of the Authenticators must agree
    permanent = false     # optional: true if really nobody shall update or delete

    [[authenticator]]
    url = "https://authenticator.example.com"

    [[method]]
    type = "oidc"         # or passkey, workload, directory, keys, enclave, email-code
    issuer = "https://login.example.com"
    client_id = "strongroom-native"

docs/howto/instructions.md shows all that it may hold. In place of a text of its own, `client_secret`, `password`, `ca`,
`jwks` and `public_key` may each be the name of a file beside this one, as `client_secret_file` and so on, so that this
one can be kept where everybody reads it.

Text in, bytes out; files are read by the caller. How the Vault recognises the Authenticators comes from the trust
policy.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from strongroom.attestation.policy import RolePolicy
from strongroom.attestation.toml_text import parse_toml
from strongroom.attestation.trust_file import parse_workload_policy
from strongroom.client.errors import BadInput
from strongroom.client.methods import (
    ALGORITHMS,
    NATIVE_REDIRECT,
    code_method,
    directory_method,
    enclave_method,
    keys_method,
    oidc_method,
    passkey_method,
    ssh_keys,
    workload_method,
)
from strongroom.client.policy import Policy, instructions
from strongroom.client.rules_mistakes import verify_written_rules
from strongroom.client.urls import verify_url
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Count, ShortText
from strongroom.protocol.instructions import (
    Algorithm,
    AuthenticatorRef,
    CodeMethod,
    DirectoryMethod,
    EmailDomains,
    EnclaveMethod,
    Instructions,
    KeysMethod,
    Method,
    OidcMethod,
    Passkey,
    PasskeyMethod,
    Url,
    WorkloadMethod,
    parse_instructions,
)
from strongroom.protocol.limits import MAX_AUTHENTICATORS, MAX_INSTRUCTIONS, MAX_METHODS

ReadFile = Callable[[str], str]
"""The text of the file of this name beside the instructions. Raises `BadInput`."""

_HINT: Final = "docs/howto/instructions.md shows a file with everything that it may hold"
_FROM_FILES: Final = ("client_secret", "password", "ca", "jwks", "public_key")
_ONE_LINE: Final = ("client_secret", "password")
"""Of these the end of the line does not count."""
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")

Algorithms = Annotated[tuple[Algorithm, ...], Meta(min_length=1, max_length=3)]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """One table of the file."""


class _Authenticator(_Table):
    url: str


class _Oidc(_Table, tag_field="type", tag="oidc"):
    issuer: Url
    client_id: ShortText = ""
    redirect_uri: Url = NATIVE_REDIRECT
    web_client_id: ShortText = ""
    web_redirect_uri: Url = ""
    device_client_id: ShortText = ""
    client_secret: Annotated[str, Meta(max_length=1024)] = ""
    scopes: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ("openid", "email")
    algorithms: Algorithms = ALGORITHMS
    email_domains: EmailDomains = []
    acr_values: Annotated[tuple[ShortText, ...], Meta(max_length=8)] = ()
    max_age: Count = 0
    pushed: bool = False

    def build(self, place: str) -> OidcMethod:
        _verify_server(self.issuer, ("https", "http"), f"{place}.issuer")
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "issuer"}
        return oidc_method(self.issuer, **fields)


class _Passkey(_Table):
    person: ShortText
    credential_id: str
    public_key: str


class _Passkeys(_Table, tag_field="type", tag="passkey"):
    rp_id: ShortText
    origins: Annotated[list[Url], Meta(min_length=1, max_length=8)]
    passkey: Annotated[list[_Passkey], Meta(min_length=1, max_length=32)]

    def build(self, place: str) -> PasskeyMethod:
        passkeys = [
            Passkey(
                person=one.person,
                credential_id=_unbase64(one.credential_id, "credential_id"),
                public_key=_unbase64(one.public_key, "public_key"),
            )
            for one in self.passkey
        ]
        return passkey_method(self.rp_id, self.origins, passkeys)


class _Workloads(_Table, tag_field="type", tag="workload"):
    issuer: Url
    audience: ShortText = ""
    claims: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    algorithms: Algorithms = ALGORITHMS
    jwks: Annotated[str, Meta(max_length=8 * 1024)] = ""

    def build(self, place: str) -> WorkloadMethod:
        _verify_server(self.issuer, ("https", "http"), f"{place}.issuer")
        return workload_method(
            self.issuer,
            audience=self.audience,
            claims=self.claims,
            algorithms=self.algorithms,
            keys=self.jwks.encode(),
        )


class _Directory(_Table, tag_field="type", tag="directory"):
    name: Annotated[ShortText, Meta(min_length=1)]
    flavour: Literal["active-directory", "ldap"]
    servers: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=4)]
    base: ShortText
    user_dn: ShortText = ""
    groups: Annotated[tuple[ShortText, ...], Meta(max_length=32)] = ()
    email_domains: EmailDomains = []
    ca: Annotated[str, Meta(max_length=8 * 1024)] = ""

    def build(self, place: str) -> DirectoryMethod:
        for at, server in enumerate(self.servers):
            _verify_server(server, ("ldaps", "ldap"), f"{place}.servers[{at}]")
        if self.flavour == "ldap" and self.user_dn.count("{}") != 1:
            raise _Misplaced(
                "flavour ldap needs a DN with one {} for the user name: uid={},ou=people,dc=example,dc=com",
                f"{place}.user_dn",
            )
        if self.flavour == "active-directory" and self.user_dn:
            raise _Misplaced("leave it out: in Active Directory people type user@domain or a DN", f"{place}.user_dn")
        return directory_method(
            self.name,
            self.servers,
            base=self.base,
            flavour=self.flavour,
            user_dn=self.user_dn,
            groups=self.groups,
            email_domains=self.email_domains,
            certificates=self.ca.encode(),
        )


class _Key(_Table):
    person: Annotated[ShortText, Meta(min_length=1)]
    public_key: str


class _Keys(_Table, tag_field="type", tag="keys"):
    key: Annotated[list[_Key], Meta(min_length=1, max_length=32)]
    verified: bool = False

    def build(self, place: str) -> KeysMethod:
        texts: dict[str, str] = {}
        for at, one in enumerate(self.key):
            try:
                ssh_keys(one.public_key)
            except Misuse as error:
                raise _Misplaced(error.reason, f"{place}.key[{at}].public_key") from None
            texts[one.person] = f"{texts.get(one.person, '')}\n{one.public_key}"
        return keys_method(texts, verified=self.verified)


class _Workload(_Table):
    name: Annotated[ShortText, Meta(min_length=1)]
    policy: dict[str, Any]
    """Read by `parse_workload_policy`."""


class _Enclaves(_Table, tag_field="type", tag="enclave"):
    workload: Annotated[list[_Workload], Meta(min_length=1, max_length=16)]

    def build(self, place: str) -> EnclaveMethod:
        policies: dict[str, RolePolicy] = {}
        for at, one in enumerate(self.workload):
            here = f"{place}.workload[{at}]"
            if one.name in policies:
                raise _Misplaced("a workload of that name stands here already", f"{here}.name")
            try:
                policies[one.name] = parse_workload_policy(one.policy, f"{here}.policy")
            except Misuse as error:
                raise BadInput(f"the instructions are not right: {error.reason}", _HINT) from None
        return enclave_method(policies)


class _Codes(_Table, tag_field="type", tag="email-code"):
    sender: ShortText
    server: Url
    user: ShortText = ""
    password: Annotated[str, Meta(max_length=1024)] = ""
    addresses: Annotated[tuple[ShortText, ...], Meta(max_length=64)] = ()
    domains: EmailDomains = []
    ca: Annotated[str, Meta(max_length=8 * 1024)] = ""

    def build(self, place: str) -> CodeMethod:
        _verify_server(self.server, ("smtps", "smtp"), f"{place}.server")
        return code_method(
            self.sender,
            self.server,
            user=self.user,
            password=self.password,
            addresses=self.addresses,
            domains=self.domains,
            certificates=self.ca.encode(),
        )


_Method = _Oidc | _Passkeys | _Workloads | _Directory | _Keys | _Enclaves | _Codes


class _File(_Table):
    authenticator: Annotated[list[_Authenticator], Meta(min_length=1, max_length=MAX_AUTHENTICATORS)]
    method: Annotated[list[_Method], Meta(min_length=1, max_length=MAX_METHODS)]
    quorum: Annotated[int, Meta(ge=1, le=MAX_AUTHENTICATORS)] = 1
    permanent: bool = False
    rules: str | None = None


class _Misplaced(Exception):
    """A mistake at a place of the file."""

    def __init__(self, what: str, place: str) -> None:
        self.what = what
        self.place = place
        super().__init__(what)


def parse_instructions_file(
    text: str, *, authenticator: RolePolicy, rules: Policy | None = None, read: ReadFile | None = None
) -> bytes:
    """Encoded instructions of an `instructions.toml`; `authenticator` is the trust policy's for that role.

    `rules` stand in place of the file's own. If neither has any, the field is left empty for the caller to fill:
    no Authenticator accepts it so. `read` reads the files that it names; without it, it may name none. Raises
    `BadInput` with the place, and what `policy.instructions` raises.
    """
    if len(text.encode("utf-8", "replace")) > MAX_INSTRUCTIONS:
        raise BadInput("the instructions are too long", _HINT)
    file = _parse(text, read)
    references = [AuthenticatorRef(url=verify_url(one.url), policy=encode(authenticator)) for one in file.authenticator]
    methods = [_build(method, at) for at, method in enumerate(file.method)]
    chosen = rules or (Policy(file.rules) if file.rules is not None else None)
    if chosen is not None:
        verify_written_rules(chosen.cedar)
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


def _parse(text: str, read: ReadFile | None) -> _File:
    try:
        untyped = parse_toml(text)
    except ValueError as error:
        raise BadInput(f"the instructions are not TOML: {error}", _HINT) from None
    try:
        return msgspec.convert(_with_files(untyped, "", read), _File)
    except msgspec.ValidationError as error:
        # msgspec ends its text with "at `$.method[0].issuer`".
        words = re.sub(r"`\$\.?(.*?)`$", lambda found: found[1] or "the top level", str(error))
        raise BadInput(f"the instructions are not right: {words}", _HINT) from None
    except _Misplaced as error:
        raise BadInput(f"the instructions are not right: {error.what} - at {error.place}", _HINT) from None


def _with_files(value: Any, place: str, read: ReadFile | None) -> Any:
    """`value` with texts in place of the names of files that hold them."""
    match value:
        case list():
            return [_with_files(one, f"{place}[{at}]", read) for at, one in enumerate(value)]
        case dict():
            below = f"{place}." if place else ""
            found: dict[str, Any] = {}
            for name, one in value.items():
                field = name.removesuffix("_file")
                if field == name or field not in _FROM_FILES:
                    found[name] = _with_files(one, f"{below}{name}", read)
                    continue
                if field in value:
                    raise _Misplaced(f"{field} stands here, too; leave one of them out", f"{below}{name}")
                found[field] = _text_of(one, field, f"{below}{name}", read)
            return found
    return value


def _text_of(name: object, field: str, place: str, read: ReadFile | None) -> str:
    """Only of files beside this one: in instructions that somebody else wrote, `client_secret_file = "/home/me/.netrc"`
    would have the Authenticator bring that to a provider of theirs."""
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise _Misplaced("expected the plain name of a file in the folder of these instructions", place)
    if read is None:
        raise _Misplaced("there is no folder to read files from", place)
    text = read(name)
    return text.removesuffix("\n").removesuffix("\r") if field in _ONE_LINE else text


def _verify_server(url: str, schemes: Sequence[str], place: str) -> None:
    """Raises `_Misplaced`. What may be called, the Authenticator says."""
    try:
        parts = urlsplit(url)
        well = parts.scheme in schemes and bool(parts.hostname)
    except ValueError:
        well = False
    if not well:
        raise _Misplaced(f"expected a URL, {schemes[0]}://HOST", place)


def _unbase64(text: str, name: str) -> bytes:
    """Base64url without padding. Raises `Misuse` METHOD_INVALID."""
    try:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
            raise ValueError
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Misuse(Number.METHOD_INVALID, f"{name} is not base64url") from None


def _build(method: _Method, at: int) -> Method:
    place = f"method[{at}]"
    try:
        return method.build(place)
    except BadInput:
        raise
    except Misuse as error:
        raise BadInput(f"the instructions are not right: {error.reason or error.error} - at {place}", _HINT) from None
    except _Misplaced as error:
        raise BadInput(f"the instructions are not right: {error.what} - at {error.place}", _HINT) from None
