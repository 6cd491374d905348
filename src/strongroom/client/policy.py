"""Builders of rules and instructions: who may do what with a record, without writing Cedar by hand.

>>> from strongroom.client.methods import oidc_method
>>> method = oidc_method("https://login.example.com", "strongroom")
>>> rules = Policy.anyone_with_email("bob@example.com", method=method).may("collect")
>>> rules |= Policy.depositor_may("update", "delete")
>>> rules.check()
['collect', 'delete', 'update']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Action,
    AuthenticatorRef,
    Instructions,
    Method,
    OidcMethod,
    PasskeyMethod,
    method_digest,
    parse_instructions,
)
from strongroom.protocol.rules import ACTIONS, verify_rules


@dataclass(frozen=True, slots=True)
class People:
    """Some people. `may` says what they may do; until then this is no rule."""

    condition: str
    """A Cedar condition over `context`."""
    signed_in: str = "!context.identity.phishable"

    def allow_phishable(self) -> People:
        """Also count sign-ins by device flow, which somebody may have been tricked into for somebody else."""
        return replace(self, signed_in="")

    def with_passkey(self, method: PasskeyMethod, *persons: str) -> People:
        """Only together with a passkey of `method`: of one of `persons`, by default of anybody whom it lists.

        Both sign-ins stand on one ticket: see `AsyncVault.sign_in_also`, and `with_ticket` in spec/messages.md.
        """
        named = persons or tuple(passkey.person for passkey in method.passkeys)
        unlisted = sorted(set(named) - {passkey.person for passkey in method.passkeys})
        if unlisted:
            raise _invalid(f"the method has no passkey of {', '.join(unlisted)}")
        principals = [f"{_digest(method).hex()}:{person}" for person in named]
        return self._and(f"context.identity.others.containsAny({_set(principals)})")

    def with_second_person(self, email: str, *methods: OidcMethod | bytes) -> People:
        """Only together with whoever has this verified address, says one of `methods`, and who is somebody else.

        "Somebody else" means another verified address, so people without one are let in never. Two people are as
        distinct as their addresses: whoever holds two accounts with two addresses is two people.
        """
        (address,) = _ascii([email])
        if not methods:
            raise _invalid("name the methods by which the second person may sign in")
        pairs = [f"{_digest(method).hex()} {address}" for method in methods]
        return self._and(
            f"context.identity.other_emails.containsAny({_set(pairs)})"
            f" && context.identity has email && context.identity.email != {cedar_string(address)}"
        )

    def _and(self, condition: str) -> People:
        return replace(self, condition=f"({self.condition}) && {condition}")

    def may(self, *actions: Action) -> Policy:
        """Rules that permit these people these actions. Raises `Misuse` RULES_INVALID for an unknown action."""
        unknown = [action for action in actions if action not in ACTIONS]
        if unknown or not actions:
            raise _invalid(f"no such action: {', '.join(map(str, unknown)) or '(none named)'}; {', '.join(ACTIONS)}")
        listed = ", ".join(f"Action::{cedar_string(action)}" for action in sorted(set(actions)))
        condition = " && ".join(part for part in (f"({self.condition})", self.signed_in) if part)
        return Policy(f"permit (principal, action in [{listed}], resource)\nwhen {{ {condition} }};\n")


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules. `a | b` permits what either permits; a `forbid` in either forbids."""

    cedar: str
    """Cedar text over the schema in `strongroom.protocol.rules`."""

    def __or__(self, other: Policy) -> Policy:
        # The newline ends a comment that the first text may end with: it must not swallow the second.
        return Policy(f"{self.cedar}\n{other.cedar}")

    def check(self) -> list[Action]:
        """The actions, sorted, that the rules permit to somebody. Raises `Misuse` RULES_INVALID; its words name the
        policy (counted from 0) and the place."""
        return verify_rules(self.cedar).permitted

    @staticmethod
    def anyone_with_email(*emails: str, issuer: str = "", method: Method | bytes = b"") -> People:
        """Whoever has one of these verified addresses, says the provider named by `issuer` or `method`."""
        return _with(issuer, method, f"context.identity has email && {_one_of(_ascii(emails), 'email')}")

    @staticmethod
    def anyone_in_domain(*domains: str, issuer: str = "", method: Method | bytes = b"") -> People:
        """Whoever has a verified address in one of exactly these domains; subdomains are others."""
        return _with(issuer, method, f"context.identity has domain && {_one_of(_ascii(domains), 'domain')}")

    @staticmethod
    def members_of(*groups: str, issuer: str = "", method: Method | bytes = b"") -> People:
        """Members of at least one of these groups, written as the provider writes them."""
        return _with(issuer, method, f"context.identity.groups.containsAny({_set(groups)})")

    @staticmethod
    def person(method: Method | bytes, subject: str) -> People:
        """Exactly one person: the stable subject that this method gave."""
        principal = f"{_digest(method).hex()}:{subject}"
        return People(f"context.identity.principal == {cedar_string(principal)}")

    @staticmethod
    def anyone_signed_in(method: Method | bytes) -> People:
        """Everybody whom this method signs in."""
        return _with("", method, "true")

    @staticmethod
    def depositor_may(*actions: Action) -> Policy:
        """Whoever stored the record, signed in by the same method."""
        return People("context.record.depositor == context.identity.principal").may(*actions)

    @staticmethod
    def namespace(*, create: People, describe: People | None = None, admin: People | None = None) -> Policy:
        """Rules of a namespace: who may create records and see how to sign in for named ones, who may change it."""
        rules = create.may("create") | (describe or create).may("describe")
        return rules | admin.may("admin", "set-quota", "update", "delete") if admin else rules


