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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from strongroom.client.rules_tree import permitted_to_phishable
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Action,
    AuthenticatorRef,
    CodeMethod,
    DirectoryMethod,
    EnclaveMethod,
    Instructions,
    KeysMethod,
    Method,
    OidcMethod,
    PasskeyMethod,
    WorkloadMethod,
    method_digest,
    parse_instructions,
)
from strongroom.protocol.rules import ACTIONS, verify_rules

MFA_METHODS: Final = ("mfa", "http://schemas.microsoft.com/claims/multipleauthn")
"""`amr` of two factors: RFC 8176's name, which Auth0, Okta and Entra ID (version 1) send, and AD FS's."""
MFA_CLASSES: Final = ("http://schemas.openid.net/pape/policies/2007/06/multi-factor", "urn:okta:loa:2fa:any")
"""`acr` of two factors: Auth0's, and Okta's where the method asks for it by `acr_values`."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
            raise invalid_rules(f"the method has no passkey of {', '.join(unlisted)}")
        principals = [f"{_digest(method).hex()}:{person}" for person in named]
        return self.who(f"context.identity.others.containsAny({cedar_set(principals)})")

    def with_second_person(self, email: str, *methods: OidcMethod | bytes) -> People:
        """Only together with whoever has this verified address, says one of `methods`, and who is somebody else.

        "Somebody else" means another verified address, so people without one are let in never. Two people are as
        distinct as their addresses: whoever holds two accounts with two addresses is two people.
        """
        (address,) = _ascii([email])
        if not methods:
            raise invalid_rules("name the methods by which the second person may sign in")
        pairs = [f"{_digest(method).hex()} {address}" for method in methods]
        return self.who(
            f"context.identity.other_emails.containsAny({cedar_set(pairs)})"
            f" && context.identity has email && context.identity.email != {cedar_string(address)}"
        )

    def native_only(self) -> People:
        """Only from a program on their own machine: no web page, and nothing that can be used on one: no passkey, no
        password of a directory, no code. Whoever serves a page could act as its visitor (RULES 11), and what was typed
        there looks to the Authenticator as if typed anywhere, so this is for people who trust no page."""
        return self.who(
            '["native", "direct"].contains(context.identity.channel)'
            ' && !["directory", "email-code"].contains(context.identity.kind)'
        )

    def with_mfa(self, *, amr: Sequence[str] = MFA_METHODS, acr: Sequence[str] = MFA_CLASSES) -> People:
        """Only after two factors, as the provider says: one of `amr` among its methods, or one of `acr` as its class.

        Keycloak's `acr` is whatever the realm calls it: `acr=["2"]`. Entra ID says it in tokens of version 1 only. By a
        provider that says nothing nobody gets in; docs/howto/rules.md has a table. Passkeys count.
        """
        ways = []
        if amr:
            ways.append(f"context.identity.amr.containsAny({cedar_set(amr)})")
        if acr:
            ways.append(f"context.identity has acr && {cedar_set(acr)}.contains(context.identity.acr)")
        if not ways:
            raise invalid_rules("name at least one amr or acr that stands for two factors")
        return self.who(" || ".join(ways))

    def signed_in_within(self, seconds: int) -> People:
        """Only if the provider saw them prove who they are less than `seconds` ago: not by a session of last week.

        A provider says so (`auth_time`) if the method sets `max_age`, which also has it ask again.
        """
        if seconds < 1:
            raise invalid_rules("a sign-in is at least a second old")
        return self.who(f"context.identity has auth_age && context.identity.auth_age < {seconds}")

    def between(self, start: str, end: str, *, weekdays: Collection[str] = WEEKDAYS) -> People:
        """Only at this time of day, `"08:00"` to `"18:00"`, in UTC, on these days. From `"22:00"` to `"06:00"` is the
        night, whose small hours belong to the day that has begun.

        Only for Vaults with witnesses (RULES 24): others refuse such rules when they are stored.
        """
        first, last = _minutes(start), _minutes(end)
        if first == last:
            raise invalid_rules(f"from {start} to {end} is no time at all")
        unknown = sorted(set(weekdays) - set(WEEKDAYS))
        if unknown or not weekdays:
            raise invalid_rules(f"no such day: {', '.join(unknown) or '(none named)'}; {', '.join(WEEKDAYS)}")
        clock, day = "context.record.minute_of_day", "context.record.weekday"
        both = "&&" if first < last else "||"
        condition = f"context.record has minute_of_day && ({clock} >= {first} {both} {clock} < {last})"
        if set(weekdays) != set(WEEKDAYS):
            numbers = [str(WEEKDAYS.index(name) + 1) for name in WEEKDAYS if name in weekdays]
            condition += f" && context.record has weekday && [{', '.join(numbers)}].contains({day})"
        return self.who(condition)

    def after_idle(self, days: int) -> People:
        """Only once whoever stored the record was permitted nothing for `days` days: see `Policy.deputy_after`."""
        if days < 1:
            raise invalid_rules("a deputy waits for at least a day")
        return self.who(f"context.record has idle_days && context.record.idle_days >= {days}")

    def who(self, condition: str) -> People:
        """Those of them for whom this Cedar condition over `context` holds, too."""
        return replace(self, condition=f"({self.condition}) && ({condition})")

    def may(self, *actions: Action) -> Policy:
        """Rules that permit these people these actions. Raises `Misuse` RULES_INVALID for an unknown action."""
        unknown = [action for action in actions if action not in ACTIONS]
        if unknown or not actions:
            raise invalid_rules(
                f"no such action: {', '.join(map(str, unknown)) or '(none named)'}; {', '.join(ACTIONS)}"
            )
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
        """Members of at least one of these groups, written as the provider writes them; those of a directory exactly
        as the method lists them (a DN), for of others it says nothing."""
        if isinstance(method, DirectoryMethod):
            unlisted = sorted(set(groups) - set(method.groups))
            if unlisted:
                known = "; ".join(method.groups) or "(none)"
                raise invalid_rules(f"the method does not ask for the group {unlisted[0]}; its groups: {known}")
        return _with(issuer, method, f"context.identity.groups.containsAny({cedar_set(groups)})")

    @staticmethod
    def person(method: Method | bytes, subject: str) -> People:
        """Exactly one person: the stable subject that this method gave."""
        return People(f"context.identity.principal == {cedar_string(principal_id(method, subject))}")

    @staticmethod
    def listed(method: KeysMethod | PasskeyMethod | EnclaveMethod, *names: str) -> People:
        """Who signs in with a key, a passkey or an enclave's evidence: these of the names that the method lists."""
        known = _names(method)
        unlisted = sorted(set(names) - known)
        if unlisted or not names:
            what = f"does not list {', '.join(unlisted)}" if unlisted else "lists several: name whom you mean"
            raise invalid_rules(f"the method {what}; its names: {', '.join(sorted(known))}")
        if len(names) == 1:
            return Policy.person(method, names[0])
        principals = [principal_id(method, name) for name in names]
        return People(f"{cedar_set(principals)}.contains(context.identity.principal)")

    @staticmethod
    def workload(method: WorkloadMethod, claims: Mapping[str, str], *, subject: str = "") -> People:
        """A program by its platform's token: all of these claims, `{"repository": "org/repo", "ref":
        "refs/heads/main"}`, and this subject if one is named. The method must name the claims."""
        unnamed = sorted(set(claims) - set(method.claims))
        if unnamed:
            raise invalid_rules(f"the method does not ask for the claims {', '.join(unnamed)}")
        if not claims and not subject:
            raise invalid_rules("without a claim or a subject, every program of that platform is meant, anybody's")
        parts = [f"context.identity.method == {cedar_string(_digest(method).hex())}"]
        if claims:
            pairs = [f"{name}={value}" for name, value in claims.items()]
            parts.append(f"context.identity.claims.containsAll({cedar_set(pairs)})")
        if subject:
            parts.append(f"context.identity.subject == {cedar_string(subject)}")
        return People(" && ".join(parts))

    @staticmethod
    def entra_user(method: OidcMethod, *, tid: str, oid: str) -> People:
        """One user of Entra ID, by tenant and object id: the names and addresses there change owners (RULES 13)."""
        return _entra(method, tid, f"context.identity has oid && context.identity.oid == {cedar_string(_guid(oid))}")

    @staticmethod
    def entra_group(method: OidcMethod, *groups: str, tid: str) -> People:
        """Members of at least one of these groups of Entra ID, by their object ids."""
        ids = [_guid(group) for group in groups]
        return _entra(method, tid, f"context.identity.groups.containsAny({cedar_set(ids)})")

    @staticmethod
    def mailbox(method: CodeMethod, *addresses: str) -> People:
        """Whoever reads the mail to one of these addresses: the mailbox's owner, whoever runs the mail servers on the
        way, and whoever talks somebody out of a code. Where such sign-ins are marked as phishable, this lets nobody in
        without `allow_phishable()`."""
        named = _ascii(addresses)
        for address in named:
            if address not in method.addresses and address.rpartition("@")[2] not in method.domains:
                raise invalid_rules(f"the method sends no codes to {address}")
        return _with("", method, f"context.identity has email && {_one_of(named, 'email')}")

    @staticmethod
    def deputy_after(days: int, deputy: People) -> People:
        """The deputy, once whoever stored the record was permitted nothing for `days` days. Only for Vaults with
        witnesses (RULES 24): a host that may set the clock could let the deputy in today."""
        return deputy.after_idle(days)

    @staticmethod
    def anyone_signed_in(method: Method | bytes) -> People:
        """Everybody whom this method signs in."""
        return _with("", method, "true")

    @staticmethod
    def depositor() -> People:
        """Whoever stored the record, signed in by the same method."""
        return People("context.record.depositor == context.identity.principal")

    @staticmethod
    def depositor_may(*actions: Action) -> Policy:
        """Whoever stored the record, but for sign-ins by code or by device flow; those take
        `Policy.depositor().allow_phishable()`."""
        return Policy.depositor().may(*actions)

    @staticmethod
    def namespace(*, create: People, describe: People | None = None, admin: People | None = None) -> Policy:
        """Rules of a namespace: who may create records and see how to sign in for named ones, who may change it."""
        rules = create.may("create") | (describe or create).may("describe")
        return rules | admin.may("admin", "set-quota", "update", "delete") if admin else rules


