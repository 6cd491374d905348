"""The demo's story, told while it happens. Every value is real, every claim is checked: a wrong one ends the demo."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pyrage

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli.connection import namespace_instructions, read_instructions
from strongroom.cli.demo.browser import sign_in_as
from strongroom.cli.demo.provider import CALLBACK, CLIENT_ID, CLIENT_SECRET, USERS, email_of
from strongroom.cli.demo.search import forms_of, hexdump, sealed_rows, search
from strongroom.cli.demo.stage import Stage
from strongroom.cli.demo.teller import Teller, milliseconds, short
from strongroom.cli.files import write_new
from strongroom.cli.terminal import EXIT_FAILED, EXIT_REFUSED, Failure
from strongroom.cli.trust import look_at, pin_exactly
from strongroom.client.keys import load_key
from strongroom.client.vault import AsyncVault
from strongroom.protocol.instructions import parse_instructions

NAMESPACE: Final = "demo"
NAME: Final = "letter-key"
ADDRESS: Final = f"{NAMESPACE}/{NAME}"
LETTER: Final = """\
Dear Bob,

this letter is encrypted to a key that was made a moment ago. The key is in the Vault,
and nobody but you can collect it: not whoever runs the servers, not whoever copies the disk.

Alice
"""


class SignInBySelf:
    """Does in the browser what a person would do: names the user in the provider's form."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def authorize(self, url: str) -> None:
        await asyncio.to_thread(sign_in_as, self._user, url)


def tell(stage: Stage, teller: Teller) -> None:
    """The whole story. Raises `Failure` and `StrongroomError`."""
    _servers(stage, teller)
    trust = _pin(stage, teller)
    _namespace(stage, teller, trust)
    before = _rows(stage)
    identity = _alice_stores(stage, teller, trust)
    added = {key: sealed for key, sealed in _rows(stage).items() if before.get(key) != sealed}
    _bob_collects(stage, teller)
    _mallory_tries(stage, teller)
    _what_the_host_holds(stage, teller, max(added.values(), key=len), identity)


def _servers(stage: Stage, teller: Teller) -> None:
    teller.step("Three servers start on this machine")
    stage.start()
    teller.fact("Vault", stage.vault["url"], "keeps sealed records")
    teller.fact("Authenticator", stage.authenticator["url"], "signs people in, never sees a secret")
    teller.fact("sign-in", stage.issuer, f"a development provider with {', '.join(USERS)}")
    teller.took("until all were ready")


def _pin(stage: Stage, teller: Teller) -> TrustPolicy:
    teller.step("A client looks at the evidence of both, and pins what it sees")
    vault = look_at(stage.vault["url"], "vault", insecure=True)
    authenticator = look_at(stage.authenticator["url"], "authenticator", insecure=True)
    trust = pin_exactly(vault, authenticator)
    write_new(stage.client / "trust.toml", format_trust_policy(trust).encode(), what="the demo")
    for genuine in (vault, authenticator):
        found = f"program {short(genuine.measurement)}  cluster {short(genuine.claims.cluster_id)}"
        teller.fact(genuine.role.capitalize(), found)
    teller.fact("platform", vault.kind, "no hardware: see the warning above", style="yellow")
    teller.took("to fetch and appraise both; trust.toml now accepts these two and nothing else")
    return trust


def _namespace(stage: Stage, teller: Teller, trust: TrustPolicy) -> None:
    teller.step(f"The owner opens the namespace “{NAMESPACE}”")
    instructions = stage.client / "instructions.toml"
    write_new(instructions, _instructions_file(stage).encode(), what="the demo")
    settings = (
        f'vault = "{stage.vault["url"]}"\ntrust = "trust.toml"\n'
        f'instructions = "instructions.toml"\nnamespace = "{NAMESPACE}"\n'
    )
    write_new(stage.client / "strongroom.toml", settings.encode(), what="the demo")
    encoded = namespace_instructions(instructions, trust, [], [])

    async def create() -> int:
        owner = load_key(stage.servers / "vault" / "owner.key")
        async with AsyncVault(stage.vault["url"], trust, binding_key=owner) as vault:
            return await vault.create_namespace(
                NAMESPACE,
                instructions=encoded,
                max_records=1_000,
                max_bytes=10_000_000,
                max_records_per_identity=100,
                max_bytes_per_identity=1_000_000,
            )

    version = asyncio.run(create())
    teller.fact("may create", "whoever signs in", f"at most 100 records each; version {version}")
    teller.took("attested session, proof of the owner's key, one commit")


def _instructions_file(stage: Stage) -> str:
    return f"""\
# How requests for a record are authenticated. Who may do what is said at `strongroom store --for`.
"""


def _alice_stores(stage: Stage, teller: Teller, trust: TrustPolicy) -> str:
    """Alice's part; the secret, which a real Alice would forget now."""
    teller.step("Alice makes a key, encrypts a letter with it, and stores the key for Bob")
    identity = pyrage.x25519.Identity.generate()
    recipient = identity.to_public()
    sealed_letter = pyrage.encrypt(LETTER.encode(), [recipient])
    write_new(stage.client / "letter.txt.age", sealed_letter, what="the demo")
    teller.fact("age key", str(recipient), "its public half")
    teller.fact("letter", f"{len(LETTER)} bytes, as letter.txt.age {len(sealed_letter)} bytes")
    encoded = read_instructions(stage.client / "instructions.toml", trust, [email_of("bob")], None)
    teller.text("her instructions, checked before anything is sent:")
    teller.output(line for line in parse_instructions(encoded).rules.strip().splitlines() if line)

    async def store() -> float:
        async with AsyncVault(stage.vault["url"], trust, sign_in=SignInBySelf("alice")) as vault:
            await vault.describe_namespace(NAMESPACE)
            since = time.perf_counter()
            receipt = await vault.store(
                str(identity).encode(), namespace=NAMESPACE, name=NAME, instructions=encoded
            )
            teller.fact("stored as", ADDRESS, f"version {receipt.version}")
            return time.perf_counter() - since

    asyncio.run(store())
    teller.took("signed in as alice, appraised, stored and durable")
    return str(identity)
