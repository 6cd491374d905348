"""Sign-in with user name and password at Active Directory or another LDAP server (docs/decisions/0024).

The Authenticator binds as the person who signs in and has no account of its own, so no definition holds a password.

Attacks stopped here:

1. An empty password: servers take it for an anonymous bind and answer success (RFC 4513 §5.1.2). Refused before the
   wire, like a NUL, at which some servers end a password.
2. One person's password, another's entry: names are ambiguous (in Active Directory one person's user principal name
   may be the account name of another). So the server is asked as whom it took us: `tokenGroups` of Active Directory's
   root entry, which holds the person's SID, elsewhere `who am I` (RFC 4532). An anonymous answer fits nobody.
3. A wrong password is never tried at the next server: it would count there towards the lock-out, too. The next one is
   asked only while no server has judged the password: no connection, no TLS, busy, silent. A server that falls silent
   after it was told the password may have judged it; somebody who can do that to a server can also make it refuse.
4. Guessing which accounts there are, or are locked: strangers get one number for all of it. The operator sees the
   reason that Active Directory gives in words of its own.
5. More groups than one may ask for: a list that is cut short would let a rule that forbids a group fail to fire, so
   the sign-in fails instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from strongroom.enclave.authenticator import ldap
from strongroom.enclave.authenticator.directory_attempts import Attempt
from strongroom.enclave.authenticator.directory_users import User, parse_user
from strongroom.enclave.authenticator.distinguished_names import Name, is_below, parse_name
from strongroom.enclave.authenticator.ldap import Entry, Result, nonsense
from strongroom.enclave.authenticator.ldap_connection import MAX_ENTRIES, Conversation, conversation
from strongroom.enclave.authenticator.throttle import PASSWORDS, Throttle
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Calls, Egress, Server, provider_deadline, roots_of, verify_server
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import DirectoryMethod
from strongroom.protocol.limits import PROVIDER_TIMEOUT

if TYPE_CHECKING:
    from ssl import SSLContext

PORTS: Final = {"ldaps": 636, "ldap": 389}
MAX_LEVELS: Final = 16
"""Of groups in groups, where the server doesn't follow them by itself."""
MAX_GROUPS: Final = 512
"""That somebody is in, there."""
MAX_GROUP_NAMES: Final = 3072
"""Bytes of all group names of a definition: somebody who is in each of them must get a ticket."""

_DOMAIN: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_MAIL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([a-z0-9.-]{1,189})")
_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATA: Final = re.compile(r"\bdata ([0-9a-f]{1,8})\b")
_ELSEWHERE: Final = (51, 52)
"""busy, unavailable (RFC 4511 §4.1.9): the password was not looked at."""
_INSUFFICIENT_RIGHTS: Final = 50

# Windows' codes of refused sign-ins, which Active Directory writes in hexadecimal into its diagnostics.
_REASONS: Final = {
    "525": "there is no such account",
    "52e": "the user name or password is wrong",
    "530": "the account may not sign in at this time",
    "531": "the account may not sign in from here",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed first",
    "775": "the account is locked",
}


