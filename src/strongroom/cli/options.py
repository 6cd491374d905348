"""Options that several commands have in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from strongroom.cli.terminal import Failure

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Defaults for these options. [default: ./strongroom.toml]"),
]
VaultUrl = Annotated[str | None, typer.Option("--vault", metavar="URL", help="The Vault.")]
Trust = Annotated[
    Path | None, typer.Option("--trust", metavar="FILE", help="Your trust policy; `trust pin` makes one.")
]
Namespace = Annotated[str | None, typer.Option("--namespace", metavar="NAME", help="Namespace to store in.")]
RecordName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name in the namespace. [default: a random id]")
]
InstructionsFile = Annotated[
    Path | None,
    typer.Option("--instructions", metavar="FILE", help="Authenticators and sign-in methods (instructions.toml)."),
]
For = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        metavar="EMAIL",
        help="Who may collect; repeat for more. Whoever stores may update, delete and audit.",
    ),
]
Rules = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE", help="Rules of your own in Cedar, instead of --for.")
]
Issuer = Annotated[
    str | None,
    typer.Option(
        "--issuer",
        metavar="URL",
        help="Provider to sign in at where there are several, or another sign-in by its name.",
    ),
]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="Print the sign-in address instead of opening a browser.")
]
Device = Annotated[
    bool, typer.Option("--device", help="Sign in on another device with a code, where the depositor allows it.")
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Key that your sessions are bound to, made if absent: approvals count for it. [default: one per Vault]",
    ),
]
Version = Annotated[
    int | None, typer.Option("--version", min=1, metavar="N", help="Do it only if the record is at this version.")
]
ReplacesDeleted = Annotated[
    int,
    typer.Option("--replaces", min=0, metavar="N", help="Version of the deleted record whose --name this takes."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="32 hex digits as `store` printed them, or NAMESPACE/NAME.")
]
DescribedArgument = Annotated[
    str,
    typer.Argument(metavar="ADDRESS", help="32 hex digits, or NAMESPACE/NAME, or NAMESPACE/ for the namespace."),
]
SecretArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="File that holds the secret; - for standard input.")
]

_SECONDS: Final = {"m": 60, "h": 3600, "d": 24 * 3600}
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def size_of(text: str, option: str) -> int:
    """Bytes, from 1 on, written as 500M. Raises `Failure`."""
    found = re.fullmatch(r"([0-9]{1,18})([kmgt]?)", text.lower())
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < size < 2**62:
        raise Failure(f"{option}: {text[:40]!r} is not a number of bytes", "write it as 500M, 10G or 2T")
    return size


def seconds_of(text: str, option: str) -> int:
    """Seconds, written as 90m, 12h or 2d. Raises `Failure`."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text.lower())
    if found is None or not int(found[1]):
        raise Failure(f"{option}: {text[:40]!r} is not a length of time", "write it as 90m, 12h or 2d")
    return int(found[1]) * _SECONDS[found[2]]
