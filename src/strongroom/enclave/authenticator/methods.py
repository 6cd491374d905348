"""What a sign-in method must be before it is accepted at `store` and used at sign-in (RULES 11 and 13)."""

from __future__ import annotations

import re
from typing import Final

from strongroom.enclave.authenticator.codes import verify_codes
from strongroom.enclave.authenticator.cose import parse_public_key
from strongroom.enclave.authenticator.directory import verify_directory
from strongroom.enclave.authenticator.enclaves import verify_enclaves
from strongroom.enclave.authenticator.jwks import verify_issuer
from strongroom.enclave.authenticator.keys import verify_keys
from strongroom.enclave.authenticator.workloads import verify_workloads
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.instructions import (
    Audience,
    Channel,
    CodeMethod,
    DirectoryMethod,
    EnclaveMethod,
    KeysMethod,
    Method,
    OidcMethod,
    PasskeyMethod,
    WorkloadMethod,
)
from strongroom.protocol.subjects import is_subject

_NATIVE_REDIRECT: Final = re.compile(r"http://127\.0\.0\.1(/[A-Za-z0-9/._~-]*)")
_PORT: Final = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]{0,4}(/.*)")
MAX_MAX_AGE: Final = 366 * 24 * 3600
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


def verify_method(method: Method, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    match method:
        case OidcMethod():
            _verify_oidc(method, egress)
        case PasskeyMethod():
            _verify_passkeys(method, egress)
        case WorkloadMethod():
            verify_workloads(method, egress)
        case DirectoryMethod():
            verify_directory(method, egress)
        case KeysMethod():
            verify_keys(method)
        case EnclaveMethod():
            verify_enclaves(method)
        case CodeMethod():
            verify_codes(method)


def _verify_oidc(method: OidcMethod, egress: Egress) -> None:
    verify_issuer(method.public.issuer, egress)
    audiences = method.public.audiences
    for audience in audiences:
        _verify_audience(audience, egress)
    if len({audience.channel for audience in audiences}) != len(audiences):
        raise _invalid("a channel has two audiences")
    if len({audience.client_id for audience in audiences}) != len(audiences):
        # Or a page could redeem what a native client was asked to confirm (RULES 11).
        raise _invalid("a client id serves two channels")
    if not all(_SCOPE.fullmatch(scope) for scope in method.public.scopes):
        raise _invalid("a scope holds a character that scopes can't")
    if not all(_DOMAIN.fullmatch(domain) for domain in method.email_domains):
        raise _invalid("an e-mail domain is not a lower-case ASCII domain")
    if not all(_SCOPE.fullmatch(value) for value in method.acr_values):
        raise _invalid("an acr value holds a character that those can't")
    if method.max_age > MAX_MAX_AGE:
        raise _invalid("max_age is more than a year")


def _verify_passkeys(method: PasskeyMethod, egress: Egress) -> None:
    """One page cannot use the passkeys of another: browsers see to it that rp_id is a suffix of the origin's host."""
    rp_id, origins = method.public.rp_id, method.public.origins
    _verify_rp_id(rp_id, egress)
    for origin in origins:
        _verify_origin(origin, rp_id, egress)
    if len(set(origins)) != len(origins):
        raise _invalid("an origin is listed twice")
    listed = [passkey.credential_id for passkey in method.passkeys]
    if method.public.credential_ids != listed:
        raise _invalid("the public credential ids are not those of the passkeys, in their order")
    if len(set(listed)) != len(listed):
        raise _invalid("a passkey is listed twice")
    for passkey in method.passkeys:
        if not is_subject(passkey.person):
            raise _invalid("the person of a passkey is not 1 to 255 printable ASCII characters")
        parse_public_key(passkey.public_key)


def _verify_rp_id(rp_id: str, egress: Egress) -> None:
    """A domain; addresses are none to WebAuthn. `localhost` only where http on loopback is allowed: elsewhere it would
    be whatever runs on the user's machine."""
    try:
        if rp_id == "localhost":
            egress.verify_url(f"http://{rp_id}")
        elif not _DOMAIN.fullmatch(rp_id) or rp_id.rpartition(".")[2].isdecimal():
            raise Refused
    except Refused:
        raise _invalid("rp_id is not a lower-case domain") from None


def _verify_origin(origin: str, rp_id: str, egress: Egress) -> None:
    try:
        endpoint = egress.verify_url(origin)
    except Refused as error:
        raise _invalid(f"origin: {error.reason}") from None
    if origin != f"{'https' if endpoint.tls else 'http'}://{endpoint.authority}":
        raise _invalid("an origin is not scheme://host, or scheme://host:port, as browsers write it")
    if endpoint.host != rp_id and not endpoint.host.endswith(f".{rp_id}"):
        raise _invalid("an origin's host is neither rp_id nor below it")
    if not endpoint.tls and rp_id != "localhost":
        raise _invalid("an origin other than localhost is not https")


def find_audience(method: OidcMethod, channel: Channel) -> Audience:
    """Raises `Misuse` UNKNOWN_METHOD when the method has none for this channel."""
    for audience in method.public.audiences:
        if audience.channel == channel:
            return audience
    raise Misuse(Number.UNKNOWN_METHOD, f"the method has no {channel} audience")


def verify_redirect(audience: Audience, redirect_uri: str) -> None:
    """web: exactly the audience's; native: its own on any port (RFC 8252 §7.3). Raises `Misuse` MALFORMED."""
    if audience.channel == "native":
        found = _PORT.fullmatch(redirect_uri)
        path = _NATIVE_REDIRECT.fullmatch(audience.redirect_uri)
        fits = found is not None and path is not None and found[1] == path[1]
    else:
        fits = redirect_uri == audience.redirect_uri
    if not fits:
        raise Misuse(Number.MALFORMED, "the redirect URI is not the audience's")


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)


def _verify_audience(audience: Audience, egress: Egress) -> None:
    if not audience.client_id or not audience.client_id.isascii() or not audience.client_id.isprintable():
        raise _invalid("a client id is not printable ASCII")
    match audience.channel:
        case "native":
            if not _NATIVE_REDIRECT.fullmatch(audience.redirect_uri):
                raise _invalid("a native redirect URI is not http://127.0.0.1/PATH without a port")
        case "web":
            try:
                egress.verify_url(audience.redirect_uri)
            except Refused as error:
                raise _invalid(f"web redirect URI: {error.reason}") from None
        case "device":
            if audience.redirect_uri:
                raise _invalid("a device audience has a redirect URI")