def verify_directory(method: DirectoryMethod, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    name = method.public.name
    if not name or not name.isprintable() or name != name.strip():
        raise _invalid("name: not printable characters")
    for url in method.servers:
        _verify_server(url)
    if len(set(method.servers)) != len(method.servers):
        raise _invalid("servers: one is listed twice")
    roots_of(method.certificates)
    base = _verify_name("base", method.base)
    if method.flavour == "active-directory":
        if method.user_dn:
            raise _invalid("user_dn: Active Directory has none; people type user@domain, DOMAIN\\user or a DN")
    elif method.user_dn.count("{}") != 1 or set("{}") & set(method.user_dn.replace("{}", "")):
        raise _invalid("user_dn: not a DN with exactly one {} in the place of the user name")
    elif not is_below(_verify_name("user_dn", method.user_dn.replace("{}", "x")), base):
        raise _invalid("user_dn: not below base")
    groups = [_verify_name("groups", group) for group in method.groups]
    if len(set(groups)) != len(groups):
        raise _invalid("groups: one is listed twice")
    if sum(len(group.encode()) for group in method.groups) > MAX_GROUP_NAMES:
        raise _invalid("groups: together longer than a ticket holds")
    if not all(_DOMAIN.fullmatch(domain) for domain in method.email_domains):
        raise _invalid("email_domains: one is not a lower-case ASCII domain")


class Directories:
    """Directories that people sign in with."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._throttle = Throttle(clock, PASSWORDS)

    async def sign_in(
        self, digest: bytes, method: DirectoryMethod, user: str, password: str, binding_key: bytes
    ) -> Fact:
        """Who the directory says it is. Raises `Refused` SIGN_IN_REFUSED, THROTTLED, DESTINATION_REFUSED,
        `Unavailable`."""
        if not password or "\0" in password:
            raise _refused("an empty password, or one with a NUL")
        typed = parse_user(method, user)
        roots = roots_of(method.certificates)
        servers = [verify_server(url, PORTS) for url in method.servers]
        calls = self._egress.of(digest)
        attempt = Attempt(self._throttle, digest, typed, binding_key)
        failure = Unavailable(Number.PROVIDER_UNAVAILABLE)
        end = asyncio.get_running_loop().time() + PROVIDER_TIMEOUT
        async with provider_deadline():
            for tried, server in enumerate(servers):
                # What is left is shared by those that are left: a silent server leaves time for the others.
                attempt.verify(server)
                share = (end - asyncio.get_running_loop().time()) / (len(servers) - tried)
                try:
                    async with asyncio.timeout(share):
                        person, groups = await _ask(calls, server, roots, method, typed, password, attempt)
                    attempt.clear(server)
                    return self._fact(digest, method, person, groups)
                except TimeoutError:
                    failure = Unavailable(Number.PROVIDER_SLOW)
                except OSError as error:
                    failure = Unavailable(Number.PROVIDER_UNAVAILABLE, f"no directory there: {type(error).__name__}")
                except Unavailable as error:
                    failure = error
            raise failure

    def _fact(self, digest: bytes, method: DirectoryMethod, person: Entry, groups: list[str]) -> Fact:
        return msgspec.structs.replace(
            fact(digest, "directory", _subject(method, person)),
            email=_mail(method, person),
            groups=groups,
            amr=["pwd"],
            auth_time=self._clock.now(),
        )


async def _ask(
    calls: Calls,
    server: Server,
    roots: SSLContext | None,
    method: DirectoryMethod,
    typed: User,
    password: str,
    attempt: Attempt,
) -> tuple[Entry, list[str]]:
    """The person's entry, and those of the method's groups that the person is in."""
    async with conversation(calls, server, roots) as speaking:
        attempt.enter(server)
        _verify_bound(await speaking.bind(typed.bind_name, password))
        if method.flavour == "active-directory":
            person = await _own_entry(speaking, method, typed)
            return person, await _groups_in_chain(speaking, method, person)
        person = await _entry_of_name(speaking, typed)
        return person, await _groups_by_search(speaking, method, person)


def _verify_bound(result: Result) -> None:
    """Raises `Unavailable` when the password was not judged, `Refused` SIGN_IN_REFUSED for every other answer but
    success: it must not be tried elsewhere."""
    if result.code in _ELSEWHERE:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the directory is busy")
    if result.code == ldap.INVALID_CREDENTIALS:
        code = _DATA.search(result.text)
        raise _refused(_REASONS.get(code[1] if code else "52e", "the directory refused the password"))
    if result.code != ldap.SUCCESS:
        raise _refused(f"the directory answered {result.code} to the password")


async def _own_entry(speaking: Conversation, method: DirectoryMethod, typed: User) -> Entry:
    """In Active Directory, of those that have the name that was typed, the one that the server took us for."""
    base, scope = (typed.bind_name, ldap.BASE) if typed.name else (method.base, ldap.SUBTREE)
    token, found = await speaking.search_each(
        [
            ldap.search("", ldap.BASE, ldap.present("objectClass"), ["tokenGroups"], limit=1),
            ldap.search(base, scope, typed.condition, ["objectGUID", "objectSid", "mail"], limit=8),
        ]
    )
    sids = {sid for entry in _found(token) for sid in entry.attributes.get("tokengroups", [])}
    candidates = [entry for entry in _found(found) if entry.single("objectsid") in sids]
    if len(candidates) != 1:
        raise _refused("the directory has no entry under base for whom it took us")
    _verify_place(candidates[0], typed.name or (), parse_name(method.base))
    return candidates[0]


async def _entry_of_name(speaking: Conversation, typed: User) -> Entry:
    """Elsewhere, the entry of the name that we bound as, if the server took us for that."""
    identity = await speaking.who_am_i()
    if identity.code != ldap.SUCCESS or identity.value is None:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the directory does not say as whom it took us (RFC 4532)")
    kind, _, name = identity.value.decode("utf-8", "replace").partition(":")
    if kind != "dn" or _parse_found(name) != typed.name:
        raise _refused("the directory took us for somebody else")
    attributes = ["entryUUID", "mail", "memberOf"]
    entries = _found(
        await speaking.search(ldap.search(typed.bind_name, ldap.BASE, ldap.present("objectClass"), attributes, limit=1))
    )
    if len(entries) != 1:
        raise _refused("nobody may read their own entry in the directory, or a password must be changed first")
    _verify_place(entries[0], typed.name or (), ())
    return entries[0]


def _verify_place(person: Entry, exactly: Name, base: Name) -> None:
    """`exactly` is empty when a search found the person."""
    name = _parse_found(person.name)
    if (exactly and name != exactly) or not is_below(name, base):
        raise _refused("the directory answered with the entry of somebody else")


async def _groups_in_chain(speaking: Conversation, method: DirectoryMethod, person: Entry) -> list[str]:
    """Active Directory follows groups in groups by itself, to any depth: it is asked about each."""
    asked = [
        ldap.search(person.name, ldap.BASE, ldap.in_chain("memberOf", group), [], limit=1) for group in method.groups
    ]
    answers = await speaking.search_each(asked) if asked else []
    own = _parse_found(person.name)
    found = [await _parse_each([entry.name for entry in _found(answer)]) for answer in answers]
    if any(names not in ([], [own]) for names in found):
        raise nonsense("somebody else's groups")
    return [group for group, names in zip(method.groups, found, strict=True) if names]


async def _groups_by_search(speaking: Conversation, method: DirectoryMethod, person: Entry) -> list[str]:
    """Elsewhere: what `memberOf` says, and the groups that have the person or one of those groups as a member, level by
    level until nothing is new."""
    wanted = {parse_name(group): group for group in method.groups}
    if not wanted:
        return []
    own = _parse_found(person.name)
    named = [person.name, *(value.decode("utf-8", "replace") for value in person.attributes.get("memberof", []))]
    newest = dict(zip(await _parse_each(named), named, strict=True))
    known = set(newest)
    for _ in range(MAX_LEVELS):
        if not newest or wanted.keys() <= known:
            return [group for name, group in wanted.items() if name in known - {own}]
        members = [ldap.equal(kind, name) for name in newest.values() for kind in ("member", "uniqueMember")]
        asked = ldap.search(method.base, ldap.SUBTREE, ldap.some(*members), [], limit=MAX_ENTRIES)
        named = [entry.name for entry in _found(await speaking.search(asked))]
        found = zip(await _parse_each(named), named, strict=True)
        newest = {name: text for name, text in found if name not in known}
        known |= newest.keys()
        if len(known) > MAX_GROUPS:
            break
    raise Unavailable(Number.PROVIDER_UNAVAILABLE, "more groups than are followed")


def _found(answer: tuple[Sequence[Entry], Result]) -> Sequence[Entry]:
    """The entries of a search that ended well. Raises `Refused` SIGN_IN_REFUSED, `Unavailable`."""
    entries, result = answer
    if result.code == _INSUFFICIENT_RIGHTS:
        raise _refused("nobody may read their own entry in the directory, or a password must be changed first")
    if result.code != ldap.SUCCESS:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"the directory answered {result.code} to a search")
    return entries


def _parse_found(untrusted_name: str) -> Name:
    try:
        return parse_name(untrusted_name)
    except ValueError:
        raise nonsense("a name that is none") from None


async def _parse_each(untrusted_names: Sequence[str]) -> list[Name]:
    """As `_parse_found`. An answer full of names takes a sixth of a second, so others get their turn in between."""
    names: list[Name] = []
    for untrusted_name in untrusted_names:
        names.append(_parse_found(untrusted_name))
        await asyncio.sleep(0)
    return names


def _subject(method: DirectoryMethod, person: Entry) -> str:
    """The UUID that an entry keeps whatever its name becomes, as directories' own tools write it."""
    if method.flavour == "ldap":
        text = (person.single("entryuuid") or b"").decode("ascii", "replace").lower()
        if not _UUID.fullmatch(text):
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the entry has no entryUUID")
        return text
    guid = person.single("objectguid") or b""
    if len(guid) != 16:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the entry has no objectGUID")
    # Microsoft's order: the first three groups have their bytes reversed.
    parts = (guid[3::-1], guid[5:3:-1], guid[7:5:-1], guid[8:10], guid[10:])
    return "-".join(part.hex() for part in parts)


def _mail(method: DirectoryMethod, person: Entry) -> str:
    """The one address of the entry, if the directory is believed for its domain; otherwise empty."""
    value = (person.single("mail") or b"").decode("ascii", "replace").lower()
    found = _MAIL.fullmatch(value)
    return value if found is not None and found[1] in method.email_domains else ""


def _verify_server(url: str) -> None:
    try:
        verify_server(url, PORTS)
    except Refused as error:
        raise _invalid(f"servers: {error.reason}") from None


def _verify_name(field: str, text: str) -> Name:
    try:
        if not text.isprintable():
            raise ValueError
        return parse_name(text)
    except ValueError:
        raise _invalid(f"{field}: not a distinguished name (RFC 4514)") from None


def _refused(reason: str) -> Refused:
    return Refused(Number.SIGN_IN_REFUSED, reason)


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
