"""What a second reader would ask about rules before they are stored: `strongroom policy check` and `explain`.

Nothing here is an error: rules may well mean it. Where a finding can't be ruled out without knowing the sign-in
methods, it is only made when they are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from strongroom.attestation.policy import RolePolicy
from strongroom.client.policy import only_phishable
from strongroom.client.rules_addresses import addresses_in_capitals, asks_for_address, gives_address
from strongroom.client.rules_explanation import Methods, provider_of
from strongroom.client.rules_tree import (
    actions_of,
    conjuncts,
    denies_phishable,
    flat,
    forbids_phishable,
    path_of,
    permitted_to_phishable,
    values_of,
)
from strongroom.protocol.codec import decode
from strongroom.protocol.instructions import (
    CodeMethod,
    DirectoryMethod,
    Instructions,
    Method,
    OidcMethod,
    PasskeyMethod,
)
from strongroom.protocol.limits import MAX_INSTRUCTIONS
from strongroom.protocol.rules import Rules, verify_rules

TIME: Final = frozenset({"unix_time", "minute_of_day", "weekday", "idle_days"})
"""Attributes for which a Vault needs witnesses (RULES 24)."""
APPROVALS: Final = frozenset({"approvals", "approval_count"})
BESIDE: Final = frozenset({"others", "other_emails", "sign_ins"}) | APPROVALS
"""Attributes by which a rule asks for somebody else."""
EMAIL: Final = frozenset({"email", "domain", "other_emails"})
_PERSONAL: Final = frozenset(
    {"principal", "subject", "email", "domain", "groups", "claims", "hd", "oid", "depositor"} | BESIDE
)
"""Attributes that tell people of one provider apart."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}(?=[: ]|$)")


class Finding(NamedTuple):
    """Something to think about."""

    name: str
    """For programs: `locks-out`, `phishable` …"""
    policy: int | None
    """Of the text, from 0; None: about the whole."""
    text: str


def review(instructions: Instructions) -> list[Finding]:
    """Of complete instructions. Raises `Misuse` for rules that are not valid."""
    rules, methods = verify_rules(instructions.rules), Methods(instructions.methods)
    return [
        *_about_the_whole(rules, methods, permanent=instructions.permanent),
        *_about_policies(rules, methods),
        *_about_addresses(rules, methods),
        *_about_the_quorum(instructions, rules, methods),
    ]


def review_rules(rules: str) -> list[Finding]:
    """Of rules alone. Raises `Misuse` for rules that are not valid."""
    verified = verify_rules(rules)
    return [*_about_the_whole(verified, Methods(), permanent=False), *_about_policies(verified, Methods())]


def _about_the_whole(rules: Rules, methods: Methods, *, permanent: bool) -> Iterator[Finding]:
    tricked = only_phishable(methods.by_digest.values())
    permitted = permitted_to_phishable(rules.policies) if tricked else rules.permitted
    nobody = [action for action in ("update", "delete") if action not in permitted]
    if nobody and not permanent:
        yield Finding("locks-out", None, f"LOCKS OUT: nobody may {' or '.join(nobody)}, so it stays as it is for ever")
    if not {"collect", "create", "fill"} & set(rules.permitted):
        yield Finding("nobody-collects", None, "nobody may collect it")
    if TIME & rules.attributes:
        named = ", ".join(sorted(TIME & rules.attributes))
        text = f"depends on the time ({named}): a Vault WITHOUT WITNESSES refuses to store it"
        yield Finding("unwitnessed-time", None, text)
    if APPROVALS & rules.attributes:
        for action, what in (("ask", "ask for approval"), ("approve", "approve")):
            if action not in rules.permitted:
                yield Finding(
                    f"nobody-{action}s", None, f"wants approvals, but nobody may {what}: add the action {action}"
                )


def _about_policies(rules: Rules, methods: Methods) -> Iterator[Finding]:
    forbidden = {action for policy in rules.policies if forbids_phishable(policy) for action in actions_of(policy)}
    for number, policy in enumerate(rules.policies):
        looks_at = attributes_of(policy)
        if policy["effect"] == "forbid":
            if BESIDE & looks_at:
                text = "forbids by who else signed in or approved: whoever asks chooses that, so it BINDS NOBODY"
                yield Finding("forbid-beside", number, text)
            continue
        every, named = conjuncts(policy), methods_of(policy, methods)
        denied = any(denies_phishable(one) for one in every) or set(actions_of(policy)) <= forbidden
        if not denied and (not methods.by_digest or any(map(_phishable, named))):
            text = "also counts PHISHABLE SIGN-INS, by device flow or a code: people are tricked into them for others"
            yield Finding("phishable", number, text)
        if not any(_denies_web(one) for one in every):
            pages = sorted({page for method in named for page in _pages(method)})
            if pages:
                text = f"also counts sign-ins on a WEB PAGE: who serves {', '.join(pages)} could act as its visitors"
                yield Finding("web-channel", number, text)
        yield from _about_people(number, policy, every, looks_at)
        if methods.by_digest and asks_for_address(every) and not any(map(gives_address, named)):
            yield Finding("no-address", number, "asks for an address, and NONE OF THE METHODS gives one: for NOBODY")
        if capitals := addresses_in_capitals(policy):
            text = f"{', '.join(capitals)}: verified addresses are in LOWER CASE, so this is NOBODY's"
            yield Finding("upper-case", number, text)


