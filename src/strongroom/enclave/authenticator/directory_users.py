"""What people type as their name at a directory, and what is asked of the directory because of it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from strongroom.enclave.authenticator import ldap
from strongroom.enclave.authenticator.distinguished_names import Name, escape_value, is_below, parse_name
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.instructions import DirectoryMethod


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is about to sign in."""

    bind_name: str
    """What the server is told."""
    name: Name | None
    """The distinguished name that is; None for the other forms, which Active Directory has."""
    condition: bytes
    """What the person's entry fits."""
    account: str
    """One text for all the ways to write this name: what attempts are counted under."""


def parse_user(method: DirectoryMethod, user: str) -> User:
    """Raises `Refused` SIGN_IN_REFUSED for what is no name, before anything is sent.

    Active Directory would take more (display names, SIDs, GUIDs, names of services): each further form were a further
    way to try the same account.
    """
    if not user.isprintable() or user != user.strip() or not user:
        raise _refused("a user name that is empty, or holds white space at its ends or control characters")
    if "=" in user:
        return _named(method, user)
    if method.flavour == "ldap":
        return _named(method, method.user_dn.replace("{}", _escape(user)))
    domain, backslash, account = user.rpartition("\\")
    if not backslash:
        account, _, domain = user.rpartition("@")
    if not domain or not account or set(account + domain) & set('"/\\[]:;|=+*?<>,'):
        raise _refused("a user name that is neither user@domain nor DOMAIN\\user nor a DN")
    condition = ldap.equal("sAMAccountName", account)
    if not backslash:
        # The name of the account before the @ is taken, too, when nobody has the whole as principal name.
        condition = ldap.some(ldap.equal("userPrincipalName", user), condition)
    return User(user, None, ldap.every(ldap.equal("objectClass", "user"), condition), _fold(account))


def _named(method: DirectoryMethod, text: str) -> User:
    try:
        name = parse_name(text)
    except ValueError:
        raise _refused("a user name that is not a DN, though it has a =") from None
    if not is_below(name, parse_name(method.base)):
        raise _refused("a DN that is not under base")
    account = ",".join("+".join(f"{kind}={value}" for kind, value in sorted(level)) for level in name)
    return User(text, name, ldap.present("objectClass"), _fold(account))


def _escape(user: str) -> str:
    try:
        return escape_value(user)
    except ValueError:
        raise _refused("a user name that can't stand in a DN") from None


def _fold(text: str) -> str:
    """Directories overlook case, width and accents when they look for an account: so does who counts attempts."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(c for c in decomposed if not unicodedata.combining(c))).casefold()


def _refused(reason: str) -> Refused:
    return Refused(Number.SIGN_IN_REFUSED, reason)