def cedar_string(text: str) -> str:
    """A Cedar string literal. Everything but plain characters is escaped, so that no text ends the literal."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise _invalid("text with half a character")
    plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\u{{{ord(c):x}}}" for c in text)
    return f'"{"".join(plain)}"'


def instructions(
    *,
    authenticators: Sequence[AuthenticatorRef],
    methods: Sequence[Method],
    rules: Policy,
    permanent: bool = False,
    quorum: int = 1,
) -> bytes:
    """Encoded instructions, checked as far as a client can. Raises `Misuse` INSTRUCTIONS_INVALID, RULES_INVALID, and
    LOCKS_OUT when nobody could update or nobody could delete and it is not said to be permanent."""
    permitted = rules.check()
    _verify_providers(rules.cedar, methods)
    if not permanent and not {"update", "delete"} <= set(permitted):
        raise Misuse(Number.LOCKS_OUT)
    encoded = encode(
        Instructions(
            schema_version=1,
            authenticators=list(authenticators),
            quorum=quorum,
            methods=[encode(method) for method in methods],
            rules=rules.cedar,
            permanent=permanent,
        )
    )
    parse_instructions(encoded)
    return encoded


_NAMED = re.compile(r'context\.identity\.(issuer|method) == "((?:[^"\\]|\\.)*)"')
_OTHERS = re.compile(r"context\.identity\.other(?:s|_emails)\.contains(?:Any|All)?\(\[?([^)\]]*)")
_PREFIX = re.compile(r'"([0-9a-f]{64})[: ]')


def _verify_providers(cedar: str, methods: Sequence[Method]) -> None:
    """A rule for a provider that no method signs in with permits nobody, and would be found out too late."""
    known = {
        "issuer": {cedar_string(method.public.issuer) for method in methods if isinstance(method, OidcMethod)},
        "method": {cedar_string(_digest(method).hex()) for method in methods},
    }
    for attribute, value in _NAMED.findall(cedar):
        if f'"{value}"' not in known[attribute]:
            raise _invalid(
                f'no sign-in method has the {attribute} "{value}"; theirs: {", ".join(sorted(known[attribute]))}'
            )
    for listed in _OTHERS.findall(cedar):
        for digest in _PREFIX.findall(listed):
            if f'"{digest}"' not in known["method"]:
                raise _invalid(f"no sign-in method has the digest {digest}, which a rule asks of another sign-in")


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.RULES_INVALID, reason)


def _digest(method: Method | bytes) -> bytes:
    return method if isinstance(method, bytes) else method_digest(encode(method))


def _with(issuer: str, method: Method | bytes, condition: str) -> People:
    """Exactly one of both is named: providers disagree about who somebody is."""
    if bool(issuer) == bool(method):
        raise _invalid("name the provider, by issuer or by method")
    if issuer:
        return People(f"context.identity.issuer == {cedar_string(issuer)} && {condition}")
    return People(f"context.identity.method == {cedar_string(_digest(method).hex())} && {condition}")


def _ascii(texts: Sequence[str]) -> list[str]:
    """As the Authenticator compares them: lower case, ASCII only, since others have look-alikes (RULES 13)."""
    for text in texts:
        if not text.isascii() or not text:
            raise _invalid(f"{text!r} is not ASCII, and only ASCII addresses are compared")
    return [text.lower() for text in texts]


def _set(texts: Sequence[str]) -> str:
    if not texts:
        raise _invalid("an empty list permits nobody")
    return f"[{', '.join(cedar_string(text) for text in sorted(set(texts)))}]"


def _one_of(texts: Sequence[str], attribute: str) -> str:
    return f"{_set(texts)}.contains(context.identity.{attribute})"
