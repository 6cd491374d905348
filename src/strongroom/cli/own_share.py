"""A custodian's own share, from a file or typed in: never from the command line, which every user can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.files import read_input, read_text
from strongroom.cli.terminal import ask_secretly
from strongroom.client.custodians import (
    MAX_IDENTITY_FILE,
    MAX_SHARE_FILE,
    OpenShare,
    open_share,
    parse_identities,
    typed_share,
)

ShareOption = Annotated[
    str | None,
    typer.Option("--share", metavar="FILE", help="Your share, - for standard input. [default: type its words in]"),
]
IdentityOption = Annotated[
    Path | None, typer.Option("--identity", "-i", metavar="FILE", help="Your age identity (AGE-SECRET-KEY-…).")
]


def open_own(share: str | None, identity: Path | None) -> OpenShare:
    """Raises `Failure`, and as `open_share`."""
    if share is None:
        return typed_share(ask_secretly("The 33 words of your share:", hint="name the share's file"))
    data = read_input(share, limit=MAX_SHARE_FILE, what="the share", too_large="name the file that was made for you")
    if identity is None:
        return open_share(data, [])
    hint = "age-keygen makes such files; one with a passphrase is decrypted with `age -d` first"
    text = read_text(identity, limit=MAX_IDENTITY_FILE, what="the age identity", hint=hint)
    return open_share(data, parse_identities(text))