def _about_people(number: int, policy: dict[str, Any], every: list[Any], looks_at: frozenset[str]) -> Iterator[Finding]:
    for one in every:
        domains = _fixed(one, "domain") or _fixed(one, "hd")
        if domains:
            yield Finding("whole-domain", number, f"lets in EVERYBODY with an address in {', '.join(domains)}")
    if not _PERSONAL & looks_at and policy["principal"]["op"] != "==":
        text = "lets in EVERYBODY whom a method signs in: with a public provider, that is the whole world"
        yield Finding("anybody", number, text)


def _about_addresses(rules: Rules, methods: Methods) -> Iterator[Finding]:
    if not EMAIL & rules.attributes:
        return
    for digest, method in methods.by_digest.items():
        name = methods.name(digest)
        if isinstance(method, OidcMethod | DirectoryMethod) and method.email_domains:
            domains = ", ".join(method.email_domains)
            text = f"addresses in {domains} are believed WITHOUT VERIFICATION, as {name} says"
            yield Finding("unverified-email", None, text)
        if isinstance(method, CodeMethod):
            text = f"{name}: whoever reads the mailbox, or runs a mail server on the way, gets in"
            yield Finding("mailbox", None, text)


def _about_the_quorum(instructions: Instructions, rules: Rules, methods: Methods) -> Iterator[Finding]:
    references = instructions.authenticators
    policies = [decode(one.policy, RolePolicy, limit=MAX_INSTRUCTIONS) for one in references]
    clusters = {cluster for policy in policies for cluster in policy.clusters}
    if len({one.url for one in references}) != len(references):
        yield Finding("same-authenticator", None, "an Authenticator is NAMED TWICE: it counts once")
    if 0 < len(clusters) < instructions.quorum:
        text = f"{instructions.quorum} Authenticators must agree, but the policies know {len(clusters)} clusters: never"
        yield Finding("quorum-unreachable", None, text)
    for number, policy in enumerate(rules.policies):
        if policy["effect"] == "forbid":
            continue
        looks_at = attributes_of(policy)
        beside = [digest for text in _strings(policy) for digest in _DIGEST.findall(text)]
        if BESIDE & looks_at:
            providers = {provider_of(methods.by_digest[one]) for one in beside if one in methods.by_digest}
            if len(providers) == 1 and (provider := min(providers)):
                text = (
                    f"wants several people, but ONE PROVIDER vouches for all of them: who runs {provider} is them all"
                )
                yield Finding("shared-issuer", number, text)
        elif instructions.quorum > 1:
            alone = {provider_of(method) for method in methods_of(policy, methods)} - {""}
            if alone:
                text = (
                    f"{instructions.quorum} Authenticators must agree, but they believe the same providers: one of "
                    f"{', '.join(sorted(alone))} ALONE IS ENOUGH"
                )
                yield Finding("shared-issuer", number, text)


def attributes_of(policy: dict[str, Any]) -> frozenset[str]:
    """Names of all attributes that a policy looks at."""
    found, waiting = set(), [policy["conditions"]]
    while waiting:
        match waiting.pop():
            case {"attr": str(name), **rest}:
                found.add(name)
                waiting += rest.values()
            case dict(node):
                waiting += node.values()
            case list(items):
                waiting += items
    return frozenset(found)


def _strings(policy: dict[str, Any]) -> Iterator[str]:
    waiting: list[Any] = [policy["conditions"], policy["principal"]]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case dict(node):
                waiting += node.values()
            case list(items):
                waiting += items


def methods_of(policy: dict[str, Any], methods: Methods) -> list[Method]:
    """By which somebody may sign in whom the policy permits, as far as it says so on its own."""
    named: set[str] | None = None
    if policy["principal"]["op"] == "==":
        named = set(_DIGEST.findall(policy["principal"]["entity"]["id"]))
    for one in conjuncts(policy):
        issuers = _fixed(one, "issuer")
        digests = set(_fixed(one, "method")) | {
            digest for value in _fixed(one, "principal") for digest in _DIGEST.findall(value)
        }
        if issuers:
            digests |= {digest for digest, method in methods.by_digest.items() if provider_of(method) in issuers}
        if digests:
            named = digests if named is None else named & digests
    return [method for digest, method in methods.by_digest.items() if named is None or digest in named]


def _fixed(expression: Any, attribute: str) -> list[str]:
    """The values that an attribute of the identity may have, if this says so."""
    path = f"context.identity.{attribute}"
    match expression:
        case {"==": {"left": left, "right": {"Value": str(value)}}} if path_of(left) == path:
            return [value]
        case {"==": {"left": {"Value": str(value)}, "right": right}} if path_of(right) == path:
            return [value]
        case {"contains": {"left": left, "right": right}} if path_of(right) == path:
            return [value for value in values_of(left) or [] if isinstance(value, str)]
        case {"||": _}:
            every = [_fixed(one, attribute) for one in flat(expression, "||")]
            return [value for values in every for value in values] if all(every) else []
    return []


def _denies_web(expression: Any) -> bool:
    channels = _fixed(expression, "channel")
    return bool(channels) and "web" not in channels


def _phishable(method: Method) -> bool:
    match method:
        case OidcMethod():
            return any(audience.channel == "device" for audience in method.public.audiences)
        case CodeMethod():
            return True
    return False


def _pages(method: Method) -> Sequence[str]:
    match method:
        case OidcMethod():
            return [audience.redirect_uri for audience in method.public.audiences if audience.channel == "web"]
        case PasskeyMethod():
            return method.public.origins
    return []
