"""Builders of sign-in methods: how those are recognised who want something of a record.

>>> method = oidc_method("https://login.example.com", "strongroom")
>>> [audience.channel for audience in method.public.audiences]
['native']

What they build is complete in itself and sealed with the record. All raise `Misuse` METHOD_INVALID for what no message
can hold; what else is wrong with it, such as a server that may not be reached, the Authenticator says at `store`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, Literal, TypeVar

from strongroom.attestation.policy import RolePolicy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Algorithm,
    Audience,
    CodeMethod,
    CodePublic,
    CodeSecret,
    DirectoryMethod,
    DirectoryPublic,
    EnclaveMethod,
    EnclavePublic,
    KeyOfPerson,
    KeysMethod,
    KeysPublic,
    Method,
    OidcMethod,
    OidcPublic,
    OidcSecret,
    Passkey,
    PasskeyMethod,
    PasskeyPublic,
    Workload,
    WorkloadMethod,
    WorkloadPublic,
    parse_method,
)

NATIVE_REDIRECT: Final = "http://127.0.0.1/callback"
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")
KEY_TYPES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""Of public keys, as OpenSSH names them. RSA and the larger curves are not among them."""

_KEY_LINE: Final = re.compile(r"(\S+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t].*)?")
_OTHER_KEY: Final = re.compile(rf"(?!(?:{'|'.join(map(re.escape, KEY_TYPES))})[ \t])(?:ssh|sk-ssh|ecdsa|sk-ecdsa)-")

M = TypeVar("M", bound=Method)


def oidc_method(
    issuer: str,
    client_id: str = "",
    *,
    redirect_uri: str = NATIVE_REDIRECT,
    web_client_id: str = "",
    web_redirect_uri: str = "",
    device_client_id: str = "",
    client_secret: str = "",
    scopes: Sequence[str] = ("openid", "email"),
    algorithms: Sequence[Algorithm] = ALGORITHMS,
    email_domains: Sequence[str] = (),
    acr_values: Sequence[str] = (),
    max_age: int = 0,
    pushed: bool = False,
) -> OidcMethod:
    """Sign-in with an OpenID Connect provider.

    `client_id` is the native client (loopback redirect); a page and the device flow use client ids of their own
    (RULES 11). `email_domains`: domains for which this issuer is authoritative. `acr_values`: one of these must be how
    the user signed in, such as with a second factor. `max_age`: seconds since the user last typed something there; 0
    for any. `pushed`: the request goes to the provider by itself (RFC 9126), not through the browser.
    """
    audiences = [
        Audience(channel="native", client_id=client_id, redirect_uri=redirect_uri),
        Audience(channel="web", client_id=web_client_id, redirect_uri=web_redirect_uri),
        Audience(channel="device", client_id=device_client_id, redirect_uri=""),
    ]
    used = [audience for audience in audiences if audience.client_id]
    if not used:
        raise _invalid("no client id")
    return _verified(
        OidcMethod(
            public=OidcPublic(issuer=issuer, audiences=used, scopes=list(scopes)),
            secret=OidcSecret(client_secret=client_secret),
            algorithms=list(algorithms),
            email_domains=_lower(email_domains),
            acr_values=list(acr_values),
            max_age=max_age,
            pushed=pushed,
        )
    )


def passkey_method(rp_id: str, origins: Sequence[str], passkeys: Sequence[Passkey]) -> PasskeyMethod:
    """Sign-in with one of these passkeys. `rp_id` is the domain that they were made for, `origins` the pages on which
    they may be used (`https://host`), each on that domain or below it."""
    credentials = [passkey.credential_id for passkey in passkeys]
    public = PasskeyPublic(rp_id=rp_id, origins=list(origins), credential_ids=credentials)
    return _verified(PasskeyMethod(public=public, passkeys=list(passkeys)))


def workload_method(
    issuer: str,
    *,
    audience: str = "",
    claims: Sequence[str] = (),
    algorithms: Sequence[Algorithm] = ALGORITHMS,
    keys: bytes = b"",
) -> WorkloadMethod:
    """Sign-in of a program by the token that its platform gives it.

    Without `audience` the program asks for one that is of use in its own session alone; a platform that lets it choose
    none names one here, and then its token counts once, for whoever brings it first (RULES 12). `claims`: names of what
    rules ask for, `repository` or `kubernetes.io.namespace`. `keys`: a JWKS, for an issuer that can't be reached.
    """
    return _verified(
        WorkloadMethod(
            public=WorkloadPublic(issuer=issuer, audience=audience),
            algorithms=list(algorithms),
            keys=keys,
            claims=list(claims),
        )
    )


