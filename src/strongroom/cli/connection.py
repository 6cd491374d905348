"""From options and settings to an open Vault: trust policy, sign-in and instructions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TypeVar

import msgspec

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.files import read_text
from strongroom.cli.providers import Providers
from strongroom.cli.settings import Settings, needed
from strongroom.cli.signing_in import explained
from strongroom.cli.terminal import Failure, say
from strongroom.client.files import load_instructions, load_trust
from strongroom.client.policy import People, Policy
from strongroom.client.results import Person
from strongroom.client.sign_in import AnyWay, NoWay
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import Method, parse_instructions, parse_method
from strongroom.protocol.limits import MAX_RULES
from strongroom.protocol.primitives import SigningKey

T = TypeVar("T")


def run_with_vault(
    work: Callable[[AsyncVault], Awaitable[T]],
    *,
    settings: Settings,
    vault: str | None,
    trust: Path | None,
    sign_in: AnyWay | Sequence[AnyWay] | None = None,
    issuer: str | None = None,
    binding_key: SigningKey | None = None,
    approved: Iterable[Method] = (),
) -> T:
    """Do `work` with the Vault that options and settings name. The binding key is a fresh one unless given.

    At `issuer`, by the methods `approved`, those of a namespace that `work` names and those of the settings one signs
    in unasked; by another one that a record names, after the user said yes.
    """
    url = needed(vault, settings.vault, "vault")
    policy = load_trust(needed(trust, settings.trust, "trust"))
    providers = Providers(settings, policy, approved)

    async def run() -> T:
        async with AsyncVault(
            url,
            policy,
            binding_key=binding_key,
            sign_in=sign_in,
            issuer=issuer,
            approve=providers.approve,
            signed_in=_say_who,
        ) as opened:
            return await work(opened)

    try:
        return asyncio.run(run())
    except NoWay as error:
        raise explained(error) from None


def methods_of(instructions: bytes) -> list[Method]:
    """The sign-in methods of encoded instructions."""
    return [parse_method(method) for method in parse_instructions(instructions).methods]


def read_instructions(path: Path, trust: TrustPolicy, emails: list[str] | None, rules: Path | None) -> bytes:
    """Encoded instructions: authenticators and methods from `path`, rules from `--for` or `--rules`, or from the
    file itself. Raises `Failure` and `Misuse`."""
    if emails and rules:
        raise Failure("--for and --rules exclude each other", "write the addresses into the rules")
    chosen = None
    if emails:
        chosen = ordinary_rules(load_instructions(path, trust), emails)
    elif rules:
        chosen = Policy(read_text(rules, limit=MAX_RULES, what="the rules", hint="write Cedar, see spec/rules.md"))
    encoded = load_instructions(path, trust, chosen)
    if not parse_instructions(encoded).rules:
        raise Failure("nobody may collect it yet", "name them with --for EMAIL, or write rules and give --rules FILE")
    return encoded


def _say_who(person: Person) -> None:
    say(f"signed in as {person.email or person.subject}", "dim")


def namespace_instructions(path: Path, trust: TrustPolicy, emails: list[str], admins: list[str]) -> bytes:
    """Instructions of a namespace: `emails` (nobody named: whoever signs in) may create, `admins` may change it.

    Raises `Failure` and `Misuse`.
    """
    parsed = parse_instructions(load_instructions(path, trust))
    rules = []
    for method in map(parse_method, parsed.methods):
        create = _people(emails, method) if emails else Policy.anyone_signed_in(method)
        # Whoever signs in may look a name up: recipients can't create here, but must find what is theirs (RULES 19).
        anyone = Policy.anyone_signed_in(method)
        admin = _people(admins, method) if admins else None
        rules.append(Policy.namespace(create=create, describe=anyone, admin=admin))
    rule = reduce(or_, rules)
    rule.check()
    # Without administrators it is the owner's key alone that changes the namespace.
    return encode(msgspec.structs.replace(parsed, rules=rule.cedar, permanent=not admins))


def ordinary_rules(instructions: bytes, emails: list[str]) -> Policy:
    """Of `--for`: the named addresses may collect, by any of the methods; the depositor may update, delete, audit."""
    methods = map(parse_method, parse_instructions(instructions).methods)
    collectors = [_people(emails, method).may("collect") for method in methods]
    return reduce(or_, collectors) | Policy.depositor_may("update", "delete", "audit")


def _people(emails: list[str], method: Method) -> People:
    for email in emails:
        name, at, domain = email.partition("@")
        if not (name and at and "." in domain):
            raise Failure(f"{email!r} is not an e-mail address", "write it as somebody@example.com")
    return Policy.anyone_with_email(*emails, method=method)
