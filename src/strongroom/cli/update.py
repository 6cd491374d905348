"""`strongroom update`: replace a secret, or for whom it is, or both."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli import conflict, options
from strongroom.cli.connection import methods_of, read_instructions, run_with_vault
from strongroom.cli.files import KEYS_ONLY, STDIN, read_input
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.store import file_metadata
from strongroom.cli.terminal import Failure, result_json, say
from strongroom.client.addresses import parse_address
from strongroom.client.files import load_trust
from strongroom.protocol.limits import MAX_SECRET

NewSecret = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="File that holds the new secret; - for standard input.", show_default=False),
]


@signs_in
def update(
    address: options.AddressArgument,
    secret: NewSecret = None,
    emails: options.For = None,
    rules: options.Rules = None,
    instructions: options.InstructionsFile = None,
    version: options.Version = None,
    key: options.Key = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Replace a secret, or for whom it is, or both.

    New instructions replace the old ones as a whole: --for names everybody who may collect from now on.
    """
    settings = load_settings(config)
    where = parse_address(address)
    trust = needed(trust, settings.trust, "trust")
    encoded = None
    if emails or rules or instructions:
        file = needed(instructions, settings.instructions, "instructions")
        encoded = read_instructions(file, load_trust(trust), emails, rules)
    if secret is None and encoded is None:
        raise Failure("there is nothing to update", "name a FILE with the new secret, or who may collect with --for")
    ways = login.ways(stdin_is_taken=secret == STDIN)
    data = None if secret is None else read_input(secret, limit=MAX_SECRET, what="the secret", too_large=KEYS_ONLY)
    metadata = None if secret is None else file_metadata(secret)
    with (
        conflict.unanswered(
            f"it was about {address}", f"look with `strongroom history {address}`, or run the same command again"
        ),
        conflict.explained(conflict.of_version),
    ):
        receipt = run_with_vault(
            lambda opened: opened.update(where, secret=data, metadata=metadata, instructions=encoded, replaces=version),
            settings=settings,
            vault=vault,
            trust=trust,
            sign_in=ways,
            issuer=login.issuer,
            key=key,
            approved=methods_of(encoded) if encoded else (),
        )
    if as_json:
        result_json({"address": address, "version": receipt.version})
    else:
        say(f"{address} is at version {receipt.version} now")