def cedar_string(text: str) -> str:
    """A Cedar string literal. Everything but plain characters is escaped, so that no text ends the literal."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise invalid_rules("text with half a character")
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
    verified = verify_rules(rules.cedar)
    _verify_providers(rules.cedar, methods)
    if not permanent:
        if not {"update", "delete"} <= set(verified.permitted):
            raise Misuse(Number.LOCKS_OUT)
        if only_phishable(methods) and not {"update", "delete"} <= permitted_to_phishable(verified.policies):
            raise Misuse(
                Number.LOCKS_OUT,
                "codes and device sign-ins count where rules name them alone: Policy.depositor().allow_phishable()",
            )
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


_STRING: Final = r'"((?:[^"\\]|\\.)*)"'
_NAMED: Final = re.compile(rf"context\.identity\.(issuer|method) == {_STRING}")
_LISTED: Final = re.compile(
    r"context\.(?:identity\.other(?:s|_emails)|record\.approvals)\.contains(?:Any|All)?\(\[?([^)\]]*)"
)
_PRINCIPAL: Final = re.compile(rf"context\.identity\.principal == {_STRING}")
_PRINCIPALS: Final = re.compile(r"\[([^)\]]*)\]\.contains\(context\.identity\.principal\)")
_PREFIX: Final = re.compile(r'"?([0-9a-f]{64})[: ]')


def _verify_providers(cedar: str, methods: Sequence[Method]) -> None:
    """A rule for a provider that no method signs in with permits nobody, and would be found out too late."""
    known = {
        "issuer": {
            cedar_string(method.public.issuer) for method in methods if isinstance(method, OidcMethod | WorkloadMethod)
        },
        "method": {cedar_string(_digest(method).hex()) for method in methods},
    }
    for attribute, value in _NAMED.findall(cedar):
        if f'"{value}"' not in known[attribute]:
            raise invalid_rules(
                f'no sign-in method has the {attribute} "{value}"; theirs: {", ".join(sorted(known[attribute]))}'
            )
    for pattern, whose in (
        (_LISTED, "which a rule asks of another sign-in"),
        (_PRINCIPAL, "by which a rule names somebody"),
        (_PRINCIPALS, "by which a rule names somebody"),
    ):
        for digest in (found for listed in pattern.findall(cedar) for found in _PREFIX.findall(listed)):
            if f'"{digest}"' not in known["method"]:
                raise invalid_rules(f"no sign-in method has the digest {digest}, {whose}")


def only_phishable(methods: Collection[Method]) -> bool:
    """Whether there are methods, and by each of them people can be tricked into signing in for somebody else."""
    return bool(methods) and all(
        isinstance(method, CodeMethod)
        or (
            isinstance(method, OidcMethod) and all(audience.channel == "device" for audience in method.public.audiences)
        )
        for method in methods
    )


def invalid_rules(reason: str) -> Misuse:
    """What builders raise."""
    return Misuse(Number.RULES_INVALID, reason)


def principal_id(method: Method | bytes, subject: str) -> str:
    """How rules write one person: `METHOD:SUBJECT`."""
    return f"{_digest(method).hex()}:{subject}"


def cedar_set(texts: Sequence[str]) -> str:
    """A Cedar set literal of at least one text."""
    if not texts:
        raise invalid_rules("an empty list permits nobody")
    return f"[{', '.join(cedar_string(text) for text in sorted(set(texts)))}]"


def _digest(method: Method | bytes) -> bytes:
    return method if isinstance(method, bytes) else method_digest(encode(method))


def _with(issuer: str, method: Method | bytes, condition: str) -> People:
    """Exactly one of both is named: providers disagree about who somebody is."""
    if bool(issuer) == bool(method):
        raise invalid_rules("name the provider, by issuer or by method")
    if issuer:
        return People(f"context.identity.issuer == {cedar_string(issuer)} && {condition}")
    return People(f"context.identity.method == {cedar_string(_digest(method).hex())} && {condition}")


def _entra(method: OidcMethod, tid: str, condition: str) -> People:
    tenant = f"context.identity has tid && context.identity.tid == {cedar_string(_guid(tid))}"
    return _with("", method, f"{tenant} && {condition}")


def _guid(text: str) -> str:
    if not _GUID.fullmatch(text):
        raise invalid_rules(f"{text!r} is not an id of Entra ID, 8-4-4-4-12 hex digits in lower case")
    return text


def _names(method: KeysMethod | PasskeyMethod | EnclaveMethod) -> set[str]:
    match method:
        case KeysMethod():
            return {key.person for key in method.keys}
        case PasskeyMethod():
            return {passkey.person for passkey in method.passkeys}
        case EnclaveMethod():
            return {workload.name for workload in method.workloads}


def _minutes(time: str) -> int:
    if not _TIME.fullmatch(time):
        raise invalid_rules(f"{time!r} is not a time of day, as 08:00")
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _ascii(texts: Sequence[str]) -> list[str]:
    """As the Authenticator compares them: lower case, ASCII only, since others have look-alikes (RULES 13)."""
    for text in texts:
        if not text.isascii() or not text:
            raise invalid_rules(f"{text!r} is not ASCII, and only ASCII addresses are compared")
    return [text.lower() for text in texts]


def _one_of(texts: Sequence[str], attribute: str) -> str:
    return f"{cedar_set(texts)}.contains(context.identity.{attribute})"
