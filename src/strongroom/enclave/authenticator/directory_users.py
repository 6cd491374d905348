"""What people type as their name at a directory, and what is asked of the directory because of it."""

from __future__ import annotations

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


def parse_user(method: DirectoryMethod, user: str) -> User:
    """Raises `Refused` SIGN_IN_REFUSED for what is no name, before anything is sent.

    Active Directory would take more (display names, SIDs, GUIDs, names of services), and every directory takes one DN
    in endless spellings. Each would be one more way to try an account, past those who count (`throttle.account`).
    """
    if not user.isprintable() or user != user.strip() or not user or "  " in user:
        raise _refused("a user name that is empty, or holds control characters or needless white space")
    if "=" in user:
        if "\\20" in user or "\\ " in user or "=#" in user.replace(" ", ""):
            raise _refused("a DN with white space or whole values written as digits")
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
    return User(user, None, ldap.every(ldap.equal("objectClass", "user"), condition))


def _named(method: DirectoryMethod, text: str) -> User:
    try:
        name = parse_name(text)
    except ValueError:
        raise _refused("a user name that is not a DN, though it has a =") from None
    if not is_below(name, parse_name(method.base)):
        raise _refused("a DN that is not under base")
    return User(text, name, ldap.present("objectClass"))


def _escape(user: str) -> str:
    try:
        return escape_value(user)
    except ValueError:
        raise _refused("a user name that can't stand in a DN") from None


def _refused(reason: str) -> Refused:
    return Refused(Number.SIGN_IN_REFUSED, reason)
