"""`strongroom namespace create`: open a namespace, as the cluster's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli import conflict, options
from strongroom.cli.connection import namespace_instructions, run_with_vault
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.terminal import EXIT_REFUSED, Failure, result_json, say
from strongroom.client.addresses import verify_name
from strongroom.client.files import load_trust
from strongroom.client.keys import load_key
from strongroom.protocol.errors import Misuse, Refused

app = typer.Typer(help="Namespaces: who may create records, and how many.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the namespace; no slash in it.")]
OwnerKey = Annotated[
    Path,
    typer.Option("--owner-key", metavar="FILE", help="The cluster's owner key, as `serve vault` made it."),
]
Depositors = Annotated[
    list[str] | None, typer.Option("--for", metavar="EMAIL", help="Who may create records; repeat for more.")
]
Anyone = Annotated[bool, typer.Option("--anyone", help="Whoever signs in may create records.")]
Admins = Annotated[
    list[str] | None,
    typer.Option("--admin", metavar="EMAIL", help="Who may change the namespace besides the owner; repeat for more."),
]
Records = Annotated[int, typer.Option("--max-records", min=1, metavar="N", help="Records in all.")]
Bytes = Annotated[str, typer.Option("--max-bytes", metavar="SIZE", help="Bytes in all; k, M, G and T are understood.")]
RecordsEach = Annotated[int, typer.Option("--max-records-each", min=1, metavar="N", help="Records of one identity.")]
BytesEach = Annotated[str, typer.Option("--max-bytes-each", metavar="SIZE", help="Bytes of one identity.")]
Replaces = Annotated[
    int, typer.Option("--replaces", min=0, metavar="N", help="Version of the namespace to replace; 0 creates it.")
]


@app.callback()
def namespace() -> None:
    """Namespaces: who may create records, and how many."""


@app.command("create")
def create(
    name: NameArgument,
    owner_key: OwnerKey,
    emails: Depositors = None,
    anyone: Anyone = False,
    admins: Admins = None,
    max_records: Records = 100_000,
    max_bytes: Bytes = "1G",
    max_records_each: RecordsEach = 10_000,
    max_bytes_each: BytesEach = "100M",
    replaces: Replaces = 0,
    instructions: options.InstructionsFile = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Open a namespace: say who may create records in it. It gives no right over the records inside."""
    if bool(emails) == anyone:
        raise Failure("who may create records in it?", "name them with --for EMAIL, or say --anyone")
    verify_name(name, "namespace")
    total, each = options.size_of(max_bytes, "--max-bytes"), options.size_of(max_bytes_each, "--max-bytes-each")
    settings = load_settings(config)
    trust = needed(trust, settings.trust, "trust")
    file = needed(instructions, settings.instructions, "instructions")
    encoded = namespace_instructions(file, load_trust(trust), emails or [], admins or [])
    with conflict.explained(lambda error: _taken(name, error, replaces)):
        try:
            version = run_with_vault(
                lambda opened: opened.create_namespace(
                    name,
                    instructions=encoded,
                    max_records=max_records,
                    max_bytes=total,
                    max_records_per_identity=max_records_each,
                    max_bytes_per_identity=each,
                    replaces=replaces,
                ),
                settings=settings,
                vault=vault,
                trust=trust,
                binding_key=load_key(owner_key),
            )
        except Refused as error:
            hint = "is --owner-key the key that `serve vault` made at its first start, DATA/owner.key?"
            raise Failure(error.error, hint, status=EXIT_REFUSED) from None
    if as_json:
        result_json({"namespace": name, "version": version})
    else:
        say(f"namespace {name} is at version {version}")


def _taken(name: str, error: Misuse, replaces: int) -> tuple[str, str]:
    if not error.version:
        return f"there is no namespace {name} to replace", "create it without --replaces"
    wrong = f"is at version {error.version}, not {replaces}" if replaces else "exists already"
    return f"namespace {name} {wrong}", f"--replaces {error.version} replaces it"
