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
from strongroom.cli.kept_key import kept_key
from strongroom.cli.providers import Providers
from strongroom.cli.settings import Settings, needed
from strongroom.cli.signing_in import explained
from strongroom.cli.terminal import Failure, notice, say
from strongroom.client.checkpoints import own_checkpoints
from strongroom.client.files import load_instructions, load_trust
from strongroom.client.keys import load_or_make_key
from strongroom.client.policy import People, Policy
from strongroom.client.results import Person
from strongroom.client.sign_in import AnyWay, NoWay
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import (
    CodeMethod,
    EnclaveMethod,
    KeysMethod,
    Method,
    PasskeyMethod,
    WorkloadMethod,
    parse_instructions,
    parse_method,
)
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
    key: Path | None = None,
    approved: Iterable[Method] = (),
) -> T:
    """Do `work` with the Vault that options and settings name. The binding key is the one that is kept for that Vault,
    unless it is given, or in a file that `key` or the settings name.

    At `issuer`, by the methods `approved`, those of a namespace that `work` names and those of the settings one signs
    in unasked; by another one that a record names, after the user said yes.
    """
    url = needed(vault, settings.vault, "vault")
    policy = load_trust(needed(trust, settings.trust, "trust"))
    providers = Providers(settings, policy, approved)
    file = key or settings.key
    if binding_key is None:
        binding_key = load_or_make_key(file) if file is not None else kept_key(url)

    async def run() -> T:
        async with AsyncVault(
            url,
            policy,
            binding_key=binding_key,
            sign_in=sign_in,
            issuer=issuer,
            approve=providers.approve,
            signed_in=_say_who,
            checkpoints=own_checkpoints(say),
            notice=notice,
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
    creators, others = list[Policy](), list[Policy]()
    for method in map(parse_method, parsed.methods):
        create = _people(emails, method) if emails else _anyone(method)
        # Who signed in by a code could not change what they stored: ordinary rules deny a depositor who may be tricked.
        if create and not isinstance(method, CodeMethod):
            creators.append(create.may("create"))
        # Whoever signs in may look a name up: recipients can't create here, but must find what is theirs (RULES 19).
        anyone, admin = _anyone(method), _people(admins, method)
        if anyone:
            others.append(anyone.may("describe"))
        if admin:
            others.append(admin.may("admin", "set-quota", "update", "delete"))
    _verify_somebody(creators, emails)
    rule = reduce(or_, [*creators, *others])
    rule.check()
    # Without administrators it is the owner's key alone that changes the namespace.
    return encode(msgspec.structs.replace(parsed, rules=rule.cedar, permanent=not admins))


def ordinary_rules(instructions: bytes, emails: list[str]) -> Policy:
    """Of `--for`: the named addresses may collect, by any of the methods; the depositor may update, delete, audit."""
    people = [_people(emails, method) for method in methods_of(instructions)]
    collectors = [one.may("collect") for one in people if one]
    _verify_somebody(collectors, emails)
    return reduce(or_, collectors) | Policy.depositor_may("update", "delete", "audit")


def _people(emails: list[str], method: Method) -> People | None:
    """Those of the addresses whom this method can sign in; None if it can't say who has an address."""
    for email in emails:
        name, at, domain = email.partition("@")
        if not (name and at and "." in domain):
            raise Failure(f"{email!r} is not an e-mail address", "write it as somebody@example.com")
    match method:
        case _ if not emails:
            return None
        case WorkloadMethod() | EnclaveMethod():
            return None
        case KeysMethod(keys=listed) | PasskeyMethod(passkeys=listed):
            wanted = {email.lower() for email in emails}
            names = sorted({one.person for one in listed if one.person.lower() in wanted})
            return Policy.listed(method, *names) if names else None
        case CodeMethod():
            # A code may be coaxed out of somebody; who lets people in by codes has taken that into account.
            return Policy.anyone_with_email(*emails, method=method).allow_phishable()
    return Policy.anyone_with_email(*emails, method=method)


def _anyone(method: Method) -> People | None:
    """Whoever signs in by it; of programs nobody, since every one of that platform could, whosever it is."""
    if isinstance(method, WorkloadMethod):
        return None
    anyone = Policy.anyone_signed_in(method)
    return anyone.allow_phishable() if isinstance(method, CodeMethod) else anyone


def _verify_somebody(rules: list[Policy], emails: list[str]) -> None:
    if not rules:
        raise Failure(
            f"none of the sign-in methods says who {', '.join(emails) or 'anybody'} is",
            "programs and enclaves have no address: write rules, and give --rules FILE",
        )
