"""`strongroom collect`: sign in and receive a secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli import options
from strongroom.cli.connection import run_with_vault
from strongroom.cli.files import verify_can_create, write_new
from strongroom.cli.settings import load_settings
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import Failure, result_json, say
from strongroom.client.addresses import parse_address
from strongroom.client.results import Released

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="New file for the secret, readable by you alone."),
]
Print = Annotated[bool, typer.Option("--print", help="Show the secret on this terminal.")]


@signs_in
def collect(
    address: options.AddressArgument,
    output: Output = None,
    show: Print = False,
    key: options.Key = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Sign in and collect a secret.

    It goes to --output or to standard output. A terminal gets it only with --print: what is on a screen is in its
    history too. An existing file is never overwritten. With --json, which needs --output, standard output gets what
    is known about the secret.
    """
    settings = load_settings(config)
    where = parse_address(address)
    _verify_destination(output, show=show, as_json=as_json)
    released = run_with_vault(
        lambda opened: opened.collect(where),
        settings=settings,
        vault=vault,
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
        key=key,
    )
    if output is None:
        sys.stdout.buffer.write(released.secret)
        sys.stdout.buffer.flush()
        return
    write_new(output, released.secret, what="collect")
    if as_json:
        result_json({"address": address, "output": str(output), **about(released)})
    else:
        say(f"{len(released.secret):,} bytes, version {released.version}, written to {output}", "dim")


def about(released: Released) -> dict[str, Any]:
    """What is known of a secret besides itself, for programs."""
    try:
        metadata = json.loads(released.metadata) if released.metadata else {}
    except ValueError:
        # Another program's metadata: bytes of its own format.
        metadata = {"hex": released.metadata.hex()}
    return {"version": released.version, "size": len(released.secret), "metadata": metadata}


def _verify_destination(output: Path | None, *, show: bool, as_json: bool) -> None:
    """Before anybody signs in. Raises `Failure`."""
    if output is not None:
        if show:
            raise Failure("--output and --print exclude each other", "choose one")
        verify_can_create(output, what="collect")
    elif as_json:
        raise Failure("--json would mix with the secret on standard output", "name a file with --output FILE")
    elif sys.stdout.isatty() and not show:
        raise Failure(
            "the secret would be shown on this terminal, and stay in its history",
            "name a file with --output FILE, pipe it on, or say --print",
        )
