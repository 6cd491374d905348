"""What people type as their name at a directory, what is asked of the directory because of it, and what it is counted
as: directories take one name in many spellings, and who guesses chooses among them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.authenticator import ldap
from strongroom.enclave.authenticator.distinguished_names import Name, escape_value, is_below, parse_name
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.instructions import DirectoryMethod

_HIDDEN: Final = re.compile(r"\\(?: |20|[01][0-9a-f]|7f|[89a-f][0-9a-f])|= *#", re.IGNORECASE)
"""In a DN: white space, control characters, and what is beyond ASCII, written so that it is not seen."""
_FILLERS: Final = "\u115f\u1160"
"""Letters of no width."""
_LETTERS: Final = str.maketrans(
    {chr(kana): chr(kana + 0x60) for kana in range(0x3041, 0x3097)}
    | {"\u00e6": "ae", "\u0153": "oe", "\u00fe": "th", "\u0131": "i"}
)
"""Hiragana is katakana, and these are what Windows sorts them as."""


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
    """The name under which strangers' attempts are counted (`fold`)."""


def parse_user(method: DirectoryMethod, user: str) -> User:
    """Raises `Refused` SIGN_IN_REFUSED for what is no name, before anything is sent.

    Active Directory would take more (display names, SIDs, GUIDs, names of services), and every directory takes one DN
    in endless spellings. Each would be one more way to try an account, past those who count (`directory_attempts`).
    """
    if not user.isprintable() or user != user.strip() or not user or "  " in user:
        raise _refused("a user name that is empty, or holds control characters or needless white space")
    if any(unicodedata.ucd_3_2_0.category(character) == "Cn" for character in user):
        # RFC 4518 §2.4. Directories that don't know a character may overlook it.
        raise _refused("a user name with a character that directories need not know")
    if "=" in user:
        if _HIDDEN.search(user):
            raise _refused("a DN with white space, characters beyond ASCII or whole values written as digits")
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
    return User(user, None, ldap.every(ldap.equal("objectClass", "user"), condition), fold(account))


def fold(name: str) -> str:
    """Names that a directory may take for one are one here: what it overlooks differs, so all of it is left out. That
    people with similar names may share a count costs them a delay; several counts of one would cost him the account.

    Active Directory overlooks case, accents, strokes, width, the two kinds of kana and, among others, what has no
    weight in its order; OpenLDAP case and compatibility forms (RFC 4518).
    """
    spelled = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    kept = (character for character in spelled if unicodedata.category(character)[0] in "LN" or character == " ")
    bare = "".join(_plain(character) for character in kept if character not in _FILLERS)
    return " ".join(bare.translate(_LETTERS).split())


def _plain(character: str) -> str:
    """Without what is added to a letter: `LATIN SMALL LETTER O WITH STROKE` is o. Digits of all scripts are ours."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    name, added, _ = unicodedata.name(character, "").partition(" WITH ")
    try:
        return unicodedata.lookup(name).casefold() if added else character
    except KeyError:
        return character


def _named(method: DirectoryMethod, text: str) -> User:
    try:
        name = parse_name(text)
    except ValueError:
        raise _refused("a user name that is not a DN, though it has a =") from None
    if not is_below(name, parse_name(method.base)):
        raise _refused("a DN that is not under base")
    # Values in an order of their own: `a=x+b=y` is `b=y+a=x`.
    values = sorted(fold(value) for _, value in name[0])
    return User(text, name, ldap.present("objectClass"), " ".join(values))


def _escape(user: str) -> str:
    try:
        return escape_value(user)
    except ValueError:
        raise _refused("a user name that can't stand in a DN") from None


def _refused(reason: str) -> Refused:
    return Refused(Number.SIGN_IN_REFUSED, reason)