def directory_method(
    name: str,
    servers: Sequence[str],
    *,
    base: str,
    flavour: Literal["active-directory", "ldap"] = "active-directory",
    user_dn: str = "",
    groups: Sequence[str] = (),
    email_domains: Sequence[str] = (),
    certificates: bytes = b"",
) -> DirectoryMethod:
    """Sign-in with user name and password at Active Directory or another LDAP server.

    `name` is what people are shown who are to type their password. `servers`: `ldaps://HOST`, or `ldap://HOST` with
    StartTLS. `base`: DN under which people and groups are; `user_dn`: DN of a person with `{}` for the user name, for
    `ldap` only. `groups`: DNs of those that rules ask for. `certificates`: PEM of the authorities that signed for the
    servers; the public ones by default.
    """
    return _verified(
        DirectoryMethod(
            public=DirectoryPublic(name=name),
            flavour=flavour,
            servers=list(servers),
            certificates=certificates,
            base=base,
            user_dn=user_dn,
            groups=list(groups),
            email_domains=_lower(email_domains),
        )
    )


def keys_method(keys: Mapping[str, str], *, verified: bool = False) -> KeysMethod:
    """Sign-in with a signature by an ssh key, or by a machine's key written like one.

    `keys`: for each person or machine one line as in `id_ed25519.pub`, or the text of a whole `authorized_keys`.
    `verified`: security keys must have asked for a PIN or a finger, and keys of other types are refused.
    """
    listed = [KeyOfPerson(person=person, public_key=one) for person, text in keys.items() for one in ssh_keys(text)]
    fingerprints = [sha256(one.public_key).digest() for one in listed]
    return _verified(KeysMethod(public=KeysPublic(fingerprints=fingerprints), keys=listed, verified=verified))


def enclave_method(workloads: Mapping[str, RolePolicy]) -> EnclaveMethod:
    """Sign-in of an enclave by its quote. `workloads`: what each is called, and what its evidence must show; such a
    policy names no clusters and no configuration."""
    listed = [Workload(name=name, policy=encode(policy)) for name, policy in workloads.items()]
    return _verified(EnclaveMethod(public=EnclavePublic(names=list(workloads)), workloads=listed))


def code_method(
    sender: str,
    server: str,
    *,
    user: str = "",
    password: str = "",
    addresses: Sequence[str] = (),
    domains: Sequence[str] = (),
    certificates: bytes = b"",
) -> CodeMethod:
    """Sign-in with a code sent by e-mail: whoever reads the mailbox, or runs a mail server on the way, gets in.

    `server`: `smtps://HOST`, or `smtp://HOST` with STARTTLS; `user` and `password` sign in there. Codes are sent to
    `addresses` and to those in exactly these `domains`, and to nobody else.
    """
    return _verified(
        CodeMethod(
            public=CodePublic(sender=sender),
            secret=CodeSecret(server=server, user=user, password=password),
            certificates=certificates,
            addresses=_lower(addresses),
            domains=_lower(domains),
        )
    )


def ssh_keys(text: str) -> list[bytes]:
    """Public keys of a `.pub` or an `authorized_keys` file, decoded. Raises `Misuse` METHOD_INVALID with the line.

    A line that begins with options is refused: what they forbid, such as an address, nothing here would see to.
    """
    found: list[bytes] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            found.append(_ssh_key(line, number))
    if not found:
        raise _invalid("there is no public key; it looks like: ssh-ed25519 AAAA…")
    return found


def _ssh_key(line: str, number: int) -> bytes:
    if line.startswith("-----BEGIN "):
        raise _invalid("that is a private key, or no line of a .pub: keep it where it is, and name its .pub")
    parts = _KEY_LINE.fullmatch(line)
    if parts is not None and _OTHER_KEY.match(line):
        raise _invalid(f"line {number} of the public keys: {parts[1]} is not taken; make a key: ssh-keygen -t ed25519")
    if parts is None or parts[1] not in KEY_TYPES:
        raise _invalid(f"line {number} of the public keys does not begin with {', '.join(KEY_TYPES[:-1])} or the like")
    kind = parts[1].encode()
    try:
        key = b64decode(parts[2], validate=True)
    except ValueError:
        key = b""
    if not key.startswith(len(kind).to_bytes(4, "big") + kind):
        raise _invalid(f"line {number} of the public keys holds no key of the type that it names")
    return key


def _verified(method: M) -> M:
    parse_method(encode(method))
    return method


def _lower(texts: Sequence[str]) -> list[str]:
    return [text.lower() for text in texts]


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
