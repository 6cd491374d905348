"""`strongroom history`: who asked for a record, as the Vault's log has it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from strongroom.cli import options
from strongroom.cli.connection import run_with_vault
from strongroom.cli.settings import load_settings
from strongroom.cli.sharing import shown_outcome, shown_principal
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import Failure, exit_status, printable, result_json, say, stdout
from strongroom.client.addresses import parse_address
from strongroom.client.audit.log import shown_time
from strongroom.client.results import LogEntry, Trail
from strongroom.protocol.errors import Number, Refused

_LIMIT: Final = 50

Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help=f"The newest N. [default: {_LIMIT}]")]
All = Annotated[bool, typer.Option("--all", help="All entries, from the first on.")]


@signs_in
def history(
    address: options.AddressArgument,
    limit: Limit = None,
    everything: All = False,
    key: options.Key = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Show who asked for a record, when, and what the Vault answered. Takes the right to audit.

    This comes from the Vault's log. Each entry is proven to be in it, and they are numbered: what the host holds back
    is missed. Your own look is the newest entry.
    """
    if everything and limit is not None:
        raise Failure("--all and --limit exclude each other", "choose one")
    where = parse_address(address)
    wanted = None if everything else limit or _LIMIT
    try:
        found: Trail = run_with_vault(
            lambda opened: opened.trail(where, limit=wanted),
            settings=load_settings(config),
            vault=vault,
            trust=trust,
            sign_in=login.ways(),
            issuer=login.issuer,
            key=key,
        )
    except Refused as error:
        if error.number is not Number.REFUSED:
            raise
        hint = "whoever stored it may audit, if its rules say so: sign in as they did"
        raise Failure(error.error, hint, status=exit_status(error)) from None
    total = found.entries[0].number
    if as_json:
        entries = [_as_json(entry) for entry in found.entries]
        result_json(
            {"address": address, "version": found.version, "log_size": found.size, "total": total, "entries": entries}
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WHEN (UTC)", "WHO", "DID", "ANSWER", "VERSION", "LEAF"):
        table.add_column(column, overflow="fold", justify="right" if column in ("VERSION", "LEAF") else "left")
    for entry in found.entries:
        cells = (
            shown_time(entry.at),
            shown_principal(entry.principal),
            entry.action,
            shown_outcome(entry),
            str(entry.version),
            str(entry.leaf),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    stdout().print(table)
    shown = len(found.entries)
    which = f"all {total:,} entries" if shown == total else f"the newest {shown:,} of {total:,} entries"
    say(f"{which}, none left out; each is proven to be in the log, which has {found.size:,} leaves", "dim")


def _as_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at,
        "principal": entry.principal,
        "action": entry.action,
        "outcome": entry.outcome,
        "version": entry.version,
        "leaf": entry.leaf,
    }
