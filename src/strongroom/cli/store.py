"""`strongroom store`: hand a secret to the Vault, with instructions for whom to release it to."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from strongroom.cli import conflict, options
from strongroom.cli.connection import methods_of, read_instructions, run_with_vault
from strongroom.cli.files import KEYS_ONLY, STDIN, read_input
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import Failure, result, result_json, say
from strongroom.client.addresses import format_address
from strongroom.client.files import load_trust
from strongroom.client.requests import RECORD_ID
from strongroom.client.results import Description, Receipt
from strongroom.client.rules_explanation import Methods
from strongroom.client.vault import AsyncVault
from strongroom.protocol.instructions import parse_instructions
from strongroom.protocol.limits import MAX_SECRET
from strongroom.protocol.messages import ById, ByName, OfNamespace


@signs_in
def store(
    secret: options.SecretArgument,
    name: options.RecordName = None,
    replaces: options.ReplacesDeleted = 0,
    emails: options.For = None,
    rules: options.Rules = None,
    namespace: options.Namespace = None,
    instructions: options.InstructionsFile = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Store a secret and print its address.

    Everything is checked before anything is sent: the Vault's evidence against your trust policy, and the rules
    against their schema.
    """
    if replaces and name is None:
        raise Failure("--replaces goes with --name only", "name the deleted record whose place this takes")
    settings = load_settings(config)
    trust = needed(trust, settings.trust, "trust")
    file = needed(instructions, settings.instructions, "instructions")
    encoded = read_instructions(file, load_trust(trust), emails, rules)
    into = needed(namespace, settings.namespace, "namespace")
    ways = login.ways(stdin_is_taken=secret == STDIN)
    data = read_input(secret, limit=MAX_SECRET, what="the secret", too_large=KEYS_ONLY)
    metadata = file_metadata(secret)
    # Drawn here: should the answer be lost, its user knows where to look.
    drawn = ById(id=secrets.token_bytes(RECORD_ID))
    address = format_address(drawn if name is None else ByName(namespace=into, name=name))

    async def work(opened: AsyncVault) -> Receipt:
        if name is not None:
            _warn_of_strangers(into, await opened.describe(OfNamespace(namespace=into)), encoded)
        return await opened.store(
            data,
            namespace=into,
            instructions=encoded,
            name=name,
            metadata=metadata,
            replaces=replaces,
            record_id=drawn.id if name is None else None,
        )

    with (
        conflict.unanswered(
            f"if it was stored, then at {address}", f"look with `strongroom describe {address}` before you try again"
        ),
        conflict.explained(lambda error: _taken(address) if name else (error.error, error.hint)),
    ):
        receipt = run_with_vault(
            work,
            settings=settings,
            vault=vault,
            trust=trust,
            sign_in=ways,
            issuer=login.issuer,
            approved=methods_of(encoded),
        )
    if as_json:
        result_json({"address": address, "version": receipt.version})
        return
    say(f"stored {len(data):,} bytes as version {receipt.version}; the address is:", "dim")
    result(address)


def _warn_of_strangers(namespace: str, described: Description, instructions: bytes) -> None:
    """A named record is described to those alone who sign in by the namespace's own methods (RULES 19): who has another
    one from the record is not told that there is such a record."""
    known = {method.digest for method in described.methods}
    methods = Methods(parse_instructions(instructions).methods)
    strangers = [methods.name(digest) for digest in methods.by_digest if bytes.fromhex(digest) not in known]
    if strangers:
        say(
            f"think about it: nobody finds this name who signs in by {', '.join(strangers)} alone: {namespace} has no "
            "such method. Store it without --name, or add the method to the namespace",
            "yellow",
        )


def _taken(address: str) -> tuple[str, str]:
    # The Vault does not say which of them: who may not see the record learns nothing of it.
    return (
        f"{address} exists already, or was deleted",
        f"replace it with: strongroom update {address} FILE (after a delete: store --replaces VERSION)",
    )


def file_metadata(source: str) -> bytes:
    """The file's name, sealed with the secret, so that who collects it knows what it was."""
    return b"" if source == STDIN else json.dumps({"filename": Path(source).name}).encode()
