"""From options and settings to an open Vault: trust policy, sign-in and instructions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TypeVar

import msgspec

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import MAX_TRUST_FILE, parse_trust_policy
from strongroom.cli.files import read_text
from strongroom.cli.settings import Settings, needed
from strongroom.cli.terminal import Failure
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.policy import People, Policy
from strongroom.client.sign_in import (
    BrowserSignIn,
    DeviceSignIn,
    PrintingDeviceSignIn,
    PrintingSignIn,
    SignIn,
)
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse
from strongroom.protocol.instructions import Instructions, Method, parse_instructions, parse_method
from strongroom.protocol.limits import MAX_INSTRUCTIONS, MAX_RULES
from strongroom.protocol.primitives import SigningKey

T = TypeVar("T")

_INSTRUCTIONS_HINT = "it names authenticators and sign-in methods; `strongroom demo` makes one to look at"


def read_trust(path: Path) -> TrustPolicy:
    """The trust policy in `path`. Raises `Failure`."""
    hint = "make one with: strongroom trust pin --vault URL --authenticator URL"
    text = read_text(path, limit=MAX_TRUST_FILE, what="the trust policy", hint=hint)
    try:
        return parse_trust_policy(text)
    except Misuse as error:
        raise Failure(f"{path}: {error.reason}", "correct it there; `strongroom trust pin` makes a new one") from None


def choose_sign_in(*, no_browser: bool, device: bool) -> SignIn | DeviceSignIn:
    """How the user is brought to the provider. Raises `Failure`."""
    if no_browser and device:
        raise Failure("--no-browser and --device exclude each other", "choose one")
    if device:
        return PrintingDeviceSignIn()
    return PrintingSignIn() if no_browser else BrowserSignIn()


def run_with_vault(
    work: Callable[[AsyncVault], Awaitable[T]],
    *,
    settings: Settings,
    vault: str | None,
    trust: Path | None,
    sign_in: SignIn | DeviceSignIn | None = None,
    issuer: str | None = None,
    binding_key: SigningKey | None = None,
) -> T:
    """Do `work` with the Vault that options and settings name. The binding key is a fresh one unless given."""
    url = needed(vault, settings.vault, "vault")
    policy = read_trust(needed(trust, settings.trust, "trust"))

    async def run() -> T:
        async with AsyncVault(url, policy, binding_key=binding_key, sign_in=sign_in, issuer=issuer) as opened:
            return await work(opened)

    return asyncio.run(run())


def read_instructions(path: Path, trust: TrustPolicy, emails: list[str] | None, rules: Path | None) -> bytes:
    """Encoded instructions: authenticators and methods from `path`, rules from `--for` or `--rules`, or from the
    file itself. Raises `Failure` and `Misuse`."""
    if emails and rules:
        raise Failure("--for and --rules exclude each other", "write the addresses into the rules")
    text = read_text(path, limit=MAX_INSTRUCTIONS, what="the instructions", hint=_INSTRUCTIONS_HINT)
    encoded = parse_instructions_file(text, authenticator=trust.authenticator)
    parsed = parse_instructions(encoded)
    if emails:
        return _with_rules(parsed, ordinary_rules(parsed, emails))
    if rules:
        cedar = read_text(rules, limit=MAX_RULES, what="the rules", hint="write Cedar policies, see spec/rules.md")
        return _with_rules(parsed, Policy(cedar))
    return encoded


def namespace_instructions(path: Path, trust: TrustPolicy, emails: list[str], admins: list[str]) -> bytes:
    """Instructions of a namespace: `emails` (nobody named: whoever signs in) may create, `admins` may change it.

    Raises `Failure` and `Misuse`.
    """
    text = read_text(path, limit=MAX_INSTRUCTIONS, what="the instructions", hint=_INSTRUCTIONS_HINT)
    parsed = parse_instructions(parse_instructions_file(text, authenticator=trust.authenticator))
    rules = []
    for method in map(parse_method, parsed.methods):
        create = _people(emails, method) if emails else Policy.anyone_signed_in(method)
        rules.append(Policy.namespace(create=create, admin=_people(admins, method) if admins else None))
    # Without administrators it is the owner's key alone that changes the namespace.
    return _with_rules(msgspec.structs.replace(parsed, permanent=not admins), reduce(or_, rules))


def ordinary_rules(parsed: Instructions, emails: list[str]) -> Policy:
    """The named addresses may collect, by any of the methods; whoever stored may update, delete and audit."""
    collectors = [_people(emails, parse_method(method)).may("collect") for method in parsed.methods]
    return reduce(or_, collectors) | Policy.depositor_may("update", "delete", "audit")


def _people(emails: list[str], method: Method) -> People:
    for email in emails:
        name, at, domain = email.partition("@")
        if not (name and at and "." in domain):
            raise Failure(f"{email!r} is not an e-mail address", "write it as somebody@example.com")
    return Policy.anyone_with_email(*emails, method=method)


def _with_rules(parsed: Instructions, rules: Policy) -> bytes:
    rules.check()
    return encode(msgspec.structs.replace(parsed, rules=rules.cedar))
